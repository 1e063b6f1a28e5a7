"""The scripted side of the OpenAI chat format."""

from __future__ import annotations

import json

from safeproxy.demo import chat


def test_an_answer_has_role_first_and_finish_last() -> None:
    """The order that strict clients want."""
    events = chat.text_chunks(["a", "b"], model="m")
    assert events[-1] == chat.DONE
    first, one, two, last = (json.loads(event.removeprefix(b"data: ")) for event in events[:-1])
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert [chat.content(one), chat.content(two)] == ["a", "b"]
    assert chat.finish_reason(last) == "stop"


def test_reader_takes_any_cutting() -> None:
    """Whole, one byte at a time: the same events."""
    body = b": comment\n\n" + b"".join(chat.text_chunks(["caf\u00e9", "\n\n"], model="m"))
    whole, bytewise = chat.EventReader(), chat.EventReader()
    expected = whole.feed(body)
    assert [event for byte in body for event in bytewise.feed(bytes([byte]))] == expected
    assert whole.done
    assert bytewise.done
    assert "".join(map(chat.content, expected)) == "caf\u00e9\n\n"


def test_arguments_of_tool_calls() -> None:
    """Arguments of all calls of a chunk; chunks without text have none."""
    calls = [{"index": 0, "function": {"arguments": '{"a'}}, {"index": 1, "function": {"name": "x"}}]
    event = json.loads(chat.chunk({"tool_calls": calls}, model="m").removeprefix(b"data: "))
    assert chat.arguments(event) == '{"a'
    assert chat.content(event) == ""
    assert chat.finish_reason({"choices": []}) is None
