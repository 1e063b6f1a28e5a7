"""Tests of `safeproxy.plugins.guard`."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from safeproxy.errors import DetectorError
from safeproxy.plugins.guard import Breaker, Fault, Guard, PluginError


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def failed(fault: Fault = Fault.LATE) -> Future[int]:
    future: Future[int] = Future()
    future.set_exception(PluginError("d", fault))
    return future


def answered() -> Future[int]:
    future: Future[int] = Future()
    future.set_result(1)
    return future


def test_the_breaker_opens_after_failures_in_a_row_and_closes_after_a_good_trial() -> None:
    """Failures in a row open it; after the rest one question goes through, and its answer decides."""
    clock = Clock()
    breaker = Breaker(2, 10.0, clock)
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.admits()
    breaker.failed()
    assert not breaker.admits()
    clock.now = 9.9
    assert not breaker.admits()
    clock.now = 10.0
    assert breaker.admits()
    assert not breaker.admits(), "one trial at a time"
    breaker.failed()
    clock.now = 19.9
    assert not breaker.admits()
    clock.now = 20.0
    assert breaker.admits()
    breaker.succeeded()
    assert breaker.admits()
    assert breaker.admits()


def test_an_abandoned_trial_makes_room_for_another() -> None:
    """A trial whose answer nobody waits for decides nothing."""
    clock = Clock()
    breaker = Breaker(1, 1.0, clock)
    breaker.failed()
    clock.now = 1.0
    assert breaker.admits()
    breaker.abandoned()
    assert breaker.admits()


def test_the_guard_bounds_what_is_open() -> None:
    """One question more than may be open is refused at once; an answer makes room."""
    guard = Guard("d", 2, Breaker())
    first: Future[int] = Future()
    guard.ask(lambda: first)
    guard.ask(Future[int])
    with pytest.raises(PluginError, match="the detector 'd' could not judge: busy: too many questions"):
        guard.ask(Future[int])
    first.set_result(1)
    guard.ask(Future[int])
    assert guard.faults == {"busy": 1}


def test_the_guard_asks_nothing_while_the_breaker_is_open() -> None:
    """Failures open the breaker: then the model is not even asked, until its rest is over."""
    clock = Clock()
    guard = Guard("d", 10, Breaker(2, 5.0, clock))
    guard.ask(failed)
    guard.ask(lambda: failed(Fault.CRASHED))
    with pytest.raises(DetectorError, match="resting"):
        guard.ask(answered)
    clock.now = 5.0
    assert guard.ask(answered).result() == 1
    assert guard.ask(answered).result() == 1
    assert guard.faults == {"late": 1, "crashed": 1, "resting": 1}


def test_a_cancelled_question_is_no_failure() -> None:
    """Who goes away says nothing about the model, and makes room."""
    guard = Guard("d", 1, Breaker(1, 5.0, Clock()))
    guard.ask(Future[int]).cancel()
    assert guard.ask(answered).result() == 1
    assert guard.faults == {}


def test_every_fault_is_explained() -> None:
    """Each code comes with words, the detector's name and the detail."""
    for fault in Fault:
        error = PluginError("d", fault, "429")
        assert str(error).startswith(f"the detector 'd' could not judge: {fault}: ")
        assert str(error).endswith("(429)")
