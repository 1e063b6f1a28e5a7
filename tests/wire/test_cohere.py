"""Cohere's v2 chat: streams, whole bodies, readings one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from safeproxy.pipeline import StreamPipeline
from safeproxy.wire.base import BLOCKED
from safeproxy.wire.cohere import Cohere
from safeproxy.wire.dialect import Ask
from tests.wire.chat import DONE, POLICY
from tests.wire.played import events, judged, named, played

COHERE = Cohere()
USAGE = {"billed_units": {"input_tokens": 4, "output_tokens": 9}, "tokens": {"input_tokens": 5, "output_tokens": 9}}
START = {
    "type": "message-start",
    "id": "m-1",
    "delta": {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}},
}


def content(*texts: str, index: int = 0, kind: str = "text", first: str = "") -> list[Any]:
    """A content in these pieces."""
    begun = {"type": "content-start", "index": index, "delta": {"message": {"content": {"type": kind, kind: first}}}}
    return [begun, *(piece(text, index, kind) for text in texts), {"type": "content-end", "index": index}]


def piece(text: str, index: int = 0, kind: str = "text", **more: Any) -> dict[str, Any]:
    """A delta."""
    return {"type": "content-delta", "index": index, "delta": {"message": {"content": {kind: text}}}, **more}


def call(*pieces: str, index: int = 0, name: str = "send") -> list[Any]:
    """A call whose arguments come in these pieces."""
    begun = {"id": "c-1", "type": "function", "function": {"name": name, "arguments": ""}}
    return [
        {"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": begun}}},
        *(
            {
                "type": "tool-call-delta",
                "index": index,
                "delta": {"message": {"tool_calls": {"function": {"arguments": one}}}},
            }
            for one in pieces
        ),
        {"type": "tool-call-end", "index": index},
    ]


def citation(text: str, start: int, index: int = 0, **more: Any) -> list[Any]:
    """A citation, which is two events."""
    cited = {"start": start, "end": start + len(text), "text": text, "sources": [], **more}
    return [
        {"type": "citation-start", "index": index, "delta": {"message": {"citations": cited}}},
        {"type": "citation-end", "index": index},
    ]


def plan(*texts: str) -> list[Any]:
    """What the model means to do."""
    return [{"type": "tool-plan-delta", "delta": {"message": {"tool_plan": text}}} for text in texts]


def last(reason: str = "COMPLETE") -> dict[str, Any]:
    """The message's end."""
    return {"type": "message-end", "delta": {"finish_reason": reason, "usage": USAGE}}


def answer(*made: Any, reason: str = "COMPLETE") -> list[bytes]:
    """A whole answer."""
    return [*named(START, *made, last(reason)), DONE]


def text(data: bytes, index: int = 0, kind: str = "text") -> str:
    """What a client has of a content."""
    found = ""
    for event in events(data):
        if event.get("index") == index and event["type"] in ("content-start", "content-delta"):
            found += event["delta"]["message"]["content"].get(kind, "")
    return found


def arguments(data: bytes, index: int = 0) -> str:
    """What a client has of a call's arguments."""
    return "".join(
        event["delta"]["message"]["tool_calls"]["function"]["arguments"]
        for event in events(data)
        if event["type"] in ("tool-call-start", "tool-call-delta") and event["index"] == index
    )


def types(data: bytes) -> list[str]:
    """The events in order; each is named as its type."""
    found = [line.removeprefix(b"event: ").decode() for line in data.split(b"\n") if line.startswith(b"event: ")]
    assert found == [event["type"] for event in events(data)]
    return found


class TestStream:
    """Events."""

    def test_clean_events_pass_byte_for_byte(self) -> None:
        """Thoughts, text, citations, plan, calls, usage."""
        made = [
            *content("Let me see. ", kind="thinking"),
            *content("One, ", "two. ", index=1),
            *citation("One", 0),
            *plan("I will. "),
            *call('{"a":', '"x"}'),
            *call("{}", index=1),
        ]
        pieces = [frame.replace(b'":', b'": ') for frame in answer(*made, reason="TOOL_CALL")]
        out, pipeline = played(COHERE, pieces)
        assert out == b"".join(pieces)
        report = pipeline.report
        assert (report.ended, report.faults) == ("tool_calls", [])
        assert report.usage == {
            "billed_units.input_tokens": 4,
            "billed_units.output_tokens": 9,
            "tokens.input_tokens": 5,
            "tokens.output_tokens": 9,
        }

    def test_a_finding_is_replaced_across_events(self) -> None:
        """The tail comes before its content's end."""
        made = [
            *content("I see ada@ex", "ample.com", kind="thinking"),
            *content("Mail ada", "@exam", "ple.com or bye", index=1),
        ]
        out, pipeline = played(COHERE, answer(*made))
        assert (text(out, kind="thinking"), text(out, 1)) == ("I see [EMAIL]", "Mail [EMAIL] or bye")
        assert types(out)[-3:] == ["content-delta", "content-end", "message-end"]
        names = {finding.channel for finding in pipeline.report.take_findings()}
        assert names == {"content.0.thinking", "content.1.text"}

    def test_a_content_may_begin_with_text(self) -> None:
        """Its tail comes in a delta that is named so."""
        out, _ = played(COHERE, answer(*content("@example.com.", first="Hi ada")))
        assert text(out) == "Hi [EMAIL]."
        assert types(out) == [
            "message-start",
            "content-start",
            "content-delta",
            "content-delta",
            "content-end",
            "message-end",
        ]

    def test_a_plan_is_a_text_of_its_own(self) -> None:
        """It ends with the message."""
        out, pipeline = played(COHERE, answer(*plan("Ask ada@ex", "ample.com"), *call("{}"), reason="TOOL_CALL"))
        said = [event["delta"]["message"]["tool_plan"] for event in events(out) if event["type"] == "tool-plan-delta"]
        assert "".join(said) == "Ask [EMAIL]"
        assert {finding.channel for finding in pipeline.report.take_findings()} == {"tool_plan"}

    def test_unknown_fields_and_events_are_text(self) -> None:
        """Across deltas, too."""
        mail = "ada@example.com"
        odd = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"aside": "ada@ex"}}}}
        more = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"aside": "ample.com "}}}}
        made = [odd, more, {"type": "debug", "prompt": mail}, {"type": "x", "y": {mail: mail}}, {"type": "message-x"}]
        out, _ = played(COHERE, answer(*made, piece("x", note=mail)))
        assert b"ada@" not in out
        assert out.count(b"[EMAIL]") == 5

    @pytest.mark.parametrize("odd", [3, None, "x", [], {"a": "ada@example.com"}, ["ada@example.com"], True])
    @pytest.mark.parametrize(
        "kind",
        [
            "content-start",
            "content-delta",
            "tool-plan-delta",
            "tool-call-start",
            "tool-call-delta",
            "citation-start",
            "message-end",
            "x",
        ],
    )
    def test_odd_shapes_are_read(self, odd: Any, kind: str) -> None:
        """Never a failure, never unfiltered."""
        message = {"content": odd, "tool_calls": odd, "citations": odd, "tool_plan": odd}
        for event in (
            {"type": kind, "index": odd, "delta": odd},
            {"type": kind, "index": 0, "delta": {"message": odd, "finish_reason": odd, "usage": odd}},
            {"type": kind, "index": 0, "delta": {"message": message}, "logprobs": odd},
        ):
            played(COHERE, answer(*content("Hi."), event))
            out, _ = played(
                COHERE, answer(*content("Hi."), event, *content("ada@example.com", index=1), *citation("Hi", 0))
            )
            assert b"ada@" not in out

    def test_an_error_of_the_upstream_is_the_end(self) -> None:
        """It is passed on, filtered."""
        broken = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "ask ada@example.com"}}
        out, pipeline = played(COHERE, named(START, broken))
        assert events(out)[-1]["delta"]["error"] == "ask [EMAIL]"
        assert pipeline.report.ended == "upstream_error"

    def test_a_stream_that_breaks_off_ends_with_an_error(self) -> None:
        """In the message's end, after that of what is open."""
        out, _ = played(COHERE, named(START, *content("One. ", "ada")[:-1]))
        assert text(out) == "One. "
        assert types(out)[-2:] == ["content-end", "message-end"]
        error = "The upstream ended its answer before it was finished."
        assert events(out)[-1]["delta"] == {"finish_reason": "ERROR", "error": error}


class TestCalls:
    """Calls are held until they have ended."""

    def test_nothing_of_a_call_leaves_before_its_end(self) -> None:
        """And what comes after it waits."""
        pieces = named(*call('{"a":1}'), *content("x. "))
        pipeline = StreamPipeline(COHERE, POLICY)
        pipeline.feed(named(START)[0])
        assert b"".join(map(pipeline.feed, pieces[:2])) == b""
        assert pipeline.feed(pieces[2]) == b"".join(pieces[:3])

    def test_arguments_are_judged_by_their_values(self) -> None:
        """Escapes and numbers, across pieces."""
        out, pipeline = played(
            COHERE, answer(*call('{"to": "\\u0061da', "@exam", 'ple.com", "card": 4111', "111111111111}"))
        )
        assert json.loads(arguments(out)) == {"to": "[EMAIL]", "card": 0}
        assert "tool.0.arguments" in {finding.channel for finding in pipeline.report.take_findings()}

    def test_names_are_texts(self) -> None:
        """As all else in a call."""
        out, _ = played(COHERE, answer(*call("{}", name="ada@example.com")))
        assert b"ada@" not in out

    def test_nothing_of_a_halted_call_leaves(self) -> None:
        """Not its beginning either."""
        out, _ = played(COHERE, answer(*content("One. "), *call('{"key": "sk-abc', 'defgh "}'), *call("{}", index=1)))
        assert types(out) == ["message-start", "content-start", "content-delta", "content-end", "message-end"]
        assert events(out)[-1]["delta"]["finish_reason"] == "ERROR"

    def test_a_piece_without_a_beginning_is_text(self) -> None:
        """It is filtered as such."""
        out, _ = played(COHERE, answer(*call("ada@ex", "ample.com ")[1:]))
        assert arguments(out) == "[EMAIL] "


class TestCitations:
    """They point into the text, and repeat some of it."""

    def test_they_wait_for_their_text(self) -> None:
        """Both events, in order."""
        stream = content("Hi ada", " there. ")
        stream[2:2] = citation("ada", 3)
        stream[-1:-1] = citation("there", 7, index=1)
        out, _ = played(COHERE, answer(*stream))
        assert text(out) == "Hi ada there. "
        assert [event["index"] for event in events(out) if event["type"] == "citation-start"] == [0, 1]
        assert types(out)[2:-2] == [
            "content-delta",
            "content-delta",
            "citation-start",
            "citation-end",
            "citation-start",
            "citation-end",
        ]

    def test_they_go_when_their_text_was_changed(self) -> None:
        """Before its end and after."""
        stream = content("Hi ada@ex", "ample.com. ", "Bye. ")
        stream[2:2] = citation("ada@ex", 3)
        stream[-1:-1] = citation("Bye", 20, index=1)
        out, _ = played(COHERE, answer(*stream, *citation("Hi", 0, index=2, content_index=0)))
        assert text(out) == "Hi [EMAIL]. Bye. "
        assert not {"citation-start", "citation-end"} & set(types(out))

    def test_those_of_another_text_stay(self) -> None:
        """Where they say which it is."""
        stream = [*content("ada@example.com. "), *content("Two. ", index=1)]
        stream[-1:-1] = citation("Two", 0, content_index=1)[:1]
        out, _ = played(COHERE, answer(*stream))
        assert "citation-start" in types(out)

    def test_their_sources_are_texts(self) -> None:
        """Documents come from anywhere."""
        document = {"type": "document", "id": "d-1", "document": {"title": "ada@example.com"}}
        out, _ = played(COHERE, answer(*content("Hi. "), *citation("Hi", 0, sources=[document])))
        assert b"ada@" not in out
        assert "citation-start" in types(out)

    def test_log_probabilities_go_with_text_that_is_held(self) -> None:
        """They spell it."""
        probabilities = {"token_ids": [1], "text": "x", "logprobs": [-0.5]}
        stream = content()
        stream[1:1] = [piece("Hi. ", logprobs=probabilities), piece("ada", logprobs=probabilities)]
        out, _ = played(COHERE, answer(*stream))
        assert ["logprobs" in event for event in events(out) if event["type"] == "content-delta"] == [True, False]


class TestHalt:
    """The reason that the API has for what went wrong."""

    def test_what_is_open_is_ended(self) -> None:
        """Then the message."""
        out, pipeline = played(COHERE, answer(*content("One. ", "Key sk-abcdefgh "), *content("more", index=1)))
        ends = [
            {"type": "content-end", "index": 0},
            {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": BLOCKED}},
        ]
        assert out == b"".join(named(START, *content("One. ", "Key ")[:-1], *ends))
        assert pipeline.report.ended == "content_filter"

    def test_a_notice_stands_in_the_text(self) -> None:
        """In the open one, or in one of its own."""
        out, _ = played(COHERE, answer(*content("Key sk-abcdefgh ")), ask=Ask(notice="[stopped]"))
        assert text(out) == "Key [stopped]"
        out, _ = played(COHERE, answer(*content("Key sk-abcdefgh ", kind="thinking")), ask=Ask(notice="[stopped]"))
        assert text(out, 1) == "[stopped]"
        assert types(out)[-5:] == ["content-end", "content-start", "content-delta", "content-end", "message-end"]

    def test_the_first_event_may_halt(self) -> None:
        """The message is begun for it."""
        out, _ = played(COHERE, named(START | {"note": "sk-abcdefgh "}))
        assert types(out) == ["message-start", "message-end"]


class TestBody:
    """Whole answers."""

    @staticmethod
    def body(*parts: Any, **more: Any) -> dict[str, Any]:
        """An answer of these contents."""
        message = {"role": "assistant", "content": list(parts), **more}
        return {"id": "m-1", "finish_reason": "COMPLETE", "message": message, "usage": USAGE}

    def test_the_same_is_found_as_in_a_stream(self) -> None:
        """Byte for byte if nothing is."""
        cited = citation("Hi", 0)[0]["delta"]["message"]["citations"]
        function = {"name": "send", "arguments": '{"to": "\\u0061da@example.com", "n": 1}'}
        calls = [{"id": "c-1", "type": "function", "function": function}]
        assert judged(COHERE, self.body({"type": "text", "text": "Hi."}, citations=[cited]))[0] == 200
        made = self.body(
            {"type": "thinking", "thinking": "I see ada@example.com"},
            {"type": "text", "text": "Hi ada@example.com"},
            tool_plan="Ask ada@example.com",
            tool_calls=calls,
            citations=[cited],
        )
        _, value, pipeline = judged(COHERE, made)
        message = value["message"]
        assert [part.get("text", part.get("thinking")) for part in message["content"]] == [
            "I see [EMAIL]",
            "Hi [EMAIL]",
        ]
        assert message["tool_plan"] == "Ask [EMAIL]"
        assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"to": "[EMAIL]", "n": 1}
        assert message["citations"] == []
        assert pipeline.report.ended == "stop"
        names = {finding.channel for finding in pipeline.report.take_findings()}
        assert {"content.0.thinking", "content.1.text", "tool_plan"} <= names

    def test_a_halt_cuts_it_off(self) -> None:
        """No content behind it, no call."""
        made = self.body(
            {"type": "text", "text": "One."},
            {"type": "text", "text": "Key sk-abcdefgh "},
            {"type": "text", "text": "Three."},
            tool_calls=[{"function": {"name": "f", "arguments": "{}"}}],
        )
        _, value, pipeline = judged(COHERE, made | {"logprobs": [{"text": "x"}]}, Ask(notice="[stopped]"))
        content = [{"type": "text", "text": one} for one in ("One.", "Key ", "[stopped]")]
        assert value == {
            "id": "m-1",
            "finish_reason": "ERROR",
            "message": {"role": "assistant", "content": content},
            "usage": USAGE,
        }
        assert pipeline.report.ended == "content_filter"

    def test_a_halted_call_leaves_the_text(self) -> None:
        """If it came before."""
        calls = [{"function": {"name": "f", "arguments": '{"key": "sk-abcdefgh "}'}}]
        _, value, _ = judged(COHERE, self.body({"type": "text", "text": "One."}, tool_calls=calls))
        assert value["message"] == {"role": "assistant", "content": [{"type": "text", "text": "One."}]}

    def test_an_error_is_filtered(self) -> None:
        """A string under ``message``."""
        assert judged(COHERE, {"message": "ask ada@example.com"}, status=400)[:2] == (400, {"message": "ask [EMAIL]"})
        status, value, _ = judged(COHERE, {"message": "sk-abcdefgh "}, status=400)
        assert (status, list(value)) == (400, ["message"])


def test_structured_output_is_response_format() -> None:
    """Of one type."""
    assert COHERE.ask({"response_format": {"type": "json_object", "json_schema": {}}}).json
    assert not COHERE.ask({"response_format": {"type": "text"}}).json
