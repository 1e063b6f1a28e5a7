"""From bytes to events: frames, comments, end markers, events that come again."""

from __future__ import annotations

import dataclasses

import pytest

from safeproxy.pipeline import StreamPipeline
from safeproxy.wire.registry import GEMINI
from tests.wire.chat import CHAT, DONE, POLICY, answer, chunk, opening, says


def test_any_cutting_of_the_bytes_gives_the_same() -> None:
    """Whole, byte by byte, and event by event."""
    frames = answer("Mail ada", "@example.com", " now. ")
    outs = []
    for pieces in ([b"".join(frames)], frames, [bytes([byte]) for byte in b"".join(frames)]):
        pipeline = StreamPipeline(CHAT, POLICY)
        outs.append(b"".join(map(pipeline.feed, pieces)) + pipeline.finish())
    assert outs[0] == outs[1] == outs[2]


@pytest.mark.parametrize(
    ("comment", "passes"),
    [(b": keep-alive\n\n", True), (b": mail ada@example.com\n\n", False), (b": " + b"x" * 300 + b"\n\n", False)],
)
def test_comments_pass_if_they_are_short_and_clean(comment: bytes, passes: bool) -> None:
    """They keep connections alive, and nobody reads them."""
    out = StreamPipeline(CHAT, POLICY).feed(comment)
    assert out == (comment if passes else b"")
    assert StreamPipeline(GEMINI, POLICY).feed(comment) == b""


def test_a_retry_field_alone_passes() -> None:
    """It says how long a browser waits; Gemini's clients would fail at it."""
    assert StreamPipeline(CHAT, POLICY).feed(b"retry: 3000\n\n") == b"retry: 3000\n\n"
    assert StreamPipeline(GEMINI, POLICY).feed(b"retry: 3000\n\n") == b""


def test_an_event_with_a_known_id_is_left_out() -> None:
    """The same id with the same bytes, wherever in the stream; another event under it is none."""
    pipeline = StreamPipeline(CHAT, POLICY)
    frames = [b"id: %d\n%s" % (number, frame) for number, frame in enumerate([opening(), *says("One, ", "two. ")])]
    out = b"".join(map(pipeline.feed, [*frames, frames[1], chunk({}, "stop"), DONE]))
    assert out == b"".join([*frames, chunk({}, "stop"), DONE])
    assert pipeline.report.faults == ["repeated_event"]
    constant = StreamPipeline(CHAT, POLICY)
    frames = [b"id: 7\n" + frame for frame in [opening(), *says("a, ", "a, ", "a, ")]]
    assert b"".join(map(constant.feed, frames)) == b"".join(frames)


def test_what_is_too_large_is_an_error_and_what_is_no_stream_another() -> None:
    """Each with its own code."""
    pipeline = StreamPipeline(CHAT, dataclasses.replace(POLICY, max_event_bytes=2000))
    pipeline.feed(b"data: " + b"x" * 3000)
    assert pipeline.report.faults == ["event_too_large"]


def test_once_done_nothing_leaves() -> None:
    """Whatever comes."""
    pipeline = StreamPipeline(CHAT, POLICY)
    pipeline.feed(b"".join(answer("Hi")))
    assert pipeline.done
    assert pipeline.finished
    assert pipeline.feed(says("more")[0]) + pipeline.finish() + pipeline.fail("upstream_reset") == b""
