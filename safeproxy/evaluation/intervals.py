"""Figures with 95 % confidence intervals: shares and rates in closed form, anything else by bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: The level of every interval.
CONFIDENCE = 0.95
#: The normal quantile that belongs to it.
Z = 1.959963984540054
#: How often records are drawn anew for a bootstrap interval.
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and the ends of its confidence interval; all three are None where there is nothing to divide by."""

    value: float | None
    low: float | None
    high: float | None

    def times(self, factor: float) -> Figure:
        """The figure in another unit."""
        if self.value is None or self.low is None or self.high is None:
            return self
        return Figure(self.value * factor, self.low * factor, self.high * factor)


UNKNOWN = Figure(None, None, None)


def share(hits: Array, trials: Array) -> Figure:
    """The share of hits among the trials, both given record by record (1-d, of equal length).

    Wilson's score interval (Wilson 1927, "Probable inference, the law of succession, and statistical inference"), which
    unlike a bootstrap does not shrink to a point when all or none are hits. Its number of trials is divided by the
    design effect, because several trials of one record are alike (Korn and Graubard 1998, "Confidence intervals for
    proportions with small expected number of positive counts estimated from survey data").
    """
    total = float(trials.sum())
    if total == 0:
        return UNKNOWN
    value = float(hits.sum()) / total
    number = total / _design_effect(hits, trials, value * (1 - value) / max(1.0, total - 1))
    spread = Z * math.sqrt(value * (1 - value) / number + Z**2 / (4 * number**2))
    middle, scale = value + Z**2 / (2 * number), 1 + Z**2 / number
    return Figure(value, max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale))


def rate(events: Array, exposure: Array) -> Figure:
    """Events for each unit of exposure, both given record by record (1-d, of equal length).

    The score interval of a Poisson rate, which is Wilson's where events are rare: k + z^2/2 -+ z sqrt(k + z^2/4), over
    the exposure (Rao's score test inverted); with the design effect as in `share`.
    """
    total = float(exposure.sum())
    if total == 0:
        return UNKNOWN
    count = float(events.sum())
    effect = _design_effect(events, exposure, count / total**2)
    count, total = count / effect, total / effect
    middle, spread = count + Z**2 / 2, Z * math.sqrt(count + Z**2 / 4)
    return Figure(count / total, max(0.0, middle - spread) / total, (middle + spread) / total)


def _design_effect(above: Array, below: Array, independent: float) -> float:
    """How many times the ratio's variance is what it would be if all units were independent; at least 1.

    The variance of a ratio of sums over records by linearisation: n / (n - 1) sum((a - r b)^2) / sum(b)^2
    (Cochran 1977, "Sampling techniques", section 6.4).
    """
    count, total = len(below), below.sum()
    if count < 2 or independent == 0:
        return 1.0
    rest = above - above.sum() / total * below
    return max(1.0, float(count / (count - 1) * (rest @ rest) / total**2) / independent)


def draws(count: int, seed: int) -> Iterator[Array]:
    """How often each of ``count`` records is drawn, in each of RESAMPLES resamples of as many; the same for a seed."""
    random = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        yield np.bincount(random.integers(0, count, count), minlength=count).astype(np.float64)


def bootstrap(statistic: Callable[[Array], Array], count: int, seed: int) -> list[Figure]:
    """Each figure that ``statistic`` computes from the weights of ``count`` records, with its percentile interval.

    The bootstrap over records (Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 13). A figure
    that is not a number has no interval; resamples in which it is none are left out.
    """
    values = statistic(np.ones(count))
    resampled = np.array([statistic(weights) for weights in draws(count, seed)])
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    return [
        _bootstrapped(float(value), np.quantile(column[~np.isnan(column)], ends) if not math.isnan(value) else None)
        for value, column in zip(values, resampled.T, strict=True)
    ]


def _bootstrapped(value: float, ends: Array | None) -> Figure:
    return UNKNOWN if ends is None else Figure(value, float(ends[0]), float(ends[1]))
