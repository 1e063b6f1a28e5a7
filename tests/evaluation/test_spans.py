"""Spans are compared as counting by hand and by brute force does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.evaluation.mapping import Group
from safeproxy.evaluation.observing import Observed
from safeproxy.evaluation.spans import Counts, compare, threshold_curve
from tests.evaluation.invented import text

GROUP = Group(frozenset(["GOLD", "OLD"]), frozenset(["A", "B"]))


@st.composite
def texts(draw: st.DrawFn) -> list[Observed]:
    """Texts of 12 characters with spans of any kind, many of which overlap."""
    span = st.tuples(st.integers(0, 10), st.integers(1, 6)).map(lambda pair: (pair[0], min(12, sum(pair))))
    score = st.sampled_from([0.5, 0.6, 0.8, 1.0])
    found = st.lists(st.tuples(span, st.sampled_from(["A", "B", "OTHER"]), score), max_size=6)
    gold = st.lists(st.tuples(span, st.sampled_from(["GOLD", "OLD", "OTHER"])), max_size=6)
    return [
        text(
            [(*where, entity, one) for where, entity, one in draw(found)],
            [(*where, label) for where, label in draw(gold)],
        )
        for _ in range(draw(st.integers(1, 3)))
    ]


def overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether a character is in both."""
    return bool(set(range(*one)) & set(range(*other)))


def brute(one: Observed, threshold: float = 0.0) -> Counts:
    """The counts by comparing each with each."""
    gold = {(start, end) for start, end, label in one.spans or () if label in GROUP.labels}
    found = {(start, end) for start, end, entity, score in one.found if entity in "AB" and score >= threshold}
    met = sum(any(overlap(span, other) for other in found) for span in gold)
    right = sum(any(overlap(span, other) for other in gold) for span in found)
    return Counts(len(gold), len(found), len(gold & found), met, right)


def test_a_case_counted_by_hand() -> None:
    """Touching is not overlapping; a span found twice is one; other labels and entities do not count."""
    one = text(
        [(0, 4, "A", 0.9), (0, 4, "B", 0.8), (6, 9, "A", 0.7), (20, 22, "B", 0.6), (30, 31, "C", 1.0)],
        [(0, 4, "GOLD"), (4, 6, "OLD"), (8, 12, "GOLD"), (30, 31, "OTHER")],
    )
    comparison = compare([one], GROUP)
    assert Counts(*comparison.counts[0]) == Counts(gold=3, found=3, same=1, gold_met=2, found_right=2)
    assert comparison.met.tolist() == [0.9, float("-inf"), 0.7]
    curve = threshold_curve(comparison)
    assert curve.thresholds.tolist() == [0.6, 0.7, 0.9]
    assert curve.precision.tolist() == [pytest.approx(2 / 3), 1, 1]
    assert curve.recall.tolist() == [pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(1 / 3)]


@given(texts())
def test_counts_are_those_of_brute_force(many: list[Observed]) -> None:
    """Text by text."""
    assert [Counts(*map(int, row)) for row in compare(many, GROUP).counts] == [brute(one) for one in many]


@given(texts())
def test_threshold_curve_is_counting_anew_at_each_threshold(many: list[Observed]) -> None:
    """As if lower scores had not been found."""
    curve = threshold_curve(compare(many, GROUP))
    for threshold, precision, recall in zip(curve.thresholds, curve.precision, curve.recall, strict=True):
        gold, found, _, met, right = np.array([brute(one, threshold) for one in many]).sum(axis=0)
        assert precision == pytest.approx(right / found)
        assert recall == pytest.approx(met / gold) if gold else math.isnan(recall)


def test_one_span_over_everything_is_not_slow() -> None:
    """Many spans beside one that covers them all: the cost stays that of looking at each."""
    many = [(at, at + 1, "A", 1.0) for at in range(3, 3000, 3)]
    one = text([(0, 9000, "A", 0.5), *many], [(at, at + 1, "GOLD") for at in range(3, 3000, 3)])
    assert Counts(*compare([one], GROUP).counts[0]) == Counts(999, 1000, 999, 999, 1000)
