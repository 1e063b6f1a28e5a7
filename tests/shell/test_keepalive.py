"""Signs of life, and the end of a hold, on a clock that the tests turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from safeproxy.shell import keepalive


class Clock:
    """Time that passes only by sleeping; what is planned happens on the way."""

    def __init__(self) -> None:
        self.now = 100.0
        self.plan: list[tuple[float, Callable[[], None]]] = []

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Plan something for ``when`` seconds after the start."""
        self.plan.append((100.0 + when, what))

    def read(self) -> float:
        """As `time.perf_counter`."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """As `asyncio.sleep`; ends the test's patience after an hour."""
        self.now += seconds
        for when, what in [one for one in self.plan if one[0] <= self.now]:
            what()
            self.plan.remove((when, what))
        if self.now > 100.0 + 3600:
            raise asyncio.CancelledError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the module under test reads."""
    made = Clock()
    monkeypatch.setattr(keepalive.time, "perf_counter", made.read)
    monkeypatch.setattr(keepalive.asyncio, "sleep", made.sleep)
    return made


class Answer:
    """What was sent and what has come; times as the clock says."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.sent = 0.0
        self.events = 0
        self.signs: list[float] = []

    def send(self) -> None:
        """A piece of the answer is sent."""
        self.sent = self.clock.now

    def come(self) -> None:
        """An event comes."""
        self.events += 1

    async def sign(self) -> None:
        """A sign of life is sent."""
        self.signs.append(round(self.clock.now - 100.0, 3))
        if len(self.signs) == 3:
            raise asyncio.CancelledError


async def test_signs_of_life_fill_the_silence(clock: Clock) -> None:
    """One each interval, the first counted from the start."""
    answer = Answer(clock)
    with pytest.raises(asyncio.CancelledError):
        await keepalive.send_keep_alives(15, lambda: answer.sent, answer.sign)
    assert answer.signs == [15, 30, 45]


async def test_what_is_sent_puts_the_next_sign_off(clock: Clock) -> None:
    """The interval is counted from the last piece, not from the last look."""
    answer = Answer(clock)
    clock.at(10, answer.send)
    with pytest.raises(asyncio.CancelledError):
        await keepalive.send_keep_alives(15, lambda: answer.sent, answer.sign)
    assert answer.signs[0] == pytest.approx(30, abs=1)


async def test_a_hold_with_talk_going_on_comes_to_an_end(clock: Clock) -> None:
    """Not early, and at most a quarter late."""
    answer = Answer(clock)
    for second in range(5, 400):
        clock.at(second, answer.come)
    await keepalive.held_too_long(100, lambda: answer.sent, lambda: answer.events)
    assert 105 <= clock.now - 100.0 <= 130


async def test_whatever_is_sent_ends_the_hold(clock: Clock) -> None:
    """The time begins anew with the next event that is held."""
    answer = Answer(clock)
    for second in range(400):
        clock.at(second, answer.come)
    clock.at(90, answer.send)
    await keepalive.held_too_long(100, lambda: answer.sent, lambda: answer.events)
    assert 190 <= clock.now - 100.0 <= 220


async def test_silence_is_no_hold(clock: Clock) -> None:
    """An upstream that says nothing, from the start or after a piece, has a limit of its own."""
    answer = Answer(clock)
    clock.at(5, answer.come)
    clock.at(6, answer.send)
    with pytest.raises(asyncio.CancelledError):
        await keepalive.held_too_long(100, lambda: answer.sent, lambda: answer.events)


async def test_one_held_event_and_silence_is_no_hold(clock: Clock) -> None:
    """The upstream has to go on talking."""
    answer = Answer(clock)
    clock.at(50, answer.come)
    with pytest.raises(asyncio.CancelledError):
        await keepalive.held_too_long(100, lambda: answer.sent, lambda: answer.events)
