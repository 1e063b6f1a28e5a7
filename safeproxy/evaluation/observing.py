"""Runs a rule set over labelled texts, whole or in random pieces, and keeps what was found but not the texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np

from safeproxy.core.filter import StreamFilter
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import DetectorError
from safeproxy.evaluation.reading import GoldSpan, Record
from safeproxy.events import Action, ChannelKind, Finding

#: Mean lengths of the pieces that a text is cut into, in code points: one for each text, drawn anew.
PIECE_LENGTHS = (1, 4, 25)


class Scorer(Protocol):
    """A model that gives each category's probability for a whole text."""

    def scores(self, text: str) -> Mapping[str, float]:
        """Category to probability, 0 to 1."""
        ...


class Found(NamedTuple):
    """One finding: span in code points, half open; score from 0 to 1."""

    start: int
    end: int
    entity: str
    score: float


@dataclass(frozen=True, slots=True)
class Observed:
    """What the text of one line was labelled with and what was found in it; the text itself is not kept.

    ``scores`` has the scorers' categories. ``differs`` tells that the text cut into pieces gave another result.
    """

    line: int
    words: int
    spans: tuple[GoldSpan, ...] | None
    labels: Mapping[str, float]
    found: tuple[Found, ...]
    scores: Mapping[str, float]
    differs: bool = False


def scorers_of(rules: RuleSet) -> list[Scorer]:
    """The models of the rule set that score whole texts."""
    return [model for model in getattr(rules, "models", ()) if hasattr(model, "scores")]


def measured_rules(rules: RuleSet) -> RuleSet:
    """The same rules, all of them redacting: none halts and so hides the rest of a text, and none needs a key."""
    return RuleSet(dataclasses.replace(rule, action=Action.REDACT) for rule in rules.rules)


def entities_in_force(rules: RuleSet) -> frozenset[str]:
    """The entities that can be found in the text of an answer."""
    return frozenset(rule.entity for rule in rules.rules if rule.response and ChannelKind.CONTENT in rule.channels)


def observe(
    records: Iterable[Record], rules: RuleSet, scorers: Sequence[Scorer] = (), *, cut_seed: int | None = None
) -> Iterator[Observed]:
    """Run the rules over each record as over the text of an answer.

    With ``cut_seed`` each text is run both whole and in random pieces, and what the pieces gave is kept.
    Raises DetectorError, naming the line, when a detector breaks or a scorer gives no probability.
    """
    rules = measured_rules(rules)
    for record in records:
        try:
            text, findings = _run(rules, [record.text])
            differs = False
            if cut_seed is not None:
                whole = text, findings
                text, findings = _run(rules, pieces(record.text, cut_seed, record.line))
                differs = (text, findings) != whole
        except DetectorError as error:
            raise DetectorError(f"line {record.line}: {error}") from None
        found = tuple(Found(one.start, one.end, one.entity, one.score) for one in findings)
        scores = {name: score for scorer in scorers for name, score in scorer.scores(record.text).items()}
        if unfit := [name for name, score in scores.items() if not 0 <= score <= 1]:
            raise DetectorError(f"line {record.line}: a model's score for {unfit[0]!r} is not a number from 0 to 1")
        words = len(record.text.split())
        yield Observed(record.line, words, record.spans, record.labels or {}, found, scores, differs)


def pieces(text: str, seed: int, line: int) -> list[str]:
    """The text in random pieces, none empty; the same for the same seed and line."""
    random = np.random.default_rng([seed, line])
    lengths = random.geometric(1 / random.choice(PIECE_LENGTHS), len(text))
    cuts = [0, *(int(cut) for cut in np.cumsum(lengths) if cut < len(text)), len(text)]
    return [text[start:end] for start, end in pairwise(cuts)]


def _run(rules: RuleSet, parts: Iterable[str]) -> tuple[str, list[Finding]]:
    """What a client would get of the text, and the findings."""
    stream = StreamFilter(rules)
    out = [stream.feed(part) for part in parts]
    out.append(stream.finish())
    return "".join(out), stream.take_findings()
