"""Counting in this process, by a clock that the tests move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

import limits.aio.storage.memory
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.shell import counters
from safeproxy.shell.counters import LocalCounters
from safeproxy.shell.quotas import MINUTE, Quota

#: The beginning of a minute, as the windows of the package are cut.
START = 1_700_000_040.0


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START


@contextmanager
def moved_clock() -> Iterator[Clock]:
    """The counters' clock in our hands."""
    clock = Clock()
    stand_in = SimpleNamespace(time=lambda: clock.now)
    with (
        mock.patch.object(limits.aio.storage.memory, "time", stand_in),
        mock.patch.object(counters, "time", stand_in),
    ):
        yield clock


def quota(name: str, most: int) -> Quota:
    """A limit on requests."""
    return Quota("requests", "key", name, most)


async def test_one_too_many_is_refused_until_the_minute_is_over() -> None:
    """The quota that is full is named, and there is room again when the window has slid far enough."""
    two = quota("a", 2)
    with moved_clock() as clock:
        local = LocalCounters()
        assert [await local.take([two]) for _ in range(3)] == [None, None, two]
        clock.now += 60
        assert await local.take([two]) is two
        clock.now += 31
        assert await local.take([two]) is None


async def test_a_refused_request_eats_nothing() -> None:
    """Where the second of two limits is full the first gets back what was taken."""
    with moved_clock():
        local = LocalCounters()
        wide, narrow = quota("wide", 10), quota("narrow", 1)
        assert await local.take([narrow]) is None
        assert await local.take([wide, narrow]) is narrow
        ((_, window),) = await local.look([wide])
        assert window.used == 0


async def test_charges_go_beyond_the_limit() -> None:
    """What was used is counted in full, and the wait grows with it."""
    with moved_clock():
        local = LocalCounters()
        tokens = Quota("tokens", "key", "t", 100)
        await local.charge("t", 300)
        ((_, window),) = await local.look([tokens])
        assert (window.used, window.wait(100)) == (300, 100)


async def test_places_are_given_back() -> None:
    """As many run as may, each once, and nothing is left when all have ended."""
    local = LocalCounters()
    one = Quota("streams", "key", "s", 1)
    assert await local.hold(one, "r1")
    assert not await local.hold(one, "r2")
    local.drop("s", "r2")
    assert not await local.hold(one, "r2")
    local.drop("s", "r1")
    assert await local.hold(one, "r2")
    local.drop("s", "r2")
    local.drop("s", "r2")
    assert local.running == {}


async def test_names_that_nobody_asks_for_are_forgotten() -> None:
    """Many clients that come once do not stay in memory."""
    with moved_clock() as clock:
        local = LocalCounters()
        for number in range(100):
            await local.take([quota(f"a{number}", 5)])
        clock.now += 3 * MINUTE
        await local.take([quota("b", 5)])
        storage = local._storage
        assert isinstance(storage, limits.aio.storage.MemoryStorage)
        assert len(storage.storage) == len(storage.expirations) == 1


class Model:
    """What a counter is meant to do: the times that were let in, and no others, count."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.admitted: list[float] = []

    def weight(self, now: float) -> float:
        """All of this minute, and of the last one the part that is less than a minute ago."""
        minute, into = divmod(now - START, MINUTE)
        minutes = [(one - START) // MINUTE for one in self.admitted]
        return minutes.count(minute - 1) * (1 - into / MINUTE) + minutes.count(minute)


@given(
    mosts=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    asked=st.lists(
        st.tuples(st.sampled_from([0, 1, 3, 7, 20, 45]), st.sampled_from([(0,), (1,), (0, 1), (1, 0)])), max_size=60
    ),
)
async def test_the_counters_are_the_model(mosts: tuple[int, int], asked: list[tuple[int, tuple[int, ...]]]) -> None:
    """Let in where all limits have room; never more than a limit in a minute, nor twice that in any 60 seconds."""
    with moved_clock() as clock:
        local = LocalCounters()
        models = [Model(most) for most in mosts]
        for pause, which in asked:
            clock.now += pause
            weights = [models[one].weight(clock.now) for one in which]
            admitted = await local.take([quota(f"q{one}", mosts[one]) for one in which]) is None
            rooms = [models[one].most - weight for one, weight in zip(which, weights, strict=True)]
            if all(abs(room) > 1e-6 for room in rooms):  # on the edge the last bit of a float decides
                assert admitted == all(room > 0 for room in rooms)
            if admitted:
                for one in which:
                    models[one].admitted.append(clock.now)
        for model in models:
            minutes = [(one - START) // MINUTE for one in model.admitted]
            assert all(minutes.count(minute) <= model.most for minute in minutes)
            for since in model.admitted:
                assert sum(since <= one < since + MINUTE for one in model.admitted) <= 2 * model.most
