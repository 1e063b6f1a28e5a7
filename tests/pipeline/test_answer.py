"""What is known of a streamed answer."""

from __future__ import annotations

import dataclasses

import pytest

from safeproxy.events import ChannelKind
from safeproxy.pipeline.answer import Answer
from safeproxy.pipeline.json_channel import JsonChannel
from safeproxy.pipeline.policy import Report
from safeproxy.pipeline.whole import Scanner
from safeproxy.wire.dialect import Mode, Reading, Slot
from tests.wire.chat import POLICY


def answer(*, json_content: bool = False, keep: bool = True, most: int = 1024) -> tuple[Answer, Report]:
    """An answer that knows nothing yet, and its report."""
    report = Report()
    policy = dataclasses.replace(POLICY, max_channels=most)
    return Answer(policy, report, Scanner(policy, report), json_content=json_content, keep=keep), report


def text(channel: str, choice: int | None = 0) -> Slot:
    """A delta of a channel."""
    return Slot(channel, channel, ChannelKind.CONTENT, Mode.DELTA, {"k": "x"}, "k", ("k",), choice)


def test_choices_are_known_once_they_occur() -> None:
    """And the answer is finished once all of them are."""
    one, _ = answer()
    assert not one.finished
    assert one.admit(Reading(opened={1: False, 0: True}), 0)
    assert list(one.choices) == [0, 1]
    for choice in one.choices.values():
        choice.finished = True
    assert one.finished


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, False)])
def test_too_many_things_are_not_kept(more: int, fits: bool) -> None:
    """Choices, channels, and what is kept elsewhere count together."""
    one, _ = answer(most=3)
    reading = Reading(opened={0: True}, slots=[text("a"), text("b"), text("b")])
    assert one.admit(reading, more) is fits


def test_channels_are_found_by_name_and_by_what_it_begins_with() -> None:
    """Whole parts of names only."""
    one, _ = answer()
    one.admit(Reading(opened={0: True}), 0)
    for key, choice in (("output.1", 0), ("output.1.text", 0), ("output.10", 0), ("other", None)):
        one.open(key, key, ChannelKind.CONTENT, choice)
    assert [key for key, _ in one.named("output.1")] == ["output.1", "output.1.text"]
    assert [key for key, _ in one.of_choice(None)] == ["other"]


def test_what_became_of_a_channel_is_remembered() -> None:
    """Its original, what was delivered, and whether that differs."""
    one, report = answer()
    one.admit(Reading(opened={0: True}), 0)
    channel = one.open("c", "c", ChannelKind.CONTENT, 0)
    out = channel.feed("Mail ada@example.com now")
    assert one.said("c") == out
    channel.finish()
    one.note("c", channel)
    one.close("c", channel)
    assert (one.original("c"), one.said("c")) == ("Mail ada@example.com now", "Mail [EMAIL] now")
    assert one.is_edited("c")
    assert report.scanned == 24
    assert one.channel(0, "c") is None


def test_what_has_ended_is_late() -> None:
    """A channel that was ended, a choice that is finished; a call may begin again."""
    one, _ = answer()
    one.admit(Reading(opened={0: True, 1: True}), 0)
    one.end("c")
    assert one.is_late(text("c"))
    assert not one.is_late(text("d"))
    one.begin("c")
    assert not one.has_ended("c")
    one.choices[1].finished = True
    assert one.is_late(text("d", 1))
    assert one.is_over(Reading(pieces=[text("d", 1)]))
    assert not one.is_over(Reading(pieces=[text("d", 0)]))


def test_content_may_be_json() -> None:
    """Only content, and only of a choice."""
    one, _ = answer(json_content=True)
    one.admit(Reading(opened={0: True}), 0)
    assert isinstance(one.open("a", "a", ChannelKind.CONTENT, 0), JsonChannel)
    assert not isinstance(one.open("b", "b", ChannelKind.REASONING, 0), JsonChannel)
    assert not isinstance(one.open("c", "c", ChannelKind.CONTENT, None), JsonChannel)


def test_broken_off_nothing_is_held() -> None:
    """What was held counts as removed."""
    one, report = answer()
    one.admit(Reading(opened={0: True}), 0)
    one.open("a", "a", ChannelKind.CONTENT, 0).feed("to ada")
    assert report.held == 3
    one.break_off()
    assert (report.held, report.removed) == (0, 3)
    assert one.of_choice(0) == []
