"""The self-test of rules: samples that hold pass, those that do not are named with what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from safeproxy.core.rule import Rule
from safeproxy.errors import DetectorError
from safeproxy.events import Action
from safeproxy.rulesets import SHIPPED, load_with_sources, selftest
from safeproxy.rulesets.loading import LoadedRule
from safeproxy.rulesets.model import SamplesModel
from safeproxy.rulesets.selftest import run, run_all
from safeproxy.rulesets.yaml_lines import Place
from tests.oracle import spans


def source(samples: dict[str, list[dict[str, object]]], action: Action = Action.REDACT) -> LoadedRule:
    """A rule that finds numbers, with these samples."""
    rule = Rule(id="number", entity="NUMBER", pattern=r"\b\d+\b", action=action)
    return LoadedRule(rule, Place(Path("rules.yaml"), 3, 1), SamplesModel.model_validate(samples), enabled=True)


def test_samples_that_hold_pass() -> None:
    """Exact spans, no span, and no span yet."""
    results = run(
        source(
            {
                "match": [{"text": "a 12 b 3", "spans": [[2, 4], [7, 8]]}],
                "no_match": [{"text": "a1", "why": "part of a word"}],
                "known_gap": [{"text": "twelve", "why": "spelled out"}],
            }
        )
    )
    assert [(r.kind, r.index, r.passed, r.message) for r in results] == [
        ("match", 0, True, ""),
        ("no_match", 0, True, ""),
        ("known_gap", 0, True, ""),
    ]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (
            {"match": [{"text": "a 12", "spans": [[2, 3]]}]},
            "tests.match[0] 'a 12': expected [2, 3], found [2, 4]",
        ),
        (
            {"match": [{"text": "a1", "spans": [[1, 2]]}]},
            "tests.match[0] 'a1': expected [1, 2], found nothing",
        ),
        (
            {"no_match": [{"text": "1 2", "why": "x"}]},
            "tests.no_match[0] '1 2': expected nothing, found [0, 1], [2, 3]",
        ),
        (
            {"known_gap": [{"text": "1", "why": "x"}]},
            "tests.known_gap[0] '1': found [0, 1]: the gap is closed; remove it from known_gap",
        ),
    ],
)
def test_samples_that_do_not_hold_are_named(samples: dict[str, list[dict[str, object]]], message: str) -> None:
    """The message says which sample, what was expected, what was found."""
    (result,) = run(source(samples))
    assert not result.passed
    assert result.message == f"rules.yaml:3:1: rule 'number', {message}"


@pytest.mark.parametrize("action", list(Action))
def test_every_action_reports_all_spans(action: Action) -> None:
    """A halt would end at the first span and a hash would want a key; the self-test is about finding."""
    (result,) = run(source({"match": [{"text": "1 2", "spans": [[0, 1], [2, 3]]}]}, action))
    assert result.passed


class Forgetful:
    """A filter as wrong as can be: it looks at each piece alone."""

    def __init__(self, _rules: object) -> None:
        self.longest = ""

    def feed(self, text: str) -> str:
        """Look at the piece; pass it on."""
        self.longest = max(self.longest, text, key=len)
        return text

    def finish(self) -> str:
        """Nothing was held."""
        return ""

    def take_findings(self) -> Sequence[object]:
        """What was seen in one piece."""
        return [type("Found", (), {"start": 0, "end": 2})] if "12" in self.longest else []


def test_a_result_that_depends_on_the_cutting_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """One character at a time must give what the whole text gives."""
    monkeypatch.setattr(selftest, "StreamFilter", Forgetful)
    (result,) = run(source({"match": [{"text": "12", "spans": [[0, 2]]}]}))
    assert not result.passed
    assert result.message.endswith("found [0, 2] in the whole text but nothing one character at a time")


def test_a_detector_that_breaks_fails_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """A near miss must not pass because nothing looked."""

    def broken(_rules: object) -> object:
        raise DetectorError("over budget")

    monkeypatch.setattr(selftest, "StreamFilter", broken)
    (result,) = run(source({"no_match": [{"text": "a", "why": "x"}]}))
    assert not result.passed
    assert result.message.endswith("the detector broke: over budget")


def test_all_rules_are_run_in_order() -> None:
    """The results come in the order of the rules and their samples."""
    one = source({"no_match": [{"text": "a", "why": "x"}, {"text": "b", "why": "x"}]})
    assert [r.text for r in run_all([one, one])] == ["a", "b", "a", "b"]


def test_the_samples_of_all_shipped_rules_hold() -> None:
    """By the filter in both ways, and by the oracle, which shares no code with it."""
    sources = load_with_sources([SHIPPED]).sources
    results = run_all(sources)
    assert [result.message for result in results if not result.passed] == []
    rules = {source.rule.id: source.rule for source in sources}
    disagreeing = [r for r in results if tuple(spans(rules[r.rule], r.text)) != r.expected]
    assert disagreeing == []
