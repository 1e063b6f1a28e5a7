"""Whole bodies, answers and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from safeproxy.core.filter import StreamFilter
from safeproxy.errors import DetectorError
from safeproxy.pipeline import BodyPipeline, Policy, Report
from safeproxy.wire.dialect import Ask
from tests.wire.chat import CHAT, POLICY, RULES


def choice(message: Any, index: int = 0, **more: Any) -> dict[str, Any]:
    """One entry of a body's choices."""
    return {"index": index, "message": message, **more, "finish_reason": "stop"}


def body(*choices: Any, **more: Any) -> dict[str, Any]:
    """A chat completion."""
    return {"id": "c", "object": "chat.completion", "model": "m-1", "choices": list(choices), **more}


def filtered(value: Any, status: int = 200, policy: Policy = POLICY) -> tuple[int, Any, Report]:
    """Status, new body, report."""
    pipeline = BodyPipeline(CHAT, policy)
    status, out = pipeline.run(json.dumps(value).encode(), status)
    report = pipeline.report
    assert report.scanned == report.passed + report.removed
    return status, json.loads(out), report


def test_a_clean_body_is_the_same_bytes() -> None:
    """Whatever its spelling."""
    data = json.dumps(body(choice({"role": "assistant", "content": "Caf\u00e9"})), indent=2).encode()
    pipeline = BodyPipeline(CHAT, POLICY)
    assert pipeline.run(data, 200) == (200, data)
    report = pipeline.report
    assert (report.ended, report.model, report.scanned, report.delivered_finish) == ("stop", "m-1", 4, {0: "stop"})


def test_every_text_of_a_message_is_filtered() -> None:
    """Content, reasoning, refusals, arguments by what they say, names, custom input."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":"ada\\u0040example.com"}'}}
    custom = {"id": "2", "type": "custom", "custom": {"name": "g", "input": "ada@example.com"}}
    message = {
        "role": "assistant",
        "content": "To ada@example.com",
        "reasoning_content": "Hm, ada@example.com",
        "refusal": "Not ada@example.com",
        "tool_calls": [call, custom],
    }
    _, out, report = filtered(body(choice(message), usage={"total_tokens": 3}))
    new = out["choices"][0]["message"]
    assert [new["content"], new["reasoning_content"], new["refusal"]] == ["To [EMAIL]", "Hm, [EMAIL]", "Not [EMAIL]"]
    assert new["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":"[EMAIL]"}'}
    assert new["tool_calls"][1]["custom"]["input"] == "[EMAIL]"
    assert report.usage == {"total_tokens": 3}
    assert [finding.channel for finding in report.take_findings()] == [
        "choice.0.reasoning_content",
        "choice.0.content",
        "choice.0.refusal",
        "choice.0.tool.0.arguments",
        "choice.0.tool.1.input",
    ]


def test_a_halt_cuts_the_answer_off() -> None:
    """Text before stays; later texts, calls and choices go; every finish says `content_filter`."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    first = choice({"role": "assistant", "content": "One"})
    second = choice({"role": "assistant", "content": "Use sk-abcdefgh now", "refusal": "late", "tool_calls": [call]}, 1)
    third = choice({"role": "assistant", "content": "Three"}, 2, logprobs={"content": []})
    status, out, report = filtered(body(first, second, third, citations=["late"]))
    assert status == 200
    assert [entry["message"]["content"] for entry in out["choices"]] == ["One", "Use ", ""]
    assert out["choices"][1]["message"] == {"role": "assistant", "content": "Use ", "refusal": ""}
    assert out["choices"][2]["logprobs"] is None
    assert [entry["finish_reason"] for entry in out["choices"]] == ["content_filter"] * 3
    assert out["citations"] == [""]
    assert report.ended == "content_filter"
    assert report.upstream_finish == {0: "stop", 1: "stop", 2: "stop"}
    assert report.delivered_finish == {0: "content_filter", 1: "content_filter", 2: "content_filter"}


def test_a_halt_in_a_call_takes_the_calls_out() -> None:
    """Nothing of a call with a finding leaves."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"key":"sk-abcdefgh"}'}}
    _, out, _ = filtered(body(choice({"role": "assistant", "content": None, "tool_calls": [call]})))
    assert out["choices"][0]["message"] == {"role": "assistant", "content": None}


def test_companions_of_changed_text_go() -> None:
    """Log probabilities of the span, audio, annotations; what belongs to clean text stays."""
    tokens = [
        {"token": t, "logprob": -1.0, "bytes": None, "top_logprobs": []} for t in ("To ", "ada@", "example.com", "!")
    ]
    audio = {"id": "a", "data": "QUJD", "expires_at": 1, "transcript": "To ada@example.com"}
    notes = [{"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 1, "url": "https://e.org"}}]
    message = {"role": "assistant", "content": "To ada@example.com!", "audio": audio, "annotations": notes}
    _, out, _ = filtered(body(choice(message, logprobs={"content": tokens, "refusal": None})))
    entry = out["choices"][0]
    assert [token["token"] for token in entry["logprobs"]["content"]] == ["To ", "!"]
    assert entry["message"]["audio"] == {**audio, "data": "", "transcript": "To [EMAIL]"}
    assert entry["message"]["annotations"] == []
    clean = body(choice({**message, "content": "To you!", "audio": None}, logprobs={"content": []}))
    assert filtered(clean)[1] == clean


def test_error_bodies_are_filtered_too() -> None:
    """They may echo the prompt; the status stays."""
    status, out, report = filtered({"error": {"message": "No ada@example.com", "code": "x"}}, 400)
    assert (status, out["error"]["message"]) == (400, "No [EMAIL]")
    assert report.ended == "upstream_error"
    status, out, report = filtered({"error": {"message": "No sk-abcdefgh"}}, 429)
    assert status == 429
    assert out["error"]["code"] == "content_filter"
    assert report.ended == "content_filter"


@pytest.mark.parametrize("data", [b"", b"<html>", b"{", b'"text"', b"5", b"\xff", b"[" * 5000])
@pytest.mark.parametrize(("status", "answered"), [(200, 502), (503, 503)])
def test_what_is_no_json_becomes_the_apis_error(data: bytes, status: int, answered: int) -> None:
    """An error's status stays, so that clients retry as they would."""
    pipeline = BodyPipeline(CHAT, POLICY)
    got, out = pipeline.run(data, status)
    assert got == answered
    assert json.loads(out)["error"]["code"] == "upstream_error"
    assert (pipeline.report.ended, pipeline.report.faults) == ("upstream_error", ["malformed_body"])


def test_a_key_twice_is_not_passed_raw() -> None:
    """Only the value that was filtered is sent."""
    _, out = BodyPipeline(CHAT, POLICY).run(b'{"x":"ada@example.com","x":"b"}', 200)
    assert out == b'{"x":"b"}'


def test_a_finding_in_a_key_is_replaced_or_blocks() -> None:
    """Keys are text; a halt leaves nothing to show."""
    assert filtered({"ada@example.com": 1, "[EMAIL]": 2})[1] == {"[EMAIL]_": 1, "[EMAIL]": 2}
    status, out, report = filtered({"sk-abcdefgh": 1})
    assert (status, out["error"]["code"], report.ended) == (502, "content_filter", "content_filter")


def test_a_broken_detector_halts_or_lets_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the policy says, and recorded."""

    def breaks(stream: StreamFilter, text: str) -> str:
        raise DetectorError("it broke")

    monkeypatch.setattr(StreamFilter, "feed", breaks)
    value = body(choice({"role": "assistant", "content": "text"}))
    _, out, report = filtered(value)
    assert out["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": ""},
        "finish_reason": "content_filter",
    }
    assert (report.ended, report.faults) == ("detector_error", ["detector_error"])
    _, out, report = filtered(value, policy=Policy(RULES, on_detector_error="pass"))
    assert out == value
    assert (report.ended, report.faults) == ("stop", ["detector_passed"])


class TestParts:
    """One text in several parts, as some servers answer."""

    @staticmethod
    def told(*parts: str, ask: Ask | None = None) -> tuple[list[str], Any, BodyPipeline]:
        """The parts that come out, the choice, and the pipeline."""
        content = [{"type": "text", "text": part} for part in parts]
        body = {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]
        }
        pipeline = BodyPipeline(CHAT, POLICY, ask)
        choice = json.loads(pipeline.run(json.dumps(body).encode(), 200)[1])["choices"][0]
        return [part["text"] for part in choice["message"]["content"]], choice, pipeline

    def test_clean_parts_stay_as_they_came(self) -> None:
        """Nothing moves from one to another."""
        assert self.told("To ada", " and bob")[0] == ["To ada", " and bob"]

    def test_a_finding_across_parts_is_found(self) -> None:
        """As it would be in a stream."""
        parts, _, pipeline = self.told("To ada@exa", "mple.com", " now")
        assert "".join(parts) == "To [EMAIL] now"
        report = pipeline.report
        assert (report.scanned, report.removed, report.held) == (22, 15, 0)
        assert len(report.take_findings()) == 1

    def test_a_halt_across_parts_cuts(self) -> None:
        """Nothing of it and nothing after it leaves; the counts add up."""
        parts, choice, pipeline = self.told("Key sk-ab", "cdefgh", " more")
        assert "".join(parts) == "Key "
        assert choice["finish_reason"] == "content_filter"
        report = pipeline.report
        assert report.scanned == report.passed + report.removed

    def test_json_in_parts_is_judged_as_one(self) -> None:
        """By what its values say."""
        parts, _, _ = self.told('{"to": "ada\\u0040exam', 'ple.com"}', ask=Ask(json=True))
        assert json.loads("".join(parts)) == {"to": "[EMAIL]"}


class TestHaltedCompanions:
    """What goes with a text goes with it in a halted answer, too."""

    def test_log_probabilities_and_numbers_of_tokens(self) -> None:
        """Of a choice that was redacted before another halted."""
        entry = {"token": "ada@example.com", "logprob": -1.0, "bytes": None, "top_logprobs": []}
        first = {
            "index": 0,
            "message": {"role": "assistant", "content": "ada@example.com"},
            "logprobs": {"content": [entry]},
            "token_ids": [1, 2],
            "finish_reason": "stop",
        }
        second = {"index": 1, "message": {"role": "assistant", "content": "Key sk-abcdefgh"}, "finish_reason": "stop"}
        raw = json.dumps({"choices": [first, second]}).encode()
        _, out = BodyPipeline(CHAT, POLICY).run(raw, 200)
        one, two = json.loads(out)["choices"]
        assert one["logprobs"]["content"] == []
        assert "token_ids" not in one
        assert (two["message"]["content"], two["finish_reason"]) == ("Key ", "content_filter")

    def test_lists_of_tokens_of_other_servers(self) -> None:
        """Whatever their shape, they spell the text."""
        for beside in ({"logprobs": {"tokens": ["ada", "@example.com"]}}, {"meta_info": {"output": [["ada", 1]]}}):
            entry = {"index": 0, "message": {"role": "assistant", "content": "ada@example.com"}, **beside}
            _, out = BodyPipeline(CHAT, POLICY).run(json.dumps({"choices": [entry]}).encode(), 200)
            assert b"ada" not in out
