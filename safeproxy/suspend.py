"""Plain calls that can wait for something without blocking the event loop they were called from.

The filter is a plain function of text. A detector that must ask elsewhere (a worker process, a server), or that goes
better together with other streams, waits in the middle of such a call. `run` makes the call in a greenlet of its own,
so that `wait` can leave it and come back; the coroutine that awaits `run` does the waiting. Outside of `run`, in a
command line tool say, `wait` blocks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Generic, ParamSpec, TypeVar, cast

from greenlet import getcurrent, greenlet

#: Most workers that are kept for later calls.
MAX_IDLE = 256

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class _Outcome:
    """How a call ended. It is emptied when it is read: the worker that made it refers to it until its next call."""

    __slots__ = ("error", "value")

    def __init__(self, value: object = None, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error

    def take(self) -> Any:
        """The value; raises the error."""
        value, error = self.value, self.error
        self.value = self.error = None
        if error is not None:
            raise error
        return value


_Task = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class _Worker(greenlet):
    """Makes one call after another, each of which may be left and resumed: a new greenlet costs ten times a switch."""

    gathered = False
    """Whether the call has waited for a common round before."""

    def run(self, task: _Task | None) -> None:
        """The worker's life; it is given a task each time it is switched to between two calls."""
        while task is not None:
            outcome = _made(task)
            task = None
            assert self.parent is not None
            task = self.parent.switch(outcome)


def _made(task: _Task) -> _Outcome:
    function, args, kwargs = task
    try:
        return _Outcome(function(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 - it is raised again where the call is awaited
        return _Outcome(error=error)


class _Idle(threading.local):
    """The workers of a thread that have nothing to do; a greenlet cannot change its thread."""

    def __init__(self) -> None:
        self.workers: list[_Worker] = []


_idle = _Idle()


def suspended_here() -> bool:
    """Whether the caller is inside of `run`, so that `wait` does not block."""
    return isinstance(getcurrent(), _Worker)


async def run(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call the function; while something in it waits, let the event loop go on. Raises what the function raises."""
    here, workers = getcurrent(), _idle.workers
    worker = workers.pop() if workers else _Worker()
    worker.parent = here
    worker.gr_context = here.gr_context
    worker.gathered = False
    result = worker.switch((function, args, kwargs))
    while not isinstance(result, _Outcome):
        try:
            answer = await (asyncio.wrap_future(result) if isinstance(result, Future) else result)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to who waits, a cancellation too
            result = worker.throw(error)
        else:
            result = worker.switch(answer)
    worker.gr_context = None
    if len(workers) < MAX_IDLE:
        workers.append(worker)
    return cast("R", result.take())


def wait(pending: Future[R] | Awaitable[R]) -> R:
    """The result of what is pending: suspends the call inside of `run`, blocks outside.

    Raises what the pending work raises, and RuntimeError for an awaitable outside of `run`.
    """
    caller = getcurrent()
    if isinstance(caller, _Worker):
        assert caller.parent is not None
        return cast("R", caller.parent.switch(pending))
    if isinstance(pending, Future):
        return pending.result()
    raise RuntimeError("an awaitable can be waited for inside of suspend.run only")


class Gathering(threading.local, Generic[T]):
    """Collects work that comes up close together and does it in one go.

    ``work`` is called with all of it: at the end of this turn of the event loop or, if it was called less than
    ``apart`` seconds ago, once these are over; but a call waits so long at most once. So one stream alone hardly waits,
    many wait little and share, and text that comes in bursts flows. What comes up outside of `run` is done at once.
    Loops in other threads share nothing with this one.
    """

    def __init__(self, work: Callable[[list[T]], None], apart: float = 0.0) -> None:
        self._work = work
        self.apart = apart
        self._begin(None)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Nothing is left of another loop: its clock and its timers mean nothing to this one."""
        self._loop = loop
        self._next = 0.0  # when the next round may be, by the clock of the loop
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._timer: asyncio.Handle | None = None
        self._soon = False  # whether the round comes at the end of this turn

    def __call__(self, item: T) -> None:
        """Return when the item is done. Raises what the work raises."""
        worker = getcurrent()
        if not isinstance(worker, _Worker):
            self._work([item])
            return
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._begin(loop)
        self._plan(loop, at_once=worker.gathered)
        worker.gathered = True
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((item, done))
        wait(done)

    def _plan(self, loop: asyncio.AbstractEventLoop, *, at_once: bool) -> None:
        """See to it that there will be a round."""
        if self._soon:
            return
        if at_once or loop.time() >= self._next:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_soon(self._go)
            self._soon = True
        elif self._timer is None:
            self._timer = loop.call_at(self._next, self._go)

    def _go(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._timer, self._soon = None, False
        self._next = asyncio.get_running_loop().time() + self.apart
        fault: Exception | None = None
        try:
            self._work([item for item, _ in waiting])
        except Exception as error:  # noqa: BLE001 - each that waits is told
            fault = error
        for _, done in waiting:
            if done.done():  # who waited was cancelled
                continue
            if fault is None:
                done.set_result(None)
            else:
                done.set_exception(fault)
