"""What the benchmark asks of a proxy from within its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from aiohttp import web

from safeproxy.ledger.record import FindingMade, RequestClosed, RequestOpened
from safeproxy.observers.base import Observers
from safeproxy.shell.app import stop
from safeproxy.shell.reload import reload
from safeproxy.shell.service import SERVICE


class _Nobody:
    """An observer that does nothing."""

    def opened(self, record: RequestOpened) -> None:
        """Nothing."""

    def found(self, record: FindingMade) -> None:
        """Nothing."""

    def closed(self, record: RequestClosed) -> None:
        """Nothing."""


def without_observers(app: web.Application) -> None:
    """Let nobody be told anything: no audit trail, no metrics, no log."""
    service = app[SERVICE]
    service.observers, service.metrics = Observers(_Nobody()), None


def commands(app: web.Application) -> dict[str, Callable[[], dict[str, Any]]]:
    """What a proxy is asked beyond what it uses: ``state``, ``reload`` (as SIGHUP does it) and ``stop``.

    ``state`` counts the reloads that have put other rules in force.
    """
    background: set[asyncio.Task[None]] = set()
    reloads = 0

    def begin(work: Coroutine[Any, Any, None]) -> dict[str, Any]:
        task = asyncio.create_task(work)
        background.add(task)
        task.add_done_callback(background.discard)
        return {}

    def state() -> dict[str, Any]:
        """Open files and sockets, tasks, requests being served; -1 where the system does not say."""
        try:
            files = len(list(Path("/proc/self/fd").iterdir())) - 1  # without the one that reads this
        except OSError:
            files = -1
        service = app[SERVICE]
        fault = service.life.rules_fault
        return {
            "files": files,
            "tasks": len(asyncio.all_tasks()),
            "running": len(service.running),
            "reloads": reloads,
            "rules_fault": None if fault is None else fault.place or "somewhere",
        }

    async def load_again() -> None:
        nonlocal reloads
        first = app[SERVICE]
        before = first.current
        first.upstreams.reload()
        await reload(first)
        reloads += first.current is not before

    return {"state": state, "reload": lambda: begin(load_again()), "stop": lambda: begin(stop(app))}
