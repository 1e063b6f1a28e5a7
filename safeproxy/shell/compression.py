"""Answers as gzip, for clients that ask for it: each piece can be read as soon as it arrives."""

from __future__ import annotations

import zlib

from aiohttp import web
from multidict import CIMultiDict

from safeproxy.shell.headers import Headers

#: A shorter whole answer does not become smaller in a way that anybody would notice, in bytes.
MIN_BODY = 1024
#: Marks the gzip format for zlib.
_GZIP = 16
#: A window of 8 KiB and a small table: 64 KiB a stream instead of 256, and events repeat themselves within less.
_STREAM_WINDOW, _STREAM_MEMORY = 13, 6
_BODY_WINDOW = 15


def takes_gzip(headers: Headers, version: tuple[int, int]) -> bool:
    """Whether the client asks for gzip and does not like plain bytes better (RFC 9110, 12.5.3).

    ``version`` is its HTTP version: 1.0 has no chunks, and old clients that write ``*`` may not mean it.
    """
    weights = _weights(headers)
    named = weights.get("gzip", weights.get("x-gzip"))
    weight = weights.get("*", 0.0) if named is None and version >= (1, 1) else named or 0.0
    return weight > 0 and weight >= weights.get("identity", 0.0)


def stream_response(*, gzip: bool, status: int, reason: str | None, headers: CIMultiDict[str]) -> web.StreamResponse:
    """An answer to be written piece by piece."""
    if not gzip:
        return web.StreamResponse(status=status, reason=reason, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return GzipResponse(status=status, reason=reason, headers=headers)


def packed(body: bytes, headers: CIMultiDict[str]) -> bytes:
    """The whole body as gzip, and said so in ``headers``; a short one stays as it is."""
    if len(body) < MIN_BODY:
        return body
    headers["Content-Encoding"] = "gzip"
    packer = zlib.compressobj(wbits=_GZIP + _BODY_WINDOW)
    return packer.compress(body) + packer.flush()


class GzipResponse(web.StreamResponse):
    """Packs each piece by itself, so that it can be read without the next one."""

    def __init__(self, *, status: int, reason: str | None, headers: CIMultiDict[str]) -> None:
        super().__init__(status=status, reason=reason, headers=headers)
        self._packer = zlib.compressobj(wbits=_GZIP + _STREAM_WINDOW, memLevel=_STREAM_MEMORY)
        self._packed_all = False

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send a piece; the client has all of it once this has arrived."""
        await super().write(self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH))

    async def write_eof(self, data: bytes = b"") -> None:
        """End the answer, once; the server asks for it again."""
        if self._packed_all:
            return
        self._packed_all = True
        await super().write_eof(self._packer.compress(data) + self._packer.flush())


def _weights(headers: Headers) -> dict[str, float]:
    """The codings that Accept-Encoding names, and how much each is liked; what is unreadable counts as 0."""
    weights = {}
    for part in ",".join(headers.getall("accept-encoding", ())).split(","):
        coding, _, parameters = part.partition(";")
        name, _, value = parameters.partition("=")
        weights[coding.strip().lower()] = _weight(value) if name.strip().lower() == "q" else 1.0
    return weights


def _weight(value: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
