"""The OpenAI chat dialect: recorded shapes of many servers beside what must come out, and readings one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from safeproxy.core.ruleset import RuleSet
from safeproxy.events import ChannelKind
from safeproxy.pipeline import Policy, StreamPipeline
from safeproxy.wire.dialect import Mode
from tests.wire.chat import CHAT, DONE, EMAIL, KEY, NUMBER, Client, call, choice, chunk, event, opening

FIXTURES = Path(__file__).parent.parent / "fixtures" / "openai_chat"
POLICY = Policy(RuleSet([NUMBER, KEY]))
NAMES = sorted(path.name.removesuffix(".sse") for path in FIXTURES.glob("*.sse") if ".expected" not in path.name)


def played(pieces: list[bytes]) -> bytes:
    """What comes out of the pipeline."""
    pipeline = StreamPipeline(CHAT, POLICY)
    return b"".join(map(pipeline.feed, pieces)) + pipeline.finish()


@pytest.mark.parametrize("name", NAMES)
def test_recorded_streams_come_out_as_expected(name: str) -> None:
    """`clean_*` byte for byte, the others as in the file beside; whole, and byte by byte."""
    stream = (FIXTURES / f"{name}.sse").read_bytes()
    beside = FIXTURES / f"{name}.expected.sse"
    assert name.startswith("clean_") != beside.exists()
    expected = stream if name.startswith("clean_") else beside.read_bytes()
    assert played([stream]) == expected
    assert played([bytes([byte]) for byte in stream]) == expected
    if expected.rstrip().endswith(b"[DONE]"):
        assert played([stream + b"data: more\n\n"]) == expected


@pytest.mark.parametrize("name", [name for name in NAMES if "crlf" not in name])
def test_recorded_streams_satisfy_a_strict_client(name: str) -> None:
    """No second finish, no text after one, no skipped call, arguments that are JSON, and an end."""
    client = Client().read(played([(FIXTURES / f"{name}.sse").read_bytes()]))
    assert client.done or client.error
    for entry in client.choices.values():
        for made in entry.calls.values():
            json.loads(made["arguments"])


def slots(delta: Any, *, key: str = "delta", whole: bool = False) -> list[tuple[str, ChannelKind, Mode]]:
    """Name, kind and mode of each place of text in a delta or message."""
    body = {"choices": [{"index": 0, key: delta}]}
    reading = CHAT.read_body(body) if whole else CHAT.read(body)
    for slot in reading.slots:
        holder: Any = body
        for part in slot.path[:-1]:
            holder = holder[part]
        assert holder is slot.holder
        assert isinstance(holder[slot.path[-1]], str)
    return [(slot.name, slot.kind, slot.mode) for slot in reading.slots]


@pytest.mark.parametrize(
    ("delta", "name", "kind"),
    [
        ({"content": "x"}, "choice.0.content", ChannelKind.CONTENT),
        ({"refusal": "x"}, "choice.0.refusal", ChannelKind.REFUSAL),
        ({"reasoning_content": "x"}, "choice.0.reasoning_content", ChannelKind.REASONING),
        ({"reasoning": "x"}, "choice.0.reasoning", ChannelKind.REASONING),
        ({"reasoning_text": "x"}, "choice.0.reasoning_text", ChannelKind.REASONING),
        ({"thinking": "x"}, "choice.0.thinking", ChannelKind.REASONING),
        (
            {"reasoning_details": [{"type": "reasoning.text", "index": 2, "text": "x", "signature": "AA"}]},
            "choice.0.reasoning_details.2.text",
            ChannelKind.REASONING,
        ),
        (
            {"reasoning_details": [{"type": "reasoning.summary", "summary": "x"}]},
            "choice.0.reasoning_details.0.summary",
            ChannelKind.REASONING,
        ),
        (
            {"thinking_blocks": [{"type": "thinking", "thinking": "x"}]},
            "choice.0.thinking_blocks.0.thinking",
            ChannelKind.REASONING,
        ),
        ({"content": [{"type": "text", "text": "x"}]}, "choice.0.content", ChannelKind.CONTENT),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "x"}]}]},
            "choice.0.thinking",
            ChannelKind.REASONING,
        ),
        ({"audio": {"id": "a", "transcript": "x"}}, "choice.0.audio", ChannelKind.AUDIO),
        ({"surprise": {"deep": ["x"]}}, "choice.0.*.*.0", ChannelKind.OTHER),
    ],
)
def test_each_text_of_a_delta_is_a_channel(delta: Any, name: str, kind: ChannelKind) -> None:
    """Streamed it goes on, in a body it stands alone."""
    assert slots(delta) == [(name, kind, Mode.DELTA)]
    assert [(n, k) for n, k, mode in slots(delta, key="message", whole=True) if mode is Mode.WHOLE] == [(name, kind)]


@pytest.mark.parametrize(
    "delta",
    [
        {"annotations": [{"type": "url_citation", "url_citation": {"title": "x"}}]},
        {"images": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"executed_tools": [{"index": 0, "output": "x"}]},
    ],
)
def test_whole_things_in_a_delta_stand_alone(delta: Any) -> None:
    """Citations, images and results come whole."""
    assert [mode for _, _, mode in slots(delta)] == [Mode.WHOLE]


def test_a_piece_of_a_call_is_told_apart() -> None:
    """Its arguments are JSON, its name plain text, its id none."""
    reading = CHAT.read(event(choice(call('{"a"', 1, id="c", type="function", name="f"))))
    assert reading.call is not None
    assert (reading.call.key, reading.call.choice, reading.call.id) == ("choice.0.tool.1", 0, "c")
    assert [(slot.name, slot.mode) for slot in reading.call.slots] == [
        ("choice.0.tool.1.name", Mode.DELTA),
        ("choice.0.tool.1.arguments", Mode.JSON),
    ]


@pytest.mark.parametrize(
    ("delta", "name"),
    [
        ({"function_call": {"name": "", "arguments": "{}"}}, "choice.0.function_call.arguments"),
        ({"tool_calls": [{"index": 0, "custom": {"input": "x"}}]}, "choice.0.tool.0.input"),
    ],
)
def test_other_kinds_of_call_are_held_too(delta: Any, name: str) -> None:
    """The legacy function call, and custom tools, whose input is free text."""
    reading = CHAT.read(event(choice(delta)))
    assert reading.call is not None
    assert [slot.name for slot in reading.call.slots] == [name]
    assert all(slot.kind is ChannelKind.TOOL_ARGUMENTS for slot in reading.call.slots)


def test_an_event_with_several_things_is_split_in_order() -> None:
    """Text first, then each call's piece, then the finish, usage with the last, unknown things with the first."""
    delta = {"role": "assistant", "content": "x", **call("{}", 0, id="a"), "function_call": {"arguments": ""}}
    delta["tool_calls"].append({"index": 1, "id": "b"})
    parts = CHAT.split(event(choice(delta, "stop"), usage={"n": 1}, extra=1), lambda _: True)
    deltas = [part["choices"][0]["delta"] for part in parts]
    assert deltas[0] == {"role": "assistant", "content": "x"}
    assert [list(delta) for delta in deltas[1:]] == [["tool_calls"], ["tool_calls"], ["function_call"], []]
    assert [part["choices"][0]["finish_reason"] for part in parts] == [None] * 4 + ["stop"]
    assert [sorted(part.keys() & {"usage", "extra"}) for part in parts] == [["extra"], [], [], [], ["usage"]]


def test_what_needs_no_splitting_is_left_whole() -> None:
    """A pure piece, a call that ends in its own event, and events without calls."""
    piece = event(choice({"role": "assistant", "content": None, **call("{")}))
    ending = event(choice({"content": "x", **call("{}")}, "tool_calls"))
    plain = event(choice({"content": "x"}), choice({"content": "y"}, index=1))
    for body in (piece, ending, plain):
        assert CHAT.split(body, lambda _: False) == [body]
    assert len(CHAT.split(ending, lambda _: True)) == 3


@pytest.mark.parametrize("status", [400, 502])
def test_errors_have_the_apis_shape(status: int) -> None:
    """One object `error`, its type by the status."""
    error = json.loads(CHAT.error_body("No.", status=status, code="content_filter"))["error"]
    assert error == {
        "message": "No.",
        "type": "invalid_request_error" if status == 400 else "upstream_error",
        "param": "messages",
        "code": "content_filter",
    }
    assert list(json.loads(CHAT.error_frame("No.", "c").removeprefix(b"data: "))) == ["error"]


def test_choices_that_are_no_list_are_text_all_the_same() -> None:
    """Nothing fails at them."""
    assert b"4111" not in played([b'data: {"choices":{"a":{"delta":{"text":"4111111111111111"}}}}\n\n'])


def test_usage_is_read_as_numbers_only() -> None:
    """Nested counts are named with a dot; nothing that could be text is kept."""
    details = {"cached_tokens": 1, "reasoning_tokens": "y", "john_smith42": 4}
    usage = {
        "prompt_tokens": 3,
        "prompt_tokens_details": details,
        "ada@example.com": 5,
        "John": 6,
        "total_tokens": True,
    }
    assert CHAT.read({"usage": usage}).usage == {"prompt_tokens": 3, "prompt_tokens_details.cached_tokens": 1}


def test_signed_thinking_that_was_changed_halts() -> None:
    """There is no way to put the original back."""
    block = {"type": "thinking", "thinking": "ask ada@example.com", "signature": "c2ln"}
    frames = [opening(), chunk({"thinking_blocks": [{"index": 0, **block}]}), chunk({}, "stop"), DONE]
    pipeline = StreamPipeline(CHAT, Policy(RuleSet([EMAIL])))
    out = b"".join(map(pipeline.feed, frames))
    assert pipeline.report.ended == "content_filter"
    assert b"c2ln" not in out
