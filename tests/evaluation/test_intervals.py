"""Intervals agree with published values, and cover what they promise to cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.evaluation.intervals import RESAMPLES, UNKNOWN, Array, Figure, bootstrap, draws, rate, share


def ones(hits: int, trials: int) -> tuple[Array, Array]:
    """So many records with one trial each, the first ones hits."""
    return np.array([1.0] * hits + [0.0] * (trials - hits)), np.ones(trials)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_share_has_wilson_s_interval(hits: int, trials: int, low: float, high: float) -> None:
    """One trial a record: the textbook's values."""
    figure = share(*ones(hits, trials))
    assert figure.value == hits / trials
    assert (figure.low, figure.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_what_is_alike_within_a_record_counts_for_less() -> None:
    """Ten records of which each is all right or all wrong are ten trials, however many spans they have."""
    hits = np.array([5.0] * 6 + [0.0] * 4)
    clustered, independent = share(hits, np.full(10, 5.0)), share(hits / 5, np.ones(10))
    assert clustered.value == independent.value
    # Up to n / (n - 1) in the variance.
    assert clustered.low == pytest.approx(independent.low, abs=0.02)
    assert clustered.high == pytest.approx(independent.high, abs=0.02)


def test_a_rate_of_nothing_has_an_upper_end() -> None:
    """Nothing in n words: at most z squared over n; with k events, the roots of the score equation."""
    figure = rate(np.zeros(3), np.array([500.0, 200.0, 300.0])).times(1000)
    assert (figure.value, figure.low, figure.high) == (0.0, 0.0, pytest.approx(3.8415, abs=1e-4))
    figure = rate(np.array([4.0]), np.array([1.0]))
    for end in (figure.low, figure.high):
        assert end is not None
        assert (4 - end) ** 2 / end == pytest.approx(3.8415, abs=1e-4)


def test_what_cannot_be_divided_is_unknown() -> None:
    """No trial, no exposure."""
    assert share(np.zeros(2), np.zeros(2)) == rate(np.zeros(2), np.zeros(2)) == UNKNOWN == UNKNOWN.times(3)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20))
def test_intervals_hold_their_value(rows: list[tuple[int, int]]) -> None:
    """Whatever the counts, low <= value <= high, and a share stays within 0 and 1."""
    trials = np.array([float(a + b) for a, b in rows])
    hits = np.array([float(a) for a, _ in rows])
    for figure in (share(hits, trials), rate(hits, trials)):
        if figure.value is not None and figure.low is not None and figure.high is not None:
            assert 0 <= figure.low <= figure.value + 1e-9 <= figure.high + 2e-9
    assert (share(hits, trials).high or 0) <= 1


def test_intervals_cover() -> None:
    """Of 95 % intervals of simulated files with clustered spans, about as many hold the truth."""
    random = np.random.default_rng(5)
    covered = {"share": 0, "rate": 0}
    runs = 400
    for _ in range(runs):
        trials = random.integers(1, 6, 80).astype(np.float64)
        chance = random.beta(4, 1, 80)  # each record has its own, 0.8 on average
        figure = share(random.binomial(trials.astype(int), chance).astype(np.float64), trials)
        covered["share"] += figure.low <= 0.8 <= figure.high  # type: ignore[operator]
        words = random.integers(20, 60, 80).astype(np.float64)
        figure = rate(random.poisson(words * random.gamma(0.5, 0.02, 80)).astype(np.float64), words)
        covered["rate"] += figure.low <= 0.01 <= figure.high  # type: ignore[operator]
    assert 0.91 < covered["share"] / runs < 0.99
    assert 0.88 < covered["rate"] / runs < 0.99


def test_draws_are_resamples() -> None:
    """Each has as many as there are records; the same seed gives the same."""
    drawn = list(draws(7, 3))
    assert len(drawn) == RESAMPLES
    assert all(weights.sum() == 7 for weights in drawn)
    assert all((one == other).all() for one, other in zip(drawn, draws(7, 3), strict=True))
    assert any((one != other).any() for one, other in zip(drawn, draws(7, 4), strict=True))


def test_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    """With many records the percentile interval of a mean is mean -+ 1.96 standard errors."""
    values = np.random.default_rng(1).normal(3, 2, 2000)
    (figure,) = bootstrap(lambda weights: np.array([weights @ values / weights.sum()]), 2000, 0)
    error = values.std() / math.sqrt(2000)
    assert figure.value == pytest.approx(values.mean())
    assert figure.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert figure.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_bootstrap_leaves_out_what_is_no_number() -> None:
    """A figure that is none has no interval; a resample that gives none does not count."""

    def statistic(weights: Array) -> Array:
        return np.array([float("nan"), weights[1] / weights[1] if weights[1] else float("nan")])

    assert bootstrap(statistic, 3, 0) == [UNKNOWN, Figure(1.0, 1.0, 1.0)]
