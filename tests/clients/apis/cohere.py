"""Cohere's v2 chat."""

from __future__ import annotations

from collections.abc import Iterator

from tests.clients.apis import TOOL, USAGE, Body, named
from tests.clients.scenarios import Scenario

_USAGE = {
    "billed_units": {"input_tokens": USAGE[0], "output_tokens": USAGE[1]},
    "tokens": {"input_tokens": USAGE[0], "output_tokens": USAGE[1]},
}


def stream(said: Scenario, ask: Body, flavour: str) -> list[bytes]:
    """Named events."""
    return [named(event) for event in _events(said)]


def whole(said: Scenario, ask: Body, flavour: str) -> Body:
    """A response; with a tool call the text is the tool plan."""
    text = "".join(said.text)
    message: Body = {"role": "assistant"}
    if said.calls:
        calls = [
            {"id": f"send_{index}", "type": "function", "function": {"name": TOOL, "arguments": "".join(arguments)}}
            for index, arguments in enumerate(said.calls)
        ]
        message |= {"tool_plan": text, "tool_calls": calls}
    else:
        thought = [{"type": "thinking", "thinking": "".join(said.reasoning)}] if said.reasoning else []
        message["content"] = [*thought, {"type": "text", "text": text}]
    return {"id": "c1", "finish_reason": _finish(said), "message": message, "usage": _USAGE}


def refusal() -> Body:
    """Cohere's error."""
    return {"message": "No such thing.", "id": "c1"}


def _events(said: Scenario) -> Iterator[Body]:
    start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield {"type": "message-start", "id": "c1", "delta": {"message": start}}
    if said.calls:
        yield from ({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": piece}}} for piece in said.text)
        for index, arguments in enumerate(said.calls):
            yield from _call(index, arguments)
    else:
        if said.reasoning:
            yield from _content(0, "thinking", said.reasoning)
        yield from _content(1 if said.reasoning else 0, "text", said.text, ended=said.ending == "stop")
    if said.ending == "error":
        yield {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "It broke.", "usage": _USAGE}}
    if said.ending == "stop":
        yield {"type": "message-end", "delta": {"finish_reason": _finish(said), "usage": _USAGE}}


def _content(index: int, kind: str, pieces: tuple[str, ...], *, ended: bool = True) -> Iterator[Body]:
    begun = {"message": {"content": {"type": kind, kind: ""}}}
    yield {"type": "content-start", "index": index, "delta": begun}
    for piece in pieces:
        yield {"type": "content-delta", "index": index, "delta": {"message": {"content": {kind: piece}}}}
    if ended:
        yield {"type": "content-end", "index": index}


def _call(index: int, arguments: tuple[str, ...]) -> Iterator[Body]:
    call = {"id": f"send_{index}", "type": "function", "function": {"name": TOOL, "arguments": ""}}
    yield {"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": call}}}
    for piece in arguments:
        delta = {"message": {"tool_calls": {"function": {"arguments": piece}}}}
        yield {"type": "tool-call-delta", "index": index, "delta": delta}
    yield {"type": "tool-call-end", "index": index}


def _finish(said: Scenario) -> str:
    return "TOOL_CALL" if said.calls else "COMPLETE"
