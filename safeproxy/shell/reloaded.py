"""Files that are read again when they change, while requests are served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from safeproxy.errors import ConfigError

T = TypeVar("T")

#: How often a file is looked at, at most, in seconds.
LOOK_INTERVAL = 1.0


Stamp = tuple[int, int, int]


def stamp(path: Path) -> Stamp | None:
    """Differs when the file was written or another one took its place; None if it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


class Watch:
    """Tells that a file has changed since it was looked at last. To be made before the file is read."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self.look()

    def changed(self) -> bool:
        """Whether it has; it is looked at now and then only."""
        if self._clock() - self._looked < LOOK_INTERVAL:
            return False
        before = self._stamp
        self.look()
        return before != self._stamp

    def look(self) -> None:
        """The file is going to be read as it stands now: that is no change any more."""
        self._looked = self._clock()
        self._stamp = stamp(self._path)


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
        self._watch = Watch(path, clock)
        self._value = read(path)
        self._reading: asyncio.Task[None] | None = None

    async def value(self) -> T:
        """What the file says. It is read in a thread: a long one must not stall streams; who asks meanwhile waits."""
        if self._reading is None and self._watch.changed():
            self._reading = asyncio.create_task(self._read_again())
        if self._reading is not None:
            await asyncio.shield(self._reading)  # who asks may leave; the others still wait for it
        return self._value

    async def _read_again(self) -> None:
        try:
            self._value = await asyncio.to_thread(self._read, self._path)
        except ConfigError as error:
            self._broken(error)
        finally:
            self._reading = None
