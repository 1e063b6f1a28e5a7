"""Object keys in which something is found get another name, and nothing else changes."""

from __future__ import annotations

import pytest

from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Action
from safeproxy.pipeline.policy import Policy, Report
from safeproxy.pipeline.rename import rename_keys
from safeproxy.pipeline.whole import HaltError, Scanner
from safeproxy.wire.dialect import JsonObject, Key
from tests.wire.chat import POLICY


def renamed(holder: JsonObject, policy: Policy = POLICY) -> tuple[bool, Report]:
    """Whether any key of the object, which is changed, was renamed; and the report."""
    report = Report()
    return rename_keys([Key(holder, key) for key in list(holder)], Scanner(policy, report)), report


def test_a_renamed_key_keeps_its_place_and_its_value() -> None:
    """The object itself is changed, for others hold it too."""
    inner = {"x": 1}
    holder: JsonObject = {"first": 1, "ada@example.com": inner, "last": 2}
    changed, report = renamed(holder)
    assert changed
    assert list(holder.items()) == [("first", 1), ("[EMAIL]", inner), ("last", 2)]
    assert [finding.channel for finding in report.take_findings()] == ["keys"]
    assert report.scanned == 0


def test_no_value_is_lost_to_another_key_of_the_new_name() -> None:
    """Two addresses would get the same name, which may stand there already."""
    holder: JsonObject = {"ada@example.com": 1, "[EMAIL]": 2, "bob@example.com": 3}
    assert renamed(holder)[0]
    assert holder == {"[EMAIL]_": 1, "[EMAIL]": 2, "[EMAIL]__": 3}


def test_what_is_clean_or_only_observed_stays() -> None:
    """An observed key is told."""
    watched = RuleSet([Rule(id="word", entity="WORD", words=("note",), action=Action.OBSERVE)])
    holder: JsonObject = {"note": 1, "other": 2}
    changed, report = renamed(holder, Policy(watched))
    assert not changed
    assert list(holder) == ["note", "other"]
    assert [finding.entity for finding in report.take_findings()] == ["WORD"]


def test_a_key_that_is_no_longer_there_is_passed_over() -> None:
    """It may have been taken out since it was read; it is not put back."""
    holder: JsonObject = {"a": 1}
    report = Report()
    assert not rename_keys([Key(holder, "ada@example.com")], Scanner(POLICY, report))
    assert holder == {"a": 1}
    assert report.take_findings() == []


def test_a_halt_in_a_key_is_raised() -> None:
    """And it is told."""
    report = Report()
    with pytest.raises(HaltError):
        rename_keys([Key({"sk-abcdefgh": 1}, "sk-abcdefgh")], Scanner(POLICY, report))
    assert [finding.applied for finding in report.take_findings()] == [Action.HALT]
