"""Transcriptions: streams, whole bodies."""

from __future__ import annotations

from typing import Any

import pytest

from safeproxy.wire.base import BLOCKED
from safeproxy.wire.transcription import Transcription
from tests.wire.played import events, frames, judged, played

SPEECH = Transcription()


def deltas(*texts: str, **more: Any) -> list[Any]:
    """An event for each piece of text."""
    return [{"type": "transcript.text.delta", "delta": text, **more} for text in texts]


def done(text: str, **more: Any) -> dict[str, Any]:
    """The last event, which says all of it again."""
    usage = {"type": "tokens", "input_tokens": 4, "output_tokens": 9, "total_tokens": 13}
    return {"type": "transcript.text.done", "text": text, **more, "usage": usage}


def entries(*tokens: str) -> dict[str, Any]:
    """Log probabilities for these tokens."""
    return {"logprobs": [{"token": token, "logprob": -0.5, "bytes": list(token.encode())} for token in tokens]}


def text(data: bytes) -> tuple[str, str]:
    """What a client has of the deltas, and of the last event."""
    made = events(data)
    return "".join(event.get("delta", "") for event in made), "".join(
        event["text"] for event in made if event.get("type") == "transcript.text.done"
    )


class TestStream:
    """Events."""

    def test_clean_events_pass_byte_for_byte(self) -> None:
        """With segments, log probabilities, usage."""
        segment = {
            "type": "transcript.text.segment",
            "id": "s-1",
            "start": 0.0,
            "end": 1.5,
            "text": "One, ",
            "speaker": "A",
        }
        made = [*deltas("One, ", segment_id="s-1"), segment, *deltas("two. ", **entries("two", ". "))]
        made.append(done("One, two. ", **entries("One", ", ", "two", ". ")))
        pieces = [frame.replace(b'":', b'": ') for frame in frames(*made)]
        out, pipeline = played(SPEECH, pieces)
        assert out == b"".join(pieces)
        report = pipeline.report
        assert (report.ended, report.faults) == ("stop", [])
        assert report.usage == {"input_tokens": 4, "output_tokens": 9, "total_tokens": 13}

    def test_a_finding_is_replaced_in_deltas_and_in_the_whole(self) -> None:
        """By the same; it is counted once."""
        pieces = frames(*deltas("Mail ada", "@exam", "ple.com now", " or bye"), done("Mail ada@example.com now or bye"))
        out, pipeline = played(SPEECH, pieces)
        assert text(out) == ("Mail [EMAIL] now or bye", "Mail [EMAIL] now or bye")
        (finding,) = pipeline.report.take_findings()
        assert finding.channel == "transcript"

    def test_the_last_event_alone_is_filtered_too(self) -> None:
        """With what spells its text."""
        out, _ = played(SPEECH, frames(done("To ada@example.com", **entries("To ", "ada", "@", "example.com"))))
        assert text(out) == ("", "To [EMAIL]")
        assert "logprobs" not in events(out)[-1]

    def test_log_probabilities_wait_for_their_text_and_go_with_it(self) -> None:
        """Those of the whole, too."""
        made = [*deltas("Hi ada@", **entries("Hi", " ", "ada", "@")), *deltas("x.io. ", **entries("x.io", ". "))]
        out, _ = played(SPEECH, frames(*made, done("Hi ada@x.io. ", **entries("Hi", " ", "ada", "@", "x.io", ". "))))
        got = [entry["token"] for event in events(out) for entry in event.get("logprobs") or ()]
        assert got == ["Hi", " ", ". "]

    def test_segments_are_filtered(self) -> None:
        """Each comes whole."""
        made = [{"type": "transcript.text.segment", "id": "s", "text": "ada@example.com", "speaker": "ada@example.com"}]
        out, _ = played(SPEECH, frames(*made, done("Hi.")))
        assert b"ada@" not in out

    def test_unknown_fields_and_events_are_text(self) -> None:
        """Across events, where they mean text."""
        made = [
            {"type": "x", "text": "ada@ex"},
            {"type": "x", "text": "ample.com. "},
            *deltas("x", note="ada@example.com"),
        ]
        out, _ = played(SPEECH, frames(*made, done("x")))
        assert b"ada@" not in out
        assert out.count(b"[EMAIL]") == 2

    def test_a_halt_is_an_error(self) -> None:
        """The API has no other end; nothing comes after it."""
        out, pipeline = played(SPEECH, frames(*deltas("One. ", "Key sk-abcdefgh "), done("One. Key sk-abcdefgh ")))
        assert text(out) == ("One. Key ", "")
        error = events(out)[-1]["error"]
        assert (error["code"], error["message"]) == ("content_filter", BLOCKED)
        assert pipeline.report.ended == "content_filter"

    def test_a_stream_that_breaks_off_ends_with_an_error(self) -> None:
        """Not as if it were whole."""
        out, pipeline = played(SPEECH, frames(*deltas("One. ", "ada")))
        assert text(out) == ("One. ", "")
        assert events(out)[-1]["error"]["code"] == "upstream_incomplete"
        assert pipeline.report.ended == "upstream_incomplete"

    @pytest.mark.parametrize("odd", [3, None, [], {"a": "ada@example.com"}, ["ada@example.com"], True])
    @pytest.mark.parametrize("kind", ["transcript.text.delta", "transcript.text.done", "transcript.text.segment", "x"])
    def test_odd_shapes_are_read(self, odd: Any, kind: str) -> None:
        """Never a failure, never unfiltered."""
        event = {"type": kind, "delta": odd, "text": odd, "logprobs": odd, "usage": odd, "segments": odd, "error": None}
        out, _ = played(SPEECH, frames({"type": odd}, event, event, done("Hi.")))
        assert b"ada@" not in out


class TestBody:
    """Whole answers."""

    def test_a_text_is_filtered_with_what_spells_it(self) -> None:
        """Byte for byte if nothing is found."""
        segments = [{"id": 0, "start": 0.0, "end": 1.0, "text": "Hi.", "tokens": [1, 2], "avg_logprob": -0.5}]
        words = [{"word": "Hi", "start": 0.0, "end": 1.0}]
        clean = {"task": "transcribe", "text": "Hi.", "segments": segments, "words": words, **entries("Hi", ".")}
        assert judged(SPEECH, clean)[1] == clean
        dirty = clean | {"text": "Hi ada@x.io", "segments": [segments[0] | {"text": "Hi ada@x.io"}]}
        _, value, pipeline = judged(SPEECH, dirty)
        assert value == {
            "task": "transcribe",
            "text": "Hi [EMAIL]",
            "segments": [{"id": 0, "start": 0.0, "end": 1.0, "text": "Hi [EMAIL]", "avg_logprob": -0.5}],
        }
        assert pipeline.report.ended == "stop"

    def test_a_halt_is_an_error(self) -> None:
        """Nothing of the text is shown."""
        status, value, pipeline = judged(SPEECH, {"text": "Key sk-abcdefgh "})
        assert (status, value["error"]["code"]) == (502, "content_filter")
        assert pipeline.report.ended == "content_filter"

    def test_an_error_is_filtered(self) -> None:
        """As any text."""
        status, value, _ = judged(SPEECH, {"error": {"message": "ask ada@example.com"}}, status=400)
        assert (status, value) == (400, {"error": {"message": "ask [EMAIL]"}})
