"""gzip for clients: who gets it, and that each piece can be read by itself."""

from __future__ import annotations

import gzip
import zlib
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from safeproxy.shell.compression import MIN_BODY, GzipResponse, packed, stream_response, takes_gzip

EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "word"}}]}\n\n'


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("gzip", True),
        ("GZip", True),
        ("x-gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, gzip;q=0.2", True),
        ("*", True),
        ("br, *;q=0.1", True),
        ("gzip ; q = 0.5", True),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("*;q=0", False),
        ("identity, gzip;q=0.5", False),
        ("br, zstd", False),
        ("identity", False),
        ("", False),
        ("gzip;q=high", False),
        ("gzip;q=2", False),
        ("gzip;q=nan", False),
        ("not-gzip", False),
    ],
)
def test_gzip_goes_to_clients_that_ask_for_it(accepted: str, takes: bool) -> None:
    """Weights, the wildcard and a liking for plain bytes count."""
    assert takes_gzip(CIMultiDict({"Accept-Encoding": accepted}), (1, 1)) is takes


def test_a_client_that_does_not_ask_gets_plain_bytes() -> None:
    """No header is no wish."""
    assert not takes_gzip(CIMultiDict(), (1, 1))


def test_wishes_may_stand_on_several_lines() -> None:
    """A repeated header is one list."""
    assert takes_gzip(CIMultiDict([("Accept-Encoding", "br"), ("Accept-Encoding", "gzip")]), (1, 1))


@pytest.mark.parametrize(
    ("accepted", "takes"), [("gzip", True), ("gzip;q=0.1", True), ("*", False), ("gzip;q=0", False)]
)
def test_an_old_client_has_to_name_it(accepted: str, takes: bool) -> None:
    """HTTP/1.0 clients get gzip only if they write so."""
    assert takes_gzip(CIMultiDict({"Accept-Encoding": accepted}), (1, 0)) is takes


def test_a_whole_body_is_packed_and_says_so() -> None:
    """What the client unpacks is what was to be sent."""
    headers: CIMultiDict[str] = CIMultiDict()
    out = packed(EVENT * 100, headers)
    assert headers["Content-Encoding"] == "gzip"
    assert len(out) < MIN_BODY
    assert gzip.decompress(out) == EVENT * 100


def test_a_short_body_stays_as_it_is() -> None:
    """And is not said to be packed."""
    headers: CIMultiDict[str] = CIMultiDict()
    assert packed(b"x" * (MIN_BODY - 1), headers) == b"x" * (MIN_BODY - 1)
    assert "Content-Encoding" not in headers


def test_a_stream_that_is_not_packed_is_the_usual_one() -> None:
    """Nothing is added to its headers."""
    response = stream_response(gzip=False, status=201, reason="Made", headers=CIMultiDict({"X": "1"}))
    assert type(response) is web.StreamResponse
    assert (response.status, response.reason, dict(response.headers)) == (201, "Made", {"X": "1"})


async def written(response: web.StreamResponse, *pieces: bytes) -> list[bytes]:
    """What is handed to the connection for each piece, and for the end of the answer."""
    out: list[bytes] = []

    async def take(data: bytes = b"") -> None:
        out.append(bytes(data))

    async def ignore(*_: object) -> None:
        pass

    writer = Mock(write=take, write_eof=take, write_headers=ignore, output_size=0)
    await response.prepare(make_mocked_request("POST", "/", writer=writer))
    for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    await response.write_eof()
    return out


async def test_each_piece_can_be_read_without_the_next() -> None:
    """After each write the client has unpacked all that was written so far; the end is a whole gzip file's."""
    response = stream_response(gzip=True, status=200, reason=None, headers=CIMultiDict())
    assert isinstance(response, GzipResponse)
    assert response.headers["Content-Encoding"] == "gzip"
    *pieces, last = await written(response, *[EVENT] * 50)
    reader = zlib.decompressobj(wbits=31)
    for piece in pieces:
        assert reader.decompress(piece) == EVENT
    assert reader.decompress(last) == b""
    assert reader.eof
    assert sum(map(len, pieces)) < 50 * len(EVENT) / 2


async def test_a_stream_without_a_piece_is_a_whole_file_too() -> None:
    """A client that unpacks nothing must not find a broken file."""
    out = await written(stream_response(gzip=True, status=200, reason=None, headers=CIMultiDict()))
    assert gzip.decompress(b"".join(out)) == b""


async def test_what_no_repetition_shortens_passes_whole() -> None:
    """A piece far larger than the window comes out as it went in."""
    piece = bytes(range(256)) * 4_000
    out = await written(stream_response(gzip=True, status=200, reason=None, headers=CIMultiDict()), piece)
    assert gzip.decompress(b"".join(out)) == piece
