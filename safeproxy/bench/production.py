"""The sections about production: how the proxies are set up for them."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safeproxy import rulesets
from safeproxy.bench import endurance, scale
from safeproxy.bench.load import BenchError
from safeproxy.bench.process import Child
from safeproxy.bench.report import AROUND, AROUND_REDIS
from safeproxy.bench.served import Served
from safeproxy.bench.streams import Target
from safeproxy.shell import client_keys

ABOUT = {
    "capacity": "2,000 streams at once",
    "overhead": "what keys, limits, metrics and audit add to the filter",
    "workers": "two workers against one",
    "long": "50 streams at all times",
    "soak": "100 streams at all times, and everything that goes wrong",
}
#: So high that nobody is refused.
_LIMITS = [
    {"per": "key", "requests": 10_000_000, "tokens": 10_000_000_000, "streams": 10_000},
    {"per": "tenant", "requests": 10_000_000, "tokens": 10_000_000_000},
    {"per": "address", "requests": 10_000_000},
]

Proxy = Callable[..., AbstractAsyncContextManager[Target]]
"""Starts a proxy: its name, its rules, and further settings."""


class Production:
    """The sections; each has proxies of its own."""

    def __init__(
        self, upstream: Child, folder: Path, proxy: Proxy, halting: Sequence[Path], *, quick: bool = False
    ) -> None:
        self._upstream = upstream
        self._folder = folder
        self._proxy = proxy
        self._halting = halting
        self._quick = quick

    async def capacity(self) -> dict[str, Any]:
        """Very many slow streams through one process."""
        async with self._proxy("shipped", [rulesets.SHIPPED]) as target:
            return await scale.measure_capacity(
                target, streams=200 if self._quick else 2000, seconds=8 if self._quick else 40
            )

    async def overhead(self) -> dict[str, Any]:
        """The filter alone; with all that stands around it; with limits in Redis where it is installed."""
        key, around = self._around()
        async with AsyncExitStack() as stack:
            opening = [
                self._proxy(scale.BARE, [rulesets.SHIPPED], bare=True),
                self._proxy(AROUND, [rulesets.SHIPPED], **around),
            ]
            if shutil.which("redis-server"):
                url = await stack.enter_async_context(_redis())
                opening.append(self._proxy(AROUND_REDIS, [rulesets.SHIPPED], **around, redis_url=url))
            targets = [await stack.enter_async_context(one) for one in opening]
            rounds, chunks = (2, 50) if self._quick else (6, 150)
            return await scale.measure_overhead(targets, streams=50, chunks=chunks, rounds=rounds, key=key)

    async def workers(self) -> dict[str, Any]:
        """One worker and two, with the shipped rules. Needs ``/proc``."""
        if sys.platform != "linux":
            raise BenchError("the section 'workers' needs Linux: it reads what processes use in /proc")
        async with AsyncExitStack() as stack:
            served = {}
            for count in (1, 2):
                one = await stack.enter_async_context(
                    Served(
                        upstream=self._upstream.base,
                        rules=str(rulesets.SHIPPED),
                        audit=tempfile.mkdtemp(dir=self._folder),
                        workers=str(count),
                    )
                )
                served[count] = one.base, one.usage
            seconds, rounds = (2, 1) if self._quick else (6, 5)
            return await scale.measure_workers(self._upstream, served, clients=16, seconds=seconds, rounds=rounds)

    async def long(self, seconds: float) -> dict[str, Any]:
        """Many streams for minutes."""
        async with self._proxy("shipped", [rulesets.SHIPPED]) as target:
            return await endurance.measure_long(self._upstream, target, streams=50, seconds=seconds)

    async def soak(self, seconds: float) -> dict[str, Any]:
        """The same while much goes wrong and the files change."""
        key, around = self._around()
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        rules = folder / "halt.yaml"
        shutil.copy(self._halting[-1], rules)
        disturbance = endurance.Disturbance(
            rules=rules,
            ruleset=rulesets.load([rulesets.SHIPPED, rules]),
            key=key,
            add_key=lambda: add_key(Path(around["client_keys"])),
            prices=Path(around["prices"]),
            audit=folder / "audit",
        )
        settings = {**around, "audit": str(folder / "audit"), "idle_timeout": 2, "pool_keep_alive": 1}
        async with self._proxy("soaked", [rulesets.SHIPPED, rules], **settings) as target:
            return await endurance.measure_soak(self._upstream, target, disturbance, streams=100, seconds=seconds)

    def _around(self) -> tuple[str, dict[str, Any]]:
        """A client key that is good, and the settings of all that stands around the filter."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        prices = folder / "prices.yaml"
        prices.write_text(endurance.prices(0), encoding="utf-8")
        keys = folder / "keys.yaml"
        return add_key(keys), {"client_keys": str(keys), "limits": _LIMITS, "prices": str(prices)}


def add_key(file: Path) -> str:
    """As `safeproxy keys create` does it; the key."""
    return client_keys.add(file, "bench", tenant="bench", now=datetime.now(UTC))[0]


@asynccontextmanager
async def _redis() -> AsyncIterator[str]:
    """A Redis that keeps nothing; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(10):
            while line := await process.stdout.readline():
                if b"Ready to accept connections" in line:
                    break
            else:
                raise BenchError("redis-server does not start")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
