"""Figures of entities, against counting by hand."""

from __future__ import annotations

import pytest

from safeproxy.evaluation.entities import entity_results, not_judged
from safeproxy.evaluation.intervals import UNKNOWN
from safeproxy.evaluation.mapping import Group
from safeproxy.evaluation.observing import Observed
from tests.evaluation.invented import text

A = Group(frozenset(["A"]), frozenset(["A"]))


def many() -> list[Observed]:
    """20 texts: 10 found exactly, 5 found beside, 3 not found, 2 with something wrong."""
    return [
        *[text([(0, 3, "A", 1.0)], [(0, 3, "A")])] * 10,
        *[text([(1, 3, "A", 1.0)], [(0, 3, "A")])] * 5,
        *[text([], [(0, 3, "A")])] * 3,
        *[text([(0, 1, "A", 1.0)], [])] * 2,
    ]


def test_figures_are_those_counted_by_hand() -> None:
    """Strict and by overlap, and false positives by words."""
    (result,) = entity_results(many(), [A], 0)
    assert (result.gold, result.found) == (18, 17)
    strict, overlap = result.strict, result.overlap
    assert (strict.gold_right, strict.found_right) == (10, 10)
    assert (strict.precision.value, strict.recall.value) == (10 / 17, 10 / 18)
    assert strict.f1.value == pytest.approx(20 / 35)
    assert (overlap.gold_right, overlap.found_right) == (15, 15)
    assert (overlap.precision.value, overlap.recall.value) == (15 / 17, 15 / 18)
    assert overlap.f1.value == pytest.approx(2 * 15 / 17 * 15 / 18 / (15 / 17 + 15 / 18))
    assert result.false_per_1000_words.value == pytest.approx(2 / 200 * 1000)
    for figure in (strict.f1, overlap.f1, strict.precision, overlap.recall, result.false_per_1000_words):
        assert figure.low < figure.value < figure.high  # type: ignore[operator]


def test_groups_do_not_disturb_each_other() -> None:
    """The same figures alone and beside another, and the same for the same seed."""
    other = Group(frozenset(["B"]), frozenset(["B"]))
    alone = entity_results(many(), [A], 7)[0]
    beside = entity_results(many(), [other, A], 7)[1]
    assert alone.strict == beside.strict
    assert alone.overlap == beside.overlap
    assert entity_results(many(), [A], 8)[0].strict.f1 != alone.strict.f1
    assert entity_results(many(), [], 0) == ()


def test_all_right_is_not_certain() -> None:
    """Resampling five right texts gives five right texts; the interval of F1 is then made of the others'."""
    (result,) = entity_results([text([(0, 3, "A", 1.0)], [(0, 3, "A")])] * 5, [A], 0)
    assert result.strict.f1.value == 1.0
    assert result.strict.f1.high == 1.0
    assert result.strict.f1.low == pytest.approx(result.strict.recall.low) == pytest.approx(0.5655, abs=1e-4)


def test_nothing_found_is_a_recall_of_nothing() -> None:
    """There is no precision then; F1 is 0, and at most what the recall might be with all of it right."""
    (result,) = entity_results([text([], [(0, 3, "A")])] * 5, [A], 0)
    assert result.overlap.precision == UNKNOWN
    high = result.overlap.recall.high
    assert high is not None
    assert (result.overlap.f1.value, result.overlap.f1.low) == (0.0, 0.0)
    assert result.overlap.f1.high == pytest.approx(2 * high / (1 + high))


def test_neither_labelled_nor_found_is_unknown() -> None:
    """All there is to say is how few false positives there are."""
    (result,) = entity_results([text()] * 3, [A], 0)
    assert result.strict.f1 == result.strict.recall == result.overlap.f1 == UNKNOWN
    assert result.false_per_1000_words.value == 0.0


def test_spans_of_one_text_widen_the_interval() -> None:
    """A text with ten spans that are all wrong counts for less than ten texts with one."""
    good = [text([(0, 3, "A", 1.0)], [(0, 3, "A")])] * 30
    bad = [(at, at + 1, "A", 1.0) for at in range(0, 20, 2)]
    (one_text,) = entity_results([*good, text(bad, [])], [A], 0)
    (ten_texts,) = entity_results([*good, *[text([span], []) for span in bad]], [A], 0)
    assert one_text.overlap.precision.value == ten_texts.overlap.precision.value == 0.75
    assert one_text.overlap.precision.low < ten_texts.overlap.precision.low - 0.1  # type: ignore[operator]
    hits, trials = one_text.overlap.found_right, one_text.found
    assert (hits, trials) == (30, 40)


def test_what_no_label_answers_to_is_counted_apart() -> None:
    """Each span once, whatever number of rules found it."""
    texts = [text([(0, 1, "A", 1.0), (0, 1, "B", 1.0), (0, 1, "B", 0.5), (2, 3, "B", 1.0)]), text([(0, 1, "C", 1.0)])]
    b, c = not_judged(texts, [A])
    assert (b.entity, b.found, b.per_1000_words.value) == ("B", 2, 100.0)
    assert (c.entity, c.found) == ("C", 1)
    assert not_judged([], [A]) == ()
