"""Files of answers, one a line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from safeproxy.pipeline import LinesPipeline
from safeproxy.wire.registry import dialect_of
from tests.wire.chat import POLICY


def completion(content: str, finish: str = "stop") -> dict[str, Any]:
    """An OpenAI answer."""
    message = {"role": "assistant", "content": content}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}


def message(text: str) -> dict[str, Any]:
    """An Anthropic answer."""
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
    }


def run(*found: Any, raw: bytes = b"") -> tuple[list[Any], bytes, LinesPipeline]:
    """The lines that come out, also byte by byte."""
    data = raw or b"".join(json.dumps(one).encode() + b"\n" for one in found)
    pipeline = LinesPipeline(dialect_of, POLICY)
    out = pipeline.feed(data) + pipeline.finish()
    slow = LinesPipeline(dialect_of, POLICY)
    assert b"".join(slow.feed(bytes([byte])) for byte in data) + slow.finish() == out
    return [json.loads(line) for line in out.splitlines()], out, pipeline


def test_clean_lines_pass_byte_for_byte() -> None:
    """Whatever their spelling."""
    raw = (
        b'{"custom_id" : "a", "response": {"status_code":200,"body":' + json.dumps(completion("Hi")).encode() + b"}}\n"
    )
    assert run(raw=raw)[1] == raw


def test_each_line_is_filtered_in_its_own_dialect() -> None:
    """OpenAI's batches and Anthropic's; a halted line ends as its API ends an answer, the others go on."""
    found, _, pipeline = run(
        {"custom_id": "a", "response": {"status_code": 200, "body": completion("Mail ada@example.com")}},
        {"custom_id": "b", "response": {"status_code": 200, "body": completion("Key: sk-abcdefgh")}},
        {"custom_id": "c", "result": {"type": "succeeded", "message": message("Key: sk-abcdefgh")}},
        {"custom_id": "d", "response": {"status_code": 200, "body": completion("Fine.")}},
    )
    first, second, third, last = found
    assert first["response"]["body"]["choices"][0]["message"]["content"] == "Mail [EMAIL]"
    assert second["response"]["body"]["choices"][0] == completion("Key: ", "content_filter")["choices"][0]
    assert third["result"]["message"]["stop_reason"] == "refusal"
    assert last["response"]["body"] == completion("Fine.")
    assert pipeline.report.ended == "content_filter"
    assert pipeline.report.events == 4
    assert len(pipeline.report.take_findings()) == 3


def test_what_stands_beside_the_answers_is_filtered() -> None:
    """Ids that clients choose, errors, answers of no known shape."""
    found, _, _ = run(
        {"name": "ada@example.com", "error": {"message": "ada@example.com"}}, {"x": {"y": "ada@example.com"}}
    )
    assert json.dumps(found).count("[EMAIL]") == 3


def test_a_halt_beside_an_answer_withholds_the_line() -> None:
    """There is nothing to cut."""
    fine = {"note": "fine", "response": {"body": completion("Hi")}}
    found, _, pipeline = run({**fine, "note": "sk-abcdefgh"}, fine)
    assert found == [{"error": {"message": "This line is withheld.", "code": "content_filter"}}, fine]
    assert pipeline.report.faults == ["line_withheld"]


def test_bare_lines_are_answers_themselves() -> None:
    """Of any API, told by their shape; what nobody knows is filtered string by string."""
    gemini = {
        "candidates": [{"content": {"parts": [{"text": "ada@exam"}, {"text": "ple.com"}]}, "finishReason": "STOP"}]
    }
    found, _, pipeline = run(completion("Key: sk-abcdefgh"), {"key": "1", "response": gemini}, {"x": "ada@example.com"})
    assert found[0]["choices"][0]["finish_reason"] == "content_filter"
    parts = found[1]["response"]["candidates"][0]["content"]["parts"]
    assert "".join(part["text"] for part in parts) == "[EMAIL]"
    assert found[2] == {"x": "[EMAIL]"}
    assert pipeline.report.ended == "content_filter"


def test_a_single_bad_line_is_withheld() -> None:
    """The others go on."""
    found, _, pipeline = run(raw=b'{"a": "b"}\n[1]\n{"c": 1e5}')
    assert [list(one) for one in found] == [["a"], ["error"], ["c"]]
    assert pipeline.report.faults == ["malformed_event"]


def test_the_last_line_needs_no_end() -> None:
    """It passes byte for byte all the same."""
    assert run(raw=b'{"a" : 1e5}')[1] == b'{"a" : 1e5}'


@pytest.mark.parametrize("raw", [b"not JSON\n{}\n", b'[1]\n{"a": "b"}\n', b"\x89PNG\r\n\x1a\n"])
def test_a_file_of_anything_else_is_no_answer(raw: bytes) -> None:
    """It ends in a line that says so; nothing of it leaves."""
    found, _, pipeline = run(raw=raw)
    assert len(found) == 1
    assert found[0]["error"]["code"] == "malformed_event"
    assert pipeline.report.ended == "upstream_error"


def test_a_broken_upstream_is_told() -> None:
    """After the lines that came whole."""
    pipeline = LinesPipeline(dialect_of, POLICY)
    out = pipeline.feed(b'{"a": "b"}\n{"a": "ada') + pipeline.fail("upstream_reset")
    assert [json.loads(line) for line in out.splitlines()][1]["error"]["code"] == "upstream_reset"
    assert pipeline.done
    assert pipeline.feed(b"x") + pipeline.finish() + pipeline.fail("again") == b""
