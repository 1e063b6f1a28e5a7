"""The part of the benchmark that measures the filter alone."""

from __future__ import annotations

import pytest

from safeproxy.bench.filtering import chunk_seconds, holds
from safeproxy.bench.load import BenchError
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet

RULES = RuleSet([Rule(id="key", entity="KEY", pattern=r"\bkey-[a-z]{3}")])


def test_holds_are_taken_after_each_piece() -> None:
    """What may still become a key is held, and let go when it cannot."""
    assert holds(RULES, ["a k", "ey", "-a", ".", "b"]) == [1, 3, 5, 0, 0]


def test_holds_of_text_that_is_not_clean() -> None:
    """A finding makes the figures worthless: the rule is named."""
    with pytest.raises(BenchError, match="rule key"):
        holds(RULES, ["key-abc "])


def test_chunk_seconds_are_per_piece() -> None:
    """A positive time, the best of several passes."""
    assert 0 <= chunk_seconds(RULES, ["abcd"] * 100, 2) < 1
