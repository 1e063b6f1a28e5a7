"""Newline-delimited JSON: bytes of any cutting in, frames out; and frames back to lines.

The format is Ollama's (``application/x-ndjson``). Lines end at the byte LF, or CRLF, only: never at U+2028 and its
like, which may stand inside JSON. Blank lines say nothing and are left out: some clients fail at them. Work is linear
in the input however it is cut.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator

from safeproxy.errors import EventTooLargeError
from safeproxy.wire.sse import DEFAULT_LIMIT, Frame, SseDecoder

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\r|\n")
_DONE = b"[DONE]"


class NdjsonDecoder:
    """Cuts a byte stream into one frame a line.

    `feed` and `finish` give what is complete; `feed` raises UpstreamError once a single line exceeds ``limit`` bytes,
    after the frames before it. What it gives must be run through to the end before the next call.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._first = True

    @property
    def idle(self) -> bool:
        """Whether no line is open."""
        return not self._rest

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take the next bytes; give the lines they complete."""
        if not self._rest:
            return self._cut(data, 0)
        searched = len(self._rest)
        self._rest += data
        return self._cut(self._rest, searched)

    def finish(self) -> Iterator[Frame]:
        """The stream has ended; a line without its end counts all the same."""
        line, self._rest = bytes(self._rest), bytearray()
        yield from self._frame(line)

    def _cut(self, buffer: bytes | bytearray, searched: int) -> Iterator[Frame]:
        at = 0
        while (end := buffer.find(b"\n", max(at, searched))) >= 0:
            line = bytes(buffer[at : end + 1])
            at = end + 1
            self._check(len(line))
            yield from self._frame(line)
        if buffer is self._rest:
            del self._rest[:at]
        else:
            self._rest = bytearray(buffer[at:])
        self._check(len(self._rest))

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise EventTooLargeError(f"an event of the upstream exceeds {self._limit} bytes")

    def _frame(self, line: bytes) -> Iterable[Frame]:
        data = line.removesuffix(b"\n").removesuffix(b"\r")
        if self._first:
            data = data.removeprefix(_BOM)
        if not data.strip():
            return ()
        self._first = False
        # To some clients' line readers a lone CR is a line end, too.
        return (Frame(line, data, plain=line == data + b"\n" and b"\r" not in data),)


def encode_line(data: bytes) -> bytes:
    """One line. Line ends inside ``data`` become spaces: in JSON they can only be white space between tokens."""
    if b"\n" in data or b"\r" in data:
        data = _LINE_END.sub(b" ", data)
    return data + b"\n"


class SseToNdjson:
    """Gives the events of a server-sent event stream one a line, for clients that ask for lines.

    End markers, comments and fields other than ``data`` have no place there and vanish.
    """

    def __init__(self) -> None:
        self._decoder = SseDecoder(sys.maxsize)

    def feed(self, data: bytes) -> bytes:
        """Take whole frames; give their lines."""
        frames = self._decoder.feed(data)
        return b"".join(encode_line(frame.data) for frame in frames if frame.data and frame.data.strip() != _DONE)
