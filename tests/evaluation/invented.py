"""Rules and labelled texts made up for these tests, and a model that scores by a word."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

from safeproxy.core.detector import Scorer
from safeproxy.core.rule import Context, Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.evaluation.measure import Question, Results, measure
from safeproxy.evaluation.observing import Found, Observed, entities_in_force, observe
from safeproxy.evaluation.reading import GoldSpan, records
from safeproxy.events import Action, ChannelKind

RULES = RuleSet(
    [
        Rule(id="badge", entity="BADGE", pattern=r"\bB-\d{4}\b"),
        Rule(id="badge-loose", entity="BADGE", pattern=r"\bB-?\d{3,5}\b", score=0.6),
        Rule(
            id="street", entity="STREET", pattern=r"\b[A-Z][a-z]+ (?:Lane|Street)\b", score=0.55,
            context=Context(("lives",), bonus=0.3),
        ),
        Rule(id="town", entity="TOWN", words=("Oldtown",), action=Action.HALT),
        Rule(id="rude", entity="INSULT", words=("nitwit",), action=Action.HASH),
        Rule(id="calls", entity="CALL", words=("Anna",), channels=frozenset([ChannelKind.TOOL_ARGUMENTS])),
        Rule(id="prompts", entity="PROMPT", words=("ignore",), request=True, response=False),
    ]
)  # fmt: skip

LINES: list[dict[str, Any]] = [
    {"text": "Anna of B-1234 lives in Mill Lane, Oldtown.",
     "spans": [[0, 4, "PERSON"], [8, 14, "BADGE"], [24, 33, "ADDRESS"], [35, 42, "PLACE"]], "labels": {"insult": 0}},
    {"text": "Badge B1234, you nitwit!", "spans": [[6, 11, "BADGE"]], "labels": {"insult": 1}},
    {"text": "No badge: B-123.", "spans": [], "labels": {"insult": 0.2}},
    {"text": "12 Mill Street, Newtown", "spans": [[0, 14, "ADDRESS"], [16, 23, "PLACE"]], "labels": {"rude": 1}},
    {"text": "What a fool.", "labels": {"insult": 0.5}},
    {"text": "Nothing at all.", "spans": []},
]  # fmt: skip


class Words:
    """Scores the category ``insult`` by two words."""

    def scores(self, text: str) -> Mapping[str, float]:
        return {"insult": 0.9 if "nitwit" in text else 0.7 if "fool" in text else 0.1}


def data(lines: Iterable[Mapping[str, Any]] = LINES) -> bytes:
    """The lines as a file has them."""
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def observed(scorers: Iterable[Scorer] = (), *, cut_seed: int | None = None) -> list[Observed]:
    """What the rules find in the lines."""
    lines = records(io.BufferedReader(io.BytesIO(data())), "file")
    return list(observe(lines, RULES, list(scorers), cut_seed=cut_seed))


def results(question: Question | None = None, scorers: Iterable[Scorer] = ()) -> Results:
    """The figures of the lines."""
    return measure(observed(scorers), entities_in_force(RULES), question or Question())


def text(
    found: Iterable[tuple[int, int, str, float]] = (),
    gold: Iterable[tuple[int, int, str]] | None = (),
    labels: Mapping[str, float] | None = None,
    scores: Mapping[str, float] | None = None,
    words: int = 10,
) -> Observed:
    """A text with these findings and labels."""
    spans = None if gold is None else tuple(GoldSpan(*span) for span in gold)
    return Observed(1, words, spans, labels or {}, tuple(Found(*one) for one in found), scores or {})
