"""The fast path: most events of a stream differ from the one before in one string only.

After an event with one piece of text, the bytes before and after that text's JSON string are remembered. A later
frame with the same bytes there, and the body of a JSON string between, must parse to the same event with another
text: the scanner of JSON reaches the same state at the opening quote, reads one string, and goes on with the same
bytes. So only the string is decoded. That the remembered place is the right one is proved once, by trying it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from safeproxy.pipeline.calls import HeldCall
from safeproxy.pipeline.channel import Channel
from safeproxy.wire import jsontext
from safeproxy.wire.dialect import Path
from safeproxy.wire.sse import Frame

#: Templates kept: choices and channels that take turns each have their own.
_TEMPLATES = 8
#: Frames learned without any of them being met again before fewer are.
_TRIES = 4
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*').fullmatch
_PADDING = re.compile(rb',\s*"obfuscation"\s*:\s*"([^"\\]*)"(?=[^"]*\Z)')
_PROBE = "probe \ue000"


@dataclass(slots=True)
class Template:
    """Frames alike but for one text: ``before``, the string's body, ``after``; then ``padding`` and ``end`` if any.

    ``owner`` is the channel or the held call the text goes to; ``pieces`` is where a call collects it.

    ``bare`` says that the event is not worth sending when its text is held. ``scanned`` counts the code points that
    stand alone in each such event and were found clean.
    """

    owner: Channel | HeldCall
    before: bytes
    after: bytes
    end: bytes
    unpadded: bytes
    bare: bool
    scanned: int
    pieces: list[str] | None = None

    def text(self, raw: bytes) -> str | None:
        """The text in a frame, None if the frame is not of this kind."""
        if not raw.startswith(self.before) or not raw.endswith(self.end):
            return None
        start, stop = len(self.before), len(raw) - len(self.end)
        if self.after is not self.end:
            padding = raw.find(self.after, start)
            if padding < 0 or not raw[padding + len(self.after) : stop].isalnum():
                return None
            stop = padding
        if stop < start:
            return None
        body = raw[start:stop]
        try:
            if _PLAIN(body):
                return body.decode()
            value = json.loads(f'"{body.decode()}"')
        except ValueError:
            return None
        return value if isinstance(value, str) else None

    def frame(self, text: str, raw: bytes) -> bytes:
        """The frame with another text, without padding."""
        return self.before + jsontext.dump_text(text, ascii_only=raw.isascii()) + self.unpadded


class Shortcuts:
    """The templates of one stream, the one used last first."""

    def __init__(self) -> None:
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

    def forget_calls(self) -> None:
        """Calls have been released, or a new one begins, which may look like another."""
        self._templates = [t for t in self._templates if t.pieces is None]

    def learn(self, frame: Frame, path: Path, channel: Channel, *, bare: bool, scanned: int) -> None:
        """Remember a frame whose only delta stands at ``path``."""
        self._add(frame, path, Template(channel, b"", b"", b"", b"", bare, scanned))

    def learn_call(self, frame: Frame, path: Path, call: HeldCall, pieces: list[str], *, scanned: int) -> None:
        """Remember a frame that brings nothing but a piece of a call's text."""
        self._add(frame, path, Template(call, b"", b"", b"", b"", bare=True, scanned=scanned, pieces=pieces))

    def _add(self, frame: Frame, path: Path, template: Template) -> None:
        """Where templates turn out useless (every frame has another id, say) fewer and fewer frames are tried."""
        if self._skip:
            self._skip -= 1
            return
        self._useless += 1
        self._skip = 2 ** min(self._useless - _TRIES, 8) if self._useless > _TRIES else 0
        if _fit(template, frame, path):
            self._templates.insert(0, template)
            del self._templates[_TEMPLATES:]


def _fit(template: Template, frame: Frame, path: Path) -> bool:
    """Fill in the bytes around the text at ``path``; False if they cannot be told for sure."""
    assert frame.data is not None
    data, key = frame.data, path[-1]
    if not isinstance(key, str) or frame.raw.count(data) != 1:
        return False
    opening, closing = frame.raw.split(data)
    place = re.compile(rb'"' + re.escape(key.encode()) + rb'"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)"')
    wanted = _with(data, path, _PROBE)
    for match in place.finditer(data):
        before, after = data[: match.start(1)], data[match.end(1) :]
        if _parsed(before + _PROBE.encode() + after) != wanted:
            continue
        template.before = opening + before
        padding = _PADDING.search(after)
        if padding is None:
            template.after = template.end = template.unpadded = after + closing
            return True
        unpadded = after[: padding.start()] + after[padding.end() :]
        template.after, template.end = after[: padding.start(1)], after[padding.end(1) :] + closing
        template.unpadded = unpadded + closing
        wanted.pop("obfuscation", None)
        return bool(_parsed(before + _PROBE.encode() + unpadded) == wanted)
    return False


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
