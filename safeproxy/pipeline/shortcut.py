"""The fast path: most events of a stream differ from the one before in one string only.

After an event with one piece of text, the bytes before and after that text's JSON string are remembered. A later
frame with the same bytes there, and the body of a JSON string between, must parse to the same event with another
text: the scanner of JSON reaches the same state at the opening quote, reads one string, and goes on with the same
bytes. So only the string is decoded. That the remembered place is the right one is proved once, by trying it.

Some APIs pad their events, number them, or say when each was made: that may differ, too.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from safeproxy.pipeline.calls import CallText, HeldCall
from safeproxy.pipeline.channel import Channel
from safeproxy.wire import jsontext
from safeproxy.wire.dialect import Path
from safeproxy.wire.sse import Frame

#: Templates kept: choices and channels that take turns each have their own.
_TEMPLATES = 8
#: Frames learned without any of them being met again before fewer are.
_TRIES = 4
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*').fullmatch
_TEXT = rb'(?P<text>[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*)'
_PADDING = rb',\s*"obfuscation"\s*:\s*"[A-Za-z0-9]*"'
#: What an event calls its number, or when it was made.
_NUMBER, _STAMP = rb"(?:0|[1-9][0-9]{0,14})", rb"[0-9T:.Z+-]{1,40}"
_PROBE, _OTHER_NUMBER, _OTHER_STAMP = "probe \ue000", 987_654_321, "2001-02-03T04:05:06Z"


@dataclass(slots=True)
class Template:
    """Frames alike but for one text, and perhaps their padding and their *tick*: a number or a time.

    ``owner`` is the channel or the held call the text goes to; ``whole`` is where a call collects it.

    ``bare`` says that the event is not worth sending when its text is held. ``scanned`` counts the code points that
    stand alone in each such event and were found clean.
    """

    shape: Plain | Ticking
    owner: Channel | HeldCall
    bare: bool
    scanned: int
    whole: CallText | None = None

    def text(self, raw: bytes) -> str | None:
        """The text in a frame, None if the frame is not of this kind."""
        body = self.shape.body(raw)
        if body is None:
            return None
        try:
            if _PLAIN(body):
                return body.decode()
            value = json.loads(f'"{body.decode()}"')
        except ValueError:
            return None
        return value if isinstance(value, str) else None

    def number(self, raw: bytes) -> int | None:
        """The number of a frame of this kind, if it has one."""
        return self.shape.number(raw) if isinstance(self.shape, Ticking) else None

    def frame(self, raw: bytes, text: str | None, number: int | None = None) -> bytes:
        """A frame of this kind with another text, then without padding, or with another number; None leaves them."""
        if isinstance(self.shape, Ticking):
            return self.shape.frame(raw, text, number)
        return raw if text is None else self.shape.frame(raw, text)


@dataclass(frozen=True, slots=True)
class Plain:
    """``before``, the text, ``after``, perhaps padding and then ``end``; ``unpadded`` is what stands after the text
    without padding. By far the commonest shape, and the cheapest to make and to meet.
    """

    before: bytes
    after: bytes
    end: bytes
    unpadded: bytes

    def body(self, raw: bytes) -> bytes | None:
        """The text as it is written, None if the frame is not of this shape."""
        if not raw.startswith(self.before) or not raw.endswith(self.end):
            return None
        start, stop = len(self.before), len(raw) - len(self.end)
        if self.after is not self.end:
            padding = raw.find(self.after, start)
            if padding < 0 or not raw[padding + len(self.after) : stop].isalnum():
                return None
            stop = padding
        return raw[start:stop] if stop >= start else None

    def frame(self, raw: bytes, text: str) -> bytes:
        """The frame with another text."""
        return self.before + jsontext.dump_text(text, ascii_only=raw.isascii()) + self.unpadded


@dataclass(frozen=True, slots=True)
class Ticking:
    """Any other shape, as a pattern with the groups ``text``, and perhaps ``pad`` and ``tick``."""

    pattern: re.Pattern[bytes]
    numbered: bool

    def body(self, raw: bytes) -> bytes | None:
        """The text as it is written, None if the frame is not of this shape."""
        match = self.pattern.fullmatch(raw)
        return None if match is None else match["text"]

    def number(self, raw: bytes) -> int | None:
        """The frame's number, if its tick is one."""
        if not self.numbered:
            return None
        match = self.pattern.fullmatch(raw)
        assert match is not None
        return int(match["tick"])

    def frame(self, raw: bytes, text: str | None, number: int | None) -> bytes:
        """The frame with another text or another number."""
        match = self.pattern.fullmatch(raw)
        assert match is not None
        new: list[tuple[tuple[int, int], bytes]] = []
        if text is not None:
            new.append((match.span("text"), jsontext.dump_text(text, ascii_only=raw.isascii())))
            if "pad" in self.pattern.groupindex:
                new.append((match.span("pad"), b""))
        if number is not None:
            new.append((match.span("tick"), str(number).encode()))
        return _replaced(raw, new)


class Shortcuts:
    """The templates of one stream, the one used last first. ``tick`` is the key of a tick, if the API has one."""

    def __init__(self, tick: str | None = None) -> None:
        self._tick = tick
        self._templates: list[Template] = []
        self._useless = 0
        self._skip = 0

    def find(self, raw: bytes) -> tuple[Template, str] | None:
        """The template the frame follows, and its text."""
        for position, template in enumerate(self._templates):
            text = template.text(raw)
            if text is not None:
                if position:
                    self._templates.insert(0, self._templates.pop(position))
                self._useless = 0
                return template, text
        return None

    def forget(self, channel: Channel) -> None:
        """The channel has ended."""
        self._templates = [t for t in self._templates if t.owner is not channel]

    def forget_all(self) -> None:
        """What events mean has changed."""
        self._templates.clear()

    def forget_calls(self) -> None:
        """Calls have been released, or a new one begins, which may look like another."""
        self._templates = [t for t in self._templates if t.whole is None]

    def learn(self, frame: Frame, path: Path, channel: Channel, *, bare: bool, scanned: int) -> None:
        """Remember a frame whose only delta stands at ``path``."""
        shape = self._shape(frame, path)
        if shape is not None:
            self._add(Template(shape, channel, bare, scanned))

    def learn_call(self, frame: Frame, path: Path, call: HeldCall, whole: CallText, *, scanned: int) -> None:
        """Remember a frame that brings nothing but a piece of a call's text."""
        shape = self._shape(frame, path)
        if shape is not None:
            self._add(Template(shape, call, bare=True, scanned=scanned, whole=whole))

    def _shape(self, frame: Frame, path: Path) -> Plain | Ticking | None:
        """Where templates turn out useless (every frame has another id, say) fewer and fewer frames are tried."""
        if self._skip:
            self._skip -= 1
            return None
        self._useless += 1
        self._skip = 2 ** min(self._useless - _TRIES, 8) if self._useless > _TRIES else 0
        return _shape_of(frame, path, self._tick)

    def _add(self, template: Template) -> None:
        self._templates.insert(0, template)
        del self._templates[_TEMPLATES:]


@dataclass(frozen=True, slots=True)
class _Hole:
    """A part of a frame that may differ: where it is, what may stand there, and another thing to try there."""

    span: tuple[int, int]
    pattern: bytes
    other: bytes


def _shape_of(frame: Frame, path: Path, tick: str | None) -> Plain | Ticking | None:
    """The shape of such frames, None if the place of the text in the bytes cannot be told for sure."""
    assert frame.data is not None
    data, key = frame.data, path[-1]
    if not isinstance(key, str) or frame.raw.count(data) != 1:
        return None
    wanted = _with(data, path, _PROBE)
    numbered = tick is not None and type(wanted.get(tick)) is int
    around = []
    if wanted.pop("obfuscation", None) is not None:
        padding = _only(_PADDING, data)
        if padding is None:
            return None
        around.append(_Hole(padding.span(), b"(?P<pad>" + _PADDING + b")", b""))
    if tick is not None and tick in wanted:
        hole = _tick_hole(data, tick, wanted)
        if hole is None:
            return None
        around.append(hole)
    place = re.compile(rb'"' + re.escape(key.encode()) + rb'"\s*:\s*"' + _TEXT + rb'"', re.DOTALL)
    for match in place.finditer(data):
        holes = [_Hole(match.span("text"), _TEXT, _PROBE.encode()), *around]
        if _parsed(_replaced(data, [(hole.span, hole.other) for hole in holes])) == wanted:
            return _made(frame.raw, frame.raw.index(data), holes, numbered=numbered)
    return None


def _made(raw: bytes, start: int, holes: list[_Hole], *, numbered: bool) -> Plain | Ticking:
    """The shape of a frame with these holes in its data, which begins at ``start``: the text's first."""
    (text_from, text_to), others = holes[0].span, holes[1:]
    before, after = raw[: start + text_from], raw[start + text_to :]
    if not others:
        return Plain(before, after, after, after)
    pad_from, pad_to = others[0].span
    if len(others) > 1 or numbered or others[0].other or pad_from < text_to:
        return Ticking(re.compile(_escaped(raw, start, holes), re.DOTALL), numbered)
    # Padding ends in a quote, its value stands before it.
    padding = raw[start + pad_from : start + pad_to]
    value = padding[:-1].rindex(b'"') + 1
    end = raw[start + pad_to - 1 :]
    shown = raw[start + text_to : start + pad_from]
    return Plain(before, shown + padding[:value], end, shown + end[1:])


def _tick_hole(data: bytes, key: str, wanted: Any) -> _Hole | None:
    """Where the tick is; ``wanted`` is made to have another one."""
    numbered = type(wanted[key]) is int
    hole, quote = (_NUMBER, b"") if numbered else (_STAMP, b'"')
    found = _only(rb'"' + re.escape(key.encode()) + rb'"\s*:\s*' + quote + b"(?P<tick>" + hole + b")" + quote, data)
    if found is None or not isinstance(wanted[key], (int, str)):
        return None
    wanted[key] = _OTHER_NUMBER if numbered else _OTHER_STAMP
    return _Hole(found.span("tick"), b"(?P<tick>" + hole + b")", str(wanted[key]).encode())


def _only(pattern: bytes, data: bytes) -> re.Match[bytes] | None:
    """The match of a pattern, if there is exactly one."""
    found = list(re.finditer(pattern, data))
    return found[0] if len(found) == 1 else None


def _escaped(raw: bytes, start: int, holes: list[_Hole]) -> bytes:
    """A pattern of the frame; the data, in which the holes are, begins at ``start``."""
    pieces: list[bytes] = []
    at = 0
    for hole in sorted(holes, key=lambda hole: hole.span):
        pieces += re.escape(raw[at : start + hole.span[0]]), hole.pattern
        at = start + hole.span[1]
    return b"".join((*pieces, re.escape(raw[at:])))


def _replaced(raw: bytes, new: list[tuple[tuple[int, int], bytes]]) -> bytes:
    """The bytes with what stands at the spans replaced."""
    pieces: list[bytes] = []
    at = 0
    for (start, end), told in sorted(new):
        pieces += raw[at:start], told
        at = end
    return b"".join((*pieces, raw[at:]))


def _parsed(data: bytes) -> Any:
    try:
        return jsontext.parse(data)[0]
    except ValueError:
        return None


def _with(data: bytes, path: Path, text: str) -> Any:
    """The event with another text at the path."""
    value = holder = _parsed(data)
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = text
    return value
