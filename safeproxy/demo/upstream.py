"""The scripted upstream: an OpenAI-compatible server that plays the scene whose model is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from safeproxy.demo import chat
from safeproxy.demo.script import Scene, scene_for


def create_upstream(pace: float, told: Callable[[str, bool], None]) -> web.Application:
    """The application; it speaks a token every ``pace`` seconds.

    ``told`` is called with each token before it is sent, and whether it belongs to a tool call's arguments.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        scene = scene_for(str(asked.get("model")))
        if not asked.get("stream"):
            return web.json_response(_whole(scene))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(chat.chunk({"role": "assistant", "content": ""}, model=scene.model))
        for token, delta in scene.tokens:
            await asyncio.sleep(pace)
            told(token, "tool_calls" in delta)
            await response.write(chat.chunk(delta, model=scene.model))
        await asyncio.sleep(pace)
        await response.write(chat.chunk({}, model=scene.model, finish=scene.finish) + chat.DONE)
        return response

    app = web.Application()
    app.router.add_post(chat.PATH, answer)
    return app


def _whole(scene: Scene) -> dict[str, object]:
    """The scene as an answer that is not streamed."""
    message: dict[str, object] = {"role": "assistant", "content": "".join((*scene.content, *scene.ending))}
    if scene.arguments:
        function = {"name": scene.tool, "arguments": "".join(scene.arguments)}
        message["tool_calls"] = [{"id": "call_demo", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "finish_reason": scene.finish}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1767225600,
        "model": scene.model,
        "choices": [choice],
    }
