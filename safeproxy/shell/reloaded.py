"""A file that is read again when it changes, while requests are served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from safeproxy.errors import ConfigError

T = TypeVar("T")

#: How often the file is looked at, at most, in seconds.
LOOK_INTERVAL = 1.0


class Reloaded(Generic[T]):
    """What ``read`` makes of a file, as the file stands now; of one that broke, as it stood before.

    ``broken`` is told once of each change that cannot be used. Raises ConfigError, from ``read``, when it is made.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], T],
        broken: Callable[[ConfigError], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._read = read
        self._broken = broken
        self._clock = clock
        self._looked = clock()
        self._stamp = _stamp(path)
        self._value = read(path)
        self._reading = asyncio.Lock()

    async def value(self) -> T:
        """What the file says. It is read in a thread: a long one must not stall streams; who asks meanwhile waits."""
        if self._due():
            async with self._reading:
                if self._due():
                    await self._look()
        return self._value

    def _due(self) -> bool:
        return self._clock() - self._looked >= LOOK_INTERVAL

    async def _look(self) -> None:
        looked, stamp = self._clock(), _stamp(self._path)  # what is written while it is read is seen the next time
        if stamp != self._stamp:
            try:
                self._value = await asyncio.to_thread(self._read, self._path)
            except ConfigError as error:
                self._broken(error)
        self._looked, self._stamp = looked, stamp  # not before: who asks may leave while it is read


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Differs when the file was written or another one took its place; None if it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
