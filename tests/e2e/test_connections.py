"""Clients that are too slow: to ask, to send a body, to read. Raw sockets on both sides of the limit."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from tests.e2e.harness import CHAT, Proxy, body, error_of, event, proxied, stream, text
from tests.e2e.test_raw import JSON, connected, head, whole_answer

#: A limit that is soon reached, in seconds.
SOON = 0.2


@pytest.mark.parametrize("sent", [b"", b"POST", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_a_first_request_has_to_come_in_time(tmp_path: Path, sent: bytes) -> None:
    """Whatever part of a head a connection has sent, it is closed; nothing was asked, so nothing is recorded."""
    async with proxied(tmp_path, client_header_timeout=SOON) as (upstream, proxy):
        async with connected(proxy) as (reader, writer):
            writer.write(sent)
            assert await reader.read() == b""
        assert (upstream.asked, proxy.records()) == ([], [])


async def test_a_head_that_drips_is_no_excuse(tmp_path: Path) -> None:
    """A byte now and then does not renew the time."""
    async with proxied(tmp_path, client_header_timeout=SOON) as (_, proxy), connected(proxy) as (reader, writer):

        async def drip() -> None:
            for byte in head(X_Long="a" * 10_000):
                writer.write(bytes((byte,)))
                await asyncio.sleep(SOON / 20)

        dripping = asyncio.create_task(drip())
        try:
            assert await reader.read() == b""
        finally:
            dripping.cancel()


async def test_a_connection_that_is_kept_may_be_silent_but_not_slow(tmp_path: Path) -> None:
    """Between requests nothing is due; once the next has begun it has to come in time."""
    async with proxied(tmp_path, client_header_timeout=SOON) as (upstream, proxy), connected(proxy) as (reader, writer):
        upstream.answers(body("Hi"))
        for pause in (2 * SOON, 0.0):
            writer.write(head(Content_Length=str(len(JSON))) + JSON)
            assert (await whole_answer(reader))[0] == 200
            await asyncio.sleep(pause)
        writer.write(b"POST /v1/cha")
        assert await reader.read() == b""
        assert len(upstream.asked) == 2


async def test_a_long_answer_is_no_slow_head(tmp_path: Path) -> None:
    """While an answer runs, and while a body is being sent, the limit on heads says nothing."""
    async with proxied(tmp_path, client_header_timeout=SOON) as (upstream, proxy), connected(proxy) as (reader, writer):
        upstream.answers(body("Hi"))
        writer.write(head(Content_Length=str(len(JSON))) + JSON[:5])
        await asyncio.sleep(2 * SOON)
        writer.write(JSON[5:])
        assert (await whole_answer(reader))[0] == 200
        upstream.says(event("Hello ", role="assistant"), 2 * SOON, *stream("world."))
        assert text((await proxy.post())[2]) == "Hello world."


@pytest.mark.parametrize("path", [CHAT, "/v1/files"])
async def test_a_body_may_not_pause_for_long(tmp_path: Path, path: str) -> None:
    """408 in the API's shape, with the setting's name, and the connection ends; held or handed on, it is the same."""
    async with proxied(tmp_path, client_body_timeout=SOON) as (upstream, proxy), connected(proxy) as (reader, writer):
        upstream.mute = True
        kind = "application/json" if path == CHAT else "multipart/form-data; boundary=x"
        writer.write(head(path=path, Content_Length="1000", Content_Type=kind) + JSON)
        status, headers, raw = await whole_answer(reader)
        assert (status, error_of(raw)["code"]) == (408, "client_body_timeout")
        assert "client_body_timeout" in error_of(raw)["message"]
        assert headers["connection"] == "close"
        closed = await proxy.closed()
        assert (closed["ended"], closed["status"], closed["faults"]) == ("refused", 408, ["client_body_timeout"])
        writer.write_eof()
        assert await reader.read() == b""


async def test_a_body_that_comes_slowly_but_comes_is_read(tmp_path: Path) -> None:
    """Each pause counts for itself."""
    async with proxied(tmp_path, client_body_timeout=SOON) as (upstream, proxy), connected(proxy) as (reader, writer):
        upstream.answers(body("Hi"))
        writer.write(head(Content_Length=str(len(JSON))))
        for byte in JSON:
            await asyncio.sleep(SOON / 10)
            writer.write(bytes((byte,)))
        assert (await whole_answer(reader))[0] == 200


async def unread(proxy: Proxy, path: str) -> None:
    """Ask, and leave the answer unread; the client's buffers are small, so that they are soon full."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", int(proxy.url.rsplit(":", 1)[1])))
        await loop.sock_sendall(client, head(path=path, Content_Length=str(len(JSON))) + JSON)
        closed = await proxy.closed()
    assert (closed["ended"], closed["faults"]) == ("client_cancelled", ["client_too_slow"])


async def test_a_stream_that_is_left_unread_is_cut_off(tmp_path: Path) -> None:
    """The connection is reset, the upstream is left, and the record says whose fault it was."""
    async with proxied(tmp_path, client_read_timeout=SOON) as (upstream, proxy):
        upstream.says(*[event("word " * 2000)] * 5000)
        await unread(proxy, CHAT)
        await upstream.left.wait()
        upstream.says(*stream("Fine."))
        assert text((await proxy.post())[2]) == "Fine."


async def test_a_body_that_is_left_unread_is_cut_off(tmp_path: Path) -> None:
    """An answer that is not streamed is no different."""
    async with proxied(tmp_path, client_read_timeout=SOON) as (upstream, proxy):
        upstream.answers({"data": "a" * 20_000_000})
        await unread(proxy, "/v1/threads")


async def test_a_client_that_reads_slowly_but_reads_is_served(tmp_path: Path) -> None:
    """Pauses shorter than the limit lose nothing, though together they are longer."""
    async with proxied(tmp_path, client_read_timeout=1.0) as (upstream, proxy):
        upstream.says(*stream(*["word " * 2000] * 500))
        async with proxy.session.post(proxy.url + CHAT, json={}, read_bufsize=2**16) as response:
            raw = b""
            while piece := await response.content.read(2**18):
                raw += piece
                await asyncio.sleep(0.05)
        assert text(raw) == "word " * 1_000_000
        assert (await proxy.closed())["ended"] == "stop"


async def test_a_header_is_as_long_as_the_setting_says(tmp_path: Path) -> None:
    """One byte over is an error of the client; what is under it passes."""
    async with proxied(tmp_path, max_header_bytes=2048) as (upstream, proxy):
        upstream.answers(body("Hi"))
        assert (await proxy.post(headers={"X-Long": "a" * 2000}))[0] == 200
        assert (await proxy.post(headers={"X-Long": "a" * 2100}))[0] == 400
        assert (await proxy.post(CHAT + "?" + "a" * 2100))[0] == 400
        assert len(upstream.asked) == 1
