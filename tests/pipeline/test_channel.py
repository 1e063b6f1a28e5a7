"""One channel: what may leave when, and what is counted, when all goes well and when it does not."""

from __future__ import annotations

import pytest

from safeproxy.core import judge
from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import DetectorError
from safeproxy.events import ChannelKind
from safeproxy.pipeline.channel import Channel
from safeproxy.pipeline.policy import Policy, Report
from safeproxy.pipeline.tokens import TokenQueue
from tests.wire.chat import POLICY, RULES, entries


def channel(policy: Policy = POLICY) -> tuple[Channel, Report]:
    """A content channel, watched by a report."""
    report = Report()
    made = Channel("content", ChannelKind.CONTENT, 0, policy, report)
    report.watch(made)
    return made, report


def counts(made: Channel) -> tuple[int, int, int, int]:
    """What came in, left, was removed and is held."""
    return made.scanned, made.delivered, made.removed, made.held


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> RuleSet:
    """Addresses, but the detector breaks when it has found one."""

    def broken(text: str) -> bool:
        raise RuntimeError(text)

    monkeypatch.setattr(judge, "VALIDATORS", {"broken": broken})
    return RuleSet([Rule(id="email", entity="EMAIL", pattern=r"[a-z]+@[a-z]+\.com\b", validators=("broken",))])


def test_every_code_point_is_passed_removed_or_held() -> None:
    """At each step; a placeholder counts as delivered."""
    made, _ = channel()
    assert (made.feed("To ada@exam"), counts(made)) == ("To ", (11, 3, 0, 8))
    assert not made.edited
    assert (made.feed("ple.com now"), counts(made)) == ("[EMAIL] ", (22, 11, 15, 3))
    assert made.edited
    assert (made.finish(), counts(made)) == ("now", (22, 14, 15, 0))


def test_half_a_character_is_held_and_becomes_one_with_its_other_half() -> None:
    """What comes as two deltas counts as one code point."""
    made, _ = channel()
    assert (made.feed("\ud83d"), counts(made)) == ("", (1, 0, 0, 1))
    assert (made.feed("\ude00! "), counts(made)) == ("\U0001f600! ", (3, 3, 0, 0))


def test_half_a_character_at_the_end_leaves_alone() -> None:
    """Its other half never comes."""
    made, _ = channel()
    assert made.feed(". \ud83d") == ". "
    assert (made.finish(), counts(made)) == ("\ud83d", (3, 3, 0, 0))


@pytest.mark.parametrize("text", ["To ada@exam", "To ada@example.com", "To ada\ud83d"])
def test_what_is_held_when_the_text_breaks_off_is_removed_once(text: str) -> None:
    """Be it a finding, half of one, or half a character."""
    made, report = channel()
    made.feed(text)
    made.break_off()
    assert counts(made) == (len(text), 3, len(text) - 3, 0)
    assert [finding.entity for finding in report.take_findings()] == ["EMAIL"] * text.endswith(".com")


def test_after_a_halt_nothing_leaves() -> None:
    """Neither with more text nor at the end, and the rest is not held."""
    made, _ = channel()
    assert made.feed("Key sk-abcdefg ") + made.feed("and so on.") + made.finish() == "Key "
    assert made.halted
    assert (made.delivered, made.held) == (4, 0)


def test_frames_leave_once_the_text_before_them_has() -> None:
    """In order, each as soon as its own text is out."""
    made, _ = channel()
    made.feed("so. ")
    assert made.gate(b"one", 100)
    made.feed("ada")
    assert made.gate(b"two", 100)
    assert made.ungate() == [b"one"]
    made.feed(" is")
    assert made.ungate() == [b"two"]
    assert made.ungate() == []


def test_frames_that_wait_are_bounded_and_vanish_with_replaced_text() -> None:
    """The limit counts all that wait; one that does not fit is not kept."""
    made, _ = channel()
    made.feed("ada@exam")
    assert made.gate(b"x" * 60, 100)
    assert not made.gate(b"y" * 41, 100)
    assert made.gate(b"z" * 40, 100)
    made.feed("ple.com. ")
    assert made.ungate() == []
    assert not made.gated


def test_tokens_that_come_beside_half_a_character_do_not_count_as_its_text() -> None:
    """They would be placed wrongly, so they are judged by a filter of their own."""
    made, _ = channel()
    side = StreamFilter(RULES)
    made.tokens = TokenQueue(lambda token: True, side)
    made.expect(entries("Hi. ")["content"], "Hi. ")
    made.feed("Hi. \ud83d")
    assert side.scanned == 0
    made.expect([{"token": "\ude00. "}], "\ude00. ")
    assert side.scanned == 3


def test_a_detector_that_breaks_lets_held_text_pass_once(breaking: RuleSet) -> None:
    """With the delta it broke at and all that follows, even a finding; the fault is recorded."""
    made, report = channel(Policy(breaking, on_detector_error="pass"))
    pieces = ["To ada", "@b.com", ", ada@b.com", " sk"]
    assert "".join(map(made.feed, pieces)) + made.finish() == "".join(pieces)
    length = len("".join(pieces))
    assert counts(made) == (length, length, 0, 0)
    assert made.passing
    assert made.released == length
    assert report.faults == ["detector_passed"]


def test_a_detector_that_breaks_at_the_end_lets_held_text_pass(breaking: RuleSet) -> None:
    """The finding was open until then."""
    made, report = channel(Policy(breaking, on_detector_error="pass"))
    assert made.feed("To ada@b.com") + made.finish() == "To ada@b.com"
    assert counts(made) == (12, 12, 0, 0)
    assert report.faults == ["detector_passed"]


def test_a_broken_detector_is_not_asked_again(breaking: RuleSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it halts the error is raised once, and breaking off adds no second fault."""
    made, report = channel(Policy(breaking))
    made.feed("To ada")
    with pytest.raises(DetectorError):
        made.feed("@b.com, ")
    assert made.delivered == 3
    monkeypatch.setattr(StreamFilter, "finish", lambda stream: pytest.fail("asked again"))
    made.break_off()
    assert report.faults == []
    report.settle(made)
    assert (report.scanned, report.passed, report.removed) == (14, 3, 11)
