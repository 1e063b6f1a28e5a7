"""Streams put into another framing."""

from __future__ import annotations

import json

from safeproxy.pipeline import Reframed, StreamPipeline
from safeproxy.wire.ndjson import SseToNdjson
from tests.wire.chat import CHAT, POLICY, answer


def test_events_become_lines() -> None:
    """The same chunks, no end marker."""
    lines = SseToNdjson()
    stream = Reframed(StreamPipeline(CHAT, POLICY), lambda data, _: lines.feed(data))
    out = b"".join(map(stream.feed, answer("Mail ada", "@example.com", " now."))) + stream.finish()
    chunks = [json.loads(line) for line in out.splitlines()]
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in chunks) == "Mail [EMAIL] now."
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert (stream.done, stream.report.ended) == (True, "stop")


def test_the_last_piece_is_told_once() -> None:
    """However often the end is asked for."""
    seen: list[bool] = []

    def rewrite(data: bytes, last: bool) -> bytes:
        seen.append(last)
        return data

    stream = Reframed(StreamPipeline(CHAT, POLICY), rewrite)
    stream.feed(b"".join(answer("x")))
    assert stream.finish() + stream.fail("x") + stream.feed(b"y") == b""
    assert seen == [True]


def test_a_failure_is_rewritten_too() -> None:
    """It is the last piece."""
    stream = Reframed(StreamPipeline(CHAT, POLICY), lambda data, last: b"<" + data.strip() + b">" * last)
    assert stream.fail("upstream_reset").endswith(b"}>")
