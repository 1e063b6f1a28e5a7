"""OpenAI responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.clients.apis import TOOL, USAGE, Body, named
from tests.clients.apis.chat import refusal, tokens
from tests.clients.scenarios import Scenario

__all__ = ["refusal", "stream", "whole"]


def stream(said: Scenario, ask: Body, flavour: str) -> list[bytes]:
    """Created, in progress, one item after another from added to done, completed; numbered."""
    events = list(_events(said, ask))
    return [named({**event, "sequence_number": number}) for number, event in enumerate(events)]


def whole(said: Scenario, ask: Body, flavour: str) -> Body:
    """The response object."""
    return _response(ask, "completed", [item for item, _ in _items(said)])


def _events(said: Scenario, ask: Body) -> Iterator[Body]:
    begun = _response(ask, "in_progress", [])
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    items = _items(said)
    for index, (item, pieces) in enumerate(items):
        yield {"type": "response.output_item.added", "output_index": index, "item": _empty(item)}
        for kind, place in (("text", "content"), ("summary", "summary"), ("call", "arguments")):
            if place in item:
                yield from _piecewise(kind, {"item_id": item["id"], "output_index": index}, item, pieces, said)
                if item["type"] == "message" and said.ending == "error":
                    yield {"type": "error", "code": "broken", "message": "It broke.", "param": None, **_BROKEN}
                if item["type"] == "message" and said.ending in ("cut", "error"):
                    return
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": _response(ask, "completed", [item for item, _ in items])}


_BROKEN = {"error": {"type": "server_error", "code": "broken", "message": "It broke.", "param": None}}


def _piecewise(kind: str, at: Body, item: Body, pieces: tuple[str, ...], said: Scenario) -> Iterator[Body]:
    """The deltas of one item and the events around them."""
    if kind == "call":
        for piece in pieces:
            yield {"type": "response.function_call_arguments.delta", **at, "delta": piece, "obfuscation": "x"}
        done = {"arguments": item["arguments"], "name": item["name"]}
        yield {"type": "response.function_call_arguments.done", **at, **done}
        return
    part, name, at, extra = {
        "text": (_text(), "response.output_text", {**at, "content_index": 0}, {"logprobs": []}),
        "summary": (_summary(""), "response.reasoning_summary_text", {**at, "summary_index": 0}, {}),
    }[kind]
    whole = item["content"][0] if kind == "text" else {}
    proven = kind == "text" and said.logprobs
    around = "response.content_part" if kind == "text" else "response.reasoning_summary_part"
    yield {"type": f"{around}.added", **at, "part": part}
    for piece in pieces:
        likely = {"logprobs": tokens([piece])} if proven else extra
        yield {"type": f"{name}.delta", **at, "delta": piece, **likely, "obfuscation": "xyz"}
    if said.ending in ("cut", "error") and kind == "text":
        return
    if whole.get("annotations"):
        (annotation,) = whole["annotations"]
        yield {"type": f"{name}.annotation.added", **at, "annotation_index": 0, "annotation": annotation}
    text = "".join(pieces)
    yield {"type": f"{name}.done", **at, "text": text, **({"logprobs": tokens(pieces)} if proven else extra)}
    yield {"type": f"{around}.done", **at, "part": whole or {**part, "text": text}}


def _items(said: Scenario) -> list[tuple[Body, tuple[str, ...]]]:
    items: list[tuple[Body, tuple[str, ...]]] = []
    if said.reasoning:
        summary = [_summary("".join(said.reasoning))]
        items.append(({"id": "rs_1", "type": "reasoning", "summary": summary}, said.reasoning))
    message = {"type": "message", "status": "completed", "role": "assistant"}
    items.append(({"id": "msg_1", **message, "content": [_text(said)]}, said.text))
    for number, arguments in enumerate(said.calls, 1):
        call = {"id": f"fc_{number}", "type": "function_call", "status": "completed", "call_id": f"call_{number}"}
        items.append(({**call, "name": TOOL, "arguments": "".join(arguments)}, arguments))
    return items


def _empty(item: Body) -> Body:
    empty: dict[str, Any] = {key: type(item[key])() for key in ("content", "summary", "arguments") if key in item}
    return {**item, **({"status": "in_progress"} if "status" in item else {}), **empty}


def _text(said: Scenario | None = None) -> Body:
    if said is None:
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    text = "".join(said.text)
    place = {"start_index": 0, "end_index": len(text)}
    citation = {"type": "url_citation", **place, "title": said.cited, "url": "https://source.test/"}
    return {
        "type": "output_text",
        "annotations": [citation] if said.cited else [],
        "logprobs": tokens(said.text) if said.logprobs else [],
        "text": text,
    }


def _summary(text: str) -> Body:
    return {"type": "summary_text", "text": text}


def _response(ask: Body, status: str, output: list[Body]) -> Body:
    asked, given = USAGE
    usage = {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": given,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked + given,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1700000000,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": ask.get("model", "m"),
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage if status == "completed" else None,
        "user": None,
        "metadata": {},
    }
