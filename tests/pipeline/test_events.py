"""What becomes of the events of a streamed answer, rule by rule."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import DetectorError
from safeproxy.events import Action
from safeproxy.pipeline import Policy, StreamPipeline
from tests.wire.chat import (
    CHAT,
    DONE,
    EMAIL,
    POLICY,
    RULES,
    Client,
    answer,
    call,
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


class TestText:
    """Text in deltas."""

    def test_clean_events_pass_byte_for_byte(self) -> None:
        """Nothing found, nothing held: the same bytes, whatever the spelling of the JSON."""
        frames = [*answer("One, ", "two. "), b""]
        frames.insert(2, b'data: {"choices" : [{"delta":{"content":"\\u0041. "},"index":0}]}\n\n')
        assert run(frames)[0] == b"".join(frames)

    def test_a_finding_is_replaced_across_events(self) -> None:
        """The pieces of a span never leave, its placeholder does, the rest stays."""
        client, pipeline = served(answer("Mail ada", "@exam", "ple.com", " now."))
        assert client.text() == "Mail [EMAIL] now."
        report = pipeline.report
        assert (report.scanned, report.removed, report.passed, report.placeholders) == (25, 15, 10, 7)
        (finding,) = report.take_findings()
        assert (finding.channel, finding.start, finding.end) == ("choice.0.content", 5, 20)
        assert report.take_findings() == []

    def test_events_that_would_be_empty_are_dropped(self) -> None:
        """A client gets no event for text that is held."""
        client, _ = served(answer("ada", "@example", ".com!"))
        assert len(client.events) == 3

    def test_what_comes_with_held_text_is_sent_in_place(self) -> None:
        """Role, usage and unknown things do not wait."""
        pipeline = StreamPipeline(CHAT, POLICY)
        out = Client().read(pipeline.feed(chunk({"role": "assistant", "content": "ada"})))
        assert out.choices[0].role == "assistant"
        assert out.text() == ""
        out = Client().read(pipeline.feed(chunk({"content": "x"}, usage={"total_tokens": 3})))
        assert out.events[0]["usage"] == {"total_tokens": 3}
        assert pipeline.report.held == 4

    def test_the_tail_leaves_before_the_finish(self) -> None:
        """In an event of its own, of the same shape."""
        out, _ = run(answer("bye"))
        events = [json.loads(block[6:]) for block in out.decode().split("\n\n")[:-2]]
        assert [entry["choices"][0]["delta"] for entry in events] == [
            {"role": "assistant", "content": ""},
            {"content": "bye"},
            {},
        ]
        assert [entry["id"] for entry in events] == ["c-1"] * 3

    def test_the_tail_leaves_with_a_finish_that_carries_text(self) -> None:
        """Then the event stays as it came."""
        frames = [opening(), chunk({"content": "bye"}, "stop"), DONE]
        assert run(frames)[0] == b"".join(frames)

    def test_tails_leave_at_the_end_marker_too(self) -> None:
        """Channels beside the choices end with the stream."""
        frames = [opening(), sse(event(__verbose={"content": "mine"})), chunk({}, "stop"), DONE]
        client, _ = served(frames)
        assert "".join(entry.get("__verbose", {}).get("content", "") for entry in client.events) == "mine"

    def test_halves_of_a_character_are_joined_before_filtering(self) -> None:
        """A surrogate pair split over two events arrives as one character, at the end as it came."""
        frames = [opening(), b'data: {"choices":[{"index":0,"delta":{"content":"x\\ud83d"}}]}\n\n']
        frames += [
            b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00. \\ud83d"}}]}\n\n',
            chunk({}, "stop"),
            DONE,
        ]
        client, pipeline = served(frames)
        assert client.text() == "x\U0001f600. \ud83d"
        assert pipeline.report.scanned == 5

    def test_line_ends_to_some_clients_are_escaped(self) -> None:
        """U+2028 is no longer raw in what is sent."""
        out, _ = run(
            [opening(), sse(event(choice({"content": "a.\u2028"})), ascii_only=False), chunk({}, "stop"), DONE]
        )
        assert b"\\u2028" in out

    def test_a_key_twice_never_passes_raw(self) -> None:
        """The value that was filtered is the only one that is sent."""
        secret = b'data: {"choices":[{"index":0,"delta":{"content":"ada@example.com","content":"fine. "}}]}\n\n'
        out, _ = run([opening(), secret, chunk({}, "stop"), DONE])
        assert b"ada" not in out
        assert b"fine. " in out

    def test_padding_goes_when_text_changes(self) -> None:
        """It tells the length of what was there."""
        client, _ = served(
            [opening(), chunk({"content": "ada@example.com is"}, obfuscation="xyz"), chunk({}, "stop"), DONE]
        )
        assert all("obfuscation" not in entry for entry in client.events)

    def test_numbers_of_tokens_go_while_anything_is_held(self) -> None:
        """They spell the text."""
        frames = [
            sse(event(choice({"content": "a"}, token_ids=[5]))),
            sse(event(choice({"content": ". "}, token_ids=[6]))),
        ]
        client, _ = served([opening(), *frames, chunk({}, "stop"), DONE])
        assert all("token_ids" not in entry["choices"][0] for entry in client.events)
        frame = sse(event(choice({"content": "1. "}, token_ids=[6])))
        assert frame in run([opening(), frame, chunk({}, "stop"), DONE])[0]

    def test_keys_are_text(self) -> None:
        """A finding in an object's key is replaced there."""
        client, _ = served([opening(), chunk({"surprise": {"ada@example.com": 1}}), chunk({}, "stop"), DONE])
        assert client.events[1]["choices"][0]["delta"] == {"surprise": {"[EMAIL]": 1}}

    def test_the_memory_does_not_grow_with_the_answer(self) -> None:
        """After many events no more is kept than after few."""
        pipeline = StreamPipeline(CHAT, Policy(RuleSet([EMAIL])))
        frames = says("ada", "@example.com is ", "mine. ", "And ")
        for _ in range(50):
            for frame in frames:
                pipeline.feed(frame)
            pipeline.report.take_findings()
        (channel,) = pipeline._events._answer.choices[0].channels.values()
        assert len(pipeline._shortcuts._templates) == 1
        assert channel._filter.take_edits() == []


class TestEnds:
    """Finishes, missing and double ones, errors."""

    def test_a_second_finish_and_later_text_are_taken_out(self) -> None:
        """Exactly one finish for a choice, nothing after it; what else those events say passes."""
        late = [chunk({"content": "more"}), chunk({}, "length"), chunk({"content": "x"}, usage={"total_tokens": 1})]
        client, pipeline = served([*answer("Hi")[:-1], *late, DONE])
        assert client.text() == "Hi"
        assert client.choices[0].finish == "stop"
        assert client.events[-1]["usage"] == {"total_tokens": 1}
        assert pipeline.report.faults == ["text_after_finish", "duplicate_finish"]
        assert pipeline.report.ended == "stop"

    def test_an_end_without_finish_is_an_error(self) -> None:
        """What is cleared has left, what is undecided never does; then the API's error, never a silent end."""
        client, pipeline = served([opening(), *says("Mail ", "ada@exam")])
        assert client.text() == "Mail "
        assert client.error is not None
        assert client.error["code"] == "upstream_incomplete"
        report = pipeline.report
        assert (report.ended, report.faults) == ("upstream_incomplete", ["no_finish"])
        assert (report.scanned, report.passed, report.removed, report.placeholders) == (13, 5, 8, 0)

    def test_a_choice_that_was_finished_is_whole_though_another_breaks_off(self) -> None:
        """Only the text that broke off is undecided."""
        frames = [opening(), opening(1), *says("Hi ada"), *says("ada", index=1), chunk({}, "stop")]
        client, pipeline = served(frames)
        assert (client.text(), client.text(index=1)) == ("Hi ada", "")
        assert pipeline.report.ended == "upstream_incomplete"

    def test_an_empty_stream_is_an_error(self) -> None:
        """No choice at all is no answer."""
        client, pipeline = served([])
        assert client.error is not None
        assert pipeline.report.ended == "upstream_incomplete"

    def test_an_end_marker_is_not_needed(self) -> None:
        """Some servers send none; none is added."""
        frames = answer("Hi. ")[:-1]
        out, pipeline = run(frames)
        assert out == b"".join(frames)
        assert pipeline.report.ended == "stop"

    def test_an_end_marker_without_finish_is_recorded(self) -> None:
        """The text did end, so all of it leaves; but the answer must not look as if it had been finished."""
        client, pipeline = served([opening(), *says("Hi ada"), DONE])
        assert not client.done
        assert client.text() == "Hi ada"
        assert "error" in client.events[-1]
        assert pipeline.report.ended == "upstream_incomplete"

    def test_nothing_follows_the_end_marker(self) -> None:
        """Trailing data is ignored."""
        pipeline = StreamPipeline(CHAT, POLICY)
        out = b"".join(map(pipeline.feed, [*answer("Hi. "), chunk({"content": "x"})]))
        assert pipeline.done
        assert out.endswith(DONE)
        assert pipeline.feed(b"x") == pipeline.finish() == pipeline.fail("late") == b""

    @pytest.mark.parametrize("bad", [b"data: {\n\n", b"data: []\n\n", b"data: hello\n\n", b"data: \xff\n\n"])
    def test_a_frame_that_cannot_be_read_ends_the_answer(self, bad: bytes) -> None:
        """What is cleared has left, then an error; the frame does not."""
        client, pipeline = served([opening(), *says("Hi, ada"), bad, *says("more")])
        assert client.text() == "Hi, "
        assert client.error is not None
        assert (pipeline.report.ended, pipeline.report.faults) == ("upstream_error", ["malformed_event"])

    def test_an_upstream_that_breaks_is_reported(self) -> None:
        """The shell says what broke; the client gets an error, and nothing of what is undecided."""
        pipeline = StreamPipeline(CHAT, POLICY)
        out = pipeline.feed(opening()) + pipeline.feed(says("Hi, ada@exam")[0]) + pipeline.fail("connection_reset")
        client = Client().read(out)
        assert client.text() == "Hi, "
        assert client.error is not None
        report = pipeline.report
        assert (report.ended, report.faults) == ("upstream_error", ["connection_reset"])
        assert (report.scanned, report.passed, report.removed, report.held) == (12, 4, 8, 0)

    @pytest.mark.parametrize("rules", [RULES, RuleSet([dataclasses.replace(EMAIL, action=Action.OBSERVE)])])
    def test_findings_of_a_broken_answer_are_told(self, rules: RuleSet) -> None:
        """Also those in the text that had left and was only observed, and in the text that is withheld."""
        pipeline = StreamPipeline(CHAT, Policy(rules))
        pipeline.feed(says("To ada@example.com")[0])
        pipeline.fail("timeout")
        assert [(found.start, found.end) for found in pipeline.report.take_findings()] == [(3, 18)]

    def test_half_a_character_at_a_broken_end_is_counted(self) -> None:
        """It came in and never left."""
        pipeline = StreamPipeline(CHAT, POLICY)
        pipeline.feed(opening() + says("Hi \ud83d")[0])
        pipeline.fail("timeout")
        assert (pipeline.report.scanned, pipeline.report.passed, pipeline.report.removed) == (4, 3, 1)

    def test_an_error_event_is_filtered_and_ends_the_answer(self) -> None:
        """Its message may quote the prompt."""
        error = {
            "error": {"message": "No: ada@example.com", "code": 429, "metadata": {"flagged_input": "ada@example.com"}}
        }
        client, pipeline = served([opening(), *says("Hi, ada@exam"), sse(error), *says("more")])
        assert client.text() == "Hi, "
        assert client.error == {"message": "No: [EMAIL]", "code": 429, "metadata": {"flagged_input": "[EMAIL]"}}
        assert pipeline.report.ended == "upstream_error"

    def test_an_event_that_is_too_large_ends_the_answer(self) -> None:
        """The bound holds before it is complete."""
        policy = Policy(RULES, max_event_bytes=1000)
        client, pipeline = served([opening(), b"data: " + b"x" * 2000], policy)
        assert client.error is not None
        assert pipeline.report.faults == ["event_too_large"]

    def test_too_many_channels_end_the_answer(self) -> None:
        """State is bounded, whatever the upstream invents."""
        policy = Policy(RULES, max_channels=20)
        client, pipeline = served([opening(), *(chunk({f"field{n}": "x"}) for n in range(30))], policy)
        assert client.error is not None
        assert pipeline.report.faults == ["too_many_texts"]
        client, _ = served([sse(event(*(choice({}, index=n) for n in range(30))))], policy)
        assert client.error is not None

    def test_counters_of_the_api_are_reported(self) -> None:
        """Model, usage and finish reasons; only what cannot be text."""
        _, pipeline = run([*answer("Hi")[:-1], sse(event(usage={"total_tokens": 3})), DONE])
        report = pipeline.report
        assert (report.model, report.usage, report.events) == ("m-1", {"total_tokens": 3}, 5)
        assert report.upstream_finish == report.delivered_finish == {0: "stop"}
        client, pipeline = served([opening(), chunk({}, "because of ada@example.com"), DONE])
        assert client.choices[0].finish == "because of [EMAIL]"
        assert pipeline.report.upstream_finish == {0: "other"}


class TestHalt:
    """A halt is the API's own end."""

    def test_text_before_the_finding_leaves_then_the_apis_end(self) -> None:
        """Finish `content_filter`, then the end marker, then nothing."""
        client, pipeline = served(answer("Use s", "k-ab", "cdefgh now"))
        assert client.text() == "Use "
        assert client.choices[0].finish == "content_filter"
        assert client.done
        report = pipeline.report
        assert (report.ended, report.upstream_finish, report.delivered_finish) == (
            "content_filter",
            {},
            {0: "content_filter"},
        )
        assert report.passed == 4

    def test_all_choices_halt(self) -> None:
        """Each gets its own finish; what was held of the others never leaves."""
        frames = [
            opening(0),
            opening(1),
            opening(2),
            *says("wait", index=1),
            chunk({}, "stop", 2),
            *says("sk-abcdefgh "),
        ]
        client, _ = served(frames)
        assert {index: entry.finish for index, entry in client.choices.items()} == {
            0: "content_filter",
            1: "content_filter",
            2: "stop",
        }
        assert client.text(index=1) == ""

    def test_a_halted_choice_has_a_role(self) -> None:
        """Some clients refuse an answer without one."""
        client, _ = served([chunk({"role": "assistant", "content": "sk-abcdefgh "})])
        assert client.choices[0].role == "assistant"
        client, _ = served([sse(event(citations=["sk-abcdefgh"]))])
        assert client.choices[0].role == "assistant"
        assert client.choices[0].finish == "content_filter"

    def test_a_finding_at_the_very_end_halts(self) -> None:
        """The finish of the upstream does not leave then."""
        client, _ = served(answer("Use sk-abcdefgh"))
        assert client.text() == "Use "
        assert client.choices[0].finish == "content_filter"

    def test_a_finding_in_a_held_call_halts_without_the_call(self) -> None:
        """Half a call would be a wrong call."""
        frames = [
            opening(),
            chunk(call('{"a":"sk-', id="1", name="f")),
            chunk(call('abcdefgh"}')),
            chunk({}, "tool_calls"),
            DONE,
        ]
        client, _ = served(frames)
        assert client.choices[0].calls == {}
        assert client.choices[0].finish == "content_filter"


class TestBrokenDetectors:
    """A detector that breaks."""

    @pytest.fixture
    def broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every filter breaks at the word `boom`."""
        feed = StreamFilter.feed

        def break_at_boom(stream: StreamFilter, text: str) -> str:
            if "boom" in text:
                stream.scanned += len(text)
                raise DetectorError("it broke")
            return feed(stream, text)

        monkeypatch.setattr(StreamFilter, "feed", break_at_boom)

    @pytest.mark.usefixtures("broken")
    @pytest.mark.parametrize(
        "frames", [says("a. ", "boom"), [chunk({"annotations": ["boom"]})], [chunk(call('"boom"')), chunk({}, "stop")]]
    )
    def test_it_halts(self, frames: list[bytes]) -> None:
        """Anywhere, with the API's own end."""
        client, pipeline = served([opening(), *frames])
        assert client.choices[0].finish == "content_filter"
        assert "boom" not in str(client.events)
        assert pipeline.report.ended == "detector_error"
        assert pipeline.report.faults == ["detector_error"]

    @pytest.mark.usefixtures("broken")
    def test_it_lets_pass_where_the_policy_says_so(self) -> None:
        """The channel's text from there on, with what was held, and it is recorded."""
        policy = Policy(RULES, on_detector_error="pass")
        client, pipeline = served(answer("Hi ada", "boom", "@example.com", " bye"), policy)
        assert client.text() == "Hi adaboom@example.com bye"
        report = pipeline.report
        assert (report.ended, report.faults) == ("stop", ["detector_passed"])
        assert (report.scanned, report.passed) == (26, 26)


class TestOddities:
    """Shapes that no server should send."""

    def test_one_channel_twice_in_an_event(self) -> None:
        """Parts of one text are one text, and its tokens span them."""
        parts = [{"type": "text", "text": "To ada@exam"}, {"type": "text", "text": "ple.com! "}]
        body = event(choice({"content": parts}, logprobs=entries("To ", "ada@example.com", "! ")))
        client, _ = served([opening(), sse(body), chunk({}, "stop"), DONE])
        sent = client.events[1]["choices"][0]
        assert [part["text"] for part in sent["delta"]["content"]] == ["To ", "[EMAIL]! "]
        assert [token["token"] for token in sent["logprobs"]["content"]] == ["To ", "! "]

    def test_one_choice_finished_twice_in_an_event(self) -> None:
        """Once is enough."""
        client, pipeline = served([opening(), sse(event(choice({}, "stop"), choice({}, "stop"))), DONE])
        assert client.choices[0].finish == "stop"
        assert pipeline.report.faults == ["duplicate_finish"]

    @pytest.mark.parametrize("index", ["0", True, -1, 10**9, 1.5, [0]])
    def test_a_choice_without_a_proper_number(self, index: Any) -> None:
        """Its text is filtered across events, but it is no choice."""
        frames = [sse(event({"index": index, "delta": {"content": text}})) for text in ("To ada@exam", "ple.com! ")]
        client, pipeline = served(frames)
        assert "".join(entry["choices"][0]["delta"]["content"] for entry in client.events[:-1]) == "To [EMAIL]! "
        assert pipeline.report.ended == "upstream_incomplete"

    @pytest.mark.parametrize(
        "delta",
        [
            None,
            "ada@example.com",
            ["ada@example.com"],
            {"content": ["ada@example.com", {"thinking": ["ada@example.com"]}]},
            {"reasoning_details": ["ada@example.com"], "thinking_blocks": "ada@example.com"},
            {"tool_calls": ["ada@example.com", None], "function_call": "ada@example.com"},
            {"obfuscation": "ada@example.com", "token_ids": ["ada@example.com"]},
            {"tool_calls": {"x": "ada@example.com"}, "audio": "ada@example.com", "role": "ada@example.com x"},
        ],
    )
    def test_wrong_types_are_filtered_like_anything(self, delta: Any) -> None:
        """No crash, and nothing of the secret."""
        out, pipeline = run([opening(), sse(event(choice(delta))), chunk({}, "stop"), DONE])
        assert pipeline.report.ended == "stop"
        assert b"@example" not in out

    def test_a_call_whose_pieces_change_their_shape(self) -> None:
        """What has no place in the call's first event is left out; nothing of the secret leaves."""
        shapes: list[Any] = [["ada@example.com"], [["x"]], {"arguments": {"a": "ada@example.com"}}, "ada@example.com"]
        frames = [chunk({"tool_calls": [{"index": 0, "function": shape}]}) for shape in shapes]
        out, pipeline = run([opening(), *frames, chunk({}, "tool_calls"), DONE])
        assert b"@example" not in out
        assert pipeline.report.ended == "tool_calls"

    def test_late_log_probabilities_are_taken_out(self) -> None:
        """They repeat text that does not leave."""
        late = sse(event(choice({"content": "x"}, logprobs=entries("x")), extra=1))
        client, _ = served([*answer("Hi. ")[:-1], late, DONE])
        assert client.choices[0].tokens == []

    def test_too_many_texts_in_one_event(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each costs time, so their number is bounded."""
        monkeypatch.setattr("safeproxy.pipeline.answer.TEXTS_LIMIT", 10)
        client, pipeline = served([opening(), sse(event(x=["a b"] * 11))])
        assert client.error is not None
        assert pipeline.report.faults == ["too_many_texts"]

    def test_too_much_audio_is_dropped(self) -> None:
        """What waits is bounded like an event."""
        policy = Policy(RULES, max_event_bytes=1000)
        frames = [chunk({"audio": {"transcript": "ada"}}), *(chunk({"audio": {"data": "A" * 600}}) for _ in range(3))]
        out, pipeline = run([opening(), *frames, chunk({}, "stop"), DONE], policy)
        assert out.count(b"A" * 600) == 1
        assert pipeline.report.faults == ["audio_dropped"]

    def test_tokens_of_a_span_without_end_are_dropped(self) -> None:
        """A match that outgrows its ceiling is swallowed piece by piece, and so are its tokens."""
        long = Rule(id="long", entity="LONG", pattern=r"<[\s\S]*?>", max_length=8)
        texts = ["a. ", "<", *["abc"] * 6, ">", " b. "]
        frames = [sse(event(choice({"content": text}, logprobs=entries(text)))) for text in texts]
        out, _ = run([opening(), *frames, chunk({}, "stop"), DONE], Policy(RuleSet([long])))
        client = Client().read(out)
        assert client.text() == "a. [LONG] b. "
        assert [token["token"] for token in client.choices[0].tokens] == ["a. ", " b. "]


class TestTails:
    """Events that the proxy makes for text it held."""

    def test_ids_are_not_said_twice(self) -> None:
        """Clients add strings up, so a tail repeats no id of an inner object."""
        frames = [
            opening(),
            chunk({"audio": {"id": "a1", "transcript": "Hel"}}),
            chunk({"audio": {"transcript": "lo"}}),
        ]
        out = run([*frames, chunk({}, "stop"), DONE])[0]
        assert out.count(b'"a1"') == 1

    def test_a_tail_beside_the_choices_has_choices_too(self) -> None:
        """Clients go through `choices` of every event."""
        frames = [opening(), sse({**event(choice({"content": "All fine"})), "__verbose": {"content": "All fine"}})]
        out = run([*frames, chunk({}, "stop"), DONE])[0]
        events = [json.loads(line[6:]) for line in out.split(b"\n\n") if line.startswith(b"data: {")]
        assert all("choices" in one for one in events)
        assert "".join(one.get("__verbose", {}).get("content", "") for one in events) == "All fine"

    def test_no_key_vouches_for_what_the_model_made_up(self) -> None:
        """Below arguments that are an object, `id` is a text like any other."""
        function = {"name": "f", "arguments": {"to": "ada@example.com", "id": "ada@example.com"}}
        out = run(
            [opening(), chunk({"tool_calls": [{"index": 0, "id": "1", "function": function}]}), chunk({}, "stop")]
        )[0]
        assert b"ada@" not in out

    def test_an_unknown_finish_reason_is_not_recorded(self) -> None:
        """It could be any text."""
        pipeline = StreamPipeline(CHAT, POLICY)
        pipeline.feed(opening() + chunk({}, "sk_live_4eC39") + DONE)
        assert pipeline.report.upstream_finish == {0: "other"}
        assert pipeline.report.ended == "other"
