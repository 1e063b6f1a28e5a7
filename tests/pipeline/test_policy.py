"""The report: sums over running, ended and lone texts, and nothing in it that might be text."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from safeproxy.events import Action, Finding, Severity
from safeproxy.pipeline.policy import Report, plain_reason
from safeproxy.wire.dialect import Reading

FOUND = Finding("email", "EMAIL", "other", Severity.LOW, Action.REDACT, Action.REDACT, "content", 0, 5, 1.0)


@dataclass
class Counts:
    """A channel reduced to what it counts; equal ones are still two."""

    scanned: int
    removed: int
    held: int
    delivered: int


def sums(report: Report) -> tuple[int, int, int, int, int]:
    """Scanned, passed, removed, held, placeholders."""
    return report.scanned, report.passed, report.removed, report.held, report.placeholders


def test_running_channels_are_counted_as_they_are_now() -> None:
    """Each once, however often it is watched; two alike are two."""
    report = Report()
    one, other = Counts(10, 4, 3, 5), Counts(10, 4, 3, 5)
    for channel in (one, other, one):
        report.watch(channel)
    assert sums(report) == (20, 6, 8, 6, 4)
    one.held, one.delivered = 0, 8
    assert sums(report) == (20, 9, 8, 3, 4)


def test_what_an_ended_channel_still_holds_is_removed() -> None:
    """Its sums stay, and it is not counted again when it changes."""
    report = Report()
    channel = Counts(10, 4, 3, 5)
    report.watch(channel)
    report.settle(channel)
    channel.scanned = 1000
    assert sums(report) == (10, 3, 7, 0, 2)


def test_a_channel_that_was_never_watched_can_be_settled() -> None:
    """It is counted all the same."""
    report = Report()
    report.settle(Counts(10, 4, 0, 8))
    assert sums(report) == (10, 6, 4, 0, 2)


def test_text_that_stands_alone_adds_to_the_sums() -> None:
    """With its findings, which are taken out once."""
    report = Report()
    report.watch(Counts(1, 0, 0, 1))
    report.count(20, 5, 22, [FOUND])
    assert sums(report) == (21, 16, 5, 0, 7)
    assert report.take_findings() == [FOUND]
    assert report.take_findings() == []


def test_taking_findings_leaves_the_list_to_those_who_write_into_it() -> None:
    """The filters keep the list they were given."""
    report = Report()
    shared = report.findings
    report.take_findings()
    shared.append(FOUND)
    assert report.take_findings() == [FOUND]


def test_each_fault_is_recorded_once_in_order() -> None:
    """However often it happens."""
    report = Report()
    for code in ("b", "a", "b"):
        report.fault(code)
    assert report.faults == ["b", "a"]


def test_the_first_model_and_the_last_usage_are_kept() -> None:
    """An event that says nothing of them changes neither."""
    report = Report()
    for reading in (Reading(model="m-1", usage={"total": 1}), Reading(model="m-2", usage={"total": 2}), Reading()):
        report.note(reading)
    assert (report.model, report.usage) == ("m-1", {"total": 2})


def test_usage_runs_on_from_event_to_event() -> None:
    """What the end does not repeat, or fills in with 0, stays as the beginning told it."""
    report = Report()
    for usage in ({"input": 9, "cached": 3, "output": 1}, {"input": 0, "output": 5}, {"output": 7, "new": 0}):
        report.note(Reading(usage=usage))
    assert report.usage == {"input": 9, "cached": 3, "output": 7, "new": 0}


def test_usage_of_several_answers_is_summed_up() -> None:
    """Each of those that share a report was paid for."""
    report = Report()
    report.next_answer()
    assert report.usage is None
    for usage in ({"input": 9, "output": 1}, {"input": 10, "cached": 2}):
        report.note(Reading(usage=usage))
        report.next_answer()
    assert report.usage == {"input": 19, "output": 1, "cached": 2}
    report.note(Reading(usage={"output": 4}))
    assert report.usage == {"input": 19, "output": 5, "cached": 2}


@pytest.mark.parametrize("name", ["two words", "", "a\n", "m" * 129, "\u043c\u043e\u0434\u0435\u043b\u044c"])
def test_what_may_be_text_is_not_recorded(name: str) -> None:
    """As a model it is left out, and a later one is taken; as a finish reason it is `other`."""
    report = Report()
    report.note(Reading(model=name))
    report.note(Reading(model="org/m-1:free@2"))
    assert report.model == "org/m-1:free@2"
    assert plain_reason(name) == "other"
    assert plain_reason("content_filter") == "content_filter"


class TestCommitted:
    """Texts that stand alone count when their event is sent."""

    def test_what_is_sent_counts_as_it_was_judged(self) -> None:
        """Passed, removed and placeholders."""
        report = Report()
        mark = report.mark()
        report.count(10, 4, 8)
        report.commit(mark)
        report.withhold(mark)
        assert (report.scanned, report.removed, report.passed, report.placeholders) == (10, 4, 6, 2)

    def test_what_is_not_sent_was_all_removed(self) -> None:
        """However it had been judged; what was sent before stays."""
        report = Report()
        report.count(3, 0, 3)
        mark = report.mark()
        report.count(10, 4, 8)
        report.withhold(mark)
        assert (report.scanned, report.removed, report.passed, report.placeholders) == (13, 10, 3, 0)
