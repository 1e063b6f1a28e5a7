"""Counts the requests and tokens of a minute, and the requests that run, in this process.

The windows are those of the package ``limits``: a sliding window counter, two numbers a name.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from limits.aio.storage import MemoryStorage

from safeproxy.shell.quotas import MINUTE, Quota, Window

#: Greater than any count: what is charged afterwards is never refused. Lua's numbers are exact up to here.
NO_LIMIT = 2**53


class Storage(Protocol):
    """What is used of a storage of the package ``limits``."""

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Add ``amount`` to the window unless that takes it above ``limit``."""
        ...

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The numbers of a `Window`."""
        ...


class Windows:
    """Requests and tokens of a minute, wherever they are stored."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def look(self, quotas: Iterable[Quota]) -> list[tuple[Quota, Window]]:
        """What is used of each."""
        return [(one, Window(*await self._storage.get_sliding_window(one.name, MINUTE))) for one in quotas]

    async def take(self, quotas: Sequence[Quota]) -> Quota | None:
        """Count one request in each; where one is full nothing is counted in any, and that one is given back."""
        for position, quota in enumerate(quotas):
            if not await self._storage.acquire_sliding_window_entry(quota.name, quota.most, MINUTE):
                for taken in quotas[:position]:
                    await self._storage.acquire_sliding_window_entry(taken.name, NO_LIMIT, MINUTE, -1)
                return quota
        return None

    async def charge(self, name: str, amount: int) -> None:
        """Count ``amount``, however much there is already."""
        await self._storage.acquire_sliding_window_entry(name, NO_LIMIT, MINUTE, amount)


class _Memory(MemoryStorage):
    """The package's, which looks for expired names at every increment: with 30,000 of them 5 ms. Here once a minute."""

    _swept = 0.0

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """The count after ``amount`` was added; ``expiry`` in seconds, for a name that is new."""
        now = time.time()
        if now - self._swept >= MINUTE:
            self._swept = now
            for known in list(self.expirations):
                await self.get(known)  # forgets what has expired
        count = self.storage[key] = await self.get(key) + amount
        self.expirations.setdefault(key, now + expiry)
        return count


class LocalCounters(Windows):
    """All of it in this process. Nothing in here ever waits, so that looking and taking are one step."""

    def __init__(self) -> None:
        super().__init__(_Memory())
        self.running: dict[str, set[str]] = {}
        """Ids of the requests of this process that run, by name, wherever they were admitted."""

    async def hold(self, quota: Quota, request: str) -> bool:
        """Let ``request`` be one that runs, unless there are enough of them."""
        if len(self.running.get(quota.name, ())) >= quota.most:
            return False
        self.note(quota.name, request)
        return True

    def note(self, name: str, request: str) -> None:
        """``request`` runs."""
        self.running.setdefault(name, set()).add(request)

    def drop(self, name: str, request: str) -> None:
        """``request`` runs no longer."""
        requests = self.running.get(name)
        if requests is not None:
            requests.discard(request)
            if not requests:
                del self.running[name]
