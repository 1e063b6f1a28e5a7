"""Small statistics for the benchmark: percentiles, summaries, growth, and the machine it ran on."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the least value that at least ``share`` (0 to 1) of the values do not exceed.

    Raises ValueError when there are no values.
    """
    if not values:
        raise ValueError("no values to take a percentile of")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Summary:
    """What is reported of many measurements."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float


def summary(values: Sequence[float]) -> Summary:
    """Summarise the values; ValueError when there are none."""
    return Summary(
        count=len(values),
        mean=statistics.fmean(values),
        p50=percentile(values, 0.5),
        p95=percentile(values, 0.95),
        p99=percentile(values, 0.99),
        max=max(values),
    )


def growth(samples: Sequence[float]) -> float:
    """How much memory still grows once a process is warm: median of the last quarter less that of the second quarter.

    A process that keeps something of every chunk grows all the way; one that fills its caches does so early.
    Raises ValueError for fewer than four samples.
    """
    if len(samples) < 4:
        raise ValueError("growth needs at least four samples")
    quarter = len(samples) // 4
    return statistics.median(samples[-quarter:]) - statistics.median(samples[quarter : 2 * quarter])


def arrival_delays(sent: Sequence[tuple[float, int]], received: Sequence[tuple[float, int]]) -> list[float]:
    """Seconds from the sending of each piece of text until its last character had arrived.

    Both sequences hold (time, characters so far) in order of time. Pieces that never arrived whole are left out.
    """
    delays = []
    at = 0
    for moment, characters in sent:
        while at < len(received) and received[at][1] < characters:
            at += 1
        if at == len(received):
            break
        delays.append(received[at][0] - moment)
    return delays


def transit_delays(sent: Sequence[tuple[float, int]], received: Sequence[tuple[float, int]]) -> list[float]:
    """Seconds from the latest sending before each arrival of text until that arrival.

    It is what the way itself costs: the wait for later text that a hold needs is not in it. Means something for paced
    streams only.
    """
    delays = []
    at = 0
    for moment, _ in received:
        while at + 1 < len(sent) and sent[at + 1][0] <= moment:
            at += 1
        if sent and sent[at][0] <= moment:
            delays.append(moment - sent[at][0])
    return delays


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count() or 0,
    }
