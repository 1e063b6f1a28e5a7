"""Streamed answers through real sockets."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.harness import (
    CHAT,
    DONE,
    SSE,
    Abort,
    Wait,
    error_of,
    event,
    events,
    finishes,
    proxied,
    stream,
    text,
)

SECRET = "ada@example.com"


async def test_a_clean_answer_arrives_as_it_was_sent(tmp_path: Path) -> None:
    """Text, finish reason and end marker are the upstream's own."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("Hello ", "wide ", "world."))
        status, headers, raw = await proxy.post()
        assert (status, headers["Content-Type"]) == (200, SSE)
        assert headers["X-Accel-Buffering"] == "no"
        assert text(raw) == "Hello wide world."
        assert finishes(raw) == ["stop"]
        assert events(raw)[-1] == "[DONE]"
        closed = await proxy.closed()
        assert closed["request_id"] == headers["x-safeproxy-request-id"]
        assert (closed["ended"], closed["stream"], closed["findings"]) == ("stop", True, {})
        assert closed["characters"]["scanned"] == closed["characters"]["passed"] == len("Hello wide world.")


@pytest.mark.parametrize("cut", range(1, len(SECRET)))
async def test_what_is_cut_across_two_events_is_redacted(tmp_path: Path, cut: int) -> None:
    """Wherever the token border falls, no part of the address reaches the client."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("Write to ", SECRET[:cut], SECRET[cut:], " today."))
        _, _, raw = await proxy.post()
        assert text(raw) == "Write to [EMAIL_ADDRESS] today."
        closed = await proxy.closed()
        counts = closed["characters"]
        assert closed["findings"] == {"redact": 1}
        assert counts["scanned"] == counts["passed"] + counts["removed"] + counts["held"]
        assert (counts["removed"], counts["placeholders"]) == (len(SECRET), len("[EMAIL_ADDRESS]"))


async def test_bytes_may_be_cut_anywhere(tmp_path: Path) -> None:
    """An upstream that sends one byte at a time gives the same text."""
    async with proxied(tmp_path) as (upstream, proxy):
        whole = b"".join(step for step in stream("Grüße 😀 an ", SECRET, ".") if isinstance(step, bytes))
        upstream.says(*(step for i in range(len(whole)) for step in (whole[i : i + 1], 0.0)))
        _, _, raw = await proxy.post()
        assert text(raw) == "Grüße 😀 an [EMAIL_ADDRESS]."


async def test_a_halt_ends_the_answer_and_the_upstream(tmp_path: Path) -> None:
    """The client sees content_filter and [DONE]; the upstream, which would go on for ever, is closed."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("This is ", "forb", "idden ", "and more", finish=None, done=False), Wait())
        _, _, raw = await proxy.post()
        assert text(raw) == "This is "
        assert finishes(raw) == ["content_filter"]
        assert events(raw)[-1] == "[DONE]"
        async with asyncio.timeout(5):
            await upstream.left.wait()
        closed = await proxy.closed()
        assert (closed["ended"], closed["findings"]) == ("content_filter", {"halt": 1})
        assert closed["finish"]["delivered"] == {"0": "content_filter"}


async def test_what_is_cleared_does_not_wait_for_the_end(tmp_path: Path) -> None:
    """The first words arrive while the upstream is still thinking."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(event("Hello, world. ", role="assistant"), Wait())
        async with proxy.session.post(proxy.url + CHAT, json={}) as response:
            got = b""
            while b"world" not in got:
                got += await response.content.readany()
            assert text(got).startswith("Hello, world")


async def test_choices_are_kept_apart(tmp_path: Path) -> None:
    """Two interleaved choices do not spoil each other's detection."""
    async with proxied(tmp_path) as (upstream, proxy):
        pieces = [event("", index=i, role="assistant") for i in (0, 1)]
        for left, right in (("mail ada@", "so b"), ("example", "en@exa"), (".com now", "mple.com.")):
            pieces += [event(left, index=0), event(right, index=1)]
        upstream.says(*pieces, event(finish="stop"), event(finish="stop", index=1), DONE)
        _, _, raw = await proxy.post()
        assert text(raw, 0) == "mail [EMAIL_ADDRESS] now"
        assert text(raw, 1) == "so [EMAIL_ADDRESS]."
        assert finishes(raw, 0) == finishes(raw, 1) == ["stop"]


async def test_an_observed_word_is_only_counted(tmp_path: Path) -> None:
    """Observing changes nothing and is recorded."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("You are watched here."))
        _, _, raw = await proxy.post()
        assert text(raw) == "You are watched here."
        closed = await proxy.closed()
        assert closed["findings"] == {"observe": 1}
        (finding,) = [record for record in proxy.records() if record["event"] == "finding"]
        assert (finding["rule"], finding["position"], finding["length"]) == ("watched", 8, 7)


@pytest.mark.parametrize(
    ("script", "ended"),
    [
        ([b"\x00\xff garbage \xfe\n\n" * 10], "upstream_incomplete"),
        ([b"data: {broken\n\n"], "upstream_error"),
        ([event("Hi ", role="assistant"), b'data: {"choices": [{"ind'], None),
        ([event("Hi ", role="assistant")], "upstream_incomplete"),
        ([], "upstream_incomplete"),
        ([event("Hi ", role="assistant"), b"data: 7\n\n", b"data: [[]]\n\n", b'data: "text"\n\n'], None),
    ],
    ids=["garbage", "no JSON", "half an event", "no finish", "nothing", "wrong types"],
)
async def test_a_broken_stream_ends_in_an_error_event(tmp_path: Path, script: list[bytes], ended: str | None) -> None:
    """Whatever the upstream sends, the client gets whole events and is told; the proxy goes on."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*script)
        status, _, raw = await proxy.post()
        assert status == 200
        assert error_of(raw)["message"]
        closed = await proxy.closed()
        assert closed["ended"] in ({ended} if ended else {"upstream_error", "upstream_incomplete"})
        upstream.says(*stream("Still here."))
        assert text((await proxy.post())[2]) == "Still here."


async def test_a_connection_that_breaks_ends_in_an_error_event(tmp_path: Path) -> None:
    """A reset in mid-stream is not passed on as a reset: a clean end with the API's error in it."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(event("Write to ada@example.com now", role="assistant"), 0.1, Abort())
        _, _, raw = await proxy.post()
        assert error_of(raw)["message"]
        assert text(raw).startswith("Write to [EMAIL_ADDRESS]")
        closed = await proxy.closed()
        assert (closed["ended"], closed["status"], closed["upstream_status"]) == ("upstream_error", 200, 200)
        assert closed["faults"]


async def test_a_silent_upstream_is_given_up(tmp_path: Path) -> None:
    """An upstream that stops talking does not keep the client for ever."""
    async with proxied(tmp_path, idle_timeout=0.3) as (upstream, proxy):
        upstream.says(event("Hello ", role="assistant"), Wait())
        _, _, raw = await proxy.post()
        assert error_of(raw)["message"]
        closed = await proxy.closed()
        assert (closed["ended"], closed["faults"]) == ("upstream_error", ["upstream_idle_timeout"])


async def test_a_model_may_think_before_its_first_word(tmp_path: Path) -> None:
    """The head comes at once and then nothing for long: that is no silence in the middle."""
    async with proxied(tmp_path, idle_timeout=0.05) as (upstream, proxy):
        upstream.says(0.3, *stream("Hello", "!"))
        _, _, raw = await proxy.post()
        assert (text(raw), finishes(raw)) == ("Hello!", ["stop"])


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
async def test_an_answer_that_opens_and_says_nothing_is_given_up(tmp_path: Path, kind: str) -> None:
    """A head alone is no first byte, whatever was to follow it."""
    async with proxied(tmp_path, first_byte_timeout=0.2, retry_attempts=0) as (upstream, proxy):
        upstream.says(Wait(), Content_Type=kind)
        _, _, raw = await proxy.post()
        assert error_of(raw)["message"]
        closed = await proxy.closed()
        assert (closed["ended"], closed["faults"]) == ("upstream_error", ["upstream_first_byte_timeout"])


async def test_a_second_finish_is_not_delivered(tmp_path: Path) -> None:
    """Clients would glue two finish reasons together."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(event("Hi", role="assistant"), event(finish="stop"), event(" more", "length"), DONE)
        _, _, raw = await proxy.post()
        assert finishes(raw) == ["stop"]


async def test_one_huge_event_ends_the_stream_in_order(tmp_path: Path) -> None:
    """10 MB without an event border are not collected beyond the limit."""
    async with proxied(tmp_path, max_event_bytes=2**20) as (upstream, proxy):
        upstream.says(*stream("Hi. ", finish=None, done=False), b"data: " + b"x" * 10_000_000 + b"\n\n", DONE)
        _, _, raw = await proxy.post()
        assert error_of(raw)["message"]
        assert len(raw) < 10_000
        assert (await proxy.closed())["ended"] == "upstream_error"


async def test_an_event_within_the_limit_passes(tmp_path: Path) -> None:
    """A long event is no error in itself, and is filtered."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("word " * 40_000 + SECRET + "."))
        _, _, raw = await proxy.post()
        assert text(raw) == "word " * 40_000 + "[EMAIL_ADDRESS]."


async def test_a_compressed_stream_is_read(tmp_path: Path) -> None:
    """Compression is undone before filtering; the client gets plain bytes and no claim of gzip."""
    async with proxied(tmp_path) as (upstream, proxy):
        whole = b"".join(step for step in stream("to ", SECRET, ".") if isinstance(step, bytes))
        upstream.says(gzip.compress(whole), Content_Type=SSE, Content_Encoding="gzip")
        _, headers, raw = await proxy.post()
        assert "Content-Encoding" not in headers
        assert text(raw) == "to [EMAIL_ADDRESS]."


async def test_endless_white_space_is_bounded(tmp_path: Path) -> None:
    """Lines that never make an event are not collected for ever."""
    async with proxied(tmp_path, max_event_bytes=2**16) as (upstream, proxy):
        upstream.says(*[b" " * 65_536] * 200)
        _, _, raw = await proxy.post()
        assert error_of(raw)["message"]
        assert len(raw) < 10_000


async def test_a_stream_is_one_by_its_content_type(tmp_path: Path) -> None:
    """The request did not ask for a stream; what arrives is filtered as what it is."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("to ", SECRET), Content_Type="Text/Event-Stream; charset=utf-8")
        _, _, raw = await proxy.post(body={"model": "m", "stream": False})
        assert text(raw) == "to [EMAIL_ADDRESS]"


async def test_a_client_that_leaves_after_its_answer_has_cancelled_nothing(tmp_path: Path) -> None:
    """Whole is whole, though the client closes at [DONE] and the upstream has not closed yet."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("All there is. "), Wait())
        async with aiohttp.ClientSession() as session:
            response = await session.post(proxy.at(CHAT), json={})
            received = b""
            while b"[DONE]" not in received:
                received += await response.content.readany()
            response.close()
        closed = await proxy.closed()
    assert closed["ended"] == "stop"
    assert closed["finish"]["delivered"] == {"0": "stop"}


async def test_a_slow_client_holds_the_upstream_back(tmp_path: Path) -> None:
    """The proxy does not read ahead without bound while nobody takes what it has."""
    async with proxied(tmp_path) as (upstream, proxy):
        piece = event("word " * 2_000, role="assistant")
        upstream.says(*[piece] * 3_000)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rsplit(":", 1)[1]), limit=1024)
        writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        for _ in range(5):
            assert await reader.read(1)
            await asyncio.sleep(0.1)
        writer.transport.abort()
        closed = await proxy.closed()
        assert closed["ended"] == "client_cancelled"
        assert closed["bytes"]["upstream"] < len(piece) * 3_000 / 2


async def test_an_old_client_gets_a_plain_body(tmp_path: Path) -> None:
    """HTTP/1.0 knows no chunks: the body ends with the connection."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("to ", SECRET))
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rsplit(":", 1)[1]))
        writer.write(f"POST {CHAT} HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        head, _, raw = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert head.startswith(b"HTTP/1.0 200")
        assert b"chunked" not in head.lower()
        assert text(raw) == "to [EMAIL_ADDRESS]"


async def test_streams_do_not_queue_behind_each_other(tmp_path: Path) -> None:
    """More streams than an HTTP client's usual limit of 100 connections run at once."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(event("Hello, world. ", role="assistant"), Wait())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            running = await asyncio.gather(*(session.post(proxy.at(CHAT), json={}) for _ in range(120)))
            assert len(upstream.asked) == 120
            for response in running:
                response.close()
        await proxy.closed(120)
