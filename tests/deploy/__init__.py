"""Tests of what is shipped for running it."""
