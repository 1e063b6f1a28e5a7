"""A settings file beside the settings, read again when it changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from safeproxy.errors import ConfigError

T = TypeVar("T")

#: How often a file is looked at, in seconds: not for every request.
PAUSE = 1.0


class Reread(Generic[T]):
    """What a file says. One that breaks while the proxy runs changes nothing; ``complain`` is told once each time.

    ``read`` raises ConfigError for a file that cannot be used; so does the constructor.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], T],
        complain: Callable[[ConfigError], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._read = read
        self._complain = complain
        self._clock = clock
        self._looked = clock()
        self._seen = self._state()  # before it is read: a change in between must not be missed
        self._value = read(path)

    @property
    def value(self) -> T:
        """What the file said when it could be read last."""
        now = self._clock()
        if now - self._looked >= PAUSE:
            self._looked = now
            self._look()
        return self._value

    def _look(self) -> None:
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._value = self._read(self._path)
        except ConfigError as error:
            self._complain(error)

    def _state(self) -> tuple[int, ...] | None:
        """What tells one version of the file from another; None while it cannot be found."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
