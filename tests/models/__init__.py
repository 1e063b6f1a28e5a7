"""Tests of safeproxy.models."""
