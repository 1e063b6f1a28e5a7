"""Caps on requests and answers end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.harness import CHAT, Proxy, Wait, body, event, finishes, proxied, stream, text
from tests.e2e.test_sockets import Peer, connected

CAPS: dict[str, Any] = {"max_answer_tokens": 100, "default_temperature": 0.5, "max_temperature": 1.0}


@pytest.mark.parametrize(
    ("path", "asked", "sent", "faults"),
    [
        (
            CHAT,
            {"model": "m", "messages": [], "max_tokens": 500, "temperature": 1.5},
            {"model": "m", "messages": [], "max_tokens": 100, "temperature": 1.0},
            ["max_tokens_capped", "temperature_capped"],
        ),
        (
            "/v1/messages",
            {"max_tokens": 500, "messages": []},
            {"max_tokens": 100, "messages": [], "temperature": 0.5},
            ["max_tokens_capped", "temperature_defaulted"],
        ),
        (
            "/v1beta/models/m:generateContent",
            {"contents": []},
            {"contents": [], "generationConfig": {"maxOutputTokens": 100, "temperature": 0.5}},
            ["max_tokens_capped", "temperature_defaulted"],
        ),
        ("/v1/messages/count_tokens", {"messages": []}, {"messages": []}, []),
        ("/unheard/of", {"max_tokens": 500}, {"max_tokens": 500}, []),
    ],
)
async def test_requests_are_sent_within_the_caps(
    tmp_path: Path, path: str, asked: Any, sent: Any, faults: list[str]
) -> None:
    """And the record says what was changed."""
    async with proxied(tmp_path, **CAPS) as (upstream, proxy):
        upstream.answers({})
        await proxy.post(path, asked)
        assert json.loads(upstream.asked[0]["body"]) == sent
        assert (await proxy.closed())["faults"] == faults


async def test_a_request_within_the_caps_keeps_its_bytes(tmp_path: Path) -> None:
    """Spaces and all."""
    raw = b'{"model": "m",  "max_tokens":9, "temperature": 0 , "messages":[]}'
    async with proxied(tmp_path, **CAPS) as (upstream, proxy):
        upstream.answers(body("Hello."))
        await proxy.post(data=raw, headers={"Content-Type": "application/json"})
        assert upstream.asked[0]["body"] == raw


async def test_what_is_no_json_is_the_upstreams_to_refuse(tmp_path: Path) -> None:
    """It is sent as it came."""
    async with proxied(tmp_path, **CAPS) as (upstream, proxy):
        upstream.answers({"error": {"message": "no JSON"}}, status=400)
        status, _, _ = await proxy.post(data=b"{", headers={"Content-Type": "application/json"})
        assert (status, upstream.asked[0]["body"]) == (400, b"{")


async def test_messages_of_a_socket_are_capped_too(tmp_path: Path) -> None:
    """Those that ask for a response; the others go as they came."""
    peer = Peer()
    async with connected(tmp_path, peer, path="/v1/responses", max_answer_tokens=100) as (proxy, socket):
        other = '{"type": "session.update",  "max_output_tokens": 500}'
        asked = {"type": "response.create", "model": "m", "input": "Hi", "max_output_tokens": 500}
        for one in (other, json.dumps(asked), "goodbye"):
            await socket.send_str(one)
        async for _ in socket:
            pass
        assert [peer.heard[0], json.loads(peer.heard[1])] == [other, {**asked, "max_output_tokens": 100}]
        assert (await proxy.closed())["faults"] == ["max_tokens_capped"]


async def test_a_stream_ends_at_its_length_and_the_upstream_is_left(tmp_path: Path) -> None:
    """At once: what it would go on to say costs money."""
    async with proxied(tmp_path, max_answer_chars=12) as (upstream, proxy):
        upstream.says(event("", role="assistant"), event("One ada@ex"), event("ample.com two"), Wait())
        _, _, got = await proxy.post(body={"model": "m", "messages": [], "stream": True})
        assert (text(got), finishes(got)) == ("One ada@exam", ["length"])
        assert got.endswith(b"data: [DONE]\n\n")
        await upstream.left.wait()
        record = await proxy.closed()
        assert (record["ended"], record["faults"]) == ("length", ["answer_too_long"])
        assert record["finish"] == {"upstream": {}, "delivered": {"0": "length"}}
        assert record["characters"] == {"scanned": 12, "passed": 12, "removed": 0, "held": 0, "placeholders": 0}


async def test_a_whole_answer_ends_at_its_length(tmp_path: Path) -> None:
    """With its usage, for it was said and will be billed."""
    async with proxied(tmp_path, max_answer_chars=7) as (upstream, proxy):
        upstream.answers(body("One two three"))
        status, _, got = await proxy.post()
        choice = json.loads(got)["choices"][0]
        assert (status, choice["message"]["content"], choice["finish_reason"]) == (200, "One two", "length")
        record = await proxy.closed()
        assert (record["ended"], record["faults"]) == ("length", ["answer_too_long"])
        assert record["finish"] == {"upstream": {"0": "stop"}, "delivered": {"0": "length"}}


def sdk_of(proxy: Proxy) -> openai.AsyncOpenAI:
    """The real client."""
    return openai.AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key="sk-test", max_retries=0)


async def test_the_sdk_sees_the_apis_own_limit(tmp_path: Path) -> None:
    """Streamed, whole, and in the helper that raises at it."""
    async with proxied(tmp_path, max_answer_chars=7) as (upstream, proxy), sdk_of(proxy) as sdk:
        upstream.says(*stream("One ", "two ", "three"))
        chunks = [chunk async for chunk in await sdk.chat.completions.create(model="m", messages=[], stream=True)]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "One two"
        assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["length"]
        async with sdk.chat.completions.stream(model="m", messages=[]) as helper:
            with pytest.raises(openai.LengthFinishReasonError):
                await helper.get_final_completion()
        upstream.answers(body("One two three"))
        completion = await sdk.chat.completions.create(model="m", messages=[])
        assert completion.choices[0].finish_reason == "length"


async def test_the_sdk_sees_the_limit_of_the_responses_api(tmp_path: Path) -> None:
    """As incomplete, with the text so far."""
    head = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m-1", "output": [], "tools": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**head, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": part},
        *({"type": "response.output_text.delta", **place, "delta": piece} for piece in ("One ", "two ", "three")),
    ]
    frames = [
        f"event: {one['type']}\ndata: {json.dumps({**one, 'sequence_number': number})}\n\n".encode()
        for number, one in enumerate(events)
    ]
    async with proxied(tmp_path, max_answer_chars=7) as (upstream, proxy), sdk_of(proxy) as sdk:
        upstream.says(*frames, Wait())
        told = [one async for one in await sdk.responses.create(model="m", input="Hi", stream=True)]
        last = told[-1]
        assert last.type == "response.incomplete"
        assert last.response.incomplete_details is not None
        assert last.response.incomplete_details.reason == "max_output_tokens"
        assert last.response.output_text == "One two"
        await upstream.left.wait()
        assert (await proxy.closed())["ended"] == "length"
