"""Requests that are sent again, or to another upstream: only before the first byte, and only where that is safe."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from tests.e2e.harness import (
    CHAT,
    Abort,
    Proxy,
    Upstream,
    Wait,
    body,
    error_of,
    event,
    finishes,
    proxied,
    stream,
    text,
    upstream,
)

NOBODY = "http://127.0.0.1:9"
ERROR = {"error": {"message": "not now"}}
CLIENT = {"Authorization": "Bearer client-bearer"}
QUICK: dict[str, Any] = {"retry_attempts": 2, "retry_base_delay": 0.001}


def failing(played: Upstream, status: int = 503, times: int = 1, **headers: str) -> None:
    """Fail so often, then answer."""
    played.turns = [lambda: played.answers(ERROR, status, **headers)] * times + [lambda: played.answers(body("Hi"))]


@asynccontextmanager
async def pair(
    folder: Path, first: str | None = None, **settings: Any
) -> AsyncIterator[tuple[Upstream, Upstream, Proxy]]:
    """Two upstreams, of which the second stands in for the first, which may be at another address."""
    async with upstream() as a, upstream() as b:
        given = [
            {"name": "a", "url": first or a.url, "failover": ["b"]},
            {"name": "b", "url": b.url, "path": "/b"},
        ]
        async with proxied(folder, upstreams=given, **settings) as (_, proxy):
            b.answers(body("From b"))
            yield a, b, proxy


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
async def test_a_passing_fault_is_not_noticed(tmp_path: Path, status: int) -> None:
    """The record tells of it."""
    async with proxied(tmp_path, **QUICK) as (played, proxy):
        failing(played, status, times=2)
        assert (await proxy.post())[0] == 200
        closed = await proxy.closed()
        assert (closed["attempts"], closed["faults"], closed["ended"]) == (3, ["retried"], "stop")


async def test_a_real_client_sees_a_normal_stream(tmp_path: Path) -> None:
    """After two failures, without any retry of its own."""
    async with proxied(tmp_path, **QUICK) as (played, proxy):
        played.turns = [lambda: played.answers(ERROR, 503)] * 2 + [lambda: played.says(*stream("Hello", "!"))]
        async with openai.AsyncOpenAI(api_key="k", base_url=proxy.url + "/v1", max_retries=0) as client:
            answer = await client.chat.completions.create(model="m", messages=[], stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in answer]
        assert "".join(pieces) == "Hello!"
        assert len(played.asked) == 3


async def test_after_so_many_attempts_the_answer_passes(tmp_path: Path) -> None:
    """With word to the client's SDK not to repeat what was repeated here."""
    async with proxied(tmp_path, **QUICK) as (played, proxy):
        played.answers(ERROR, 503)
        status, headers, raw = await proxy.post()
        assert (status, error_of(raw)["message"], headers["x-should-retry"]) == (503, "not now", "false")
        assert len(played.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 501])
async def test_what_is_the_client_s_own_fault_is_not_repeated(tmp_path: Path, status: int) -> None:
    """It would fail again."""
    async with proxied(tmp_path, **QUICK) as (played, proxy):
        played.answers(ERROR, status)
        assert (await proxy.post())[0] == status
        assert len(played.asked) == 1


@pytest.mark.parametrize(
    ("path", "extra", "headers", "asked"),
    [
        (CHAT, {}, {}, 2),
        (CHAT, {"store": True}, {}, 1),
        (CHAT, {"store": True}, {"Idempotency-Key": "1"}, 2),
        ("/v1/responses", {}, {}, 1),
        ("/v1/responses", {"store": False}, {}, 2),
        ("/v1/responses", {"store": False, "background": True}, {}, 1),
        ("/v1/messages", {}, {}, 2),
        ("/v1/messages/batches", {}, {}, 1),
        ("/v1/threads", {}, {}, 1),
    ],
)
async def test_only_what_keeps_nothing_is_repeated(
    tmp_path: Path, path: str, extra: dict[str, Any], headers: dict[str, str], asked: int
) -> None:
    """A request that leaves something behind would leave it twice; the client's own key for that makes it safe."""
    async with proxied(tmp_path, **QUICK) as (played, proxy):
        failing(played)
        await proxy.post(path, {"model": "m", "messages": [], **extra}, headers=headers)
        assert len(played.asked) == asked


async def test_a_request_that_says_nothing_new_is_repeated(tmp_path: Path) -> None:
    """By its method."""
    async with proxied(tmp_path, **QUICK) as (played, proxy):
        failing(played)
        async with proxy.session.get(proxy.url + "/v1/models") as answer:
            assert answer.status == 200
        assert len(played.asked) == 2


async def test_an_upload_that_was_begun_is_not_repeated(tmp_path: Path) -> None:
    """Its beginning is gone."""
    async with proxied(tmp_path, **QUICK) as (played, proxy):
        played.answers(ERROR, 503)
        form = aiohttp.FormData({"file": io.BytesIO(b"x" * 1000), "purpose": "batch"})
        async with proxy.session.post(proxy.url + "/v1/files", data=form) as answer:
            assert answer.status == 503
        assert len(played.asked) == 1


@pytest.mark.parametrize(("said", "asked"), [("true", 2), ("false", 1)])
async def test_the_upstream_s_own_word_counts(tmp_path: Path, said: str, asked: int) -> None:
    """For and against."""
    async with proxied(tmp_path, **QUICK) as (played, proxy):
        failing(played, 409 if said == "true" else 503, x_should_retry=said)
        await proxy.post()
        assert len(played.asked) == asked


@pytest.mark.parametrize("header", ["Retry_After", "retry_after_ms"])
async def test_a_long_wait_is_the_client_s(tmp_path: Path, header: str) -> None:
    """The proxy does not sleep for minutes on a client's time."""
    async with proxied(tmp_path, **QUICK) as (played, proxy):
        failing(played, 429, **{header: "120000"})
        assert (await proxy.post())[0] == 429
        assert len(played.asked) == 1


async def test_a_wait_that_is_asked_for_is_kept(tmp_path: Path) -> None:
    """At least so long passes."""
    async with proxied(tmp_path, **QUICK) as (played, proxy):
        failing(played, 429, retry_after_ms="150")
        assert (await proxy.post())[0] == 200
        assert (await proxy.closed())["timing"]["duration_ms"] >= 150


async def test_a_client_that_leaves_ends_the_waiting(tmp_path: Path) -> None:
    """Nobody is asked for it any more."""
    async with proxied(tmp_path, retry_attempts=5, retry_base_delay=20) as (played, proxy):
        failing(played, 503, times=9, Retry_After="15")
        asking = asyncio.create_task(proxy.post())
        await played.heard.wait()
        await asyncio.sleep(0.05)
        asking.cancel()
        closed = await proxy.closed()
        assert (closed["ended"], closed["attempts"]) == ("client_cancelled", 1)


async def test_nothing_is_repeated_once_an_answer_began(tmp_path: Path) -> None:
    """What the client has of it would be there twice."""
    async with pair(tmp_path, **QUICK) as (a, b, proxy):
        a.says(event("Hello ", role="assistant"), Abort())
        _, _, raw = await proxy.post()
        assert error_of(raw)["message"]
        assert (text(raw), finishes(raw)) == ("Hello ", [])
        assert (len(a.asked), len(b.asked)) == (1, 0)


@pytest.mark.parametrize("status", [429, 500, 503, 529])
async def test_another_upstream_stands_in(tmp_path: Path, status: int) -> None:
    """After the first was asked as often as is set."""
    async with pair(tmp_path, **QUICK) as (a, b, proxy):
        a.answers(ERROR, status)
        answered, _, raw = await proxy.post()
        assert (answered, b"From b" in raw) == (200, True)
        assert (len(a.asked), len(b.asked)) == (3, 1)
        closed = await proxy.closed()
        assert (closed["upstream"], closed["attempts"]) == ("b", 4)
        assert set(closed["faults"]) == {"retried", "failed_over"}
        assert b.asked[0]["target"] == CHAT


async def test_another_upstream_stands_in_for_one_that_is_gone(tmp_path: Path) -> None:
    """Or that says nothing."""
    async with pair(tmp_path, first=NOBODY, **QUICK) as (_, b, proxy):
        assert b"From b" in (await proxy.post())[2]
        closed = await proxy.closed()
        assert set(closed["faults"]) == {"retried", "failed_over", "upstream_unreachable"}
        assert len(b.asked) == 1


async def test_another_upstream_stands_in_for_one_that_is_mute(tmp_path: Path) -> None:
    """Within the time for the first byte."""
    async with pair(tmp_path, first_byte_timeout=0.1) as (a, _, proxy):
        a.mute = True
        assert b"From b" in (await proxy.post())[2]
        assert set((await proxy.closed())["faults"]) == {"failed_over", "upstream_first_byte_timeout"}


async def test_the_client_s_credentials_do_not_go_to_who_stands_in(tmp_path: Path) -> None:
    """They are for the one that it asks."""
    async with pair(tmp_path) as (a, b, proxy):
        a.answers(ERROR, 503)
        await proxy.post(headers={**CLIENT, "x-api-key": "client-x", "Cookie": "client=1"})
        assert a.asked[0]["headers"]["Authorization"] == CLIENT["Authorization"]
        assert "client" not in str(dict(b.asked[0]["headers"])).lower()


async def test_what_is_not_safe_does_not_fail_over(tmp_path: Path) -> None:
    """Where the first may have done it already; where it cannot have heard of it, it does."""
    stored = {"model": "m", "messages": [], "store": True}
    async with pair(tmp_path) as (a, b, proxy):
        a.answers(ERROR, 503)
        assert (await proxy.post(body=stored))[0] == 503
        assert not b.asked
    folder = tmp_path / "gone"
    await asyncio.to_thread(folder.mkdir)
    async with pair(folder, first=NOBODY) as (_, b, proxy):
        assert (await proxy.post(body=stored))[0] == 200
        assert len(b.asked) == 1


async def test_a_stream_that_hangs_before_its_first_event_is_not_repeated(tmp_path: Path) -> None:
    """The head was sent on: the client gets the API's error event."""
    async with pair(tmp_path, first_byte_timeout=0.1) as (a, b, proxy):
        a.says(Wait())
        status, _, raw = await proxy.post()
        assert (status, bool(error_of(raw)["message"]), len(b.asked)) == (200, True, 0)
