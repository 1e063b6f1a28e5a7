"""Measures what no request tells: how late the event loop is, and what the process uses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safeproxy.observers.metrics import Metrics

#: Seconds between two readings.
INTERVAL = 0.5


async def sampling(metrics: Metrics, audit_writable: Callable[[], bool], interval: float = INTERVAL) -> None:
    """Read for ever, until it is cancelled."""
    clock = time.perf_counter  # the loop's own clock stands still while the loop does
    while True:
        due = clock() + interval
        await asyncio.sleep(interval)
        metrics.lag.observe(max(0.0, clock() - due))
        metrics.audit_writable.set(audit_writable())
        metrics.sample()
