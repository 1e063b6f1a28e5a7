"""Compares the spans found with the spans labelled, text by text, for one group of labels and entities."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from safeproxy.evaluation.intervals import Array
from safeproxy.evaluation.mapping import Group
from safeproxy.evaluation.observing import Observed


class Counts(NamedTuple):
    """Spans of one text, each counted once, even if several rules found it."""

    gold: int
    found: int
    same: int
    """Found with the very start and end of a labelled span."""
    gold_met: int
    """Labelled spans that overlap one that was found."""
    found_right: int
    """Spans found that overlap a labelled one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The counts of each text, and the scores of all spans.

    ``counts`` has a row for each text and the columns of `Counts`. ``met`` has, for each labelled span, the highest
    score of a finding that overlaps it, -inf if there is none. ``scores`` and ``right`` have a finding each.
    """

    counts: Array
    met: Array
    scores: Array
    right: Array


class _Spans:
    """Scored spans that can be asked which of them overlap another."""

    def __init__(self, scored: Iterable[tuple[tuple[int, int], float]]) -> None:
        self.scored = sorted(scored)
        self._starts = [span[0] for span, _ in self.scored]
        self._furthest = list(accumulate((span[1] for span, _ in self.scored), max))

    def best(self, start: int, end: int) -> float:
        """The highest score of a span that overlaps [start, end); -inf if there is none."""
        best = float("-inf")
        at = bisect_left(self._starts, end) - 1
        while at >= 0 and self._furthest[at] > start:
            span, score = self.scored[at]
            if span[1] > start:
                best = max(best, score)
            at -= 1
        return best


def compare(texts: Sequence[Observed], group: Group) -> Comparison:
    """Compare in every text; a text without ``spans`` must not be among them."""
    rows: list[Counts] = []
    met: list[float] = []
    scores: list[float] = []
    right: list[bool] = []
    entities = {one.entity for text in texts for one in text.found}
    answering = {entity for entity in entities if group.finds(entity)}
    for text in texts:
        labelled = {(start, end) for start, end, label in text.spans or () if label in group.labels}
        best: dict[tuple[int, int], float] = {}
        for start, end, entity, score in text.found:
            if entity in answering:
                best[start, end] = max(score, best.get((start, end), 0.0))
        found, gold = _Spans(best.items()), _Spans((span, 1.0) for span in labelled)
        text_met = [found.best(*span) for span, _ in gold.scored]
        text_right = [gold.best(*span) > 0 for span, _ in found.scored]
        reached = sum(score >= 0 for score in text_met)
        rows.append(Counts(len(labelled), len(best), len(labelled & best.keys()), reached, sum(text_right)))
        met += text_met
        scores += [score for _, score in found.scored]
        right += text_right
    return Comparison(*(np.array(column, dtype=np.float64) for column in (rows, met, scores, right)))


@dataclass(frozen=True, slots=True)
class ThresholdCurve:
    """Precision and recall by overlap if only findings with at least this score counted, lowest threshold first."""

    thresholds: Array
    precision: Array
    recall: Array


def threshold_curve(comparison: Comparison) -> ThresholdCurve:
    """The curve over the scores that occur. What a rule's own threshold had kept out cannot be on it.

    The recall is not a number if no span is labelled.
    """
    order = np.argsort(comparison.scores, kind="stable")
    scores, right = comparison.scores[order], comparison.right[order]
    thresholds, firsts = np.unique(scores, return_index=True)
    right_above = right.sum() - np.concatenate(([0.0], np.cumsum(right)))[firsts]
    met_above = len(comparison.met) - np.searchsorted(np.sort(comparison.met), thresholds)
    with np.errstate(invalid="ignore"):
        recall = met_above / np.float64(len(comparison.met))
    return ThresholdCurve(thresholds, right_above / (len(scores) - firsts), recall)
