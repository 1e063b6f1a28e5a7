"""HTTP as it is written on the wire: old clients, invited bodies, chunks, limits."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.harness import CHAT, Proxy, body, error_of, event, proxied, stream, text

SECRET = "ada@example.com"
JSON = b'{"model": "m", "messages": []}'


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the proxy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rsplit(":", 1)[1]))
    try:
        yield reader, writer
    finally:
        writer.close()


def head(version: str = "1.1", path: str = CHAT, method: str = "POST", **headers: str) -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: x"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


async def answer_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers, names in small letters."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = [line.partition(": ") for line in lines[1:] if line]
    return int(lines[0].split()[1]), {name.lower(): value for name, _, value in fields}


async def whole_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """An answer whose length is declared."""
    status, headers = await answer_head(reader)
    return status, headers, await reader.readexactly(int(headers.get("content-length", 0)))


def chunks(*pieces: bytes) -> bytes:
    """A body in chunks."""
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in (*pieces, b""))


# ---- HTTP/1.0


async def test_an_old_client_reads_a_stream_as_it_comes(tmp_path: Path) -> None:
    """No chunks; the events come one by one, and the end of the connection is the end of the body."""
    seen = asyncio.Event()
    async with proxied(tmp_path) as (upstream, proxy), connected(proxy) as (reader, writer):
        upstream.says(event("Well. ", role="assistant"), seen, *stream("to ", SECRET))
        writer.write(head("1.0", Content_Length=str(len(JSON))) + JSON)
        status, headers = await answer_head(reader)
        assert status == 200
        assert not {"transfer-encoding", "content-length", "content-encoding"} & set(headers)
        assert headers.get("connection", "close") == "close"
        first = await reader.readuntil(b"\n\n")
        assert text(first).startswith("Well")
        seen.set()
        assert SECRET not in (rest := (await reader.read()).decode())
        assert text(rest.encode()).endswith("to [EMAIL_ADDRESS]")


async def test_an_old_client_is_told_how_long_a_whole_answer_is(tmp_path: Path) -> None:
    """A body with its length; the connection ends after it."""
    async with proxied(tmp_path) as (upstream, proxy), connected(proxy) as (reader, writer):
        upstream.answers(body(f"to {SECRET}"))
        writer.write(head("1.0", Content_Length=str(len(JSON))) + JSON)
        status, headers, raw = await whole_answer(reader)
        assert (status, headers.get("connection", "close")) == (200, "close")
        assert json.loads(raw)["choices"][0]["message"]["content"] == "to [EMAIL_ADDRESS]"
        assert await reader.read() == b""


async def test_an_old_client_may_keep_its_connection_for_whole_answers_only(tmp_path: Path) -> None:
    """If it asks; but a stream can be ended in no other way than by closing."""
    async with proxied(tmp_path) as (upstream, proxy), connected(proxy) as (reader, writer):
        request = head("1.0", Content_Length=str(len(JSON)), Connection="keep-alive") + JSON
        upstream.answers(body("Hi"))
        writer.write(request)
        _, headers, _ = await whole_answer(reader)
        assert headers["connection"] == "keep-alive"
        upstream.says(*stream("to ", SECRET))
        writer.write(request)
        _, headers = await answer_head(reader)
        assert headers.get("connection", "close") == "close"
        assert text(await reader.read()) == "to [EMAIL_ADDRESS]"


async def test_an_old_client_is_refused_in_whole_answers_too(tmp_path: Path) -> None:
    """An error has its length, and no chunks."""
    async with proxied(tmp_path, unknown_paths="refuse") as (_, proxy), connected(proxy) as (reader, writer):
        writer.write(head("1.0", path="/v1/threads", method="GET"))
        status, headers, raw = await whole_answer(reader)
        assert status == 501
        assert error_of(raw)["code"] == "unsupported_path"
        assert "transfer-encoding" not in headers


async def test_an_old_client_gets_what_passes(tmp_path: Path) -> None:
    """An unfiltered answer in chunks becomes one that ends with the connection."""
    async with proxied(tmp_path) as (upstream, proxy), connected(proxy) as (reader, writer):
        upstream.says(b"one ", 0.1, b"two", Content_Type="application/json")
        writer.write(head("1.0", path="/v1/models", method="GET"))
        status, headers = await answer_head(reader)
        assert (status, await reader.read()) == (200, b"one two")
        assert "transfer-encoding" not in headers


# ---- old and odd upstreams


@asynccontextmanager
async def answering(*pieces: bytes) -> AsyncIterator[str]:
    """The address of an upstream that answers every request with these bytes and closes the connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_an_old_upstream_is_read_to_the_end_of_its_connection(tmp_path: Path) -> None:
    """HTTP/1.0, without a length: the stream's own end marker tells that it is whole."""
    events = [step for step in stream("to ", SECRET) if isinstance(step, bytes)]
    top = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    async with answering(top, *events) as url, proxied(tmp_path, upstream=url) as (_, proxy):
        _, _, raw = await proxy.post()
        assert text(raw) == "to [EMAIL_ADDRESS]"
        assert (await proxy.closed())["ended"] == "stop"
    (tmp_path / "cut").mkdir()
    async with answering(top, *events[:2]) as url, proxied(tmp_path / "cut", upstream=url) as (_, proxy):
        assert error_of((await proxy.post())[2])["message"]
        assert (await proxy.closed())["ended"] == "upstream_incomplete"


async def test_a_transfer_coding_that_cannot_be_undone_is_an_error(tmp_path: Path) -> None:
    """Packing may hide there too; what comes through is no text."""
    data = gzip.compress(json.dumps(body(SECRET)).encode())
    top = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    async with answering(top, chunks(data)) as url, proxied(tmp_path, upstream=url) as (_, proxy):
        status, _, raw = await proxy.post()
        assert (status, error_of(raw)["code"]) == (502, "upstream_encoding")


# ---- Expect: 100-continue


async def test_a_body_is_invited_when_it_will_be_read(tmp_path: Path) -> None:
    """The client sends its body after the 100, and gets its answer."""
    async with proxied(tmp_path) as (upstream, proxy), connected(proxy) as (reader, writer):
        upstream.answers(body(f"to {SECRET}"))
        writer.write(head(Content_Length=str(len(JSON)), Expect="100-Continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert upstream.asked == []
        writer.write(JSON)
        status, _, raw = await whole_answer(reader)
        assert (status, SECRET in raw.decode()) == (200, False)
        assert upstream.asked[0]["body"] == JSON
        assert "Expect" not in upstream.asked[0]["headers"]


async def test_a_connection_goes_on_after_an_invited_body(tmp_path: Path) -> None:
    """The next request is read as one."""
    async with proxied(tmp_path) as (upstream, proxy), connected(proxy) as (reader, writer):
        upstream.answers(body("Hi"))
        for _ in range(2):
            writer.write(head(Content_Length=str(len(JSON)), Expect="100-continue"))
            assert (await answer_head(reader))[0] == 100
            writer.write(JSON)
            assert (await whole_answer(reader))[0] == 200
        assert len(upstream.asked) == 2


@pytest.mark.parametrize(
    ("path", "length", "status"), [(CHAT, 10**9, 413), ("/v1/threads", 10, 501), ("/v1/realtime", 10, 403)]
)
async def test_a_body_that_will_not_be_read_is_not_invited(tmp_path: Path, path: str, length: int, status: int) -> None:
    """The refusal comes at once, in place of the 100, and the connection is not used again."""
    async with (
        proxied(tmp_path, unknown_paths="refuse") as (upstream, proxy),
        connected(proxy) as (reader, writer),
    ):
        extra = {"Connection": "Upgrade", "Upgrade": "websocket"} if status == 403 else {}
        writer.write(head(path=path, Content_Length=str(length), Expect="100-continue", **extra))
        async with asyncio.timeout(5):
            got, headers, raw = await whole_answer(reader)
        assert got == status
        assert error_of(raw)["message"]
        assert headers["connection"] == "close"
        assert upstream.asked == []


async def test_a_body_for_an_unfiltered_path_is_invited(tmp_path: Path) -> None:
    """The upload goes on as usual."""
    async with proxied(tmp_path) as (upstream, proxy), connected(proxy) as (reader, writer):
        upstream.answers({"id": "file-1"})
        writer.write(head(path="/v1/files", Content_Length="10", Expect="100-continue"))
        assert (await answer_head(reader))[0] == 100
        writer.write(b"0123456789")
        status, headers = await answer_head(reader)
        assert status == 200
        assert upstream.asked[0]["body"] == b"0123456789"
        assert "connection" not in headers


async def test_nobody_is_invited_in_vain(tmp_path: Path) -> None:
    """With no upstream to send it to, the body of an upload is not asked for."""
    async with proxied(tmp_path, upstream="http://127.0.0.1:9") as (_, proxy), connected(proxy) as (reader, writer):
        writer.write(head(path="/v1/files", Content_Length="10", Expect="100-continue"))
        status, headers, _ = await whole_answer(reader)
        assert (status, headers["connection"]) == (502, "close")


async def test_an_old_client_is_not_invited(tmp_path: Path) -> None:
    """HTTP/1.0 knows no interim answers: its Expect is ignored."""
    async with proxied(tmp_path) as (upstream, proxy), connected(proxy) as (reader, writer):
        upstream.answers(body("Hi"))
        writer.write(head("1.0", Content_Length=str(len(JSON)), Expect="100-continue") + JSON)
        assert (await whole_answer(reader))[0] == 200


async def test_what_else_is_expected_is_not_refused(tmp_path: Path) -> None:
    """An expectation that nobody knows is nothing to fail for."""
    async with proxied(tmp_path) as (upstream, proxy), connected(proxy) as (reader, writer):
        upstream.answers(body("Hi"))
        writer.write(head(Content_Length=str(len(JSON)), Expect="miracles") + JSON)
        assert (await whole_answer(reader))[0] == 200


# ---- chunks and limits


async def test_a_body_in_chunks_is_read(tmp_path: Path) -> None:
    """Cut anywhere; the upstream gets it whole, with its length."""
    async with proxied(tmp_path) as (upstream, proxy), connected(proxy) as (reader, writer):
        upstream.answers(body("Hi"))
        writer.write(head(Transfer_Encoding="chunked"))
        for piece in (JSON[:5], JSON[5:6], JSON[6:]):
            writer.write(chunks(piece)[:-5])
            await asyncio.sleep(0.05)
        writer.write(b"0\r\n\r\n")
        assert (await whole_answer(reader))[0] == 200
        (asked,) = upstream.asked
        assert (asked["body"], asked["headers"]["Content-Length"]) == (JSON, str(len(JSON)))
        assert (await proxy.closed())["model"] == "m"


@pytest.mark.parametrize("extra", [{"Content_Length": "2000000"}, {"Transfer_Encoding": "chunked"}])
async def test_too_long_a_body_is_refused_while_it_is_sent(tmp_path: Path, extra: dict[str, str]) -> None:
    """The answer comes although the client has not sent all, and a client that goes on sending can read it."""
    async with proxied(tmp_path, client_max_size=100_000) as (upstream, proxy), connected(proxy) as (reader, writer):
        writer.write(head(**extra))
        piece = b"x" * 50_000
        for _ in range(3):
            writer.write(piece if "Content_Length" in extra else chunks(piece)[:-5])
        async with asyncio.timeout(5):
            status, headers, raw = await whole_answer(reader)
        assert (status, headers["connection"]) == (413, "close")
        assert "client_max_size" in error_of(raw)["message"]
        assert upstream.asked == []
        closed = await proxy.closed()
        assert (closed["ended"], closed["status"]) == ("refused", 413)


async def test_too_long_a_body_in_packed_chunks_is_refused(tmp_path: Path) -> None:
    """The limit holds for what is unpacked, chunk by chunk."""
    async with proxied(tmp_path, client_max_size=100_000) as (upstream, proxy), connected(proxy) as (reader, writer):
        bomb = gzip.compress(b"0" * 10_000_000)
        writer.write(head(Transfer_Encoding="chunked", Content_Encoding="gzip") + chunks(bomb[:1000], bomb[1000:]))
        status, _, _ = await whole_answer(reader)
        assert status == 413
        assert upstream.asked == []


async def test_a_body_of_exactly_the_limit_passes(tmp_path: Path) -> None:
    """One byte more does not."""
    async with proxied(tmp_path, client_max_size=1024) as (upstream, proxy):
        upstream.answers(body("Hi"))
        for length, status in ((1024, 200), (1025, 413)):
            data = JSON + b" " * (length - len(JSON))
            for given in ({"Content_Length": str(length)}, {"Transfer_Encoding": "chunked"}):
                async with connected(proxy) as (reader, writer):
                    writer.write(head(**given) + (data if "Content_Length" in given else chunks(data)))
                    assert (await whole_answer(reader))[0] == status


async def test_a_client_that_breaks_off_its_body_is_gone(tmp_path: Path) -> None:
    """Half a request is not sent on."""
    async with proxied(tmp_path) as (upstream, proxy):
        async with connected(proxy) as (_, writer):
            writer.write(head(Content_Length="100") + JSON)
            await writer.drain()
        assert (await proxy.closed())["ended"] == "client_cancelled"
        assert upstream.asked == []


# ---- uploads


@pytest.mark.parametrize("path", ["/v1/files", "/v1/audio/transcriptions"])
@pytest.mark.parametrize("extra", [{"Content_Length": "300000"}, {"Transfer_Encoding": "chunked"}])
async def test_an_upload_is_passed_on_while_it_arrives(tmp_path: Path, extra: dict[str, str], path: str) -> None:
    """The upstream has the first part before the client has sent the second, filtered answer or not."""
    kind = "multipart/form-data; boundary=b"
    part = b"x" * 150_000
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def upload(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            heard.put_nowait(data)
        writer.close()

    server = await asyncio.start_server(upload, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with proxied(tmp_path, upstream=url, client_max_size=1024) as (_, proxy), connected(proxy) as (_, writer):
            packed = (lambda data: data) if "Content_Length" in extra else (lambda data: chunks(data)[:-5])
            writer.write(head(path=path, Content_Type=kind, **extra) + packed(part))
            got = b""
            while got.count(b"x") < len(part):
                got += await heard.get()
            top = got.partition(b"\r\n\r\n")[0].decode()
            assert f"Content-Type: {kind}" in top
            assert f"{next(iter(extra)).replace('_', '-')}: {next(iter(extra.values()))}" in top
            writer.write(packed(part))
            while got.count(b"x") < 2 * len(part):
                got += await heard.get()


async def test_a_slow_upstream_holds_an_upload_back(tmp_path: Path) -> None:
    """What nobody takes is not read from the client either: memory stays bounded whatever the length."""
    took = asyncio.Event()

    async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        await took.wait()
        writer.close()

    server = await asyncio.start_server(stuck, "127.0.0.1", 0, limit=1024)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with proxied(tmp_path, upstream=url) as (_, proxy), connected(proxy) as (_, writer):
            length = 200_000_000
            writer.write(head(path="/v1/files", Content_Length=str(length)))
            sent = 0
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    while sent < length:
                        writer.write(b"x" * 2**20)
                        sent += 2**20
                        await writer.drain()
            assert sent < length / 2
            took.set()
            writer.transport.abort()
            assert (await proxy.closed())["bytes"]["request"] < length / 2
