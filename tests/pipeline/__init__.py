"""Tests of safeproxy.pipeline."""
