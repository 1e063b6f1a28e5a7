"""Tests for the training scripts."""
