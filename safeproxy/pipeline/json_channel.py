"""A channel whose text was asked for as JSON: held until it is whole, as the arguments of a call are.

A client that parses the JSON as it grows must never see a replacement break it, and what a value says is known only
once its escapes are decoded.
"""

from __future__ import annotations

from typing import Any

from safeproxy.errors import DetectorError
from safeproxy.events import ChannelKind
from safeproxy.pipeline.channel import Channel
from safeproxy.pipeline.policy import Policy, Report
from safeproxy.pipeline.whole import Scanner
from safeproxy.wire.jsontext import join_pieces


class JsonChannel(Channel):
    """Gives nothing until its text has ended."""

    __slots__ = ("_edited", "_halted", "_limit", "_pieces", "_released", "_scanner", "_size")

    def __init__(
        self, name: str, kind: ChannelKind, choice: int | None, policy: Policy, report: Report, scanner: Scanner
    ) -> None:
        super().__init__(name, kind, choice, policy, report, keep=True)
        self._scanner = scanner
        self._pieces: list[str] = []
        self._size = self._released = 0
        self._limit = policy.max_event_bytes
        self._edited = self._halted = False

    @property
    def halted(self) -> bool:
        """Whether nothing more may leave."""
        return self._halted

    @property
    def edited(self) -> bool:
        """Whether any of its text was replaced."""
        return self._edited

    @property
    def scanned(self) -> int:
        """Code points that came in; once they are judged the report counts them as it counts whole values."""
        return self._size + len(self._half)

    @property
    def removed(self) -> int:
        """What is judged is counted in the report."""
        return 0

    @property
    def held(self) -> int:
        """All that came in."""
        return self._size + len(self._half)

    @property
    def released(self) -> int:
        """Nothing, until all of it is."""
        return self._released

    def feed(self, text: str) -> str:
        """Hold a piece. Raises DetectorError when it would be too much."""
        text = self._fitting(text)
        self._pieces.append(text)
        self._size += len(text)
        if self._size > self._limit:
            raise DetectorError("the JSON of an answer is longer than what may be held")
        return ""

    def finish(self) -> str:
        """The whole text, filtered by what its values say. Raises DetectorError when a detector breaks."""
        text = join_pieces([*self._pieces, self._last_half()])
        verdict = self._scanner.json(text, self.name, self.kind)
        self._pieces, self._size, self._released = [], 0, len(text)
        self._halted, self._edited = verdict.halted, verdict.text != text
        if self._edited and self.tokens is not None:
            self.tokens.drop([(0, len(text))])
        self._kept_in_mind(text, verdict.text)
        return verdict.text

    def expect(self, entries: list[Any], text: str) -> None:
        """Take the log probabilities that come with the delta ``text``, which is fed next."""
        assert self.tokens is not None
        self.tokens.add(entries, self._size, text)

    def break_off(self) -> None:
        """The text broke off: none of it was sent. It counts as withheld."""
        size = self._size + len(self._half)
        self._report.count(size, size, 0)
        self._pieces, self._size, self._half = [], 0, ""
