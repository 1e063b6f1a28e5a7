"""Gemini's generateContent and streamGenerateContent, as events and as one JSON array."""

from __future__ import annotations

import json

from tests.clients.apis import TOOL, USAGE, Body
from tests.clients.scenarios import Scenario


def stream(said: Scenario, ask: Body, flavour: str) -> list[bytes]:
    """Each event is a full response; the last one has the finish reason."""
    responses = _responses(said)
    if flavour == "array":
        last = len(responses) - 1
        separators = [b"]" if number == last else b"\n,\n" for number in range(len(responses))]
        dumped = [json.dumps(one).encode() + after for one, after in zip(responses, separators, strict=True)]
        return [b"[", *dumped]
    return [b"data: " + json.dumps(one).encode() + b"\r\n\r\n" for one in responses]


def _responses(said: Scenario) -> list[Body]:
    parts = [{"text": piece, "thought": True} for piece in said.reasoning]
    parts += [{"text": piece} for piece in said.text]
    parts += [_call(arguments) for arguments in said.calls]
    last = len(parts) - 1 if said.ending == "stop" else None
    responses = [_response([part], finished=number == last) for number, part in enumerate(parts)]
    if said.cited:
        responses[-1]["candidates"][0]["groundingMetadata"] = _grounding(said)
    if said.ending == "error":
        responses.append({"error": {"code": 503, "message": "It broke.", "status": "UNAVAILABLE"}})
    return responses


def whole(said: Scenario, ask: Body, flavour: str) -> Body:
    """One response."""
    parts: list[Body] = []
    if said.reasoning:
        parts.append({"text": "".join(said.reasoning), "thought": True})
    parts.append({"text": "".join(said.text)})
    parts += [_call(arguments) for arguments in said.calls]
    response = _response(parts, finished=True)
    if said.cited:
        response["candidates"][0]["groundingMetadata"] = _grounding(said)
    return response


def refusal() -> Body:
    """Google's error object."""
    return {"error": {"code": 400, "message": "No such thing.", "status": "INVALID_ARGUMENT"}}


def _grounding(said: Scenario) -> Body:
    text = "".join(said.text)
    segment = {"startIndex": 0, "endIndex": len(text.encode()), "text": text}
    return {
        "groundingChunks": [{"web": {"uri": "https://source.test/", "title": said.cited}}],
        "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0], "confidenceScores": [0.9]}],
        "webSearchQueries": [said.cited],
    }


def _call(arguments: tuple[str, ...]) -> Body:
    call = {"name": TOOL, "args": json.loads("".join(arguments))}
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
