"""Both ends of a stream of any API, for tests: run a dialect over frames, read typed events back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from safeproxy.pipeline import BodyPipeline, Policy, StreamPipeline
from safeproxy.wire.dialect import Ask, Dialect
from tests.wire.chat import POLICY

Event = dict[str, Any]


def frame(kind: str, **fields: Any) -> bytes:
    """An event with its name, as APIs of typed events send it."""
    return b"event: " + kind.encode() + b"\ndata: " + json.dumps({"type": kind, **fields}).encode() + b"\n\n"


def run(
    dialect: Dialect, frames: Sequence[bytes], *, policy: Policy = POLICY, ask: Ask | None = None
) -> tuple[bytes, StreamPipeline]:
    """What a pipeline makes of frames, which must be the same when they come byte by byte."""
    pipeline = StreamPipeline(dialect, policy, ask)
    out = b"".join(map(pipeline.feed, frames)) + pipeline.finish()
    slow = StreamPipeline(dialect, policy, ask)
    assert b"".join(slow.feed(bytes([byte])) for byte in b"".join(frames)) + slow.finish() == out
    return out, pipeline


def events(out: bytes) -> list[Event]:
    """The events of an SSE stream; its names must be their types, and each must be whole."""
    assert out == b"" or out.endswith(b"\n\n")
    found = []
    for block in filter(None, out.split(b"\n\n")):
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
        event = json.loads(fields[b"data"])
        assert fields.get(b"event", event["type"].encode()).decode() == event["type"]
        found.append(event)
    return found


def types(out: bytes) -> list[str]:
    """The types of a stream's events, in order."""
    return [event["type"] for event in events(out)]


def whole(
    dialect: Dialect, body: Any, status: int = 200, *, policy: Policy = POLICY, ask: Ask | None = None
) -> tuple[int, Any, BodyPipeline]:
    """What becomes of an answer that is not streamed."""
    pipeline = BodyPipeline(dialect, policy, ask)
    raw = json.dumps(body).encode()
    told, out = pipeline.run(raw, status)
    return told, json.loads(out), pipeline
