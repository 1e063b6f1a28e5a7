"""Events that an upstream sends again, after a hiccup of its own: told by their number, and left out."""

from __future__ import annotations

#: Numbers remembered: a server that repeats itself goes back a little, not to the beginning of a long answer.
_REMEMBERED = 4096


class Repeats:
    """Tells whether an event has been there before.

    Only the same bytes under the same number are a repetition. The same number on another event shows that these
    numbers do not number: from then on nothing is taken for one.
    """

    def __init__(self) -> None:
        self._known: dict[object, int] = {}
        self._off = False

    def is_one(self, mark: object, data: bytes) -> bool:
        """Whether ``data`` has come under ``mark`` before; None marks nothing."""
        if mark is None or self._off:
            return False
        digest = hash(data)
        known = self._known.get(mark)
        if known is None:
            self._known[mark] = digest
            if len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]
            return False
        if known != digest:
            self._off = True
            self._known.clear()
        return not self._off
