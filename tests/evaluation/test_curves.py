"""The page is one file that needs nothing else, is well-formed, and shows every category and entity."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from safeproxy.evaluation.curves import page
from safeproxy.evaluation.mapping import parse_maps
from safeproxy.evaluation.measure import Question, measure
from tests.evaluation.invented import Words, results, text


def test_the_page_needs_nothing_else() -> None:
    """No address, no script, nothing loaded."""
    shown = page(results(scorers=[Words()]), "title")
    assert "http" not in shown
    assert "//" not in shown
    assert not re.search(r"<(script|link|img|iframe|object|embed)|\burl\(|@import|\bsrc=|\bhref=", shown)


def test_the_page_is_well_formed() -> None:
    """It can be read as XML: every element is closed."""
    root = ET.fromstring(page(results(scorers=[Words()]), "title"))
    assert root.tag == "html"
    assert root.findtext("head/title") == "title"


def test_the_page_shows_every_curve() -> None:
    """Two charts a category; one an entity whose findings have more than one score; the others are named."""
    root = ET.fromstring(page(results(Question(parse_maps(["ADDRESS=STREET", "PLACE=TOWN"]))), "title"))
    labels = [svg.get("aria-label") for svg in root.iter("svg")]
    assert labels == [
        "ROC curve of insult",
        "Precision-recall curve of insult",
        "Precision, recall and F1 of ADDRESS by threshold",
        "Precision, recall and F1 of BADGE by threshold",
    ]
    told = "".join(root.itertext())
    assert "No curve, since all findings have the same score: PLACE." in told
    assert "1 of 1 texts positive; scored by nothing; a curve needs scores" in told
    assert told.count("the rules in force") == 4  # in each legend, and on each mark


def test_the_curves_are_the_figures() -> None:
    """A point's title names what holds there; the first step begins at 0."""
    shown = page(results(Question(parse_maps(["ADDRESS=STREET"]))), "title")
    assert "<title>threshold 0.85: precision 1.000</title>" in shown
    assert "<title>threshold 0.85: F1 0.667</title>" in shown
    assert 'class="line second" d="M44 10V10H198V150H282"' in shown


def test_names_from_the_file_are_escaped() -> None:
    """A label may be anything that can be printed."""
    name = '<b>&"x'
    texts = [text([(0, 1, name, score)], [(0, 1, name)]) for score in (0.5, 1.0)]
    shown = page(measure(texts, [name], Question()), name)
    assert "<b>" not in shown
    assert ET.fromstring(shown).findtext("body/main/section/h2") == name


def test_a_page_without_curves_says_so() -> None:
    """Findings of one score have no curve."""
    shown = page(results(Question(only=("TOWN",))), "title")
    assert "same score: TOWN." in shown
    assert "<svg" not in shown
