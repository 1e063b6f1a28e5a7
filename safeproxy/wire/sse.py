"""Server-sent events: bytes of any cutting in, frames out; and frames back to bytes.

Reads everything the WHATWG "event stream" format allows (a byte order mark, CR, LF or CRLF line ends, comments,
``data`` over several lines, no final blank line) and keeps each frame's raw bytes, so that what needs no change can
be passed on as it came. Lines end at the bytes CR and LF only: never at U+2028 and its like, which may stand inside
JSON. Work is linear in the input however it is cut: what has been searched for an event's end is not searched again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from safeproxy.errors import EventTooLargeError

#: One event larger than this is refused unless the caller says otherwise, in bytes.
DEFAULT_LIMIT = 16 * 2**20

_BOM = b"\xef\xbb\xbf"
#: By far the commonest frame, taken in one step.
_SIMPLE = re.compile(rb"data: ([^\r\n]+)\n\n")
#: A line end and the blank line after it. A CR at the very end may be half of a CRLF: only after a bare CR, where
#: the stream evidently ends its lines so, does it count at once (a LF that follows after all is skipped as blank).
_END = re.compile(rb"\n\n|\n\r\n|\n\r(?=[^\n])|\r\r\n?")
#: The longest match of ``_END`` less one byte: as much may have to be searched again.
_OVERLAP = 3
_BLANK = re.compile(rb"[\r\n]+")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_TOKEN = re.compile(rb"[A-Za-z0-9_.:/+=-]{1,256}")
_EVENT_NAME = re.compile(rb"[A-Za-z0-9_.-]{1,256}")
_DIGITS = re.compile(rb"[0-9]{1,15}")


@dataclass(slots=True)
class Frame:
    """One block of lines up to a blank line.

    ``data`` is None when the block had no ``data`` field; lines of it are joined by a LF. ``plain`` says that ``raw``
    may be sent as it is: it has nothing but one line of data and well-formed ``event``, ``id`` and ``retry`` fields,
    and uniform line ends. Fields that are not well-formed are left out.
    """

    raw: bytes
    data: bytes | None
    plain: bool = True
    event: bytes = b""
    id: bytes = b""
    retry: bytes = b""
    comments: tuple[bytes, ...] = ()


class SseDecoder:
    """Cuts a byte stream into frames.

    `feed` and `finish` give what is complete; both raise UpstreamError once a single event exceeds ``limit`` bytes,
    after the frames before it. What they give must be run through to the end before the next call.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._searched = 0
        self._first = True

    @property
    def idle(self) -> bool:
        """Whether no frame is open."""
        return not self._rest

    def feed(self, data: bytes) -> Iterable[Frame]:
        """Take the next bytes; give the frames they complete."""
        rest = self._rest
        if not rest:
            simple = _SIMPLE.fullmatch(data)
            if simple is not None and len(data) <= self._limit:
                self._first = False
                return (Frame(data, simple[1]),)
            return self._cut(data, 0)
        rest += data
        return self._cut(rest, self._searched)

    def finish(self) -> Iterator[Frame]:
        """The stream has ended; an event without its blank line counts all the same."""
        block, self._rest, self._searched = bytes(self._rest), bytearray(), 0
        if block.strip(b"\r\n"):
            frame = self._block(block)
            frame.plain = False
            yield frame

    def _cut(self, buffer: bytes | bytearray, searched: int) -> Iterator[Frame]:
        at, size = 0, len(buffer)
        while at < size:
            if not searched:
                simple = _SIMPLE.match(buffer, at)
                if simple is not None:
                    at = simple.end()
                    self._first = False
                    yield self._bounded(Frame(simple.group(), simple[1]))
                    continue
                blank = _BLANK.match(buffer, at)
                if blank is not None:
                    at = blank.end()
                    continue
            end = _END.search(buffer, max(at, searched))
            searched = 0
            if end is None:
                break
            block = bytes(buffer[at : end.end()])
            at = end.end()
            yield self._bounded(self._block(block))
        self._keep(buffer, at)

    def _keep(self, buffer: bytes | bytearray, start: int) -> None:
        if buffer is self._rest:
            del self._rest[:start]
        else:
            self._rest = bytearray(buffer[start:])
        self._searched = max(0, len(self._rest) - _OVERLAP)
        if len(self._rest) > self._limit:
            raise EventTooLargeError(f"an event of the upstream exceeds {self._limit} bytes")

    def _bounded(self, frame: Frame) -> Frame:
        if len(frame.raw) > self._limit:
            raise EventTooLargeError(f"an event of the upstream exceeds {self._limit} bytes")
        return frame

    def _block(self, block: bytes) -> Frame:
        plain = True
        if self._first:
            self._first = False
            plain = not block.startswith(_BOM)
            block = block.removeprefix(_BOM)
        ends = set(_LINE_END.findall(block))
        frame = Frame(block, None, plain and len(ends) == 1 and ends < {b"\n", b"\r\n"})
        data: list[bytes] = []
        comments: list[bytes] = []
        for line in _LINE_END.split(block):
            if line.startswith(b":"):
                comments.append(line[1:].removeprefix(b" "))
            elif line:
                name, _, value = line.partition(b":")
                value = value.removeprefix(b" ")
                if name == b"data":
                    data.append(value)
                elif not _take_field(frame, name, value):
                    frame.plain = False
        if data:
            frame.data = b"\n".join(data)
        frame.comments = tuple(comments)
        frame.plain = frame.plain and len(data) == 1 and not comments
        return frame


def _take_field(frame: Frame, name: bytes, value: bytes) -> bool:
    """Whether it is a field that may be passed on."""
    if name == b"event" and _EVENT_NAME.fullmatch(value):
        frame.event = value
    elif name == b"id" and _TOKEN.fullmatch(value):
        frame.id = value
    elif name == b"retry" and _DIGITS.fullmatch(value):
        frame.retry = value
    else:
        return False
    return True


def is_event_name(name: str) -> bool:
    """Whether a text may stand in an ``event`` field."""
    return name.isascii() and _EVENT_NAME.fullmatch(name.encode()) is not None


def encode(data: bytes, like: Frame | None = None) -> bytes:
    """A frame of one line of ``data`` with the ``event``, ``id`` and ``retry`` fields of ``like``.

    Line ends inside ``data`` become spaces: in JSON they can only be white space between tokens.
    """
    if b"\n" in data or b"\r" in data:
        data = _LINE_END.sub(b" ", data)
    head = b""
    if like is not None:
        for name, value in ((b"event", like.event), (b"id", like.id), (b"retry", like.retry)):
            if value:
                head += name + b": " + value + b"\n"
    return head + b"data: " + data + b"\n\n"


def encode_comment(comment: bytes) -> bytes:
    """A frame of nothing but a comment; ``comment`` is one line."""
    return b": " + comment + b"\n\n"
