"""The keys of one upstream: which is taken next, which is set aside for how long, and where they are read from.

Nothing here is a coroutine; the clock is handed in, and what is read is a small file, at most once a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from safeproxy.errors import ConfigError
from safeproxy.shell.reloaded import Watch

#: Seconds that a key which the upstream refuses (401, 403) is set aside.
REFUSED_FOR = 300.0
#: The same for one that is at its limit (429), where the upstream does not say how long.
LIMITED_FOR = 30.0
#: The longest that any key is set aside, whatever the upstream says, in seconds.
LONGEST = 3600.0

Choice = Literal["round_robin", "least_used"]


@dataclass(slots=True, eq=False)
class Key:
    """One key. It is never shown: only ``number``, its place in the list from 1 on, may be told."""

    secret: str = field(repr=False)
    number: int
    running: int = 0
    """How many requests use it now."""
    taken: int = 0
    """When it was taken last, counted in takings."""
    back: float = 0.0
    """When it may be used again, by the keyring's clock."""
    refused: bool = False
    """Whether it is set aside because it was refused."""


class AllAsideError(Exception):
    """No key can be used for ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"all keys are set aside, the first for {seconds:.1f} s")
        self.seconds = seconds


class KeyFile:
    """Keys in a file, one a line; empty lines and such as begin with # say nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return f"'keys_file' ({self.path})"

    def read(self) -> list[str]:
        """The keys. Raises ConfigError, never repeating any of the file."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ConfigError(f"setting {self}: {error.strerror}; name a file that can be read") from None
        except UnicodeDecodeError:
            raise ConfigError(f"setting {self}: not UTF-8 text; write one key a line") from None
        return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


class KeyVariable:
    """Keys in a variable of the environment, separated by commas."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"'keys_env' (variable {self.name})"

    def read(self) -> list[str]:
        """The keys."""
        return [part.strip() for part in os.environ.get(self.name, "").split(",") if part.strip()]


class Keyring:
    """The keys of one upstream, for one process.

    ``complain`` is told of a source that broke while the proxy runs: the keys it gave before stay. Raises ConfigError
    where there are none at the start.
    """

    def __init__(
        self,
        source: KeyFile | KeyVariable,
        choice: Choice,
        clock: Callable[[], float],
        complain: Callable[[str], None],
    ) -> None:
        self._source = source
        self._choice = choice
        self._clock = clock
        self._complain = complain
        self._takings = 0
        # A process's environment cannot be changed from outside: there is nothing to look for.
        self._watch = Watch(source.path, clock) if isinstance(source, KeyFile) else None
        self._keys: list[Key] = []
        self._replace(_checked(source))

    def __len__(self) -> int:
        return len(self._keys)

    def take(self, tried: Collection[Key] = ()) -> Key:
        """The key for the next request, none of those ``tried`` for it; to be given back. Raises AllAsideError.

        A key that was refused is better than none: the request may be all right where the one before was not, so no
        client can lock the others out. One that is at its limit is left alone until its time has come.
        """
        if self._watch is not None and self._watch.changed():
            self._read()
        now = self._clock()
        free = [key for key in self._keys if key.back <= now and key not in tried]
        if not free and not tried:
            free = sorted((key for key in self._keys if key.refused), key=lambda key: key.back)[:1]
        if not free:
            raise AllAsideError(max(0.0, min(key.back for key in self._keys) - now))
        key = min(free, key=self._order)
        self._takings += 1
        key.taken = self._takings
        key.running += 1
        return key

    def give_back(self, key: Key, *, worked: bool) -> None:
        """The request is over; ``worked`` says that the upstream took the key."""
        key.running -= 1
        if worked and key.refused:
            key.refused, key.back = False, 0.0

    def refuse(self, key: Key) -> None:
        """Set aside a key that the upstream did not take."""
        key.refused, key.back = True, self._clock() + REFUSED_FOR

    def limit(self, key: Key, seconds: float | None) -> None:
        """Set aside a key that is at its limit, for so long as the upstream says, None if it does not."""
        wait = LIMITED_FOR if seconds is None else min(max(seconds, 0.0), LONGEST)
        key.refused, key.back = False, max(key.back, self._clock() + wait)

    def reload(self) -> None:
        """Read the keys again. Those that stay keep their state; where there are none now, the old ones stay."""
        if self._watch is not None:
            self._watch.look()
        self._read()

    def _read(self) -> None:
        try:
            self._replace(_checked(self._source))
        except ConfigError as error:
            self._complain(f"{error}; the keys read before stay in use")

    def _replace(self, secrets: list[str]) -> None:
        old = {key.secret: key for key in self._keys}
        self._keys = [old.get(secret) or Key(secret, 0) for secret in secrets]
        for number, key in enumerate(self._keys, 1):
            key.number = number

    def _order(self, key: Key) -> tuple[int, int]:
        """Least first. Who waits longest is next, which is each in turn as long as none is set aside."""
        return (key.running if self._choice == "least_used" else 0), key.taken


def _checked(source: KeyFile | KeyVariable) -> list[str]:
    """The keys, each once. Raises ConfigError where there is none, or one that cannot stand in a header."""
    secrets = list(dict.fromkeys(source.read()))
    if not secrets:
        raise ConfigError(f"setting {source}: there is no key; give one or more")
    for number, secret in enumerate(secrets, 1):
        if not (secret.isascii() and secret.isprintable()) or " " in secret:
            raise ConfigError(f"setting {source}: key {number} has a space or a character that no key has; mend it")
    return secrets
