"""The vocabulary: orders that decisions rest on, and names that files and records use."""

from __future__ import annotations

import dataclasses

import pytest

from safeproxy.events import Action, ChannelKind, Finding, Severity

FINDING = Finding(
    rule="mail",
    entity="EMAIL",
    category="personal",
    severity=Severity.HIGH,
    action=Action.MASK,
    applied=Action.REDACT,
    channel="content",
    start=3,
    end=9,
    score=1.0,
)


def test_actions_have_an_order_of_strength() -> None:
    """Overlapping findings take the strongest."""
    order = [Action.OBSERVE, Action.MASK, Action.ENCRYPT, Action.HASH, Action.REDACT, Action.HALT]
    assert sorted(Action, key=lambda action: action.strength) == order


def test_severities_have_an_order() -> None:
    """It breaks ties between equal actions."""
    assert Severity.LOW < Severity.MEDIUM < Severity.HIGH < Severity.CRITICAL


def test_names_are_those_of_rule_files() -> None:
    """Rule files and audit records spell them so."""
    assert [str(action) for action in Action] == ["observe", "mask", "encrypt", "hash", "redact", "halt"]
    assert [str(kind) for kind in ChannelKind] == [
        "content",
        "refusal",
        "reasoning",
        "tool_arguments",
        "audio",
        "other",
    ]


def test_a_finding_cannot_be_changed_and_holds_no_text() -> None:
    """Only where, what and how bad; so it may be logged and counted."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        FINDING.start = 0  # type: ignore[misc]
    assert not {"text", "value", "match"} & {field.name for field in dataclasses.fields(Finding)}
    assert not hasattr(FINDING, "__dict__")
