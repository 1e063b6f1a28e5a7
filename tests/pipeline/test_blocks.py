"""Calls that several events make up."""

from __future__ import annotations

from typing import Any

import pytest

from safeproxy.events import ChannelKind
from safeproxy.pipeline.blocks import HeldBlock
from safeproxy.pipeline.policy import Report
from safeproxy.pipeline.step import Step
from safeproxy.pipeline.whole import HaltError, Scanner
from safeproxy.wire.dialect import Mode, Reading, Slot
from safeproxy.wire.sse import Frame
from tests.wire.chat import POLICY


def step(text: str, mode: Mode = Mode.JSON, *, whole: bool = False) -> Step:
    """An event with a piece of the call's text, or with all of it."""
    event: dict[str, Any] = {"text": text}
    slot = Slot("call", "call", ChannelKind.TOOL_ARGUMENTS, mode, event, "text", ("text",), 0)
    reading = Reading(slots=[slot]) if whole else Reading(pieces=[slot])
    return Step(event, reading, Frame(text.encode(), text.encode()), verbatim=True)


def block(*steps: Step) -> HeldBlock:
    """A call of these events."""
    made = HeldBlock("call")
    for one in steps:
        made.add(one)
    return made


def scanner() -> Scanner:
    """One that remembers what comes again."""
    made = Scanner(POLICY, Report())
    made.keep_echoes()
    return made


def test_a_clean_call_is_left_as_it_is() -> None:
    """Every event."""
    steps = [step('{"a": "'), step('b"}'), step('{"a": "b"}', whole=True)]
    block(*steps).filter(scanner())
    assert [one.changed for one in steps] == [False, False, False]


def test_a_changed_text_stands_in_its_first_piece() -> None:
    """The others are empty and may be left out; what says it again says the same."""
    steps = [step('{"a": "ada\\u0040'), step('example.com"}'), step('{"a": "ada\\u0040example.com"}', whole=True)]
    block(*steps).filter(scanner())
    assert [one.event["text"] for one in steps] == ['{"a": "[EMAIL]"}', "", '{"a": "[EMAIL]"}']
    assert [one.withheld for one in steps] == [False, True, False]


@pytest.mark.parametrize("whole", [True, False])
def test_a_halt_lets_nothing_of_it_leave(whole: bool) -> None:
    """In pieces or whole."""
    with pytest.raises(HaltError):
        block(step('{"a": "sk-abcdefgh"}', whole=whole)).filter(scanner())


def test_its_size_is_that_of_its_frames_and_of_what_waits() -> None:
    """In bytes."""
    made = block(step("12345"))
    made.wait({}, Frame(b"123", b"123"), verbatim=True)
    assert made.size == 8
    assert len(made.behind) == 1
