"""Tests for the figures."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import spacy
from spacy.language import Language

from safeproxy.training.corpus import Text
from safeproxy.training.names_figures import Overlap, development, false_findings, findings, overlap_scores


@pytest.fixture
def nlp() -> Language:
    """A pipeline that labels as OntoNotes does, by rules; the component is named as the trained one is."""
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler", name="ner")
    ruler.add_patterns(  # type: ignore[attr-defined]
        [
            {"label": "PERSON", "pattern": "Ada"},
            {"label": "GPE", "pattern": "Sampleton"},
            {"label": "DATE", "pattern": "Monday"},
        ]
    )
    return nlp


def test_findings_have_our_labels(nlp: Language) -> None:
    """Places of OntoNotes are ours, dates are not."""
    assert list(findings(nlp, ["Ada left Sampleton on Monday"])) == [[(0, 3, "PERSON"), (9, 18, "LOC")]]


def test_overlap_counts_names_found_and_findings_right() -> None:
    """One finding over two names finds both; two findings in one name are both right."""
    score = Overlap()
    score.add([(0, 3, "PERSON"), (4, 7, "PERSON"), (9, 12, "PERSON")], [(0, 7, "PERSON"), (20, 22, "PERSON")])
    assert (score.gold, score.found, score.predicted, score.right) == (3, 2, 2, 1)
    assert score.recall == pytest.approx(2 / 3)
    assert score.precision == pytest.approx(1 / 2)
    assert score.f1 == pytest.approx(4 / 7)


def test_neighbours_do_not_overlap() -> None:
    """Ends are exclusive."""
    score = Overlap()
    score.add([(0, 3, "PERSON")], [(3, 5, "PERSON")])
    assert score.f1 == 0


def test_places_and_addresses_are_of_one_kind() -> None:
    """An address found as a place is found; a person found as a place is not."""
    gold = [Text("12 Sample Lane", ((0, 14, "ADDRESS"),)), Text("Ada", ((0, 3, "PERSON"),))]
    scores = overlap_scores(gold, [[(3, 14, "LOC")], [(0, 3, "LOC")]])
    assert (scores["places"].found, scores["places"].predicted, scores["places"].right) == (1, 2, 1)
    assert (scores["persons"].gold, scores["persons"].found) == (1, 0)


def test_every_finding_without_a_name_is_false(nlp: Language) -> None:
    """Label and words are given."""
    assert false_findings(nlp, ["Ada is a language", "nothing"]) == [("PERSON", "Ada")]


def test_development_sets_are_read_from_their_folder(tmp_path: Path) -> None:
    """With our labels."""
    (tmp_path / "development").mkdir()
    with gzip.open(tmp_path / "development" / "ner_x.jsonl.gz", "wt") as file:
        file.write(json.dumps({"text": "Sampleton", "spans": [[0, 9, "LOCATION"]]}) + "\n")
    assert development(tmp_path, "x")[0].spans == ((0, 9, "LOC"),)
