"""Tests of `safeproxy.plugins`."""
