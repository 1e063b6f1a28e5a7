"""The scripted upstream, over loopback: streamed or not it plays the scene whose model is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from safeproxy.demo import chat
from safeproxy.demo.script import SCENES, Scene
from safeproxy.demo.upstream import create_upstream

pytestmark = [pytest.mark.e2e, pytest.mark.enable_socket]


@asynccontextmanager
async def playing(told: Callable[[str, bool], None]) -> AsyncIterator[TestClient[Any, Any]]:
    """A client of the upstream, which plays as fast as it can; all of it ends within ten seconds."""
    async with asyncio.timeout(10), TestClient(TestServer(create_upstream(0, told))) as client:
        yield client


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.model)
async def test_a_stream_plays_the_scene_and_each_token_is_told_before_it_is_sent(scene: Scene) -> None:
    """What has arrived was told; at the end all of it was, and the client has all of it."""
    told: list[tuple[str, bool]] = []
    reader, content, arguments, finish = chat.EventReader(), "", "", None
    async with playing(lambda token, called: told.append((token, called))) as client:
        answer = await client.post(chat.PATH, json={"model": scene.model, "stream": True})
        assert answer.content_type == "text/event-stream"
        async for data in answer.content.iter_any():
            for event in reader.feed(data):
                content += chat.content(event)
                arguments += chat.arguments(event)
                finish = chat.finish_reason(event) or finish
                assert event["model"] == scene.model
            assert "".join(token for token, called in told if not called).startswith(content)
            assert "".join(token for token, called in told if called).startswith(arguments)
    assert reader.done
    assert (content, arguments) == ("".join((*scene.content, *scene.ending)), "".join(scene.arguments))
    assert finish == scene.finish
    assert told == [(token, "tool_calls" in delta) for token, delta in scene.tokens]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.model)
async def test_an_answer_that_is_not_streamed_says_the_same(scene: Scene) -> None:
    """In one message; a scene without a call has none, and no token is told."""
    told: list[str] = []
    async with playing(lambda token, called: told.append(token)) as client:
        answer = await client.post(chat.PATH, json={"model": scene.model})
        body = await answer.json()
    choice = body["choices"][0]
    calls = choice["message"].get("tool_calls", [])
    assert body["model"] == scene.model
    assert choice["message"]["content"] == "".join((*scene.content, *scene.ending))
    assert [call["function"]["arguments"] for call in calls] == ["".join(scene.arguments)] * bool(scene.arguments)
    assert choice["finish_reason"] == scene.finish
    assert told == []


async def test_a_request_that_names_no_model_gets_the_first_scene() -> None:
    """So that any client can be tried on it."""
    async with playing(lambda token, called: None) as client:
        answer = await client.post(chat.PATH, json={"messages": []})
        assert (await answer.json())["model"] == SCENES[0].model
