"""Streams and bodies of any dialect through the pipelines, for the dialects' tests."""

from __future__ import annotations

import json
from typing import Any

from safeproxy.pipeline import Policy, StreamPipeline
from safeproxy.pipeline.body import BodyPipeline
from safeproxy.wire.dialect import Ask, Dialect
from tests.wire.chat import POLICY


def frames(*events: Any, ascii_only: bool = True) -> list[bytes]:
    """One SSE frame of data alone for each event."""
    return [
        b"data: " + json.dumps(event, separators=(",", ":"), ensure_ascii=ascii_only).encode() + b"\n\n"
        for event in events
    ]


def lines(*events: Any) -> list[bytes]:
    """One line for each event."""
    return [json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events]


def named(*events: Any) -> list[bytes]:
    """One SSE frame for each event, named by its type."""
    return [b"event: " + event["type"].encode() + b"\n" + frames(event)[0] for event in events]


def events(data: bytes) -> list[Any]:
    """The events of a stream of frames or lines."""
    found = [line.removeprefix(b"data: ") for line in data.split(b"\n") if not line.startswith(b"event: ")]
    return [json.loads(line) for line in found if line and line != b"[DONE]"]


def played(
    dialect: Dialect, pieces: list[bytes], policy: Policy = POLICY, ask: Ask | None = None
) -> tuple[bytes, StreamPipeline]:
    """What comes out, the same whole, in these pieces and byte by byte."""
    stream = b"".join(pieces)
    outs = []
    for cut in ([stream], [bytes([byte]) for byte in stream], pieces):
        pipeline = StreamPipeline(dialect, policy, ask)
        outs.append(b"".join(map(pipeline.feed, cut)) + pipeline.finish())
        report = pipeline.report
        assert pipeline.done
        assert report.held == 0
        assert report.scanned == report.passed + report.removed
    assert outs[0] == outs[1] == outs[2]
    return outs[0], pipeline


def judged(dialect: Dialect, body: Any, ask: Ask | None = None, status: int = 200) -> tuple[int, Any, BodyPipeline]:
    """What comes of a whole body."""
    pipeline = BodyPipeline(dialect, POLICY, ask)
    sent = json.dumps(body).encode()
    status, out = pipeline.run(sent, status)
    value = json.loads(out)
    assert value != body or out == sent
    return status, value, pipeline
