"""Who ends a request, and at which stage: the upstream is left, the record says it, and nothing goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from safeproxy.shell.app import stop
from safeproxy.shell.service import SERVICE
from tests.e2e.harness import (
    CHAT,
    Proxy,
    Upstream,
    Wait,
    error_of,
    event,
    events,
    finishes,
    proxied,
    stream,
    text,
    until,
)

CLEARED = "Hello, dear friend. "
HELD = "ada@exam"


@dataclass(frozen=True)
class Stage:
    """What the upstream does until nothing more comes, and what is there to be seen by then."""

    plays: Callable[[Upstream], None]
    status: int | None
    """What the client has been told by then."""
    said: str = ""
    held: int = 0
    """Characters that are held back."""
    left: bool = True
    """Whether the upstream is in the midst of an answer, and has to be left."""


def says_nothing(upstream: Upstream) -> None:
    """Not even a head."""
    upstream.mute = True


def opens(upstream: Upstream) -> None:
    """A head, and no event."""
    upstream.says(Wait())


def speaks(upstream: Upstream) -> None:
    """What can be delivered at once."""
    upstream.says(event(CLEARED, role="assistant"), Wait())


def begins_a_finding(upstream: Upstream) -> None:
    """What must be held back."""
    upstream.says(event(CLEARED, role="assistant"), event(HELD), Wait())


def begins_a_body(upstream: Upstream) -> None:
    """Half of an answer that is not streamed."""
    upstream.says(b'{"choices": [', Wait(), Content_Type="application/json")


def is_overloaded(upstream: Upstream) -> None:
    """So that it is asked again, after a long wait."""
    upstream.answers({"error": {"message": "overloaded"}}, status=503)


STAGES = {
    "before the head": Stage(says_nothing, None),
    "before the first event": Stage(opens, 200),
    "in a stream": Stage(speaks, 200, CLEARED),
    "in a stream, with a finding in the hold": Stage(begins_a_finding, 200, CLEARED, len(HELD)),
    "in a body": Stage(begins_a_body, None),
    "waiting to ask again": Stage(is_overloaded, None, left=False),
}


@asynccontextmanager
async def at(folder: Path, stage: Stage, **settings: Any) -> AsyncIterator[tuple[Upstream, Proxy, Any, bytearray]]:
    """A request at this stage: its answer or what waits for it, and what has come of it."""
    patient = {"retry_attempts": 1, "retry_base_delay": 25, **settings}
    async with proxied(folder, **patient) as (upstream, proxy), aiohttp.ClientSession() as session:
        stage.plays(upstream)
        asking = asyncio.ensure_future(session.post(proxy.at(CHAT), json={"model": "m", "messages": []}))
        await upstream.heard.wait()
        raw = bytearray()
        if stage.status is None:
            await asyncio.sleep(0.05)  # what the upstream has said by now has been heard
            assert not asking.done()
            yield upstream, proxy, asking, raw
        else:
            answer = await asking
            assert answer.status == stage.status
            while stage.said and not (raw and stage.said in text(bytes(raw))):
                raw += await answer.content.readany()
            if stage.held:
                await asyncio.sleep(0.05)
            yield upstream, proxy, answer, raw


async def is_over(upstream: Upstream, proxy: Proxy, stage: Stage) -> dict[str, Any]:
    """Its record, once the upstream is left and nothing runs any more."""
    if stage.left:
        await upstream.left.wait()
    closed = await proxy.closed()
    assert not proxy.app[SERVICE].running
    assert len(upstream.asked) == 1
    characters = closed["characters"]
    assert characters["passed"] == len(stage.said)
    # What was held when the answer was broken off in order counts as removed.
    assert characters["held"] + characters["removed"] == stage.held
    assert HELD not in str(proxy.records())
    return closed


@pytest.mark.parametrize("name", STAGES)
async def test_the_client_leaves(tmp_path: Path, name: str) -> None:
    """At any stage that closes the upstream, and is recorded with what was delivered."""
    stage = STAGES[name]
    async with at(tmp_path, stage) as (upstream, proxy, answer, raw):
        if isinstance(answer, asyncio.Future):
            answer.cancel()
        else:
            answer.close()
        closed = await is_over(upstream, proxy, stage)
        assert (closed["ended"], closed["status"]) == ("client_cancelled", stage.status)
        assert closed["bytes"]["delivered"] == len(raw)


@pytest.mark.parametrize("name", STAGES)
async def test_the_proxy_is_stopped(tmp_path: Path, name: str) -> None:
    """The client gets the API's own error, by status or as an event, never an end that looks natural."""
    stage = STAGES[name]
    async with at(tmp_path, stage, shutdown_grace=0.05) as (upstream, proxy, answer, raw):
        await stop(proxy.app)
        closed = await is_over(upstream, proxy, stage)
        if isinstance(answer, asyncio.Future):
            told = await answer
            assert (told.status, told.headers["Retry-After"]) == (503, "1")
            raw += await told.read()
            assert error_of(bytes(raw))["code"] == "shutting_down"
            assert (closed["status"], closed["refusal"]) == (503, "shutting_down")
        else:
            raw += await answer.read()
            assert (text(bytes(raw)), finishes(bytes(raw))) == (stage.said, [])
            assert error_of(bytes(raw))["message"]
            assert events(bytes(raw))[-1] != "[DONE]"
            assert (closed["status"], closed["faults"]) == (200, ["shutdown"])
        assert closed["ended"] == "shutdown"
        assert closed["bytes"]["delivered"] == len(raw)


async def test_a_client_leaves_before_it_has_asked(tmp_path: Path) -> None:
    """In the midst of its request's body: the upstream hears nothing of it."""
    async with proxied(tmp_path) as (upstream, proxy):
        _, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rsplit(":", 1)[1]))
        writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{".encode())
        await until(lambda: bool(proxy.app[SERVICE].running))
        writer.transport.abort()
        closed = await proxy.closed()
        assert (closed["ended"], closed["status"]) == ("client_cancelled", None)
        assert upstream.asked == []


async def test_the_proxy_is_stopped_before_it_was_asked(tmp_path: Path) -> None:
    """In the midst of a request's body: the client is told, and need not send the rest."""
    async with proxied(tmp_path, shutdown_grace=0.05) as (upstream, proxy):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rsplit(":", 1)[1]))
        writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{".encode())
        await until(lambda: bool(proxy.app[SERVICE].running))
        await stop(proxy.app)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert head.startswith(b"HTTP/1.1 503")
        assert (await proxy.closed())["ended"] == "shutdown"
        assert upstream.asked == []


async def test_what_ends_in_time_is_whole(tmp_path: Path) -> None:
    """A stop waits for running answers, meanwhile begins nothing new, and says that it is not ready."""
    async with proxied(tmp_path, shutdown_grace=20) as (upstream, proxy):
        rest = asyncio.Event()
        upstream.says(event(CLEARED, role="assistant"), rest, *stream("Bye."))
        answer = await proxy.session.post(proxy.at(CHAT), json={})
        stopping = asyncio.ensure_future(stop(proxy.app))
        await asyncio.sleep(0)
        async with proxy.session.get(proxy.at("/-/ready")) as ready:
            assert ready.status == 503
        status, _, refused = await proxy.post()
        assert (status, error_of(refused)["code"]) == (503, "shutting_down")
        assert not stopping.done()
        rest.set()
        raw = await answer.read()
        await stopping
        assert (text(raw), finishes(raw)) == (CLEARED + "Bye.", ["stop"])


async def test_what_the_api_has_billed_by_then_is_recorded(tmp_path: Path) -> None:
    """Anthropic's API tells the prompt's tokens first: they are billed though the client has left."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m-1", "content": []}
    started = {"type": "message_start", "message": {**message, "usage": {"input_tokens": 31, "output_tokens": 2}}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": CLEARED}}
    prices = tmp_path / "prices.yaml"
    prices.write_text('{currency: USD, models: {"m*": {input: 1000000, output: 1}}}', encoding="utf-8")
    async with proxied(tmp_path, prices=prices) as (upstream, proxy), aiohttp.ClientSession() as session:
        said = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in (started, block, delta)]
        upstream.says(*said, Wait())
        answer = await session.post(proxy.at("/v1/messages"), json={"model": "m", "max_tokens": 9, "messages": []})
        raw = b""
        while CLEARED.encode() not in raw:
            raw += await answer.content.readany()
        answer.close()
        await upstream.left.wait()
        closed = await proxy.closed()
        assert (closed["ended"], closed["usage"]["input_tokens"]) == ("client_cancelled", 31)
        assert closed["cost"]["amount"] == pytest.approx(31.000002)


async def test_many_leave_at_once(tmp_path: Path) -> None:
    """Each is recorded, and none goes on."""
    async with proxied(tmp_path) as (upstream, proxy):
        speaks(upstream)
        async with aiohttp.ClientSession() as session:
            answers = await asyncio.gather(*(session.post(proxy.at(CHAT), json={}) for _ in range(50)))
            for answer in answers:
                await answer.content.readany()
            for answer in answers:
                answer.close()
        await proxy.closed(50)
        assert not proxy.app[SERVICE].running
        assert {record["ended"] for record in proxy.records() if record["event"] == "request.closed"} == {
            "client_cancelled"
        }
