"""One channel of a stream: its filter, and what travels beside its text."""

from __future__ import annotations

from collections import deque
from typing import Any

from safeproxy.core.filter import StreamFilter
from safeproxy.errors import DetectorError
from safeproxy.events import ChannelKind
from safeproxy.pipeline.policy import Policy, Report
from safeproxy.pipeline.tokens import TokenQueue
from safeproxy.wire.dialect import JsonObject, Path
from safeproxy.wire.jsontext import join_half, split_half
from safeproxy.wire.sse import Frame


class Channel:
    """State of one channel; ``template`` is the event its tail is sent in, with the path to the text in it."""

    __slots__ = (
        "_broken",
        "_filter",
        "_gated_size",
        "_half",
        "_keeps",
        "_kept",
        "_original",
        "_removed",
        "_report",
        "_room",
        "_said",
        "_unfiltered",
        "_withheld",
        "choice",
        "delivered",
        "frame",
        "full",
        "gated",
        "kind",
        "name",
        "passing",
        "path",
        "template",
        "tokens",
    )

    def __init__(
        self,
        name: str,
        kind: ChannelKind,
        choice: int | None,
        policy: Policy,
        report: Report,
        *,
        keep: bool = False,
    ) -> None:
        self._filter = StreamFilter(
            policy.rules, channel=name, kind=kind, hash_key=policy.hash_key, findings=report.findings
        )
        self._broken = False
        self._gated_size = 0
        self._half = ""
        # A copy of the held text, should the detector break and the policy let it pass.
        self._kept: str | None = "" if policy.on_detector_error == "pass" else None
        # All that came in and all that left, where later events refer to it.
        self._original: list[str] | None = [] if keep else None
        self._said: list[str] = []
        self._keeps = policy.max_event_bytes  # so many code points more, then no event can refer to it any more
        self._removed = 0
        self._report = report
        self._room = policy.answer_chars
        self._unfiltered = 0
        self._withheld = 0
        self.name = name
        self.kind = kind
        self.choice = choice
        self.delivered = 0
        self.full = False
        """Whether more came than the answer may have: all of it from there on was dropped."""
        self.passing = False
        self.template: JsonObject = {}
        self.path: Path = ()
        self.frame: Frame | None = None
        self.tokens: TokenQueue | None = None
        self.gated: deque[tuple[int, bytes]] = deque()
        """Position of the text they wait for, and frames that may leave after it."""

    @property
    def halted(self) -> bool:
        """Whether nothing more may leave."""
        return self._filter.halted and not self.passing

    @property
    def edited(self) -> bool:
        """Whether any of its text was replaced."""
        return self._filter.removed > 0

    @property
    def scanned(self) -> int:
        """Code points that came in."""
        return self._filter.scanned + self._unfiltered + len(self._half)

    @property
    def removed(self) -> int:
        """Code points replaced or cut off."""
        return self._filter.removed + self._withheld

    @property
    def held(self) -> int:
        """Code points that came in and whose fate is open."""
        return 0 if self.passing else self._filter.held + len(self._half)

    @property
    def released(self) -> int:
        """Position before which all is decided and delivered."""
        return self.scanned if self.passing else self._filter.released

    @property
    def original(self) -> str:
        """All its text so far, if it is kept: what is longer than an event may be is not."""
        return "".join(self._original or ())

    @property
    def said(self) -> str:
        """All that was delivered of it, if that is kept."""
        return "".join(self._said)

    def feed(self, text: str) -> str:
        """Take a delta; give what may be sent. Raises DetectorError unless the policy lets text pass then."""
        text = self._fitting(text)
        out = self._take(text)
        return out if self._original is None else self._kept_in_mind(text, out)

    def finish(self) -> str:
        """The channel's text has ended; give the rest. Raises DetectorError as `feed` does."""
        half = self._last_half()
        return self._kept_in_mind(half, self._ended(half))

    def _fitting(self, text: str) -> str:
        """A delta in whole characters, as far as there is room for it."""
        if self._half:
            text = join_half(self._half, text)
            self._half = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = split_half(text)
        self._room -= len(text)
        if self._room < 0:
            text, self._half = text[: self._room], ""
            self._room, self.full = 0, True
        return text

    def _last_half(self) -> str:
        """The half of a character that no other half came for, if there is room for it."""
        half, self._half = self._half, ""
        return half if self._room else ""

    def _kept_in_mind(self, text: str, out: str) -> str:
        if self._original is not None:
            self._original.append(text)
            self._said.append(out)
            self._keeps -= len(text)
            if self._keeps < 0:
                self._original, self._said = None, []
        return out

    def _ended(self, half: str) -> str:
        out = self._take(half) if half else ""
        if self.passing or self._filter.halted:
            return out
        before = self._filter.released
        try:
            rest = self._filter.finish()
        except DetectorError as error:
            return out + self._let_pass("", error)
        self.delivered += len(rest)
        if self._filter.removed != self._removed:
            self._note_edits(before)
        return out + rest

    def break_off(self) -> None:
        """The channel's text broke off: what is held is withheld, whatever is found in it."""
        half, self._half = len(self._half), ""
        self._unfiltered += half
        self._withheld += half
        if self.passing or self._broken or self._filter.halted:
            return
        held, removed = self._filter.held, self._filter.removed
        try:
            self._filter.finish()  # for the findings only
        except DetectorError:
            self._report.fault("detector_error")
        self._withheld += held - (self._filter.removed - removed) - self._filter.held

    def expect(self, entries: list[Any], text: str) -> None:
        """Take the log probabilities that come with the delta ``text``, which is fed next."""
        assert self.tokens is not None
        # A half that still waits may or may not melt into the delta: with it, the tokens do not spell the text.
        self.tokens.add(entries, self._filter.scanned + self._unfiltered, text + self._half)

    def gate(self, frame: bytes, limit: int) -> bool:
        """Let a frame wait for all text so far; False if more than ``limit`` bytes would wait."""
        if self._gated_size + len(frame) > limit:
            return False
        self._gated_size += len(frame)
        self.gated.append((self.scanned, frame))
        return True

    def ungate(self) -> list[bytes]:
        """The frames that waited for text that has left; those that waited for replaced text are dropped."""
        if self.edited:
            self.gated.clear()
            self._gated_size = 0
        ready = []
        while self.gated and self.gated[0][0] <= self.released:
            ready.append(self.gated.popleft()[1])
            self._gated_size -= len(ready[-1])
        return ready

    def _take(self, text: str) -> str:
        if self.passing:
            self._unfiltered += len(text)
            self.delivered += len(text)
            return text
        stream = self._filter
        before = stream.released
        try:
            out = stream.feed(text)
        except DetectorError as error:
            return self._let_pass(text, error)
        if self._kept is not None:
            self._keep(text)
        self.delivered += len(out)
        if stream.removed != self._removed:
            self._note_edits(before)
        return out

    def _keep(self, text: str) -> None:
        assert self._kept is not None
        held = self._filter.held
        self._kept = (self._kept + text)[-held:] if held else ""

    def _let_pass(self, text: str, error: DetectorError) -> str:
        if self._kept is None:
            self._broken = True
            # What it had cleared when it broke was not sent.
            self._withheld += max(0, self._filter.scanned - self.removed - self._filter.held - self.delivered)
            raise error
        self.passing = True
        self._report.fault("detector_passed")
        out, self._kept = self._kept + text, None
        self.delivered += len(out)
        return out

    def _note_edits(self, before: int) -> None:
        """Keep the spans just replaced for the tokens that overlap them, if there are any."""
        gone = self._filter.removed - self._removed
        self._removed = self._filter.removed
        edits = self._filter.take_edits()
        if self.tokens is None:
            return
        after = self._filter.released
        if sum(min(end, after) - max(start, before) for start, end in edits if end > before) != gone:
            # Part of a span that has no end yet: where it lies is not told, so nothing around it counts as clean.
            edits = [(before, after)]
        self.tokens.drop(edits)
