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
from typing import Any, ParamSpec, TypeVar, cast

from greenlet import getcurrent, greenlet

P = ParamSpec("P")
R = TypeVar("R")


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


class Gathering:
    """Collects work that comes up in the same turn of the event loop and does it in one go.

    ``work`` is called with all of it. What comes up outside of `run` is done at once.
    """

    def __init__(self, work: Callable[[list[Any]], None]) -> None:
        self._work = work
        self._waiting: list[Any] = []
        self._done: asyncio.Future[None] | None = None

    def __call__(self, item: Any) -> None:
        """Return when the item is done."""
        if not suspended_here():
            self._work([item])
            return
        if self._done is None:
            loop = asyncio.get_running_loop()
            self._done = loop.create_future()
            loop.call_soon(self._go)
        self._waiting.append(item)
        wait(self._done)

    def _go(self) -> None:
        items, done = self._waiting, self._done
        self._waiting, self._done = [], None
        assert done is not None
        try:
            self._work(items)
        except Exception as error:  # noqa: BLE001 - each that waits is told
            done.set_exception(error)
        else:
            done.set_result(None)
