"""Words that may stand in labels: short codes, and never more of them than is bearable.

Every distinct value makes a series of its own, in this process and in whatever stores what is measured. Models, tenants
and tags are the clients' words: whoever makes up new ones must not be able to fill a memory, or to put text there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: What stands for every value that is not let through.
OTHER = "other"
#: What stands where there is nothing to name.
NONE = "none"
#: Most values of a label that come from outside.
MAX_VALUES = 100

#: Names of models and the like; anything else could be text.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,99}")


class Bounded:
    """The first ``limit`` distinct values of one label; every later one is `OTHER`.

    ``known`` are there from the start, however many they are. Not for use from several threads at once.
    """

    def __init__(self, limit: int = MAX_VALUES, known: Iterable[str] = ()) -> None:
        self._limit = limit
        self._seen = set(known)

    def __call__(self, value: str | None, *, admit: bool = True) -> str:
        """The value as it may stand in a label; one that is new is let through only if it is to be admitted."""
        if value is None:
            return NONE
        if value in self._seen:
            return value
        if not admit or len(self._seen) >= self._limit or _NAME.fullmatch(value) is None:
            return OTHER
        self._seen.add(value)
        return value
