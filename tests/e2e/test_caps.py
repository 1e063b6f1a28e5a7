"""Caps on requests and answers end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import CHAT, body, proxied
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
