"""A run as a whole: what is measured, what is left out, and what is said of it."""

from __future__ import annotations

import dataclasses

import pytest

from safeproxy.evaluation.mapping import parse_maps
from safeproxy.evaluation.measure import Question, measure
from safeproxy.evaluation.reading import DataError
from tests.evaluation.invented import Words, observed, results, text


def test_every_label_is_measured_and_the_rest_is_told() -> None:
    """Labels by name; a text without spans counts for categories alone."""
    found = results()
    assert (found.texts, found.words) == (6, 25)
    assert [one.group.name for one in found.entities] == ["ADDRESS", "BADGE", "PERSON", "PLACE"]
    assert [(one.group.name, one.scored_by, one.texts) for one in found.categories] == [
        ("insult", "rules", 4),
        ("rude", "nothing", 1),
    ]
    assert [(one.entity, one.found) for one in found.not_judged] == [("INSULT", 1), ("STREET", 2), ("TOWN", 1)]
    (note,) = found.notes
    assert note.startswith("labels that nothing in force can find; --map")
    assert note.endswith(": ADDRESS, PERSON, PLACE, rude")
    badge = found.entities[1]
    assert (badge.gold, badge.found, badge.strict.found_right) == (2, 3, 2)


def test_places_and_addresses_can_count_together() -> None:
    """Labels of the file and entities of the rules as one group, as the issue asks."""
    question = Question(parse_maps(["PLACE,ADDRESS=STREET,TOWN", "PERSON=NAME", "GONE=BADGE"]))
    found = results(question)
    together = found.entities[0]
    assert together.group.name == "ADDRESS+PLACE"
    assert (together.gold, together.found) == (4, 3)
    assert (together.strict.found_right, together.overlap.found_right, together.overlap.gold_right) == (2, 3, 3)
    assert found.notes[1:] == (
        "labels of --map that no text has: GONE",
        "entities of --map that nothing in force finds: NAME",
    )


def test_one_entity_alone() -> None:
    """Nothing else is measured or told."""
    found = results(Question(only=("BADGE",)))
    assert [one.group.name for one in found.entities] == ["BADGE"]
    assert found.categories == found.not_judged == found.notes == ()


def test_an_entity_without_labels_can_be_asked_for() -> None:
    """Texts in which it should find nothing: each finding is a false positive."""
    (town,) = results(Question(only=("TOWN",))).entities
    assert (town.group.name, town.gold, town.found) == ("TOWN", 0, 1)
    assert town.false_per_1000_words.value == pytest.approx(1000 / 22)


def test_a_category_alone_is_no_entity() -> None:
    """It is not measured as spans besides."""
    found = results(Question(only=("insult",)), [Words()])
    assert found.entities == ()
    (insult,) = found.categories
    assert (insult.scored_by, insult.auroc.value) == ("model", 1.0)


@pytest.mark.parametrize(
    ("name", "hint"), [("BADGES", "did you mean BADGE"), ("zzz", "`safeproxy rules list` shows what rules find")]
)
def test_an_entity_that_nobody_knows_is_refused(name: str, hint: str) -> None:
    """With the nearest name, if any is near."""
    with pytest.raises(DataError) as caught:
        results(Question(only=(name,)))
    assert repr(name) in str(caught.value)
    assert hint in str(caught.value)


def test_nothing_to_measure_is_refused() -> None:
    """No text, or none that says anything."""
    with pytest.raises(DataError, match="at least one record"):
        measure([], (), Question())
    with pytest.raises(DataError, match="nothing to measure"):
        measure([text(gold=None)], (), Question())


def test_pieces_give_the_same_figures() -> None:
    """The whole result, number by number; lines that differ are named."""
    cut = observed(cut_seed=3)
    assert cut == observed()
    told = measure([dataclasses.replace(cut[0], differs=True), *cut[1:]], (), Question())
    assert told.differing == (1,)
