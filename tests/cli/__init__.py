"""Tests of the commands, run in process."""
