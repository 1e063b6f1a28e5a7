"""Tests of safeproxy.rulesets."""
