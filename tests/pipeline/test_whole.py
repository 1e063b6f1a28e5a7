"""Text that stands alone, and JSON inside strings."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy import rulesets
from safeproxy.core.actions import pseudonym
from safeproxy.core.rule import Context, Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Action, ChannelKind, Severity
from safeproxy.pipeline import Policy, Report
from safeproxy.pipeline.values import is_json_container
from safeproxy.pipeline.whole import Scanner
from safeproxy.rulesets import load_with_sources
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
    TEXTS | st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-100, 100).map(lambda number: round(number, 3)),
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


CARD = Rule(
    id="cvv", entity="CVV", pattern=r"\b[0-9]{3}\b", score=0.2, context=Context(words=("cvv", "card"), window=4)
)
SECRET = Rule(id="password", entity="PASSWORD", pattern=r'(?<="password": ")[^"]+', severity=Severity.HIGH)
NAMED = Policy(RuleSet([EMAIL, NUMBER, CARD, SECRET]))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('{"cvv": "042"}', '{"cvv": "[CVV]"}'),
        ('{"cvv":100.5}', '{"cvv":0.0}'),
        ('{"cvv":123}', '{"cvv":0}'),
        ('{"card": {"number": "042"}}', '{"card": {"number": "[CVV]"}}'),
        ('{"card": {"x": "a b c d", "number": 123}}', '{"card": {"x": "a b c d", "number": 0}}'),
        ('{"kind": "cvv", "value": "042"}', '{"kind": "cvv", "value": "[CVV]"}'),
        ('{"cvv": ["a b c d", "042", "x y z", [117]]}', '{"cvv": ["a b c d", "[CVV]", "x y z", [0]]}'),
        ('{"cvv": "a", "b c": "d e", "f": "042"}', '{"cvv": "a", "b c": "d e", "f": "042"}'),
        ('{"a": {"cvv": "1"}, "b c": {"d": "042"}}', '{"a": {"cvv": "1"}, "b c": {"d": "042"}}'),
        ('{"password":"hunter2"}', '{"password":"[PASSWORD]"}'),
        ('{"password": "to ada@example.com"}', '{"password": "[PASSWORD]"}'),
        ('{"password": ["x", "y"]}', '{"password": ["[PASSWORD]", "[PASSWORD]"]}'),
        ('{"p\\u0061ssword": "x\\ny"}', '{"p\\u0061ssword": "[PASSWORD]"}'),
        ('{"cvv": "ada@example.com, 042"}', '{"cvv": "[EMAIL], [CVV]"}'),
        ('{"cvv": "042", "to": "ada@example.com', '{"cvv": "[CVV]", "to": "[EMAIL]"'),
        ('{"text": "{\\"cvv\\": \\"042\\"}"}', '{"text": "{\\"cvv\\": \\"[CVV]\\"}"}'),
        ('{"cvv": "[\\"042\\"]"}', '{"cvv": "[\\"[CVV]\\"]"}'),
        ('"042"', '"042"'),
        ("cvv 042", "cvv [CVV]"),
    ],
)
def test_values_are_judged_in_their_context_too(text: str, left: str) -> None:
    """Their own key, the one around it, the values before; never is a key or a quote replaced."""
    report = Report()
    assert Scanner(NAMED, report).json(text, "args", KIND).text == left
    assert report.scanned == report.passed + report.removed
    assert report.placeholders >= 0


def test_findings_in_context_tell_where_in_the_value_they_are() -> None:
    """Each is told once, though it was found twice, with the action carried out."""
    report = Report()
    text = json.dumps({"cvv": "ada@example.com 042", "password": "4111111111111111"})
    Scanner(NAMED, report).json(text, "args", KIND)
    told = [(found.rule, found.start, found.end) for found in report.take_findings()]
    assert told == [("email", 0, 15), ("cvv", 16, 19), ("number", 0, 16), ("password", 0, 16)]
    assert (report.scanned, report.removed) == (3 + 19 + 8 + 16, 15 + 3 + 16)


def test_a_halt_in_context_is_a_halt() -> None:
    """And it is told; all of the text counts as removed."""
    report = Report()
    policy = Policy(RuleSet([dataclasses.replace(CARD, action=Action.HALT)]))
    verdict = Scanner(policy, report).json('{"a": "b", "cvv": "042"}', "args", KIND)
    assert (verdict.text, verdict.halted) == ("", True)
    assert (report.scanned, report.removed, report.placeholders) == (8, 8, 0)
    assert [(found.applied, found.start, found.end) for found in report.take_findings()] == [(Action.HALT, 0, 3)]


def test_a_halt_in_keys_that_follow_each_other_is_told() -> None:
    """It lies in no value, but the record must say why nothing left."""
    report = Report()
    policy = Policy(RuleSet([Rule(id="pair", entity="PAIR", pattern=r'one": \{"two', action=Action.HALT)]))
    assert Scanner(policy, report).json('{"one": {"two": "x"}}', "args", KIND).halted
    assert [found.rule for found in report.take_findings()] == ["pair"]


def test_what_is_only_observed_in_context_changes_nothing() -> None:
    """But it is told."""
    report = Report()
    policy = Policy(RuleSet([EMAIL, dataclasses.replace(CARD, action=Action.OBSERVE)]))
    text = '{"cvv": "042 ada@example.com"}'
    verdict = Scanner(policy, report).json(text, "args", KIND)
    assert (verdict.text, verdict.found) == ('{"cvv": "042 [EMAIL]"}', True)
    assert [found.rule for found in report.take_findings()] == ["cvv", "email"]


def test_a_pseudonym_stands_for_the_value_alone() -> None:
    """Not for its key, so that equal values have equal ones."""
    policy = Policy(RuleSet([dataclasses.replace(CARD, action=Action.HASH)]), hash_key=b"k" * 32)
    one, other = (judged(text, policy) for text in ('{"cvv": "042"}', '{"card": {"n": "042"}}'))
    assert json.loads(one)["cvv"] == json.loads(other)["card"]["n"] == pseudonym("CVV", "042", b"k" * 32)


def test_more_values_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs time; a model never writes so many."""
    monkeypatch.setattr("safeproxy.pipeline.whole.TEXTS_LIMIT", 10)
    report = Report()
    assert not Scanner(CALM, report).json(json.dumps([1] * 10), "args", KIND).halted
    assert Scanner(CALM, report).json(json.dumps([1] * 11), "args", KIND).halted
    assert report.faults == ["too_many_texts"]


SHIPPED = load_with_sources([rulesets.SHIPPED])
SAMPLES = [
    sample.text
    for source in SHIPPED.sources
    if source.enabled
    for sample in (*source.tests.match, *source.tests.no_match)
]


def test_the_shipped_samples_are_judged_alike_as_arguments_and_as_text() -> None:
    """Those that are JSON, and all of them as the value of a key that means nothing."""
    policy = Policy(SHIPPED.ruleset, hash_key=b"k" * 32)
    scanner = Scanner(policy, Report())
    objects = [text for text in SAMPLES if is_json_container(text)]
    assert len(objects) > 50
    for text in objects:
        as_text = scanner.whole(text, "content", KIND)
        assert scanner.json(text, "args", KIND).text == ("" if as_text.halted else as_text.text)
    for text in SAMPLES:
        as_text = scanner.whole(text, "content", KIND)
        as_value = scanner.json(json.dumps({"text": text}), "args", KIND)
        assert as_value.halted == as_text.halted
        assert as_text.halted or json.loads(as_value.text)["text"] == as_text.text
