"""Tests for the names model that is shipped."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import spacy
from spacy.language import Language

import safeproxy
from safeproxy.training.corpus import LABELS

FOLDER = Path(safeproxy.__file__).parent / "models" / "data" / "names"


@pytest.fixture(scope="module")
def nlp() -> Language:
    """The shipped pipeline."""
    return spacy.load(FOLDER)


def test_it_is_small() -> None:
    """Eight megabytes for all that is in the folder."""
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 8_000_000


def test_the_card_names_the_weights() -> None:
    """The SHA-256 in the card is that of the file."""
    digest = hashlib.sha256((FOLDER / "ner" / "model").read_bytes()).hexdigest()
    assert digest in (FOLDER / "CARD.md").read_text("utf-8")


def test_it_can_be_carried_along_a_stream(nlp: Language) -> None:
    """`ner` alone, an own tok2vec, window 1, depth 4, no action unseen in training."""
    ner = nlp.config["components"]["ner"]
    assert nlp.pipe_names == ["ner"]
    assert ner["model"]["tok2vec"]["encode"] | {"width": 0} == {
        "@architectures": "spacy.MaxoutWindowEncoder.v2",
        "width": 0,
        "depth": 4,
        "window_size": 1,
        "maxout_pieces": 3,
    }
    assert not nlp.get_pipe("ner").model.attrs["unseen_classes"]  # type: ignore[attr-defined]
    assert set(nlp.get_pipe("ner").labels) == set(LABELS)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "name", "label"),
    [
        ("I spoke with Amelia Hartfield about it.", "Amelia Hartfield", "PERSON"),
        ("Please ask Okonkwo Adeyemi, she knows.", "Okonkwo Adeyemi", "PERSON"),
        ("She lives at 12 Rosewood Lane.", "12 Rosewood Lane", "ADDRESS"),
        ("Send it to Lindenstraße 14, 50674 Köln please.", "Lindenstraße 14", "ADDRESS"),
        ("We moved to Lisbon in March.", "Lisbon", "LOC"),
    ],
)
def test_it_finds_what_it_is_for(nlp: Language, text: str, name: str, label: str) -> None:
    """Names of some cultures in plain sentences."""
    assert any(name in entity.text and entity.label_ == label for entity in nlp(text).ents)


@pytest.mark.parametrize(
    "text",
    [
        "Install it with pip and restart the server.",
        "Dear customer, your order will arrive on Monday, March 3.",
        "Return the value as a string.",
    ],
)
def test_it_leaves_ordinary_sentences_alone(nlp: Language, text: str) -> None:
    """Days, months and plain words are no names."""
    assert not nlp(text).ents
