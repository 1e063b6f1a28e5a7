"""OpenAI chat completions, Azure's and Mistral's variants of it included."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.clients.apis import TOOL, USAGE, Body, data
from tests.clients.scenarios import Scenario

_DONE = b"data: [DONE]\n\n"
_FILTERED = {"hate": {"filtered": False, "severity": "safe"}}


def stream(said: Scenario, ask: Body, flavour: str) -> list[bytes]:
    """A role chunk, the deltas, a finish chunk, usage if it was asked for, and ``[DONE]``."""
    events = []
    if flavour == "azure":
        first = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
        events.append(data({**first, "prompt_filter_results": [{"prompt_index": 0}]}))
    events.append(_chunk(ask, {"role": "assistant", "content": "", "refusal": None}))
    events += [_chunk(ask, _reasoning(piece, flavour)) for piece in said.reasoning]
    marks = {"content_filter_results": _FILTERED} if flavour == "azure" else {}
    events += [
        _chunk(ask, {"content": piece}, **marks, **({"logprobs": _logprobs([piece])} if said.logprobs else {}))
        for piece in said.text
    ]
    if said.cited:
        events.append(_chunk(ask, {"annotations": [_citation(said)]}))
    if said.calls:
        events += [_chunk(ask, {"tool_calls": [piece]}) for piece in _call_pieces(said, flavour)]
    if said.ending == "cut":
        return events
    if said.ending == "error":
        return [*events, data({"error": {"message": "It broke.", "type": "server_error", "code": "broken"}})]
    top = {"usage": usage()} if flavour == "mistral" else {}
    events.append(_chunk(ask, {}, "tool_calls" if said.calls else "stop", top=top))
    if (ask.get("stream_options") or {}).get("include_usage"):
        events.append(data({**_head(ask, "chat.completion.chunk"), "choices": [], "usage": usage()}))
    return [*events, _DONE]


def whole(said: Scenario, ask: Body, flavour: str) -> Body:
    """A completion."""
    message: Body = {"role": "assistant", "content": "".join(said.text), "refusal": None, "annotations": []}
    thought = "".join(said.reasoning)
    if thought and flavour == "mistral":
        message["content"] = [*_reasoning(thought, flavour)["content"], {"type": "text", "text": message["content"]}]
    elif thought:
        message["reasoning_content"] = thought
    if said.calls:
        message["tool_calls"] = [
            {"id": f"call_{number}", "type": "function", "function": {"name": TOOL, "arguments": "".join(pieces)}}
            for number, pieces in enumerate(said.calls)
        ]
    choice: Body = {"index": 0, "message": message, "finish_reason": "tool_calls" if said.calls else "stop"}
    if flavour == "azure":
        choice["content_filter_results"] = _FILTERED
    choice["logprobs"] = _logprobs(said.text) if said.logprobs else None
    if said.cited:
        message["annotations"] = [_citation(said)]
    return {**_head(ask, "chat.completion"), "choices": [choice], "usage": usage()}


def refusal() -> Body:
    """OpenAI's error object."""
    return {"error": {"message": "No such thing.", "type": "invalid_request_error", "param": "x", "code": "bad_thing"}}


def tokens(pieces: Iterable[str]) -> list[Body]:
    """Every piece as one token with its log probability."""
    return [{**_token(piece), "top_logprobs": [_token(piece)]} for piece in pieces]


def _token(piece: str) -> Body:
    return {"token": piece, "logprob": -0.5, "bytes": list(piece.encode())}


def _logprobs(pieces: Iterable[str]) -> Body:
    return {"content": tokens(pieces), "refusal": None}


def _citation(said: Scenario) -> Body:
    place = {"start_index": 0, "end_index": len("".join(said.text))}
    return {"type": "url_citation", "url_citation": {**place, "title": said.cited, "url": "https://source.test/"}}


def _head(ask: Body, kind: str) -> Body:
    head = {"id": "chatcmpl-1", "object": kind, "created": 1700000000, "model": ask.get("model", "m")}
    return {**head, "service_tier": "default", "system_fingerprint": "fp_1"}


def _chunk(ask: Body, delta: Body, finish: str | None = None, *, top: Body | None = None, **choice: Any) -> bytes:
    one = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, **choice}
    return data({**_head(ask, "chat.completion.chunk"), "choices": [one], **(top or {})})


def _reasoning(piece: str, flavour: str) -> Body:
    if flavour == "mistral":
        return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]}
    return {"reasoning_content": piece}


def _call_pieces(said: Scenario, flavour: str) -> list[Body]:
    pieces: list[Body] = []
    for index, arguments in enumerate(said.calls):
        if flavour == "mistral":  # it sends whole calls
            function = {"name": TOOL, "arguments": "".join(arguments)}
            pieces.append({"index": index, "id": f"call0000{index}", "function": function})
            continue
        function = {"name": TOOL, "arguments": ""}
        pieces.append({"index": index, "id": f"call_{index}", "type": "function", "function": function})
        pieces += [{"index": index, "function": {"arguments": piece}} for piece in arguments]
    return pieces


def usage() -> Body:
    """What was counted."""
    asked, given = USAGE
    return {
        "prompt_tokens": asked,
        "completion_tokens": given,
        "total_tokens": asked + given,
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
