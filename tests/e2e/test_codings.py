"""Compressed answers and requests: undone before filtering, never passed, never more than the limits allow."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import brotli
import pytest

from tests.e2e.harness import CHAT, DONE, SSE, Step, body, error_of, event, proxied, stream, text

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SECRET = "ada@example.com"
CODINGS = ["gzip", "deflate", "br", "zstd"]


class Packer(Protocol):
    """Packs a stream so that each piece can be unpacked when it arrives."""

    def piece(self, data: bytes) -> bytes:
        """One piece."""
        ...

    def end(self) -> bytes:
        """What makes the file whole."""
        ...


class Zlib:
    """gzip and deflate."""

    def __init__(self, wbits: int) -> None:
        self._packer = zlib.compressobj(wbits=wbits)

    def piece(self, data: bytes) -> bytes:
        """One piece."""
        return self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        """The trailer."""
        return self._packer.flush()


class Brotli:
    """br."""

    def __init__(self) -> None:
        self._packer: Any = brotli.Compressor(quality=4)

    def piece(self, data: bytes) -> bytes:
        """One piece."""
        packed: bytes = self._packer.process(data) + self._packer.flush()
        return packed

    def end(self) -> bytes:
        """The last block."""
        last: bytes = self._packer.finish()
        return last


class Zstd:
    """zstd."""

    def __init__(self) -> None:
        self._packer = zstd.ZstdCompressor()

    def piece(self, data: bytes) -> bytes:
        """One piece."""
        return self._packer.compress(data, mode=zstd.ZstdCompressor.FLUSH_BLOCK)

    def end(self) -> bytes:
        """The last block."""
        return self._packer.flush()


def packer(coding: str) -> Packer:
    """A fresh one."""
    makers: dict[str, Callable[[], Packer]] = {
        "gzip": lambda: Zlib(31),
        "deflate": lambda: Zlib(15),
        "br": Brotli,
        "zstd": Zstd,
    }
    return makers[coding]()


def packed(coding: str, data: bytes) -> bytes:
    """All of it."""
    made = packer(coding)
    return made.piece(data) + made.end()


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_packed_stream_flows_event_by_event(tmp_path: Path, coding: str) -> None:
    """Each event reaches the client before the upstream sends the next; what is cut across two is redacted."""
    first, second = asyncio.Event(), asyncio.Event()
    async with proxied(tmp_path) as (upstream, proxy):
        made = packer(coding)
        upstream.says(
            made.piece(event("Well. ", role="assistant")),
            first,
            made.piece(event("Write to ada@")),
            made.piece(event("example.com now. ")),
            second,
            made.piece(event("Bye. ")),
            made.piece(event(finish="stop") + DONE) + made.end(),
            Content_Type=SSE,
            Content_Encoding=coding,
        )
        async with proxy.session.post(proxy.at(CHAT), json={}) as response:
            assert "Content-Encoding" not in response.headers
            raw = b""
            async for chunk in response.content.iter_any():
                raw += chunk
                if "Well" in text(raw):
                    first.set()
                if "[EMAIL_ADDRESS]" in text(raw):
                    second.set()
        assert text(raw) == "Well. Write to [EMAIL_ADDRESS] now. Bye. "
        assert (await proxy.closed())["ended"] == "stop"


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_packed_stream_may_be_cut_anywhere(tmp_path: Path, coding: str) -> None:
    """One byte at a time gives the same text."""
    async with proxied(tmp_path) as (upstream, proxy):
        whole = packed(coding, b"".join(step for step in stream("to ", SECRET, ".") if isinstance(step, bytes)))
        steps: list[Step] = [step for i in range(len(whole)) for step in (whole[i : i + 1], 0.0)]
        upstream.says(*steps, Content_Type=SSE, Content_Encoding=coding)
        assert text((await proxy.post())[2]) == "to [EMAIL_ADDRESS]."


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_packed_body_is_filtered(tmp_path: Path, coding: str) -> None:
    """The client gets plain bytes, their length declared, and no claim of a coding."""
    async with proxied(tmp_path) as (upstream, proxy):
        data = packed(coding, json.dumps(body(f"Write to {SECRET}.")).encode())
        upstream.says(data, Content_Type="application/json", Content_Encoding=coding)
        status, headers, raw = await proxy.post()
        assert (status, int(headers["Content-Length"])) == (200, len(raw))
        assert "Content-Encoding" not in headers
        assert json.loads(raw)["choices"][0]["message"]["content"] == "Write to [EMAIL_ADDRESS]."


@pytest.mark.parametrize("coding", ["compress", "dcz", "gzip, br", "identity, gzip", "nonsense"])
@pytest.mark.parametrize("kind", [SSE, "application/json"])
async def test_a_coding_that_nobody_can_undo_is_an_error(tmp_path: Path, coding: str, kind: str) -> None:
    """Not even bytes that would be readable as they are get through."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(b"data: " + SECRET.encode() + b"\n\n", Content_Type=kind, Content_Encoding=coding)
        status, headers, raw = await proxy.post()
        assert (status, headers["x-should-retry"]) == (502, "false")
        assert error_of(raw)["code"] == "upstream_encoding"
        assert "Content-Encoding" in error_of(raw)["message"]
        assert SECRET not in raw.decode()
        closed = await proxy.closed()
        assert (closed["ended"], closed["upstream_status"]) == ("upstream_error", 200)


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_body_that_is_not_what_it_claims_is_an_error(tmp_path: Path, coding: str) -> None:
    """Plain bytes under the name of a coding are not passed as plain bytes."""
    async with proxied(tmp_path) as (upstream, proxy):
        said = json.dumps(body(SECRET)).encode()
        upstream.says(said, Content_Type="application/json", Content_Encoding=coding)
        status, _, raw = await proxy.post()
        assert status == 502
        assert error_of(raw)["code"].startswith("upstream_")
        assert SECRET not in raw.decode()


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_stream_that_is_not_what_it_claims_is_an_error(tmp_path: Path, coding: str) -> None:
    """The head may have left; then an error event ends the stream."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("to ", SECRET), Content_Type=SSE, Content_Encoding=coding)
        _, _, raw = await proxy.post()
        assert error_of(raw)["code"].startswith("upstream_")
        assert SECRET not in raw.decode()
        assert (await proxy.closed())["ended"] == "upstream_error"


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_stream_that_spoils_in_the_middle_is_an_error(tmp_path: Path, coding: str) -> None:
    """What was read before is filtered and delivered, then the stream ends in order."""
    async with proxied(tmp_path) as (upstream, proxy):
        made = packer(coding)
        good = made.piece(event("", role="assistant") + event("Well then. "))
        upstream.says(good, 0.2, b"\xff" * 100, Content_Type=SSE, Content_Encoding=coding)
        _, _, raw = await proxy.post()
        assert text(raw).startswith("Well")
        assert error_of(raw)["message"]
        assert (await proxy.closed())["ended"] in ("upstream_error", "upstream_incomplete")


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_packed_stream_that_breaks_off_is_an_error(tmp_path: Path, coding: str) -> None:
    """A file that ends too early is no answer that ends well."""
    async with proxied(tmp_path) as (upstream, proxy):
        whole = packed(coding, b"".join(step for step in stream("Well then. ", "Bye. ") if isinstance(step, bytes)))
        upstream.says(whole[: len(whole) // 2], Content_Type=SSE, Content_Encoding=coding)
        _, _, raw = await proxy.post()
        assert error_of(raw)["message"]
        assert (await proxy.closed())["ended"] in ("upstream_error", "upstream_incomplete")


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_body_that_swells_is_an_error(tmp_path: Path, coding: str) -> None:
    """The limit holds for what comes out; no more than that and one read is ever unpacked."""
    async with proxied(tmp_path, max_body_bytes=1_000_000) as (upstream, proxy):
        bomb = packed(coding, b'{"a": "' + b"0" * 100_000_000)
        assert len(bomb) < 200_000
        upstream.says(bomb, Content_Type="application/json", Content_Encoding=coding)
        status, _, raw = await proxy.post()
        assert status == 502
        assert "max_body_bytes" in error_of(raw)["message"]
        assert (await proxy.closed())["bytes"]["upstream"] < 3_000_000


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_stream_that_swells_is_an_error(tmp_path: Path, coding: str) -> None:
    """The same for one event of a stream."""
    async with proxied(tmp_path, max_event_bytes=1_000_000) as (upstream, proxy):
        upstream.says(packed(coding, b"data: " + b"0" * 100_000_000), Content_Type=SSE, Content_Encoding=coding)
        _, _, raw = await proxy.post()
        assert error_of(raw)["message"]
        assert (await proxy.closed())["bytes"]["upstream"] < 3_000_000


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_packed_request_is_read(tmp_path: Path, coding: str) -> None:
    """The model is known, and the upstream gets a plain body that matches its headers."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.answers(body("Hi"))
        raw = json.dumps({"model": "m-packed", "messages": [{"role": "user", "content": "word " * 1000}]}).encode()
        await proxy.post(data=packed(coding, raw), headers={"Content-Encoding": coding})
        assert (await proxy.closed())["model"] == "m-packed"
        (asked,) = upstream.asked
        assert asked["body"] == raw
        assert asked["headers"]["Content-Length"] == str(len(raw))
        assert "Content-Encoding" not in asked["headers"]


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_request_that_swells_is_refused(tmp_path: Path, coding: str) -> None:
    """The limit holds for what comes out; the upstream hears nothing."""
    async with proxied(tmp_path, client_max_size=1_000_000) as (upstream, proxy):
        bomb = packed(coding, b"0" * 100_000_000)
        status, _, raw = await proxy.post(data=bomb, headers={"Content-Encoding": coding})
        assert status == 413
        assert "client_max_size" in error_of(raw)["message"]
        assert (await proxy.closed())["bytes"]["request"] < 3_000_000
        assert upstream.asked == []


@pytest.mark.parametrize(
    ("coding", "data"),
    [*((coding, b'{"model": "m"}') for coding in CODINGS), ("compress", b"{}"), ("gzip, gzip", gzip.compress(b"{}"))],
)
async def test_a_request_that_cannot_be_unpacked_is_refused(tmp_path: Path, coding: str, data: bytes) -> None:
    """With a remedy; what nobody here can read is not sent on."""
    async with proxied(tmp_path) as (upstream, proxy):
        status, _, raw = await proxy.post(data=data, headers={"Content-Encoding": coding})
        assert (status, error_of(raw)["code"]) == (415, "unsupported_encoding")
        assert upstream.asked == []
        assert (await proxy.closed())["ended"] == "refused"
