"""Calls that several events make up."""

from __future__ import annotations

from typing import Any

import pytest

from safeproxy.events import ChannelKind
from safeproxy.pipeline.blocks import HeldBlock, Line, Waiting
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


def begin(text: str, *, ends: bool = False) -> Step:
    """An event of a call."""
    made = step(text)
    made.reading.block_ends = ends
    return made


def test_calls_leave_in_order_and_what_waits_between_them() -> None:
    """A call that has ended waits for the one before it."""
    line = Line()
    one, two = line.begin("one"), line.begin("two")
    line.wait({"n": 1}, Frame(b"123", b"123"), verbatim=True)
    line.add(two, begin("{}", ends=True))
    assert line.next() is None
    assert line.find("two") is None
    assert line.find("one") is one
    line.add(one, begin("12345", ends=True))
    assert line.size == 10
    found = [line.next() for _ in range(4)]
    assert found[:2] == [one, two]
    assert isinstance(found[2], Waiting)
    assert found[3] is None
    assert (line.size, len(line)) == (0, 0)


def test_what_has_not_ended_can_be_made_to_leave() -> None:
    """Where the answer ends before the call does."""
    line = Line()
    one = line.begin("one")
    line.add(one, begin("{"))
    assert line.next() is None
    assert line.next(force=True) is one
    assert line.find("one") is None


def test_many_calls_within_each_other_are_no_problem() -> None:
    """Begun one after the other and ended the other way round."""
    line = Line()
    calls = [line.begin(str(number)) for number in range(3000)]
    for call in reversed(calls):
        line.add(call, begin("{}", ends=True))
    assert [line.next() for _ in calls] == calls
