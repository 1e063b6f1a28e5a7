"""The statistics of the benchmark."""

from __future__ import annotations

import pytest

from safeproxy.bench.measure import arrival_delays, growth, percentile, summary, transit_delays


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 5), (0.51, 6), (0.95, 10), (0.99, 10), (1.0, 10)])
def test_percentile_is_a_value_that_was_measured(share: float, expected: int) -> None:
    """Nearest rank: no value is invented between two."""
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], share) == expected


def test_percentile_of_one_value() -> None:
    """A single value is every percentile."""
    assert percentile([3.5], 0.01) == percentile([3.5], 0.99) == 3.5


def test_percentile_of_nothing() -> None:
    """Nothing measured is an error, not a zero."""
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_summary() -> None:
    """All figures of a hundred values."""
    found = summary(list(range(1, 101)))
    assert (found.count, found.mean, found.p50, found.p95, found.p99, found.max) == (100, 50.5, 50, 95, 99, 100)


def test_growth_of_a_process_that_keeps_something_of_every_chunk() -> None:
    """Steady growth shows as half of the whole: from the second quarter to the last."""
    assert growth([float(n) for n in range(100)]) == 50


def test_growth_of_a_process_that_only_warms_up() -> None:
    """What is taken in the first quarter is no growth."""
    assert growth([1.0, 2.0, 5.0, 9.0, *[10.0] * 12]) == 0


def test_growth_needs_samples() -> None:
    """Three samples have no quarters."""
    with pytest.raises(ValueError, match="four"):
        growth([1, 2, 3])


def test_arrival_waits_for_the_last_character() -> None:
    """A piece has arrived when its last character has, whatever came in between."""
    sent = [(0.0, 4), (1.0, 8), (2.0, 12)]
    received = [(0.5, 3), (1.5, 8), (2.25, 12)]
    assert arrival_delays(sent, received) == [1.5, 0.5, 0.25]


def test_arrival_of_several_pieces_at_once() -> None:
    """One arrival can complete many pieces."""
    assert arrival_delays([(0.0, 1), (1.0, 2)], [(3.0, 2)]) == [3.0, 2.0]


def test_arrival_leaves_out_what_never_came() -> None:
    """A piece that was cut off has no delay."""
    assert arrival_delays([(0.0, 4), (1.0, 8)], [(0.5, 7)]) == [0.5]


def test_transit_counts_from_the_latest_sending() -> None:
    """Text that was held for the next piece is counted from that piece."""
    sent = [(0.0, 4), (1.0, 8)]
    received = [(1.25, 8)]
    assert transit_delays(sent, received) == [0.25]


def test_transit_ignores_what_came_before_anything_was_sent() -> None:
    """An arrival before the first sending belongs to none."""
    assert transit_delays([(1.0, 4)], [(0.5, 1), (1.5, 4)]) == [0.5]
