"""The items of responses."""

from __future__ import annotations

from typing import Any

import pytest

from safeproxy.events import ChannelKind
from safeproxy.wire.dialect import Mode, Reading
from safeproxy.wire.openai_items import kind_of_family, read_item, read_items, tokens_of_parts


def texts(item: dict[str, Any]) -> dict[str, tuple[str, ChannelKind, Mode]]:
    """What is read of an item: text, kind and mode by channel."""
    reading = Reading()
    read_item(reading, item, "output.0", ("item",))
    return {slot.channel: (slot.holder[slot.key], slot.kind, slot.mode) for slot in reading.slots}


@pytest.mark.parametrize(
    ("item", "channel", "kind", "mode"),
    [
        (
            {"type": "message", "content": [{"type": "output_text", "text": "said"}]},
            "output.0.content.0.output_text",
            ChannelKind.CONTENT,
            Mode.WHOLE,
        ),
        (
            {"type": "message", "content": [{"type": "refusal", "refusal": "said"}]},
            "output.0.content.0.refusal",
            ChannelKind.REFUSAL,
            Mode.WHOLE,
        ),
        (
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "said"}]},
            "output.0.summary.0.reasoning_summary_text",
            ChannelKind.REASONING,
            Mode.WHOLE,
        ),
        ({"type": "function_call", "arguments": "said"}, "output.0.arguments", ChannelKind.TOOL_ARGUMENTS, Mode.JSON),
        ({"type": "custom_tool_call", "input": "said"}, "output.0.input", ChannelKind.TOOL_ARGUMENTS, Mode.WHOLE),
        ({"type": "code_interpreter_call", "code": "said"}, "output.0.code", ChannelKind.TOOL_ARGUMENTS, Mode.WHOLE),
        ({"type": "web_search_call", "queries": ["said"]}, "output.0.queries.0", ChannelKind.OTHER, Mode.WHOLE),
    ],
)
def test_a_text_has_the_kind_that_its_deltas_had(
    item: dict[str, Any], channel: str, kind: ChannelKind, mode: Mode
) -> None:
    """Else it would be judged by other rules when it is said again."""
    assert texts(item) == {channel: ("said", kind, mode)}


def test_arguments_may_be_an_object() -> None:
    """Judged as their JSON text would be."""
    found = texts({"type": "tool_search_call", "arguments": {"q": "x"}})
    assert found == {"output.0.arguments": ({"q": "x"}, ChannelKind.TOOL_ARGUMENTS, Mode.OBJECT)}


def test_what_is_no_item_is_text() -> None:
    """Nothing in a list is passed over."""
    reading = Reading()
    read_items(reading, ["ada", {"type": "message", "content": ["bob"]}], ("output",))
    assert [slot.holder[slot.key] for slot in reading.slots] == ["ada", "bob"]


def test_what_points_into_a_text_is_anchored_to_it() -> None:
    """Annotations and log probabilities; sound beside its words may have to go."""
    sound = "UklG" * 100
    part = {"type": "output_text", "text": "x", "annotations": [1], "logprobs": [2], "transcript": "x", "audio": sound}
    reading = Reading()
    item = {"type": "message", "content": [part]}
    read_item(reading, item, "output.3", ("item",))
    assert [(one.channel, one.key) for one in reading.anchors] == [
        ("output.3.content.0.output_text", "annotations"),
        ("output.3.content.0.output_text", "logprobs"),
    ]
    assert reading.padding == [(part, "audio")]
    tokens_of_parts(reading, item, "output.3")
    assert [tokens.channel for tokens in reading.tokens] == ["output.3.content.0.output_text"]


def test_families_nobody_knows_are_of_no_kind() -> None:
    """And are filtered by the rules for everything."""
    assert kind_of_family("output_text") is ChannelKind.CONTENT
    assert kind_of_family("something_new") is ChannelKind.OTHER
