r"""One JSON array sent piece by piece, element by element: bytes of any cutting in, frames out, and back again.

This is how Gemini's ``streamGenerateContent`` answers without ``alt=sse``: ``[{...}\n,\r\n{...}]``. Between the two
ends an element travels behind a record separator, as in RFC 7464: that byte cannot stand in JSON. Work is linear in
the input however it is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from safeproxy.errors import EventTooLargeError, UpstreamError
from safeproxy.wire.sse import DEFAULT_LIMIT, Frame

SEPARATOR = b"\x1e"

_SPACE = b" \t\r\n"
#: Before the array a byte order mark may stand.
_AHEAD = b"\xef\xbb\xbf" + _SPACE
_OUTSIDE_STRING = re.compile(rb'["{}\[\]]')
_INSIDE_STRING = re.compile(rb'["\\]')
#: What may follow, by what came last: the array's beginning, an element, a comma, the array's end.
_FOLLOWS = {b"": b"[", b"[": b"{]", b"{": b",]", b",": b"{", b"]": b""}


class JsonArrayDecoder:
    """Cuts a byte stream that is one array of objects into frames; each leaves with its closing bracket.

    Raises UpstreamError, after the frames before it, at what is no such array, and once a single element exceeds
    ``limit`` bytes. What `feed` gives must be run through to the end before the next call.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._last = b""
        self._rest = bytearray()  # the element that is open
        self._searched = 0
        self._depth = 0
        self._in_string = False

    @property
    def idle(self) -> bool:
        """Never: frames are not the bytes they are cut from, so no bytes may be taken for a frame unseen."""
        return False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take the next bytes; give the elements they complete."""
        if not self._rest:
            return self._cut(data)
        self._rest += data
        return self._cut(self._rest)

    def finish(self) -> Iterator[Frame]:
        """The stream has ended; give an element that was cut off, which is no JSON."""
        rest, self._rest = bytes(self._rest), bytearray()
        if rest:
            yield Frame(SEPARATOR + rest, rest, plain=False)

    def _cut(self, buffer: bytes | bytearray) -> Iterator[Frame]:
        at, size = 0, len(buffer)
        while True:
            if not self._depth:
                at = self._between(buffer, at)
                if at == size:
                    break
                self._searched, self._depth = at + 1, 1
            if not self._reaches_end(buffer):
                break
            element = bytes(buffer[at : self._searched])
            at = self._searched
            self._check(len(element))
            yield Frame(SEPARATOR + element, element)
        self._keep(buffer, at)

    def _keep(self, buffer: bytes | bytearray, start: int) -> None:
        if buffer is self._rest:
            del self._rest[:start]
        else:
            self._rest = bytearray(buffer[start:])
        self._searched -= start
        self._check(len(self._rest))

    def _between(self, buffer: bytes | bytearray, at: int) -> int:
        """Go on to the next element; give where it begins, or the buffer's end."""
        while at < len(buffer):
            byte = bytes(buffer[at : at + 1])
            if byte not in (_SPACE if self._last else _AHEAD):
                if byte not in _FOLLOWS[self._last]:
                    raise UpstreamError("the upstream's answer is no JSON array of objects")
                self._last = byte
                if byte == b"{":
                    return at
            at += 1
        return at

    def _reaches_end(self, buffer: bytes | bytearray) -> bool:
        """Search on for the open element's end; whether it is there."""
        while self._depth:
            pattern = _INSIDE_STRING if self._in_string else _OUTSIDE_STRING
            found = pattern.search(buffer, self._searched)
            if found is None:
                # After a backslash the search may go on one byte behind the end.
                self._searched = max(self._searched, len(buffer))
                return False
            self._searched = found.end()
            byte = found.group()
            if byte == b'"':
                self._in_string = not self._in_string
            elif byte == b"\\":
                self._searched += 1
            else:
                self._depth += 1 if byte in b"[{" else -1
        return True

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise EventTooLargeError(f"an event of the upstream exceeds {self._limit} bytes")


def encode_element(data: bytes) -> bytes:
    """One element as it travels."""
    return SEPARATOR + data


class ArrayWriter:
    """Makes one array again of what `encode_element` and the frames' raw bytes are."""

    def __init__(self) -> None:
        self._begun = False

    def feed(self, data: bytes, *, last: bool) -> bytes:
        """Take whole elements; give the array's text so far, with ``last`` to its end."""
        elements = data.split(SEPARATOR)[1:]
        out = b",\n".join(elements)
        if elements:
            out = (b",\n" if self._begun else b"[") + out
            self._begun = True
        if last:
            out += b"]" if self._begun else b"[]"
        return out
