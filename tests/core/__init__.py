"""Tests of safeproxy.core."""
