"""Anthropic messages."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.clients.apis import TOOL, USAGE, Body, named
from tests.clients.scenarios import SCENARIOS, Scenario

_SIGNATURE = "c2ln"
_SIGNED = {("".join(said.reasoning), _SIGNATURE) for said in SCENARIOS.values()}


def stream(said: Scenario, ask: Body, flavour: str) -> list[bytes]:
    """Named events, a ping among them."""
    return [named(event) for event in _events(said, ask)]


def whole(said: Scenario, ask: Body, flavour: str) -> Body:
    """A message."""
    content: list[Body] = []
    if said.reasoning:
        content.append({"type": "thinking", "thinking": "".join(said.reasoning), "signature": _SIGNATURE})
    citations = {"citations": [_citation(said)]} if said.cited else {}
    content.append({"type": "text", "text": "".join(said.text), **citations})
    for number, arguments in enumerate(said.calls, 1):
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": TOOL}
        content.append({**call, "input": json.loads("".join(arguments))})
    return {**_message(ask), "content": content, "stop_reason": _stop(said)}


def complaint(ask: Body) -> Body | None:
    """What the API says to thinking that comes back changed; nothing if it came back as it was."""
    blocks = [block for turn in ask["messages"] if isinstance(turn["content"], list) for block in turn["content"]]
    for block in blocks:
        if block["type"] == "thinking" and (block["thinking"], block["signature"]) not in _SIGNED:
            error = {"type": "invalid_request_error", "message": "thinking blocks cannot be modified"}
            return {"type": "error", "error": error}
    return None


def refusal() -> Body:
    """Anthropic's error object."""
    return {"type": "error", "error": {"type": "invalid_request_error", "message": "No such thing."}, "request_id": "r"}


def _events(said: Scenario, ask: Body) -> Iterator[Body]:
    yield {"type": "message_start", "message": {**_message(ask), "content": [], "stop_reason": None}}
    index = 0
    if said.reasoning:
        yield _start(index, {"type": "thinking", "thinking": "", "signature": ""})
        yield from (_delta(index, {"type": "thinking_delta", "thinking": piece}) for piece in said.reasoning)
        yield _delta(index, {"type": "signature_delta", "signature": _SIGNATURE})
        yield {"type": "content_block_stop", "index": index}
        index += 1
    yield _start(index, {"type": "text", "text": ""})
    yield {"type": "ping"}
    yield from (_delta(index, {"type": "text_delta", "text": piece}) for piece in said.text)
    if said.cited:
        yield _delta(index, {"type": "citations_delta", "citation": _citation(said)})
    if said.ending == "error":
        yield {"type": "error", "error": {"type": "overloaded_error", "message": "It broke."}}
    if said.ending in ("cut", "error"):
        return
    yield {"type": "content_block_stop", "index": index}
    for number, arguments in enumerate(said.calls, 1):
        index += 1
        yield _start(index, {"type": "tool_use", "id": f"toolu_{number}", "name": TOOL, "input": {}})
        yield from (_delta(index, {"type": "input_json_delta", "partial_json": p}) for p in ("", *arguments))
        yield {"type": "content_block_stop", "index": index}
    end = {"stop_reason": _stop(said), "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": USAGE[1]}}
    yield {"type": "message_stop"}


def _message(ask: Body) -> Body:
    usage = {
        "input_tokens": USAGE[0],
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": USAGE[1],
        "service_tier": "standard",
    }
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": ask.get("model", "m")}
    return {**head, "stop_sequence": None, "usage": usage}


def _citation(said: Scenario) -> Body:
    place = {"document_index": 0, "document_title": "Letters", "start_char_index": 0, "end_char_index": 20}
    return {"type": "char_location", "cited_text": said.cited, "file_id": None, **place}


def _stop(said: Scenario) -> str:
    return "tool_use" if said.calls else "end_turn"


def _start(index: int, block: Body) -> Body:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _delta(index: int, delta: Body) -> Body:
    return {"type": "content_block_delta", "index": index, "delta": delta}
