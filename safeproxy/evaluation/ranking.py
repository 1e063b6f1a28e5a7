"""How well scores put positive texts before negative ones: ROC, precision-recall, and what is read off them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safeproxy.evaluation.intervals import Array

#: The shares of false positives at which recall is told.
FALSE_POSITIVE_RATES = (0.01, 0.02, 0.05)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Weights of the positive and the negative texts that reach each threshold, for thresholds in descending order.

    ``thresholds`` are the distinct scores; a text is flagged at a threshold if its score is at least that. All 1-d.
    """

    thresholds: Array
    true_positives: Array
    false_positives: Array

    @property
    def recall(self) -> Array:
        """The share of positives flagged, by threshold; not a number if there are none."""
        return _over(self.true_positives, self.true_positives[-1])

    @property
    def false_positive_rate(self) -> Array:
        """The share of negatives flagged, by threshold; not a number if there are none."""
        return _over(self.false_positives, self.false_positives[-1])

    @property
    def precision(self) -> Array:
        """The share of positives among what is flagged, by threshold; not a number where nothing is."""
        return _over(self.true_positives, self.true_positives + self.false_positives)


class Ranker:
    """Sorts scores once, to rank them under many weightings. Of ``scores`` and ``positive``, both 1-d, at least one."""

    def __init__(self, scores: Array, positive: NDArray[np.bool_]) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        self._positive = positive[self._order]
        self._firsts = np.flatnonzero(np.concatenate(([True], np.diff(ordered) != 0)))  # of texts with equal scores
        self._thresholds = ordered[self._firsts]

    def ranking(self, weights: Array) -> Ranking:
        """The ranking when the texts count as often as ``weights`` says."""
        ordered = weights[self._order]
        positives, negatives = (
            np.cumsum(np.add.reduceat(np.where(which, ordered, 0.0), self._firsts))
            for which in (self._positive, ~self._positive)
        )
        return Ranking(self._thresholds, positives, negatives)

    def summary(self, weights: Array) -> Array:
        """AUROC, average precision and the recall at each of FALSE_POSITIVE_RATES, as one array."""
        ranking = self.ranking(weights)
        recalls = (recall_at(ranking, rate) for rate in FALSE_POSITIVE_RATES)
        return np.array([auroc(ranking), average_precision(ranking), *recalls])


def auroc(ranking: Ranking) -> float:
    """The area under the ROC curve: how often a positive text has a higher score than a negative one, ties half.

    The Mann-Whitney statistic over the number of pairs (Hanley and McNeil 1982, "The meaning and use of the area under
    a receiver operating characteristic curve"). Not a number when either kind is missing.
    """
    positives = np.diff(ranking.true_positives, prepend=0.0)
    negatives = np.diff(ranking.false_positives, prepend=0.0)
    below = ranking.false_positives[-1] - ranking.false_positives
    pairs = ranking.true_positives[-1] * ranking.false_positives[-1]
    return float((positives @ (below + negatives / 2)) / pairs) if pairs else float("nan")


def average_precision(ranking: Ranking) -> float:
    """The area under the precision-recall curve as steps: the sum of precision times the gain in recall.

    As `sklearn.metrics.average_precision_score` has it; no interpolation, which would flatter (Davis and Goadrich 2006,
    "The relationship between precision-recall and ROC curves"). Not a number when either kind is missing.
    """
    if ranking.false_positives[-1] == 0:
        return float("nan")
    gains = np.diff(ranking.recall, prepend=0.0)
    return float(np.where(gains > 0, ranking.precision, 0.0) @ gains)


def operating_point(ranking: Ranking, most: float) -> int | None:
    """The index of the lowest threshold that flags at most the share ``most`` of the negatives; None if none does."""
    allowed = np.flatnonzero(ranking.false_positive_rate <= most)
    return int(allowed[-1]) if len(allowed) else None


def recall_at(ranking: Ranking, most: float) -> float:
    """The highest recall that flags at most the share ``most`` of the negatives, at a threshold that exists.

    Not a number when either kind is missing.
    """
    if ranking.true_positives[-1] == 0 or ranking.false_positives[-1] == 0:
        return float("nan")
    point = operating_point(ranking, most)
    return float(ranking.recall[point]) if point is not None else 0.0


def _over(above: Array, below: Array | np.float64) -> Array:
    """The quotient; not a number where the divisor is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return above / below
