"""Ollama's chat and generate: lines of JSON, streamed unless the request says otherwise."""

from __future__ import annotations

import json

from tests.clients.apis import TOOL, USAGE, Body
from tests.clients.scenarios import Scenario

_COUNTERS = {
    "total_duration": 5,
    "load_duration": 1,
    "prompt_eval_count": USAGE[0],
    "prompt_eval_duration": 2,
    "eval_count": USAGE[1],
    "eval_duration": 3,
}


def stream(said: Scenario, ask: Body, flavour: str) -> list[bytes]:
    """One line a piece, then the counters."""
    lines = [_piece(ask, flavour, thinking=piece) for piece in said.reasoning]
    lines += [_piece(ask, flavour, piece) for piece in said.text]
    if said.calls:
        lines.append(_piece(ask, flavour, tool_calls=_calls(said)))
    if said.ending == "error":
        lines.append({"error": "It broke."})
    if said.ending == "stop":
        lines.append({**_piece(ask, flavour), "done": True, "done_reason": "stop", **_COUNTERS})
    return [json.dumps(line).encode() + b"\n" for line in lines]


def whole(said: Scenario, ask: Body, flavour: str) -> Body:
    """One object."""
    extra: Body = {"thinking": "".join(said.reasoning)} if said.reasoning else {}
    if said.calls:
        extra["tool_calls"] = _calls(said)
    body = _piece(ask, flavour, "".join(said.text), **extra)
    return {**body, "done": True, "done_reason": "stop", **_COUNTERS}


def refusal() -> Body:
    """Ollama's error."""
    return {"error": "No such thing."}


def _calls(said: Scenario) -> list[Body]:
    return [{"function": {"name": TOOL, "arguments": json.loads("".join(arguments))}} for arguments in said.calls]


def _piece(ask: Body, flavour: str, text: str = "", **extra: object) -> Body:
    head = {"model": ask.get("model", "m"), "created_at": "2026-11-22T10:00:00.123456Z"}
    if flavour == "generate":
        return {**head, "response": text, **extra, "done": False}
    return {**head, "message": {"role": "assistant", "content": text, **extra}, "done": False}
