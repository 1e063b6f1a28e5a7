"""Text that stands alone, and JSON inside strings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.ruleset import RuleSet
from safeproxy.events import ChannelKind
from safeproxy.pipeline import Policy, Report
from safeproxy.pipeline.values import is_json_container
from safeproxy.pipeline.whole import Scanner
from tests.wire.chat import EMAIL, NUMBER, POLICY, whole

CALM = Policy(RuleSet([EMAIL, NUMBER]))
KIND = ChannelKind.TOOL_ARGUMENTS


def judged(text: str, policy: Policy = CALM) -> str:
    """What is left of JSON text."""
    return Scanner(policy, Report()).json(text, "args", KIND).text


TEXTS = st.sampled_from(
    ["", "a", "ada@example.com", "to ada@example.com", '"', "\\", "\n", "\u00e9", "\ud83d", "{", "[1]"]
)
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-100, 100),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3) | inner.map(json.dumps),
    max_leaves=8,
)


def expected(value: Any) -> Any:
    """The value with every string filtered, JSON in strings too."""
    if isinstance(value, str):
        if is_json_container(value):
            return json.dumps(expected(json.loads(value)))
        return whole(value, KIND, CALM.rules)
    if isinstance(value, list):
        return [expected(item) for item in value]
    if isinstance(value, dict):
        return {expected(key): expected(item) for key, item in value.items()}
    return value


def unpacked(value: Any) -> Any:
    """The value with JSON in strings decoded, so that spelling does not matter."""
    if isinstance(value, str):
        return ["json", unpacked(json.loads(value))] if is_json_container(value) else value
    if isinstance(value, list):
        return [unpacked(item) for item in value]
    if isinstance(value, dict):
        return {str(unpacked(key)): unpacked(item) for key, item in value.items()}
    return value


@given(VALUES, st.booleans())
def test_json_stays_json_and_every_string_in_it_is_filtered(value: Any, ascii_only: bool) -> None:
    """At any depth, in any spelling; what is clean is not touched."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    new = judged(text)
    assert unpacked(json.loads(new)) == unpacked(expected(value))
    if expected(value) == value:
        assert new == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('{ "a" :\t"ada@example.com" , "b":1.50 }', '{ "a" :\t"[EMAIL]" , "b":1.50 }'),
        ('{"a":"ada@example.com","a":"x"}', '{"a":"[EMAIL]","a":"x"}'),
        ("4111111111111111", "0"),
        ("[-4111111111111111, 4111111111111111.0]", "[0, 0.0]"),
        ('"line\nend"', '"line\nend"'),
        (f"[{'9' * 1000}]", f"[{'9' * 1000}]"),
        ('{"a":"ada@example.com', '{"a":"[EMAIL]"'),
        ('{"a":"x\\', '{"a":"x\\'),
        ("mail ada@example.com", "mail [EMAIL]"),
        ('{"a": "\\ud83d", bad ada@example.com', '{"a": "\\ud83d", bad [EMAIL]'),
    ],
)
def test_only_what_is_found_changes(text: str, left: str) -> None:
    """White space, spelling, double keys and huge numbers stay; broken JSON is text."""
    assert judged(text) == left


def test_numbers_may_be_of_any_size() -> None:
    """Python's limit on the digits of an integer is none on JSON."""
    assert is_json_container("[" + "9" * 5000 + "]")


def test_nesting_without_end_is_survived() -> None:
    """JSON too deep to be decoded is filtered as it stands."""
    text = "[" * 100_000 + '"ada@example.com"'
    assert judged(text).endswith('"[EMAIL]"')
    inner: str = json.dumps({"to": "ada@example.com"})
    for _ in range(9):
        inner = json.dumps({"inner": inner})
    assert "ada@" not in judged(inner)


@pytest.mark.parametrize("text", ['{"a":"sk-abcdefgh"}', '{"a":"sk-abcdefgh', "sk-abcdefgh"])
def test_a_halt_leaves_nothing_of_the_arguments(text: str) -> None:
    """Half of them would be wrong."""
    verdict = Scanner(POLICY, Report()).json(text, "args", KIND)
    assert (verdict.text, verdict.halted) == ("", True)


def test_recurring_values_are_judged_once_and_not_counted() -> None:
    """Keys and tokens come again with every event."""
    report = Report()
    scanner = Scanner(CALM, report)
    for _ in range(3):
        assert scanner.is_clean("token", "t", KIND)
    assert not scanner.is_clean("ada@example.com", "t", KIND)
    assert report.scanned == 0
    assert len(report.take_findings()) == 1
