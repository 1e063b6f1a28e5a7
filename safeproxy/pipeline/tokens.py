"""Log probabilities: they repeat a channel's text token by token, so they wait for it and vanish with it."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any, NamedTuple

from safeproxy.core.filter import StreamFilter
from safeproxy.errors import DetectorError

#: What an entry may have; other fields might repeat the text in ways nobody knows.
_FIELDS = frozenset({"token", "logprob", "bytes", "top_logprobs"})


class _Waiting(NamedTuple):
    start: int
    end: int
    side: int
    """Position in the tokens' own text that has to be released too; 0 if the tokens say just what the delta does."""
    entry: Any


class TokenQueue:
    """Entries in order, each with the span of the channel's text it repeats.

    ``is_clean`` judges a single token on its own. Tokens that do not spell the delta they came with are run through
    ``side``, a filter of their own, and wait for it too; if it finds anything, none of their kind leaves any more.
    Length is bounded by the text held and one event's entries.
    """

    def __init__(self, is_clean: Callable[[str], bool], side: StreamFilter) -> None:
        self._is_clean = is_clean
        self._side = side
        self._muted = False
        self._waiting: deque[_Waiting] = deque()

    def add(self, entries: list[Any], start: int, text: str) -> None:
        """Take the entries that came with the delta ``text``, which starts at ``start`` in the channel."""
        tokens = [entry.get("token") if isinstance(entry, dict) else None for entry in entries]
        spelled = "".join(token if isinstance(token, str) else "?" for token in tokens)
        exact = spelled == text
        if not exact:
            self._consult(spelled)
        at = start
        for entry, token in zip(entries, tokens, strict=True):
            cleaned = self._cleaned(entry)
            end = at + len(token if isinstance(token, str) else "?")
            if cleaned is not None and exact:
                self._waiting.append(_Waiting(at, end, 0, cleaned))
            elif cleaned is not None and not self._muted:
                self._waiting.append(_Waiting(start, start + len(text), self._side.scanned, cleaned))
            at = end

    def finish(self) -> None:
        """The channel has ended, and with it the tokens' own text."""
        if not self._muted:
            self._consult(None)

    def _consult(self, spelled: str | None) -> None:
        if self._muted:
            return
        try:
            self._side.finish() if spelled is None else self._side.feed(spelled)
            found = self._side.removed > 0 or self._side.halted
        except DetectorError:
            found = True
        if found:
            self._muted = True
            self._waiting = deque(w for w in self._waiting if not w.side)

    def drop(self, edits: Iterable[tuple[int, int]]) -> None:
        """Forget the entries that overlap text that was replaced."""
        spans = sorted(edits)
        if not spans or not self._waiting:
            return
        starts = [start for start, _ in spans]
        reach = list(accumulate((end for _, end in spans), max))  # how far the spans up to each one go

        def overlaps(entry: _Waiting) -> bool:
            before = bisect_left(starts, entry.end)
            return before > 0 and reach[before - 1] > entry.start

        self._waiting = deque(entry for entry in self._waiting if not overlaps(entry))

    def take(self, released: int) -> list[Any]:
        """The entries whose text has been released, in order."""
        ready = []
        side = self._side.released
        while self._waiting and self._waiting[0].end <= released and self._waiting[0].side <= side:
            ready.append(self._waiting.popleft().entry)
        return ready

    def _cleaned(self, entry: Any) -> Any:
        """The entry without what may not leave, None if nothing of it may."""
        if not isinstance(entry, dict) or not isinstance(entry.get("token"), str) or not self._is_clean(entry["token"]):
            return None
        result = entry if entry.keys() <= _FIELDS else {k: v for k, v in entry.items() if k in _FIELDS}
        raw = entry.get("bytes")
        if raw is not None and not _are_bytes_of(raw, entry["token"]):
            result = {**result, "bytes": None}
        if not isinstance(entry.get("logprob", 0.0), (int, float, type(None))):
            result = {**result, "logprob": None}
        others = entry.get("top_logprobs")
        if others:
            kept = [self._cleaned(o) for o in others] if isinstance(others, list) else []
            kept = [o for o in kept if o is not None]
            if kept != others:
                result = {**result, "top_logprobs": kept}
        return result


def _are_bytes_of(raw: Any, token: str) -> bool:
    r"""Whether ``raw`` is the token in UTF-8, or the piece of a character that the token spells as ``\xNN``."""
    if not isinstance(raw, list) or not all(type(byte) is int and 0 <= byte < 256 for byte in raw):
        return False
    if bytes(raw) == token.encode("utf-8", "surrogatepass"):
        return True
    spelled = "".join(f"\\x{byte:02x}" for byte in raw)
    return spelled in (token, token.removeprefix("bytes:"))
