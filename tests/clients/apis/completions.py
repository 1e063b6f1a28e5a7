"""OpenAI's legacy completions."""

from __future__ import annotations

from tests.clients.apis import Body, data
from tests.clients.apis.chat import refusal, usage
from tests.clients.scenarios import Scenario

__all__ = ["refusal", "stream", "whole"]


def stream(said: Scenario, ask: Body, flavour: str) -> list[bytes]:
    """One event a piece, a finish and ``[DONE]``."""
    events = [data({**_head(ask), "choices": [_choice(piece)]}) for piece in said.text]
    if said.ending == "cut":
        return events
    if said.ending == "error":
        return [*events, data({"error": {"message": "It broke.", "type": "server_error", "code": "broken"}})]
    events.append(data({**_head(ask), "choices": [_choice("", "stop")]}))
    if (ask.get("stream_options") or {}).get("includeusage"):
        events.append(data({**_head(ask), "choices": [], "usage": usage()}))
    return [*events, b"data: [DONE]\n\n"]


def whole(said: Scenario, ask: Body, flavour: str) -> Body:
    """A completion."""
    return {**_head(ask), "choices": [_choice("".join(said.text), "stop")], "usage": usage()}


def _head(ask: Body) -> Body:
    return {"id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": ask.get("model", "m")}


def _choice(text: str, finish: str | None = None) -> Body:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
