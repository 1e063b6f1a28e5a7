"""The figures of entities: precision, recall and F1 by exact spans and by overlap, and false positives by length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from safeproxy.evaluation.intervals import Array, Figure, bootstrap, rate, share
from safeproxy.evaluation.mapping import Group
from safeproxy.evaluation.observing import Observed
from safeproxy.evaluation.spans import Comparison, Counts, ThresholdCurve, compare, threshold_curve


@dataclass(frozen=True, slots=True)
class Agreement:
    """How findings and labelled spans agree: so many labelled spans were found, so many findings are right."""

    gold_right: int
    found_right: int
    precision: Figure
    recall: Figure
    f1: Figure


@dataclass(frozen=True, slots=True)
class EntityResult:
    """The figures of one group: ``strict`` needs the same start and end, ``overlap`` a character in common.

    ``false_per_1000_words`` counts findings that overlap no labelled span of the group.
    """

    group: Group
    gold: int
    found: int
    strict: Agreement
    overlap: Agreement
    false_per_1000_words: Figure
    curve: ThresholdCurve


@dataclass(frozen=True, slots=True)
class NotJudged:
    """Findings of an entity that no label answers to: the file cannot tell whether they are right."""

    entity: str
    found: int
    per_1000_words: Figure


def entity_results(texts: Sequence[Observed], wanted: Sequence[Group], seed: int) -> tuple[EntityResult, ...]:
    """The figures of each group; a text without ``spans`` must not be among them."""
    if not wanted:
        return ()
    words = _words(texts)
    comparisons = [compare(texts, group) for group in wanted]
    counts = np.hstack([comparison.counts for comparison in comparisons])
    f1 = iter(bootstrap(lambda weights: _all_f1(weights @ counts), len(texts), seed))
    return tuple(
        _result(group, comparison, words, next(f1), next(f1))
        for group, comparison in zip(wanted, comparisons, strict=True)
    )


def not_judged(texts: Sequence[Observed], judged: Sequence[Group]) -> tuple[NotJudged, ...]:
    """What was found besides, by entity."""
    words = _words(texts)
    per_text = [Counter(entity for _, _, entity in {one[:3] for one in text.found}) for text in texts]
    names = sorted({name for found in per_text for name in found if not any(group.finds(name) for group in judged)})
    columns = {name: np.array([found[name] for found in per_text], dtype=np.float64) for name in names}
    return tuple(
        NotJudged(name, int(column.sum()), rate(column, words).times(1000)) for name, column in columns.items()
    )


def _words(texts: Sequence[Observed]) -> Array:
    return np.array([text.words for text in texts], dtype=np.float64)


def _all_f1(sums: Array) -> Array:
    """Strict and overlap F1 of each group from its summed `Counts`, which follow each other in ``sums``."""
    gold, found, same, gold_met, found_right = sums.reshape(-1, len(Counts._fields)).T
    with np.errstate(invalid="ignore", divide="ignore"):
        strict = 2 * same / (gold + found)
        precision, recall = found_right / found, gold_met / gold
        overlap = 2 * precision * recall / (precision + recall)
    nothing_right = (gold + found > 0) & (gold_met == 0)
    return np.column_stack([strict, np.where(nothing_right, 0.0, overlap)]).ravel()


def _result(group: Group, comparison: Comparison, words: Array, strict_f1: Figure, overlap_f1: Figure) -> EntityResult:
    gold, found, same, gold_met, found_right = comparison.counts.T
    return EntityResult(
        group,
        int(gold.sum()),
        int(found.sum()),
        _agreement(same, gold, same, found, strict_f1),
        _agreement(gold_met, gold, found_right, found, overlap_f1),
        rate(found - found_right, words).times(1000),
        threshold_curve(comparison),
    )


def _agreement(gold_right: Array, gold: Array, found_right: Array, found: Array, f1: Figure) -> Agreement:
    precision, recall = share(found_right, found), share(gold_right, gold)
    if f1.value is not None and f1.low == f1.high:
        # Every text was all right, or all wrong, so no resample differs: the ends of precision and recall say more.
        ends = zip(_ends(precision), _ends(recall), strict=True)
        f1 = Figure(f1.value, *(_harmonic_mean(one, other) for one, other in ends))
    return Agreement(int(gold_right.sum()), int(found_right.sum()), precision, recall, f1)


def _ends(figure: Figure) -> tuple[float, float]:
    """The interval of a share, which is everything if nothing is known of it."""
    return (0.0, 1.0) if figure.low is None or figure.high is None else (figure.low, figure.high)


def _harmonic_mean(one: float, other: float) -> float:
    return 2 * one * other / (one + other) if one + other else 0.0
