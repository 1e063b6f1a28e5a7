"""What stands before a model that is asked elsewhere: how many may wait, when it is not asked at all, how it fails.

Every failure is a `PluginError`: a `DetectorError` that holds the detector's name and a code, and never any text.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from enum import StrEnum
from typing import TypeVar

from safeproxy.errors import DetectorError

T = TypeVar("T")


class Fault(StrEnum):
    """How asking can fail: codes for records and counters."""

    BUSY = "busy"
    RESTING = "resting"
    LATE = "late"
    CRASHED = "crashed"
    RAISED = "raised"
    NOT_LOADED = "not_loaded"
    CHANGED = "changed"
    CLOSED = "closed"
    UNREACHABLE = "unreachable"
    STATUS = "status"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"


_MEANING = {
    Fault.BUSY: "too many questions wait for an answer",
    Fault.RESTING: "it failed several times in a row and is left alone for a while",
    Fault.LATE: "no answer within the deadline",
    Fault.CRASHED: "its worker process ended",
    Fault.RAISED: "its code raised an error",
    Fault.NOT_LOADED: "its model cannot be loaded",
    Fault.CHANGED: "its model is no longer the one that was loaded; start anew to use it",
    Fault.CLOSED: "it was closed",
    Fault.UNREACHABLE: "its server cannot be reached",
    Fault.STATUS: "its server answered with an error",
    Fault.MALFORMED: "its answer cannot be read",
    Fault.TOO_LARGE: "its answer is too long",
}


class PluginError(DetectorError):
    """A detector could not judge. ``detail`` is a number, a type's name, why a model cannot be loaded; never text."""

    def __init__(self, detector: str, fault: Fault, detail: str = "") -> None:
        self.fault = fault
        self.reason = _MEANING[fault] + (f" ({detail})" if detail else "")
        super().__init__(f"the detector {detector!r} could not judge: {fault}: {self.reason}")


class Breaker:
    """Opens after ``faults`` failures in a row; after ``rest`` seconds one trial decides whether it closes again.

    ``clock`` gives seconds. (The packages for this wrap calls or coroutines; here questions and answers are apart.)
    """

    def __init__(self, faults: int = 5, rest: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = faults
        self._rest = rest
        self._clock = clock
        self._failed = 0
        self._opened: float | None = None
        self._trying = False

    def admits(self) -> bool:
        """Whether the next question may be asked; if it is a trial, the next ones may not until its answer."""
        if self._opened is None:
            return True
        if self._trying or self._clock() - self._opened < self._rest:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """A question was answered."""
        self._failed = 0
        self._opened = None
        self._trying = False

    def failed(self) -> None:
        """A question was not answered as it should be."""
        self._failed += 1
        self._trying = False
        if self._failed >= self._limit:
            self._opened = self._clock()

    def abandoned(self) -> None:
        """Nobody waits for the answer any more: it says nothing."""
        self._trying = False


class Guard:
    """Lets at most ``limit`` questions be open at a time, and none while the breaker is open. For any thread.

    ``faults`` counts the failures by code.
    """

    def __init__(self, detector: str, limit: int, breaker: Breaker) -> None:
        self._detector = detector
        self._limit = limit
        self._breaker = breaker
        self._open = 0
        self._lock = threading.Lock()
        self.faults: Counter[str] = Counter()

    def ask(self, start: Callable[[], Future[T]]) -> Future[T]:
        """What ``start`` gives. Raises PluginError when nothing may be asked."""
        with self._lock:
            if self._open >= self._limit:
                self._refuse(Fault.BUSY)
            if not self._breaker.admits():
                self._refuse(Fault.RESTING)
            self._open += 1
        try:
            future = start()
        except BaseException:
            with self._lock:
                self._open -= 1
            raise
        future.add_done_callback(self._answered)
        return future

    def _refuse(self, fault: Fault) -> None:
        self.faults[fault] += 1
        raise PluginError(self._detector, fault)

    def _answered(self, future: Future[T]) -> None:
        with self._lock:
            self._open -= 1
            if future.cancelled():
                self._breaker.abandoned()
            elif (error := future.exception()) is None:
                self._breaker.succeeded()
            else:
                self.faults[error.fault if isinstance(error, PluginError) else Fault.RAISED] += 1
                self._breaker.failed()
