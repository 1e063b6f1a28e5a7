"""Tests for the trainer, on invented sentences."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
import spacy

from safeproxy.training.corpus import LABELS, UNCLEAR, Text
from safeproxy.training.names import (
    Plan,
    Shape,
    average_with,
    batches,
    blank,
    faster_products,
    rate_factor,
    tags_of,
    train,
    with_caution,
    with_weights_of,
)

SMALL = Shape(width=32, depth=2, pieces=2, rows=(200, 50, 50, 50))

TEXTS = [
    Text("Ada Example lives at 12 Sample Lane.", ((0, 11, "PERSON"), (21, 35, "ADDRESS"))),
    Text("Bo works for Invented Goods in Sampleton.", ((0, 2, "PERSON"), (13, 27, "ORG"), (31, 40, "LOC"))),
    Text("Nothing happened on Monday."),
]


def tags(text: str, *spans: tuple[int, int, str]) -> list[str]:
    return tags_of(spacy.blank("en").make_doc(text), Text(text, spans))


def test_every_token_gets_a_tag() -> None:
    """Begin, inside, last and unit, as spaCy counts."""
    assert tags("Ada B Example met Bo", (0, 13, "PERSON"), (18, 20, "PERSON")) == [
        "B-PERSON",
        "I-PERSON",
        "L-PERSON",
        "O",
        "U-PERSON",
    ]


def test_unclear_stretches_are_missing_not_absent() -> None:
    """They teach neither that there is a name nor that there is none."""
    assert tags("at Sample Dental now", (3, 16, UNCLEAR)) == ["O", "-", "-", "O"]


def test_a_span_may_leave_out_the_stop_of_an_abbreviation() -> None:
    """The span "Ada E" of "Ada E." is the two tokens; half of a longer word is unclear."""
    assert tags("met Ada E. there", (4, 9, "PERSON")) == ["O", "B-PERSON", "L-PERSON", "O"]
    assert tags("met Adamantine", (4, 7, "PERSON")) == ["O", "-"]


def test_batches_hold_the_words_asked_for() -> None:
    """All but the last have at least that many tokens."""
    made = list(batches(iter(TEXTS * 5), spacy.blank("en"), 20))
    sizes = [sum(len(example.x) for example in batch) for batch in made]
    assert all(size >= 20 for size in sizes[:-1])
    assert sum(len(batch) for batch in made) == 15


@pytest.mark.parametrize(
    ("done", "low", "high"), [(0.0, 0.0, 0.1), (0.02, 0.99, 1.0), (0.5, 0.5, 0.55), (1.0, 0.0, 0.03), (1.2, 0.0, 0.0)]
)
def test_the_rate_rises_and_falls(done: float, low: float, high: float) -> None:
    """Up fast, down slowly, never below nothing."""
    assert low <= rate_factor(done) <= high


def test_products_by_numpy_are_the_same() -> None:
    """Whatever is transposed."""
    from thinc.api import NumpyOps, get_current_ops

    a, b = np.random.default_rng(1).normal(size=(2, 4, 4)).astype("f")
    with faster_products():
        ops = get_current_ops()
        for one, two in itertools.product([False, True], repeat=2):
            expected = NumpyOps().gemm(a, b, trans1=one, trans2=two)
            assert np.allclose(ops.gemm(a, b, trans1=one, trans2=two), expected, atol=1e-5)
    assert get_current_ops() is not ops


def test_a_trained_pipeline_learns_loads_and_has_no_unseen_action(tmp_path: Path) -> None:
    """After some hundred steps on three sentences it knows them, from disk as well, and has met every action."""
    texts = random.Random(1).choices(TEXTS, k=1200)
    with faster_products():
        trained = blank(SMALL)
        train(iter(texts), trained, Plan(words=8000, rate=0.01, dropout=0.0, batch=60))
    with_weights_of(trained, SMALL).to_disk(tmp_path / "model")
    nlp = spacy.load(tmp_path / "model")
    ner = nlp.get_pipe("ner")
    assert nlp.pipe_names == ["ner"]
    assert set(ner.labels) == set(LABELS)
    assert not ner.model.attrs["unseen_classes"]
    for text in TEXTS:
        assert tuple((e.start_char, e.end_char, e.label_) for e in nlp(text.text).ents) == text.spans


def test_the_pipeline_shipped_knows_no_words_of_the_training() -> None:
    """Only its weights are taken over."""
    nlp = blank(SMALL)
    nlp.make_doc("Sampleton")
    thin = with_weights_of(nlp, SMALL)
    assert "Sampleton" in nlp.vocab.strings
    assert "Sampleton" not in thin.vocab.strings


def test_with_caution_fewer_names_are_found() -> None:
    """Much of it and nothing is found; the opposite for one label and every token is such a name."""
    nlp = blank(SMALL)
    with_caution(nlp, dict.fromkeys(LABELS, 100.0))
    assert not nlp("Ada Example lives here").ents
    with_caution(nlp, {"LOC": -200.0})
    doc = nlp("Ada Example lives here")
    assert {token.ent_type_ for token in doc} == {"LOC"}


def test_the_average_lies_between() -> None:
    """Of three pipelines each weight is the mean."""
    made = [blank(SMALL) for _ in range(3)]
    for value, nlp in enumerate(made):
        nlp.get_pipe("ner").model.get_ref("upper").set_param("b", np.full(17, 3 * value, "f"))  # type: ignore[attr-defined]
    average_with(made[0], made[1:])
    assert set(made[0].get_pipe("ner").model.get_ref("upper").get_param("b")) == {3.0}  # type: ignore[attr-defined]
