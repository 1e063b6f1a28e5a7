"""Ollama: lines of both paths, whole bodies, readings one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from safeproxy.pipeline import StreamPipeline
from safeproxy.wire.dialect import Ask
from safeproxy.wire.ollama import Ollama
from tests.wire.chat import POLICY
from tests.wire.played import events, judged, lines, played

OLLAMA = Ollama()
COUNTERS = {"total_duration": 5, "load_duration": 1, "prompt_eval_count": 3, "eval_count": 9, "eval_duration": 3}
#: The shape of each path's lines: where its text stands.
SHAPES = ["message", "response"]


def head(second: int = 0) -> dict[str, Any]:
    """No two lines have the same time."""
    return {"model": "llama3", "created_at": f"2026-11-22T10:00:{second:02}.123456Z"}


def line(shape: str, text: str = "", second: int = 0, thinking: str = "", **more: Any) -> dict[str, Any]:
    """One line that is not the last."""
    thought = {"thinking": thinking} if thinking else {}
    if shape == "message":
        return {**head(second), "message": {"role": "assistant", "content": text, **thought}, "done": False, **more}
    return {**head(second), "response": text, **thought, "done": False, **more}


def last(shape: str, text: str = "", **more: Any) -> dict[str, Any]:
    """The last line."""
    return line(shape, text, 59) | {"done": True, "done_reason": "stop", **COUNTERS, **more}


def says(shape: str, *texts: str) -> list[Any]:
    """A line for each piece of text."""
    return [line(shape, text, second) for second, text in enumerate(texts)]


def text(data: bytes, key: str = "") -> str:
    """What a client has of the answer, or of what stands under the key."""
    found = ""
    for event in events(data):
        if "message" in event:
            found += event["message"].get(key or "content", "")
        else:
            found += event.get(key or "response", "")
    return found


def calls(*arguments: Any) -> dict[str, Any]:
    """A line with a call for each."""
    made = [{"function": {"name": "send", "arguments": one}} for one in arguments]
    return {**head(), "message": {"role": "assistant", "content": "", "tool_calls": made}, "done": False}


@pytest.mark.parametrize("shape", SHAPES)
class TestStream:
    """Lines."""

    def test_clean_lines_pass_byte_for_byte(self, shape: str) -> None:
        """With thoughts, calls, log probabilities and the context."""
        probabilities = [{"token": "One. ", "logprob": -0.5, "bytes": list(b"One. "), "top_logprobs": []}]
        more: Any = {"context": [1, 2, 3]} if shape == "response" else {}
        stream = [
            line(shape, thinking="I see. "),
            line(shape, "One, ", 1),
            line(shape, "two. ", 2),
            line(shape, "One. ", 3, logprobs=probabilities),
            *([calls({"a": [1, "x"]})] if shape == "message" else []),
            last(shape, **more),
        ]
        pieces = [json.dumps(event).encode() + b"\n" for event in stream]
        out, pipeline = played(OLLAMA, pieces)
        assert out == b"".join(pieces)
        report = pipeline.report
        assert (report.ended, report.model) == ("stop", "llama3")
        assert report.usage == {"prompt_eval_count": 3, "eval_count": 9}

    def test_a_finding_is_replaced_across_lines(self, shape: str) -> None:
        """The tail comes in a line of its own, before the last."""
        out, _ = played(OLLAMA, lines(*says(shape, "Mail ada", "@exam", "ple.com now", " or bye"), last(shape)))
        assert text(out) == "Mail [EMAIL] now or bye"
        assert [event["done"] for event in events(out)].count(True) == 1
        assert all("model" in event and "created_at" in event for event in events(out))
        assert b"\n\n" not in out
        if shape == "message":
            assert all(event["message"]["role"] == "assistant" for event in events(out))

    def test_lines_that_would_be_empty_are_dropped(self, shape: str) -> None:
        """Though each has another time."""
        pipeline = StreamPipeline(OLLAMA, POLICY)
        first, second, third = lines(*says(shape, "One. ", "ada", "@example"))
        assert pipeline.feed(first) == first
        assert pipeline.feed(second) + pipeline.feed(third) == b""

    def test_thoughts_are_a_channel_of_their_own(self, shape: str) -> None:
        """Before, between, after the text."""
        stream = [line(shape, thinking="I see ada@ex"), line(shape, "Say ada"), line(shape, thinking="ample.com.")]
        out, pipeline = played(OLLAMA, lines(*stream, last(shape, "!")))
        assert (text(out, "thinking"), text(out)) == ("I see [EMAIL].", "Say ada!")
        channel = "message.thinking" if shape == "message" else "thinking"
        assert {finding.channel for finding in pipeline.report.take_findings()} == {channel}

    def test_tokens_go_when_any_text_was_changed(self, shape: str) -> None:
        """The context spells the whole answer, thoughts included."""
        out, _ = played(OLLAMA, lines(*says(shape, "Hi ada@exam", "ple.com. "), last(shape, context=[1, 2])))
        assert "context" not in events(out)[-1]
        thought = [line(shape, thinking="ada@example.com "), *says(shape, "Hi. ")]
        out, _ = played(OLLAMA, lines(*thought, last(shape, context=[1, 2])))
        assert "context" not in events(out)[-1]
        clean = lines(*says(shape, "Hi"), last(shape, context=[1, 2]))
        assert json.loads(played(OLLAMA, clean)[0].splitlines()[-1])["context"] == [1, 2]

    def test_log_probabilities_wait_for_their_text(self, shape: str) -> None:
        """And go with it."""

        def entries(*tokens: str) -> list[Any]:
            return [{"token": one, "logprob": -1.5, "bytes": list(one.encode()), "top_logprobs": []} for one in tokens]

        stream = [
            line(shape, "Hi ada@", logprobs=entries("Hi", " ", "ada", "@")),
            line(shape, "example.com. ", 1, logprobs=entries("example", ".com", ". ")),
            line(shape, thinking="So. ", logprobs=entries("So", ". ")),
        ]
        out, _ = played(OLLAMA, lines(*stream, last(shape)))
        got = [entry["token"] for event in events(out) for entry in event.get("logprobs") or ()]
        assert got == ["Hi", " ", ". ", "So", ". "]
        assert text(out) == "Hi [EMAIL]. "

    def test_a_halt_is_a_last_line(self, shape: str) -> None:
        """With a reason that clients map; nothing after it."""
        out, pipeline = played(OLLAMA, lines(*says(shape, "One. ", "Key sk-abcdefgh "), last(shape, context=[1])))
        said = {"message": {"role": "assistant", "content": ""}} if shape == "message" else {"response": ""}
        assert text(out) == "One. Key "
        assert events(out)[-1] == {**head(0), **said, "done": True, "done_reason": "content_filter"}
        assert out.endswith(b"\n")
        assert pipeline.report.ended == "content_filter"

    def test_a_notice_stands_before_it(self, shape: str) -> None:
        """In a line of its own."""
        out, _ = played(OLLAMA, lines(*says(shape, "Key sk-abcdefgh ")), ask=Ask(notice="[stopped]"))
        assert text(out) == "Key [stopped]"
        assert [event["done"] for event in events(out)] == [False, False, True]

    def test_a_stream_that_breaks_off_ends_with_an_error(self, shape: str) -> None:
        """One string."""
        out, _ = played(OLLAMA, lines(*says(shape, "One. ")))
        assert events(out)[-1] == {"error": "The upstream ended its answer before it was finished."}

    def test_nothing_follows_the_last_line(self, shape: str) -> None:
        """No text, no second end."""
        out, pipeline = played(OLLAMA, lines(*says(shape, "One. "), last(shape), *says(shape, "more. "), last(shape)))
        assert text(out) == "One. "
        assert "duplicate_finish" in pipeline.report.faults

    def test_odd_framing_is_made_plain(self, shape: str) -> None:
        """CRLF, blank lines, a byte order mark, no end of the last line."""
        first, end = lines(*says(shape, "One. "), last(shape))
        stream = b"\xef\xbb\xbf" + first[:-1] + b"\r\n\r\n\n" + end[:-1]
        assert played(OLLAMA, [stream])[0] == first + end

    def test_whole_bodies_are_filtered_alike(self, shape: str) -> None:
        """Byte for byte if nothing is found."""
        clean = last(shape, "Hi.", context=[1])
        assert judged(OLLAMA, clean)[1] == clean
        _, value, pipeline = judged(OLLAMA, last(shape, "Mail ada@example.com now", context=[1]))
        assert text(json.dumps(value).encode()) == "Mail [EMAIL] now"
        assert "context" not in value
        assert pipeline.report.ended == "stop"
        _, value, pipeline = judged(OLLAMA, last(shape, "Key sk-abcdefgh ", context=[1]), Ask(notice="[stopped]"))
        assert text(json.dumps(value).encode()) == "Key [stopped]"
        assert (value["done"], value["done_reason"]) == (True, "content_filter")
        assert "context" not in value
        assert pipeline.report.ended == "content_filter"


class TestCalls:
    """Arguments are an object, whole in one line."""

    def test_they_are_judged_by_their_values(self) -> None:
        """Escapes, keys and numbers too; the rest stays."""
        made = calls({"to": "ada@example.com", "card": 4111111111111111, "ok": True}, {"ada@example.com": 1})
        escaped = lines(made)[0].replace(b"ada@", b"\\u0061da\\u0040")
        out, _ = played(OLLAMA, [escaped, *lines(last("message"))])
        functions = [call["function"] for call in events(out)[0]["message"]["tool_calls"]]
        assert functions == [
            {"name": "send", "arguments": {"to": "[EMAIL]", "card": 0, "ok": True}},
            {"name": "send", "arguments": {"[EMAIL]": 1}},
        ]

    def test_nothing_of_a_halted_call_leaves(self) -> None:
        """Streamed or not."""
        made = calls({"key": "sk-abcdefgh "})
        out, _ = played(OLLAMA, lines(*says("message", "One. "), made, last("message")))
        assert b"tool_calls" not in out
        assert events(out)[-1]["done_reason"] == "content_filter"
        _, value, _ = judged(OLLAMA, made | {"done": True})
        assert value["message"] == {"role": "assistant", "content": ""}

    def test_names_and_unknown_fields_are_texts(self) -> None:
        """And so are arguments that are a string."""
        mail = "ada@example.com"
        made = calls(f'{{"to":"{mail}"}}')
        made["message"]["tool_calls"][0] |= {"x": mail}
        made["message"]["tool_calls"] += [{"function": {"name": mail, "arguments": {}}}, mail]
        out, _ = played(OLLAMA, lines(made | {"y": {"z": mail}}, last("message")))
        assert mail.encode() not in out
        assert out.count(b"[EMAIL]") == 5


def test_unknown_fields_of_a_message_go_on_from_line_to_line() -> None:
    """Whatever they mean."""
    stream = [
        {**head(), "message": {"role": "assistant", "aside": piece}, "done": False} for piece in ("ada@ex", "a.io")
    ]
    out, _ = played(OLLAMA, lines(*stream, last("message")))
    assert text(out, "aside") == "[EMAIL]"


@pytest.mark.parametrize("odd", [3, "x", ["ada@example.com"], {"a": "ada@example.com"}, True])
def test_odd_shapes_are_read(odd: Any) -> None:
    """Never a failure, never unfiltered."""
    for key in ("message", "response", "thinking", "context", "logprobs", "image", "done_reason", "model", "x"):
        out, _ = played(OLLAMA, lines({**head(), key: odd}, {"done": True, key: odd}))
        assert b"ada@" not in out
    for key in ("content", "thinking", "tool_calls", "images", "role"):
        out, _ = played(OLLAMA, lines({"message": {key: odd}}, {"message": {}, "done": True}))
        assert b"ada@" not in out


def test_an_error_of_the_upstream_is_the_end() -> None:
    """It is passed on, filtered."""
    out, pipeline = played(OLLAMA, lines(*says("message", "One. "), {"error": "ask ada@example.com"}))
    assert events(out)[-1] == {"error": "ask [EMAIL]"}
    assert pipeline.report.ended == "upstream_error"
    assert judged(OLLAMA, {"error": "ask ada@example.com"}, status=500)[:2] == (500, {"error": "ask [EMAIL]"})
    status, value, _ = judged(OLLAMA, {"error": "sk-abcdefgh "}, status=400)
    assert (status, list(value)) == (400, ["error"])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"format": "json"}, True),
        ({"format": {"type": "object"}}, True),
        ({"format": ""}, False),
        ({}, False),
        (3, False),
    ],
)
def test_structured_output_is_the_format(body: Any, expected: bool) -> None:
    """The word, or a schema."""
    assert OLLAMA.ask(body).json is expected


def test_prompts_are_read() -> None:
    """Every text of a request, images left out."""
    reading = OLLAMA.read_prompt(
        {
            "model": "m",
            "messages": [{"role": "user", "content": "one", "images": ["AAAA" * 30, "two"]}],
            "prompt": "three",
        }
    )
    assert [slot.holder[slot.key] for slot in reading.slots] == ["one", "two", "three"]


class TestOrder:
    """What acts waits for what was said before it."""

    @staticmethod
    def call() -> bytes:
        """A line with a whole call."""
        made = {"function": {"name": "send", "arguments": {"to": "x"}}}
        told = {"model": "m", "created_at": "t", "message": {"role": "assistant", "content": "", "tool_calls": [made]}}
        return json.dumps({**told, "done": False}).encode() + b"\n"

    @staticmethod
    def said(content: str, **more: Any) -> bytes:
        """A line with text."""
        told = {"model": "m", "created_at": "t", "message": {"role": "assistant", "content": content}}
        return json.dumps({**told, "done": False, **more}).encode() + b"\n"

    def test_a_call_leaves_after_the_text_before_it(self) -> None:
        """Though a word of that text is held until the answer ends."""
        pipeline = StreamPipeline(OLLAMA, POLICY)
        out = pipeline.feed(self.said("I look it up")) + pipeline.feed(self.call())
        assert b"send" not in out
        out += pipeline.feed(self.said("", done=True, done_reason="stop")) + pipeline.finish()
        told = [json.loads(line)["message"] for line in out.splitlines()]
        assert "".join(one["content"] for one in told) == "I look it up"
        (at,) = [number for number, one in enumerate(told) if one.get("tool_calls")]
        assert at == len(told) - 2

    def test_a_call_after_a_finding_that_halts_never_leaves(self) -> None:
        """The client would carry it out."""
        pipeline = StreamPipeline(OLLAMA, POLICY)
        out = b"".join(map(pipeline.feed, [self.said("Key sk-abc"), self.call(), self.said("defgh ")]))
        assert pipeline.report.ended == "content_filter"
        assert b"send" not in out

    def test_text_and_a_call_in_one_line_are_two(self) -> None:
        """The text goes ahead."""
        line = json.loads(self.call())
        line["message"]["content"] = "Now ada"
        pipeline = StreamPipeline(OLLAMA, POLICY)
        out = pipeline.feed(json.dumps(line).encode() + b"\n")
        assert b"Now " in out
        assert b"send" not in out
