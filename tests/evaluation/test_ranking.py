"""The curves and areas agree with scikit-learn, and with cases counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics

from safeproxy.evaluation.intervals import Array
from safeproxy.evaluation.ranking import Ranker, Ranking, auroc, average_precision, operating_point, recall_at

#: Scores with ties, labels and weights.
TEXTS = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40)


def ranked(scores: list[float], positive: list[bool], weights: list[int] | None = None) -> Ranking:
    """The ranking of these texts, each once if no weights are given."""
    counts = np.array(weights or [1] * len(scores), dtype=np.float64)
    return Ranker(np.array(scores, dtype=np.float64), np.array(positive)).ranking(counts)


def test_a_case_counted_by_hand() -> None:
    """Two positives and three negatives; one pair of six is tied, one is in the wrong order."""
    ranking = ranked([0.9, 0.5, 0.5, 0.7, 0.1], [True, True, False, False, False])
    assert auroc(ranking) == (3 + 1 + 0.5) / 6
    assert average_precision(ranking) == 0.5 * 1 + 0.5 * (2 / 4)
    assert ranking.thresholds.tolist() == [0.9, 0.7, 0.5, 0.1]
    assert ranking.recall.tolist() == [0.5, 0.5, 1, 1]
    assert ranking.false_positive_rate.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert (recall_at(ranking, 0.3), recall_at(ranking, 0.7)) == (0.5, 1.0)
    assert operating_point(ranking, 0.3) == 0


def test_a_rate_that_is_just_reached_is_allowed() -> None:
    """One of 20 is 5 %, whatever floating point thinks."""
    for negatives, most in ((20, 0.05), (100, 0.01), (50, 0.02), (300, 0.01)):
        wrong = round(negatives * most)
        scores = [2.0] * wrong + [1.0] + [0.0] * (negatives - wrong)
        assert recall_at(ranked(scores, [False] * wrong + [True] + [False] * (negatives - wrong)), most) == 1.0


def test_nothing_is_recalled_where_every_threshold_flags_too_much() -> None:
    """The highest score is a negative text's, and there are few."""
    ranking = ranked([2.0, 1.0], [False, True])
    assert operating_point(ranking, 0.05) is None
    assert recall_at(ranking, 0.05) == 0.0


@pytest.mark.parametrize("positive", [True, False])
def test_one_kind_alone_cannot_be_ranked(positive: bool) -> None:
    """Neither area is a number."""
    ranking = ranked([0.2, 0.4], [positive, positive])
    assert math.isnan(auroc(ranking))
    assert math.isnan(recall_at(ranking, 0.05))
    assert math.isnan(average_precision(ranking))


@given(TEXTS)
def test_areas_are_scikit_learn_s(texts: list[tuple[int, bool, int]]) -> None:
    """With ties and weights, as resamples have them."""
    scores, positive, weights = (list(column) for column in zip(*texts, strict=True))
    ranking = ranked([float(score) for score in scores], positive, weights)
    kinds = {bool(label) for label, weight in zip(positive, weights, strict=True) if weight}
    assume(kinds == {True, False})
    assert auroc(ranking) == pytest.approx(metrics.roc_auc_score(positive, scores, sample_weight=weights))
    expected = metrics.average_precision_score(positive, scores, sample_weight=weights)
    assert average_precision(ranking) == pytest.approx(expected)


@given(TEXTS, st.sampled_from([0.01, 0.05, 0.2, 0.5]))
def test_recall_at_a_rate_is_read_off_scikit_learn_s_curve(texts: list[tuple[int, bool, int]], most: float) -> None:
    """The highest recall among the curve's points with no more false positives."""
    scores, positive, _ = zip(*texts, strict=True)
    assume(len(set(positive)) == 2)
    rates, recalls, _ = metrics.roc_curve(positive, scores, drop_intermediate=False)
    assert recall_at(ranked(list(scores), list(positive)), most) == pytest.approx(max(recalls[rates <= most]))


@given(TEXTS)
def test_weights_are_repetitions(texts: list[tuple[int, bool, int]]) -> None:
    """A text of weight 2 counts as two texts: resampling by weights is resampling."""
    assume(any(weight for _, _, weight in texts))
    scores, positive, weights = (list(column) for column in zip(*texts, strict=True))
    repeated = [(score, label) for score, label, weight in texts for _ in range(weight)]
    ranker = Ranker(np.array(scores, dtype=np.float64), np.array(positive))
    by_weight: Array = ranker.summary(np.array(weights, dtype=np.float64))
    again = Ranker(*(np.array(column) for column in zip(*repeated, strict=True)))
    np.testing.assert_allclose(by_weight, again.summary(np.ones(len(repeated))))
