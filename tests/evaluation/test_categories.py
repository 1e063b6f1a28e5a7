"""Figures of categories, against counting by hand."""

from __future__ import annotations

import pytest

from safeproxy.evaluation.categories import category_result
from safeproxy.evaluation.intervals import UNKNOWN
from safeproxy.evaluation.mapping import Group
from tests.evaluation.invented import text

THREAT = Group(frozenset(["threat"]), frozenset(["threat"]))


def test_a_model_s_scores_rank_and_the_rules_flag() -> None:
    """The model has the category of the same name; a rule finds THREAT in two texts."""
    found = [(0, 1, "THREAT", 0.6)]
    texts = [
        text(found, labels={"threat": 1}, scores={"threat": 0.9, "other": 0.0}),
        text(labels={"threat": 0.5}, scores={"threat": 0.4}),
        text(found, labels={"threat": 0.4}, scores={"threat": 0.6}),
        text(labels={"threat": 0}, scores={"threat": 0.1}),
        text(labels={"other": 1}, scores={"threat": 1.0}),
    ]
    result = category_result(texts, THREAT, {"threat", "other"}, {"THREAT"}, 0)
    assert (result.scored_by, result.texts, result.positive) == ("model", 4, 2)
    assert result.auroc.value == 0.75
    assert result.average_precision.value == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert [(point.recall.value, point.threshold) for point in result.recall_at] == [(0.5, 0.9)] * 3
    flagged = result.flagged
    assert flagged.texts == 2
    figures = (flagged.all, flagged.positive, flagged.negative, flagged.precision)
    assert [figure.value for figure in figures] == [0.5, 0.5, 0.5, 0.5]


def test_without_a_model_the_findings_rank() -> None:
    """A text's score is the highest of its findings, 0 without any."""
    texts = [
        text([(0, 1, "THREAT", 0.6), (2, 3, "THREAT", 0.9), (4, 5, "OTHER", 1.0)], labels={"threat": 1}),
        text([(0, 1, "THREAT", 0.6)], labels={"threat": 0}),
        text(labels={"threat": 0}),
    ]
    result = category_result(texts, THREAT, {"other"}, {"THREAT"}, 0)
    assert result.scored_by == "rules"
    assert result.ranking.thresholds.tolist() == [0.9, 0.6, 0.0]
    assert result.auroc.value == 1.0


def test_what_nothing_finds_is_scored_by_nothing() -> None:
    """There is no area then: 0.5 would be taken for a verdict."""
    texts = [text(labels={"threat": 1}), text(labels={"threat": 0})]
    result = category_result(texts, THREAT, {"insult"}, {"INSULT"}, 0)
    assert result.scored_by == "nothing"
    assert result.auroc == result.average_precision == result.recall_at[0].recall == UNKNOWN
    assert result.flagged.all.value == 0.0


def test_harmless_texts_alone_show_what_is_flagged() -> None:
    """The areas are unknown, the share of negatives flagged is not."""
    texts = [text([(0, 1, "THREAT", 1.0)], labels={"threat": 0}), *[text(labels={"threat": 0})] * 9]
    result = category_result(texts, THREAT, (), {"THREAT"}, 0)
    assert result.auroc == result.average_precision == result.flagged.positive == UNKNOWN
    assert all(point.recall == UNKNOWN for point in result.recall_at)
    assert result.flagged.negative.value == 0.1


def test_a_group_of_labels_is_positive_if_one_of_them_is() -> None:
    """Unknown ones are left out; a text of which none is known does not count."""
    either = Group(frozenset(["a", "b"]), frozenset(["X"]))
    texts = [text(labels={"a": 0, "b": 1}), text(labels={"a": 0.2}), text(labels={"b": 0.7}), text(labels={"c": 1})]
    result = category_result(texts, either, (), {"X"}, 0)
    assert (result.texts, result.positive) == (3, 2)
