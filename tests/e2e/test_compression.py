"""gzip to the client, where the setting allows it and the client asks."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from pathlib import Path

from tests.e2e.harness import CHAT, DONE, Wait, body, error_of, event, proxied, stream, text

SECRET = "ada@example.com"
ASKS = {"Accept-Encoding": "gzip"}


async def test_a_packed_stream_arrives_event_by_event(tmp_path: Path) -> None:
    """While the upstream still thinks, the client has unpacked all that is cleared."""
    first, second = asyncio.Event(), asyncio.Event()
    async with proxied(tmp_path, compress="gzip") as (upstream, proxy):
        upstream.says(
            event("Well. ", role="assistant"),
            first,
            event(f"Write to {SECRET} now. "),
            second,
            event(finish="stop"),
            DONE,
        )
        raw, reader = b"", zlib.decompressobj(wbits=31)
        async with proxy.session.post(proxy.at(CHAT), json={}, headers=ASKS, auto_decompress=False) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            assert response.headers["Vary"] == "Accept-Encoding"
            assert "Content-Length" not in response.headers
            async for chunk in response.content.iter_any():
                raw += reader.decompress(chunk)
                if b"Well" in raw:
                    first.set()
                if b"[EMAIL_ADDRESS]" in raw:
                    second.set()
        assert reader.eof
        assert text(raw) == "Well. Write to [EMAIL_ADDRESS] now. "
        assert (await proxy.closed())["bytes"]["delivered"] == len(raw)


async def test_real_clients_unpack_it_by_themselves(tmp_path: Path) -> None:
    """An HTTP client that asks for gzip on its own sees the events as ever."""
    async with proxied(tmp_path, compress="gzip") as (upstream, proxy):
        upstream.says(*stream("to ", SECRET, "."))
        _, headers, raw = await proxy.post()
        assert headers["Content-Encoding"] == "gzip"
        assert text(raw) == "to [EMAIL_ADDRESS]."


async def test_an_error_in_mid_stream_is_packed_too(tmp_path: Path) -> None:
    """Whatever ends the stream, the client gets a whole gzip file."""
    async with proxied(tmp_path, compress="gzip", idle_timeout=0.3) as (upstream, proxy):
        upstream.says(event("Hello, world. ", role="assistant"), Wait())
        async with proxy.session.post(proxy.at(CHAT), json={}, headers=ASKS, auto_decompress=False) as response:
            raw = gzip.decompress(await response.read())
        assert text(raw).startswith("Hello")
        assert error_of(raw)["message"]


async def test_a_long_whole_answer_is_packed(tmp_path: Path) -> None:
    """Its declared length is the packed one; a short one is left as it is, but caches are told."""
    async with proxied(tmp_path, compress="gzip") as (upstream, proxy):
        upstream.answers(body(f"Write to {SECRET}. " + "More words. " * 500), Vary="Origin")
        async with proxy.session.post(proxy.at(CHAT), json={}, headers=ASKS, auto_decompress=False) as response:
            data = await response.read()
            assert response.headers["Content-Encoding"] == "gzip"
            assert response.headers["Content-Length"] == str(len(data))
            assert response.headers["Vary"] == "Origin, Accept-Encoding"
        assert len(data) < 1000
        said = json.loads(gzip.decompress(data))["choices"][0]["message"]["content"]
        assert said.startswith("Write to [EMAIL_ADDRESS]. More")
        upstream.answers(body("Short."))
        _, headers, _ = await proxy.post(headers=ASKS)
        assert "Content-Encoding" not in headers
        assert headers["Vary"] == "Accept-Encoding"


async def test_who_does_not_ask_gets_plain_bytes(tmp_path: Path) -> None:
    """Neither a client that says so, nor one that says nothing of it."""
    async with proxied(tmp_path, compress="gzip") as (upstream, proxy):
        upstream.says(*stream("to ", SECRET))
        for accepted in ("identity", "gzip;q=0, *", "br"):
            _, headers, raw = await proxy.post(headers={"Accept-Encoding": accepted})
            assert "Content-Encoding" not in headers
            assert text(raw) == "to [EMAIL_ADDRESS]"
        _, headers, _ = await proxy.post(skip_auto_headers=["Accept-Encoding"])
        assert "Content-Encoding" not in headers


async def test_without_the_setting_nobody_gets_it(tmp_path: Path) -> None:
    """And nothing is said of it."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("to ", SECRET))
        _, headers, _ = await proxy.post(headers=ASKS)
        assert "Content-Encoding" not in headers
        assert "Vary" not in headers


async def test_an_old_client_gets_it_only_if_it_asks(tmp_path: Path) -> None:
    """A body that ends with the connection, packed by name only."""
    async with proxied(tmp_path, compress="gzip") as (upstream, proxy):
        upstream.says(*stream("to ", SECRET))
        for accepted, is_packed in (("*", False), ("gzip", True)):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rsplit(":", 1)[1]))
            head = f"POST {CHAT} HTTP/1.0\r\nHost: x\r\nAccept-Encoding: {accepted}\r\nContent-Length: 2\r\n\r\n"
            writer.write(head.encode() + b"{}")
            got, _, data = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            assert (b"gzip" in got) is is_packed
            assert b"chunked" not in got.lower()
            assert text(gzip.decompress(data) if is_packed else data) == "to [EMAIL_ADDRESS]"


async def test_stopping_the_proxy_ends_a_packed_stream_in_order(tmp_path: Path) -> None:
    """The goodbye goes through the same packing."""
    async with proxied(tmp_path, compress="gzip") as (upstream, proxy):
        upstream.says(event("Hello, world. ", role="assistant"), Wait())
        async with proxy.session.post(proxy.at(CHAT), json={}, headers=ASKS, auto_decompress=False) as response:
            first = await response.content.readany()
            stopping = asyncio.ensure_future(proxy.app.shutdown())
            raw = gzip.decompress(first + await response.read())
            await stopping
        assert error_of(raw)["message"]
