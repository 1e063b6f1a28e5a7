"""Plain calls that can wait for something without blocking the event loop they were called from.

The filter is a plain function of text. A detector that must ask elsewhere (a worker process, a server), or that goes
better together with other streams, waits in the middle of such a call. `run` makes the call in a greenlet of its own,
so that `wait` can leave it and come back; the coroutine that awaits `run` does the waiting. Outside of `run`, in a
command line tool say, `wait` blocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Generic, ParamSpec, TypeVar, cast

from greenlet import getcurrent, greenlet

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class _Call(greenlet):
    """A call that can be left and resumed."""


def suspended_here() -> bool:
    """Whether the caller is inside of `run`, so that `wait` does not block."""
    return isinstance(getcurrent(), _Call)


async def run(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call the function; while something in it waits, let the event loop go on. Raises what the function raises."""
    call = _Call(function)
    call.gr_context = getcurrent().gr_context
    result = call.switch(*args, **kwargs)
    while not call.dead:
        try:
            answer = await (asyncio.wrap_future(result) if isinstance(result, Future) else result)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to who waits, a cancellation too
            result = call.throw(error)
        else:
            result = call.switch(answer)
    return cast("R", result)


def wait(pending: Future[R] | Awaitable[R]) -> R:
    """The result of what is pending: suspends the call inside of `run`, blocks outside.

    Raises what the pending work raises, and RuntimeError for an awaitable outside of `run`.
    """
    caller = getcurrent()
    if isinstance(caller, _Call):
        assert caller.parent is not None
        return cast("R", caller.parent.switch(pending))
    if isinstance(pending, Future):
        return pending.result()
    raise RuntimeError("an awaitable can be waited for inside of suspend.run only")


class Gathering(Generic[T]):
    """Collects work that comes up in the same turn of the event loop and does it in one go.

    ``work`` is called with all of it. What comes up outside of `run` is done at once.
    """

    def __init__(self, work: Callable[[list[T]], None]) -> None:
        self._work = work
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []

    def __call__(self, item: T) -> None:
        """Return when the item is done. Raises what the work raises."""
        if not suspended_here():
            self._work([item])
            return
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._go)
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((item, done))
        wait(done)

    def _go(self) -> None:
        waiting, self._waiting = self._waiting, []
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
