"""Usage and cost end to end: asked for, not shown, priced, recorded."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.harness import CHAT, DONE, Proxy, Wait, body, event, events, proxied, stream

PRICES = "currency: EUR\nmodels:\n  m-*: {input: 1000, output: 10000}\n"
USED = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
ASKED: dict[str, Any] = {"model": "m", "messages": [], "stream": True}
COST = {"amount": 0.043, "currency": "EUR"}


def with_usage(*pieces: str) -> list[Any]:
    """A streamed answer as OpenAI gives it to who asked for the usage."""
    chunks = [json.loads(one.removeprefix(b"data: ")) for one in stream(*pieces, done=False) if isinstance(one, bytes)]
    last = {**chunks[0], "choices": [], "usage": USED}
    return [*(b"data: " + json.dumps({**one, "usage": None}).encode() + b"\n\n" for one in chunks), frame(last), DONE]


def frame(chunk: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    """A price list."""
    file = tmp_path / "prices.yaml"
    file.write_text(PRICES, encoding="utf-8")
    return file


async def test_a_stream_is_asked_for_its_usage_and_does_not_show_it(tmp_path: Path, prices: Path) -> None:
    """The client gets, byte for byte, what it would have got; the record has usage and cost."""
    async with proxied(tmp_path, prices=prices) as (upstream, proxy):
        upstream.says(*with_usage("One. ", "Two. "))
        _, _, got = await proxy.post(body=ASKED)
        assert json.loads(upstream.asked[0]["body"]) == {**ASKED, "stream_options": {"include_usage": True}}
        assert got == b"".join(one for one in stream("One. ", "Two. ") if isinstance(one, bytes))
        record = await proxy.closed()
        assert (record["usage"], record["cost"]) == (USED, COST)


async def test_a_client_that_asks_sees_its_usage(tmp_path: Path, prices: Path) -> None:
    """As it comes, and its request goes as it came."""
    async with proxied(tmp_path, prices=prices) as (upstream, proxy):
        upstream.says(*with_usage("One. "))
        asked = {**ASKED, "stream_options": {"include_usage": True}}
        _, _, got = await proxy.post(body=asked)
        assert got == b"".join(with_usage("One. "))
        assert (await proxy.closed())["cost"] == COST


@pytest.mark.parametrize(
    ("settings", "asks"),
    [
        ({}, False),
        ({"ask_usage": "always"}, True),
        ({"limits": [{"per": "all", "requests": 1000}]}, False),
        ({"limits": [{"per": "all", "tokens": 1000}]}, True),
        ({"limits": [{"per": "all", "tokens": 1000}], "ask_usage": "never"}, False),
    ],
)
async def test_usage_is_asked_for_where_it_is_needed(tmp_path: Path, settings: dict[str, Any], asks: bool) -> None:
    """For prices and for limits on tokens, unless set otherwise."""
    async with proxied(tmp_path, **settings) as (upstream, proxy):
        upstream.says(*stream("One. "))
        await proxy.post(body=ASKED)
        assert ("stream_options" in json.loads(upstream.asked[0]["body"])) is asks
        assert "cost" not in await proxy.closed()


async def test_the_sdk_notices_nothing(tmp_path: Path, prices: Path) -> None:
    """No chunk without choices, which would break many a loop."""
    async with (
        proxied(tmp_path, prices=prices) as (upstream, proxy),
        openai.AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key="sk-test", max_retries=0) as sdk,
    ):
        upstream.says(*with_usage("One. ", "Mail ada@example.com."))
        chunks = [c async for c in await sdk.chat.completions.create(model="m", messages=[], stream=True)]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "One. Mail [EMAIL_ADDRESS]."
        assert all(chunk.usage is None for chunk in chunks)
        assert (await proxy.closed())["cost"] == COST


async def test_a_whole_answer_has_its_cost(tmp_path: Path, prices: Path) -> None:
    """Its usage is its own, so it stays."""
    async with proxied(tmp_path, prices=prices) as (upstream, proxy):
        upstream.answers(body("Hello."))
        _, _, got = await proxy.post()
        assert json.loads(got)["usage"] == USED
        assert (await proxy.closed())["cost"] == COST


async def test_an_answer_fetched_again_is_not_paid_again(tmp_path: Path, prices: Path) -> None:
    """The record has its usage all the same."""
    async with proxied(tmp_path, prices=prices) as (upstream, proxy):
        upstream.answers(body("Hello."))
        async with proxy.session.get(proxy.at(f"{CHAT}/chatcmpl-1")) as response:
            await response.read()
        record = await proxy.closed()
        assert record["usage"] == USED
        assert "cost" not in record


def messages(*chunks: dict[str, Any]) -> list[bytes]:
    """Events of Anthropic's API."""
    return [b"event: " + one["type"].encode() + b"\n" + frame(one) for one in chunks]


async def cancelled(proxy: Proxy, path: str, asked: Any) -> dict[str, Any]:
    """The record of a stream that the client leaves after its first bytes."""
    async with proxy.session.post(proxy.at(path), json=asked) as response:
        await response.content.readany()
        response.close()
    return await proxy.closed()


async def test_a_cancelled_stream_costs_what_the_api_had_said(tmp_path: Path, prices: Path) -> None:
    """Anthropic says at the beginning what the prompt comes to; others nothing before the end: then nobody knows."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 0, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m-1", "content": [], "usage": usage}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    async with proxied(tmp_path, prices=prices) as (upstream, proxy):
        upstream.says(*messages({"type": "message_start", "message": message}, block), Wait())
        record = await cancelled(proxy, "/v1/messages", {**ASKED, "max_tokens": 9})
        assert (record["ended"], record["usage"]) == ("client_cancelled", usage)
        assert record["cost"] == {"amount": 0.017, "currency": "EUR"}


async def test_a_cancelled_stream_without_usage_has_no_cost(tmp_path: Path, prices: Path) -> None:
    """Better none than a wrong one."""
    async with proxied(tmp_path, prices=prices) as (upstream, proxy):
        upstream.says(event("One. ", role="assistant"), Wait())
        record = await cancelled(proxy, CHAT, ASKED)
        assert (record["ended"], record["usage"]) == ("client_cancelled", None)
        assert "cost" not in record


async def test_prices_may_be_changed_while_it_runs(
    tmp_path: Path, prices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next request costs what they say then."""
    monkeypatch.setattr("safeproxy.shell.reloaded.LOOK_INTERVAL", 0.0)
    async with proxied(tmp_path, prices=prices) as (upstream, proxy):
        upstream.answers(body("Hello."))
        await proxy.post()
        await asyncio.to_thread(prices.write_text, PRICES.replace("1000,", "2000,"), encoding="utf-8")
        os.utime(prices, (1, 1))
        await proxy.post()
        assert (await proxy.closed(2))["cost"] == {"amount": 0.046, "currency": "EUR"}


async def test_our_own_lines_do_not_show_it_either(tmp_path: Path, prices: Path) -> None:
    """They are the same events."""
    async with proxied(tmp_path, prices=prices) as (upstream, proxy):
        upstream.says(*with_usage("One. "))
        _, _, got = await proxy.post("/api/v1/chat/stream", body={"model": "m", "messages": []})
        lines = [json.loads(line) for line in got.splitlines()]
        assert lines == [
            one for one in events(b"".join(s for s in stream("One. ") if isinstance(s, bytes))) if one != "[DONE]"
        ]
        assert (await proxy.closed())["cost"] == COST
