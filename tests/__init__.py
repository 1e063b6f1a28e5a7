"""Tests of safeproxy."""
