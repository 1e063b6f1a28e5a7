"""OpenAI responses, streamed and not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from safeproxy.wire.dialect import Ask
from safeproxy.wire.openai_responses import OpenAIResponses
from tests.wire.talk import Event, events, run, types, whole

RESPONSES = OpenAIResponses()
EMAIL = ("ada", "@exam", "ple.com")


class Script:
    """Writes the events of a response and numbers them."""

    def __init__(self, *, numbered: bool = True) -> None:
        self.frames: list[bytes] = []
        self._numbered = numbered
        self._items: list[Event] = []
        self.say("response.created", response=self.response("in_progress"))

    def response(self, status: str, **more: Any) -> Event:
        """The response so far."""
        return {"id": "resp_1", "object": "response", "status": status, "output": list(self._items), **more}

    def say(self, kind: str, **fields: Any) -> None:
        """One event."""
        number = {"sequence_number": len(self.frames)} if self._numbered else {}
        data = json.dumps({"type": kind, **number, **fields})
        self.frames.append(f"event: {kind}\ndata: {data}\n\n".encode())

    def message(self, *pieces: str, annotations: Sequence[Any] = ()) -> Script:
        """A message of one text."""
        index, text = len(self._items), "".join(pieces)
        place = {"item_id": f"msg_{index}", "output_index": index, "content_index": 0}
        item = {"id": f"msg_{index}", "type": "message", "role": "assistant"}
        part = {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": []}
        self.say(
            "response.output_item.added", output_index=index, item={**item, "status": "in_progress", "content": []}
        )
        self.say("response.content_part.added", **place, part={**part, "text": "", "annotations": []})
        for piece in pieces:
            self.say("response.output_text.delta", **place, delta=piece, logprobs=[])
        for annotation in annotations:
            self.say("response.output_text.annotation.added", **place, annotation_index=0, annotation=annotation)
        self.say("response.output_text.done", **place, text=text, logprobs=[])
        self.say("response.content_part.done", **place, part=part)
        self._items.append({**item, "status": "completed", "content": [part]})
        self.say("response.output_item.done", output_index=index, item=self._items[-1])
        return self

    def call(self, *pieces: str, kind: str = "function_call", family: str = "function_call_arguments") -> Script:
        """A call; the last key of its text is that of the family."""
        index, text, key = len(self._items), "".join(pieces), family.rpartition("_")[2]
        item = {"id": f"fc_{index}", "type": kind, "name": "send", "call_id": "call_1"}
        place = {"item_id": item["id"], "output_index": index}
        self.say("response.output_item.added", output_index=index, item={**item, "status": "in_progress", key: ""})
        for piece in pieces:
            self.say(f"response.{family}.delta", **place, delta=piece)
        self.say(f"response.{family}.done", **place, **{key: text})
        self._items.append({**item, "status": "completed", key: text})
        self.say("response.output_item.done", output_index=index, item=self._items[-1])
        return self

    def end(self) -> list[bytes]:
        """All frames, the response completed."""
        usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
        self.say("response.completed", response=self.response("completed", usage=usage))
        return self.frames


def spelled(out: bytes, family: str = "output_text") -> str:
    """What the deltas of a family say."""
    return "".join(event["delta"] for event in events(out) if event["type"] == f"response.{family}.delta")


class TestStreams:
    """Streamed responses."""

    def test_clean_events_pass_byte_for_byte(self) -> None:
        """Texts, calls and all that repeats them."""
        frames = Script().message("Hello ", "you. ").call('{"a":', " 1}").message("Bye. ").end()
        out, pipeline = run(RESPONSES, frames)
        assert out == b"".join(frames)
        report = pipeline.report
        assert (report.ended, report.upstream_finish) == ("stop", {0: "completed"})
        assert report.usage == {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}

    def test_what_repeats_a_text_says_what_its_deltas_said(self) -> None:
        """The done event, the part, the item and the response; the finding is told once."""
        out, pipeline = run(RESPONSES, Script().message("Mail ", *EMAIL, " no", "w").end())
        assert spelled(out) == "Mail [EMAIL] now"
        assert out.count(b"Mail [EMAIL] now") == 4
        assert b"ada" not in out
        (finding,) = pipeline.report.take_findings()
        assert finding.channel == "output.0.content.0.output_text"
        assert pipeline.report.scanned == len("Mail ada@example.com now")

    def test_a_text_that_only_a_repetition_has_is_filtered(self) -> None:
        """No delta ever said it."""
        script = Script()
        script.say("response.output_text.done", output_index=0, content_index=0, text="ada@example.com")
        assert b"ada" not in run(RESPONSES, script.end())[0]

    def test_numbers_stay_dense(self) -> None:
        """Whatever is left out or put in, while clients go on counting."""
        out, _ = run(
            RESPONSES, Script().message("Mail ", *EMAIL).call('{"to": "ada@exam', 'ple.com"}').message("x").end()
        )
        assert [event["sequence_number"] for event in events(out)] == list(range(len(events(out))))

    def test_without_numbers_none_are_made_up(self) -> None:
        """Some servers send none."""
        script = Script(numbered=False).message("Key: ", "sk-abcdefgh")
        assert not any("sequence_number" in event for event in events(run(RESPONSES, script.end())[0]))

    @pytest.mark.parametrize(
        ("kind", "family", "text"),
        [
            ("function_call", "function_call_arguments", '{"to": "ada\\u0040example.com"}'),
            ("mcp_call", "mcp_call_arguments", '{"to": "ada@example.com"}'),
            ("custom_tool_call", "custom_tool_call_input", "mail ada@example.com"),
        ],
    )
    def test_a_call_leaves_whole(self, kind: str, family: str, text: str) -> None:
        """Its JSON judged by what it says; the done event and the item say the same."""
        script = Script().call(text[:12], text[12:], kind=kind, family=family)
        out, _ = run(RESPONSES, script.end())
        wanted = '{"to": "[EMAIL]"}' if text.startswith("{") else "mail [EMAIL]"
        assert spelled(out, family) == wanted
        key = family.rpartition("_")[2]
        assert [event[key] for event in events(out) if event["type"] == f"response.{family}.done"] == [wanted]
        assert events(out)[-1]["response"]["output"][0][key] == wanted

    def test_what_follows_a_held_call_waits(self) -> None:
        """Clients want the items in order."""
        script = Script().call("{}")
        last = script.frames.pop()
        other = {"id": "msg_9", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        script.say("response.output_item.added", output_index=1, item=other)
        script.frames.append(last)
        out, _ = run(RESPONSES, script.end())
        added = [event["output_index"] for event in events(out) if event["type"].endswith("item.added")]
        assert added == [0, 1]
        assert types(out).index("response.output_item.done") < len(types(out)) - 2

    def test_nothing_of_a_halted_call_leaves(self) -> None:
        """The items before it stay."""
        out, pipeline = run(RESPONSES, Script().message("Hi. ").call('{"k": "sk-abc', 'defgh"}').end())
        last = events(out)[-1]
        assert last["type"] == "response.incomplete"
        assert last["response"]["incomplete_details"] == {"reason": "content_filter"}
        assert [item["type"] for item in last["response"]["output"]] == ["message"]
        assert b"fc_1" not in out
        assert pipeline.report.ended == "content_filter"

    def test_a_halt_closes_everything_as_incomplete(self) -> None:
        """In the order of an answer that reached its limit, each saying what was delivered."""
        out, _ = run(RESPONSES, Script().message("Key: ", "sk-", "abcdefgh").end())
        assert types(out)[-4:] == [
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.incomplete",
        ]
        text, part, item, last = events(out)[-4:]
        assert text["text"] == part["part"]["text"] == item["item"]["content"][0]["text"] == "Key: "
        assert item["item"]["status"] == last["response"]["status"] == "incomplete"
        assert last["response"]["output"] == [item["item"]]

    def test_a_halt_can_look_like_a_failure(self) -> None:
        """For clients that ask again when an answer is incomplete."""
        out, _ = run(RESPONSES, Script().message("sk-abcdefgh").end(), ask=Ask(failed=True))
        last = events(out)[-1]
        assert last["type"] == "response.failed"
        assert last["response"]["error"]["code"] == "invalid_prompt"

    @pytest.mark.parametrize(
        "script", [Script().message("Key: ", "sk-abcdefgh"), Script().call('{"k": "sk-abcdefgh"}')]
    )
    def test_a_halt_can_be_noticed(self, script: Script) -> None:
        """At the end of the open text, or in a message of its own."""
        out, _ = run(RESPONSES, [*script.frames], ask=Ask(notice="[stopped]"))
        assert spelled(out).endswith("[stopped]")
        assert events(out)[-1]["response"]["output"][-1]["content"][0]["text"] == spelled(out)

    def test_annotations_go_where_their_text_changed(self) -> None:
        """Their offsets would be wrong; elsewhere they stay."""
        cited = {"type": "url_citation", "start_index": 0, "end_index": 4, "title": "T", "url": "https://x.example"}
        out, _ = run(RESPONSES, Script().message("Mail ", *EMAIL, " now. ", annotations=[cited]).end())
        assert b"url_citation" not in out
        frames = Script().message("Mail me. ", annotations=[cited]).end()
        assert run(RESPONSES, frames)[0] == b"".join(frames)

    def test_unknown_families_follow_the_same_rule(self) -> None:
        """A delta goes on, a done event ends and repeats."""
        script = Script()
        for piece in EMAIL:
            script.say("response.apply_patch_call_operation_diff.delta", output_index=0, delta=piece)
        script.say("response.apply_patch_call_operation_diff.done", output_index=0, diff="".join(EMAIL))
        out, _ = run(RESPONSES, script.end())
        assert spelled(out, "apply_patch_call_operation_diff") == "[EMAIL]"
        assert events(out)[-2]["diff"] == "[EMAIL]"

    def test_item_ids_may_change_with_every_event(self) -> None:
        """Channels are told apart by position."""
        script = Script()
        for piece in EMAIL:
            fields = {"item_id": f"msg_{piece}", "output_index": 0, "content_index": 0}
            script.say("response.output_text.delta", **fields, delta=piece)
        assert b"ada" not in run(RESPONSES, script.end())[0].replace(b"msg_ada", b"")

    def test_log_probabilities_wait_for_their_text(self) -> None:
        """And vanish with it."""
        script = Script()
        place = {"item_id": "m", "output_index": 0, "content_index": 0}
        for token in ("Hi ", *EMAIL, " you"):
            entry = {"token": token, "logprob": -0.1, "bytes": None, "top_logprobs": []}
            script.say("response.output_text.delta", **place, delta=token, logprobs=[entry])
        script.say("response.output_text.done", **place, text="Hi ada@example.com you", logprobs=[])
        out, _ = run(RESPONSES, script.end())
        tokens = [one["token"] for event in events(out) if "delta" in event for one in event["logprobs"]]
        assert tokens == ["Hi ", " you"]

    def test_a_resent_event_is_left_out(self) -> None:
        """The same number with the same bytes: an upstream that resumed a little too early."""
        frames = Script().message("One ", "two. ").end()
        out, pipeline = run(RESPONSES, [*frames[:4], frames[3], *frames[4:]])
        assert out == b"".join(frames)
        assert pipeline.report.faults == ["repeated_event"]

    def test_an_error_is_told_in_both_shapes(self) -> None:
        """Clients look for one or the other."""
        out, _ = run(RESPONSES, Script().message("Hi ", "ada").frames[:4])
        last = events(out)[-1]
        assert last["type"] == "error"
        assert last["error"]["message"] == last["message"]
        assert last["sequence_number"] == events(out)[-2]["sequence_number"] + 1


class TestQuotes:
    """What the response gives back of the request."""

    def test_the_clients_own_words_are_its_own(self) -> None:
        """They are not filtered where the request has them, however often they come."""
        request = {"instructions": "Mail ada@example.com", "tools": [{"name": "f", "description": "sk-abcdefgh"}]}
        ask = RESPONSES.ask(request)
        script = Script()
        script.say("response.in_progress", response=script.response("in_progress", **request))
        frames = script.message("Hello. ").end()
        assert run(RESPONSES, frames, ask=ask)[0] == b"".join(frames)

    def test_words_it_did_not_send_are_filtered_and_end_nothing(self) -> None:
        """A stored prompt may hold what the client never saw."""
        script = Script()
        script.say(
            "response.in_progress", response=script.response("in_progress", instructions="No sk-abcdefgh please")
        )
        out, pipeline = run(RESPONSES, script.message("Hello. ").end())
        assert events(out)[1]["response"]["instructions"] == "No "
        assert pipeline.report.ended == "stop"


class TestBodies:
    """Answers that are not streamed, and the doors beside them."""

    def test_items_are_filtered(self) -> None:
        """Texts, arguments, summaries, results."""
        items = [
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "ada@example.com"}]},
            {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "ada@example.com"}]},
            {"type": "function_call", "id": "f", "name": "send", "arguments": '{"to": "ada\\u0040example.com"}'},
            {"type": "code_interpreter_call", "id": "c", "code": "x", "outputs": [{"logs": "ada@example.com"}]},
        ]
        body = {"id": "resp_1", "object": "response", "status": "completed", "output": items}
        _, told, pipeline = whole(RESPONSES, body)
        assert json.dumps(told).count("[EMAIL]") == 4
        assert b"ada" not in json.dumps(told).encode()
        assert pipeline.report.ended == "stop"

    def test_a_halt_cuts_the_output(self) -> None:
        """The message with the finding ends there, what follows goes."""
        items = [
            {
                "type": "message",
                "id": "m",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Key: sk-abcdefgh"}],
            },
            {"type": "function_call", "id": "f", "name": "send", "arguments": "{}"},
        ]
        body = {"id": "resp_1", "object": "response", "status": "completed", "output": items}
        _, told, _ = whole(RESPONSES, body)
        assert told["status"] == "incomplete"
        assert told["incomplete_details"] == {"reason": "content_filter"}
        (message,) = told["output"]
        assert (message["status"], message["content"][0]["text"]) == ("incomplete", "Key: ")

    def test_lists_of_items_are_filtered(self) -> None:
        """Of a conversation, of a stored response's input."""
        item = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "ada@example.com"}]}
        _, told, _ = whole(RESPONSES, {"object": "list", "data": [item], "has_more": False})
        assert told["data"][0]["content"][0]["text"] == "[EMAIL]"

    def test_a_background_answer_that_runs_is_no_end(self) -> None:
        """It is recorded as an answer like any, and asked for again."""
        body = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}
        assert whole(RESPONSES, body)[2].report.upstream_finish == {}

    def test_pictures_are_no_text(self) -> None:
        """But what is not base64 is."""
        picture = "iVBORw0KGgo" * 60
        item = {"type": "image_generation_call", "id": "i", "result": picture, "revised_prompt": "ada@example.com"}
        svg = {"type": "image_generation_call", "id": "i", "result": "<svg>ada@example.com</svg>"}
        _, told, _ = whole(RESPONSES, {"object": "response", "status": "completed", "output": [item, svg]})
        assert told["output"][0]["result"] == picture
        assert told["output"][0]["revised_prompt"] == "[EMAIL]"
        assert told["output"][1]["result"] == "<svg>[EMAIL]</svg>"


class TestStructured:
    """An answer asked for as JSON."""

    ASK = Ask(json=True)

    def test_it_is_asked_for(self) -> None:
        """In ``text.format``."""
        assert RESPONSES.ask({"text": {"format": {"type": "json_schema"}}}).json
        assert not RESPONSES.ask({"text": {"format": {"type": "text"}}}).json

    def test_it_stays_json(self) -> None:
        """However its values are spelled."""
        frames = Script().message('{"to": "ada\\u0040exa', 'mple.com", "n": 411111', "1111111111}").end()
        out, _ = run(RESPONSES, frames, ask=self.ASK)
        assert json.loads(spelled(out)) == {"to": "[EMAIL]", "n": 0}
        assert events(out)[-1]["response"]["output"][0]["content"][0]["text"] == spelled(out)

    def test_a_halt_says_no_half_text_whole(self) -> None:
        """Clients would parse it when its part ends."""
        out, _ = run(RESPONSES, Script().message('{"k": "sk-abcdefgh"}').end(), ask=self.ASK)
        assert types(out)[-2:] == ["response.output_item.done", "response.incomplete"]
        assert spelled(out) == ""


class TestSound:
    """Audio says what its transcript says."""

    @staticmethod
    def spoken(*pieces: str) -> bytes:
        """A spoken answer: each piece of the transcript before its sound."""
        script = Script()
        for piece in pieces:
            script.say("response.audio.transcript.delta", response_id="resp_1", delta=piece)
            script.say("response.audio.delta", response_id="resp_1", delta="UklGRg==")
        script.say("response.audio.transcript.done", response_id="resp_1")
        return run(RESPONSES, script.end())[0]

    def test_it_leaves_after_its_words(self) -> None:
        """All of it, where nothing was found."""
        out = self.spoken("Hello ", "you. ")
        assert spelled(out, "audio") == "UklGRg==" * 2
        assert types(out).index("response.audio.delta") > types(out).index("response.audio.transcript.delta")

    def test_it_goes_with_words_that_were_replaced(self) -> None:
        """From there on."""
        out = self.spoken("Mail ", *EMAIL, " now. ", "Bye. ")
        assert spelled(out, "audio.transcript") == "Mail [EMAIL] now. Bye. "
        assert spelled(out, "audio").count("UklG") <= 1


@pytest.mark.parametrize(
    "event",
    [
        {"type": "so ada@example.com."},
        {"type": "response.output_text.delta", "item_id": "call ada@example.com now", "delta": "x"},
        {"type": "response.output_text.delta", "output_index": {"x": "ada@example.com"}, "delta": "x"},
        {"type": "response.output_text.delta", "delta": "a", "obfuscation": "ada@example.com"},
        {"type": "response.created", "ada@example.com": 1, "response": {}},
        {"type": "response.created", "response": {"ada@example.com": 1}},
        {"type": "response.created", "response": {"output": ["ada@example.com"]}},
        {"type": "response.created", "response": {"usage": {"x": "ada@example.com"}}},
        {"type": "response.audio.delta", "delta": "ada@example.com"},
    ],
)
def test_odd_events_are_filtered_all_the_same(event: Event) -> None:
    """Nothing passes because its place is odd."""
    script = Script(numbered=False)
    script.frames.append(b"data: " + json.dumps(event).encode() + b"\n\n")
    out, _ = run(RESPONSES, [*script.frames, *Script(numbered=False).end()[1:]])
    assert b"ada@" not in out


def test_a_call_does_not_go_on_after_the_response() -> None:
    """Its first half leaves with the end, as it is; the second never does."""
    frames = Script(numbered=False).call('{"to": "ada', '@example.com"}').frames
    end = Script(numbered=False).end()[1]
    out, pipeline = run(RESPONSES, [*frames[:3], end, *frames[3:]])
    assert spelled(out, "function_call_arguments") == '{"to": "ada'
    assert types(out)[-1] == "response.completed"
    assert pipeline.report.faults == ["arguments_after_call"]


def test_words_of_a_stored_prompts_keys_are_filtered() -> None:
    """The request did not have them."""
    script = Script()
    script.say("response.in_progress", response=script.response("in_progress", metadata={"ada@example.com": "1"}))
    assert b"ada@" not in run(RESPONSES, script.message("x").end())[0]
    ask = RESPONSES.ask({"metadata": {"ada@example.com": "1"}})
    assert b"ada@" in run(RESPONSES, script.frames, ask=ask)[0]


@pytest.mark.parametrize("kind", ["response.audio", "response.output_audio"])
def test_sound_after_its_transcripts_end_goes_with_it(kind: str) -> None:
    """The words often run ahead of the sound."""
    words = f"{kind}.transcript" if kind == "response.audio" else f"{kind}_transcript"
    place = {"response_id": "r", "output_index": 0, "content_index": 0}
    script = Script(numbered=False)
    script.say(f"{words}.delta", **place, delta="Mail ada@example.com ")
    script.say(f"{words}.done", **place, transcript="Mail ada@example.com ")
    script.say(f"{kind}.delta", **place, delta="UklGRg==")
    out, _ = run(RESPONSES, script.end())
    assert b"UklGRg" not in out
