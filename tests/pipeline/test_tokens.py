"""What travels beside text: log probabilities, audio, annotations, comments."""

from __future__ import annotations

import pytest

from safeproxy.pipeline import StreamPipeline
from tests.wire.chat import (
    CHAT,
    DONE,
    POLICY,
    Client,
    answer,
    choice,
    chunk,
    entries,
    event,
    opening,
    run,
    says,
    served,
    sse,
)


class TestCompanions:
    """What travels beside text: log probabilities, audio, annotations, comments."""

    def test_log_probabilities_leave_with_their_text(self) -> None:
        """Each token's entry with the event that releases it, none of what was replaced."""
        tokens = ["Mail ", "ada", "@exa", "mple.com", " now", "."]
        frames = [sse(event(choice({"content": t}, logprobs=entries(t)))) for t in tokens]
        pipeline = StreamPipeline(CHAT, POLICY)
        client = Client().read(pipeline.feed(opening()))
        for frame in frames:
            client.read(pipeline.feed(frame))
            assert sum(len(e["token"]) for e in client.choices[0].tokens) <= len(client.text())
        client.read(pipeline.feed(chunk({}, "stop")) + pipeline.feed(DONE))
        assert [e["token"] for e in client.choices[0].tokens] == ["Mail ", " now", "."]
        assert client.text() == "Mail [EMAIL] now."

    def test_a_finding_within_one_event_takes_its_tokens_along(self) -> None:
        """None of the tokens is a finding by itself."""
        tokens = ["Mail ", "ada", "@exa", "mple.com", " now. "]
        frame = sse(event(choice({"content": "".join(tokens)}, logprobs=entries(*tokens))))
        client, _ = served([opening(), frame, chunk({}, "stop"), DONE])
        assert [e["token"] for e in client.choices[0].tokens] == ["Mail ", " now. "]

    def test_tokens_that_do_not_spell_the_text_are_filtered_by_themselves(self) -> None:
        """They might spell anything."""
        tokens = ["ada", "@exo", "tic.com", " x"]
        frames = [sse(event(choice({"content": "fine. "}, logprobs=entries(t)))) for t in tokens]
        out, _ = run([opening(), *frames, chunk({}, "stop"), DONE])
        assert b"ada" not in out
        assert b"tic.com" not in out

    def test_alternatives_are_judged_alone(self) -> None:
        """A token that was not chosen may be a finding."""
        entry = entries("Hi. ")
        entry["content"][0]["top_logprobs"] = [
            {"token": "ada@example.com", "logprob": -9.0},
            {"token": "Ho", "logprob": -9.5},
        ]
        client, _ = served(
            [opening(), sse(event(choice({"content": "Hi. "}, logprobs=entry))), chunk({}, "stop"), DONE]
        )
        assert client.choices[0].tokens[0]["top_logprobs"] == [{"token": "Ho", "logprob": -9.5}]

    def test_bytes_of_a_token_must_be_its_bytes(self) -> None:
        """Else they say something nobody has looked at."""
        entry = {
            "content": [{"token": "Hi. ", "logprob": -1.0, "bytes": list(b"ada"), "note": "ada", "top_logprobs": []}]
        }
        client, _ = served(
            [opening(), sse(event(choice({"content": "Hi. "}, logprobs=entry))), chunk({}, "stop"), DONE]
        )
        assert client.choices[0].tokens == [{"token": "Hi. ", "logprob": -1.0, "bytes": None, "top_logprobs": []}]

    def test_audio_waits_for_its_transcript(self) -> None:
        """And leaves in its own event once the text so far has left."""
        pipeline = StreamPipeline(CHAT, POLICY)
        pipeline.feed(chunk({"role": "assistant", "audio": {"id": "a", "transcript": "dial"}}))
        assert pipeline.feed(chunk({"audio": {"id": "a", "data": "QUJD"}})) == b""
        client = Client().read(pipeline.feed(chunk({"audio": {"id": "a", "transcript": " it "}})))
        assert [entry["choices"][0]["delta"]["audio"] for entry in client.events] == [
            {"id": "a", "transcript": "dial it "},
            {"id": "a", "data": "QUJD"},
        ]

    def test_audio_of_a_finding_and_all_after_it_is_dropped(self) -> None:
        """It says what was replaced."""
        frames = [{"transcript": "To ada@exam"}, {"data": "AAAA"}, {"transcript": "ple.com ok "}, {"data": "BBBB"}]
        out, _ = run([opening(), *(chunk({"audio": frame}) for frame in frames), chunk({}, "stop"), DONE])
        assert b"AAAA" not in out
        assert b"BBBB" not in out
        assert b"[EMAIL] ok" in out

    @pytest.mark.parametrize(("text", "kept"), [("See ada@example.com now. ", 0), ("See it. ", 1)])
    def test_annotations_go_when_the_text_they_point_into_changed(self, text: str, kept: int) -> None:
        """Their positions would be wrong."""
        note = {
            "type": "url_citation",
            "url_citation": {"start_index": 0, "end_index": 3, "title": "T", "url": "https://e.org"},
        }
        client, _ = served([opening(), *says(text), chunk({"annotations": [note]}), chunk({}, "stop"), DONE])
        assert client.events[-2]["choices"][0]["delta"]["annotations"] == [note] * kept

    def test_a_running_total_is_emptied(self) -> None:
        """It shows the text before it is decided."""
        body = event(
            {"index": 0, "delta": {"content": "To ada"}, "message": {"content": "To ada"}, "finish_reason": None}
        )
        client, _ = served([opening(), sse(body), chunk({}, "stop"), DONE])
        assert client.events[1]["choices"][0]["message"] == {"content": ""}

    @pytest.mark.parametrize(
        ("comment", "passes"),
        [(b"keep-alive", True), (b"ada@example.com", False), (b"x" * 300, False), (b"\xff", False)],
    )
    def test_short_clean_comments_pass(self, comment: bytes, passes: bool) -> None:
        """Keep-alives do, text does not."""
        out, _ = run([b": " + comment + b"\n\n", *answer("Hi. ")])
        assert (b": " + comment in out) is passes
