"""The vocabulary, and vectors to begin with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from safeproxy.errors import ConfigError
from safeproxy.training.toxicity_lexicon import Tokens, WordVectors, fitted_buckets, text_tokens, vocabulary

TEXT = "You F00L! And k i l l them.\n\n..."


def test_tokens_are_those_of_the_detector() -> None:
    """Disguised and spelled-out words are read as the detector reads them; sentences without a token are left out."""
    known = {"fool": 0, "kill": 1}
    assert text_tokens(TEXT, known) == [["you", "fool", "!"], ["and", "k", "i", "l", "l", "kill", "them"]]


def test_the_vocabulary_has_what_comes_often() -> None:
    """Without vectors a word must be seen a few times."""
    assert vocabulary(["a fool", "a fool", "a cat"], None, rare=2) == {"a": 0, "fool": 1}


def test_tokens_get_numbers() -> None:
    """The same token has the same number, and the lexicon knows its row in the vocabulary."""
    reader = Tokens({"fool": 0})
    first, second = reader.read("you fool"), reader.read("fool you")
    assert list(first[0]) == list(second[0])[::-1] == [0, 1]
    assert list(reader.lexicon(8).row) == [-1, 0]


def test_a_pipeline_without_vectors_is_refused(tmp_path: Path) -> None:
    """The error says what to take."""
    spacy = pytest.importorskip("spacy")
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(ConfigError, match="en_core_web_md"):
        WordVectors(tmp_path / "blank", 4)
    with pytest.raises(ConfigError, match="no folder of a spaCy pipeline"):
        WordVectors(tmp_path / "absent", 4)


def test_vectors_to_begin_with(tmp_path: Path) -> None:
    """Vectors keep who is near to whom, and n-grams are fitted to them."""
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    chance = np.random.default_rng(3)
    for word in ("fool", "idiot", "table", "chair"):
        base = 1.0 if word in ("fool", "idiot") else -1.0
        nlp.vocab.set_vector(word, (base + 0.1 * chance.standard_normal(12)).astype(np.float32))
    nlp.to_disk(tmp_path / "toy")
    vectors = WordVectors(tmp_path / "toy", 3)
    assert "fool" in vectors
    assert "unheard" not in vectors
    assert vectors["fool"] @ vectors["idiot"] > 0 > vectors["fool"] @ vectors["table"]
    buckets = fitted_buckets(vectors, 64)
    assert buckets.shape == (64, 3)
    assert np.abs(buckets).sum() > 0
