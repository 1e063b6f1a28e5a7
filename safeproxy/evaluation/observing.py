"""Runs a rule set over labelled texts, whole or in random pieces, and keeps what was found but not the texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from safeproxy.core.detector import Scorer
from safeproxy.core.filter import StreamFilter
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import DetectorError
from safeproxy.evaluation.reading import GoldSpan, Record
from safeproxy.events import Action, ChannelKind, Finding

#: Mean lengths of the pieces that a text is cut into, in code points: one for each text, drawn anew.
PIECE_LENGTHS = (1, 4, 25)
#: By how much a score may differ between a text told whole and in pieces.
SCORE_NOISE = 1e-4

Outcome = tuple[str, list[Finding]]
"""What a client would get of a text, and the findings."""


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
    return [model for model in rules.models if isinstance(model, Scorer)]


def measured_rules(rules: RuleSet) -> RuleSet:
    """The same rules, all of them redacting: none halts and so hides the rest of a text, and none needs a key."""
    return rules.with_rules(dataclasses.replace(rule, action=Action.REDACT) for rule in rules.rules)


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
                differs = not _same(whole, (text, findings))
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


def _same(one: Outcome, other: Outcome) -> bool:
    """Whether text and findings are equal; scores may differ by what the order of a network's sums makes of them."""
    if one[0] != other[0] or len(one[1]) != len(other[1]):
        return False
    pairs = zip(one[1], other[1], strict=True)
    return all(abs(a.score - b.score) <= SCORE_NOISE and a == dataclasses.replace(b, score=a.score) for a, b in pairs)


def _run(rules: RuleSet, parts: Iterable[str]) -> Outcome:
    """What a client would get of the text, and the findings."""
    stream = StreamFilter(rules)
    out = [stream.feed(part) for part in parts]
    out.append(stream.finish())
    return "".join(out), stream.take_findings()
