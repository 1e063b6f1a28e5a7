"""Gemini's generateContent and streamGenerateContent."""

from __future__ import annotations

import json

from tests.clients.apis import TOOL, USAGE, Body
from tests.clients.scenarios import Scenario


def stream(said: Scenario, ask: Body, flavour: str) -> list[bytes]:
    """Each event is a full response; the last one has the finish reason."""
    parts = [{"text": piece, "thought": True} for piece in said.reasoning]
    parts += [{"text": piece} for piece in said.text]
    if said.called:
        parts.append(_call(said))
    if said.ending == "cut":
        return [_event(_response([part])) for part in parts]
    if said.ending == "error":
        error = {"code": 503, "message": "It broke.", "status": "UNAVAILABLE"}
        return [*(_event(_response([part])) for part in parts), _event({"error": error})]
    last = len(parts) - 1
    return [_event(_response([part], finished=number == last)) for number, part in enumerate(parts)]


def whole(said: Scenario, ask: Body, flavour: str) -> Body:
    """One response."""
    parts: list[Body] = []
    if said.reasoning:
        parts.append({"text": "".join(said.reasoning), "thought": True})
    parts.append({"text": "".join(said.text)})
    if said.called:
        parts.append(_call(said))
    return _response(parts, finished=True)


def refusal() -> Body:
    """Google's error object."""
    return {"error": {"code": 400, "message": "No such thing.", "status": "INVALID_ARGUMENT"}}


def _event(value: Body) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\r\n\r\n"


def _call(said: Scenario) -> Body:
    call = {"name": TOOL, "args": json.loads("".join(said.arguments))}
    return {"functionCall": call, "thoughtSignature": "c2lnbmF0dXJl"}


def _response(parts: list[Body], *, finished: bool = False) -> Body:
    asked, given = USAGE
    candidate: Body = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finished:
        candidate["finishReason"] = "STOP"
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": asked,
            "candidatesTokenCount": given,
            "totalTokenCount": asked + given,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": asked}],
        },
        "modelVersion": "gemini-m",
        "responseId": "r1",
    }
