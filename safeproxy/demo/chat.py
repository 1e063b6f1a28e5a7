"""Just enough of the OpenAI chat format to play an upstream and to read an answer. Facts: OpenAI's API reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

PATH = "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any], *, model: str, finish: str | None = None, index: int = 0) -> bytes:
    """One ``chat.completion.chunk`` as a server-sent event."""
    body = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1767225600,
        "model": model,
        "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def text_chunks(pieces: Sequence[str], *, model: str, finish: str = "stop") -> list[bytes]:
    """The events of an answer whose content arrives in these pieces: role first, finish and ``[DONE]`` last."""
    start = chunk({"role": "assistant", "content": ""}, model=model)
    middle = [chunk({"content": piece}, model=model) for piece in pieces]
    return [start, *middle, chunk({}, model=model, finish=finish), DONE]


class EventReader:
    """Cuts a body of server-sent events into decoded ``data:`` payloads, however the bytes arrive."""

    def __init__(self) -> None:
        self._rest = b""
        self.done = False
        """Whether ``[DONE]`` has been read."""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take the next bytes; give the events they complete. Comments and ``[DONE]`` are left out."""
        *whole, self._rest = (self._rest + data).split(b"\n\n")
        events = []
        for block in whole:
            for line in block.split(b"\n"):
                if line == b"data: [DONE]":
                    self.done = True
                elif line.startswith(b"data: "):
                    events.append(json.loads(line[6:]))
        return events


def deltas(event: dict[str, Any]) -> list[dict[str, Any]]:
    """The deltas of one chunk, of every choice."""
    return [choice.get("delta") or {} for choice in event.get("choices") or []]


def content(event: dict[str, Any]) -> str:
    """The content text that one chunk adds, of every choice."""
    return "".join(delta.get("content") or "" for delta in deltas(event))


def arguments(event: dict[str, Any]) -> str:
    """The tool call arguments that one chunk adds, of every call and choice."""
    calls = [call for delta in deltas(event) for call in delta.get("tool_calls") or []]
    return "".join((call.get("function") or {}).get("arguments") or "" for call in calls)


def finish_reason(event: dict[str, Any]) -> str | None:
    """The finish reason that one chunk carries, if any."""
    reasons = [choice.get("finish_reason") for choice in event.get("choices") or []]
    return next((reason for reason in reasons if reason), None)
