"""A small toxicity model with weights drawn by chance, and texts over its words."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from safeproxy.core.tokens import key
from safeproxy.core.toxicity import ToxicityModel, Weights

WORDS = ("you", "are", "fool", "kill", "the", "process", "hate", "love", "a", "not")
CATEGORIES = ("toxicity", "threat")


def toy_weights(seed: int = 7) -> Weights:
    """Weights under which about half of all short sentences reach a probability of one half."""
    chance = np.random.default_rng(seed)
    width, reach, filters, hidden, buckets = 6, 3, 8, 5, 32

    def floats(*shape: int) -> np.ndarray:
        return chance.standard_normal(shape).astype(np.float32)

    return Weights(
        categories=CATEGORIES,
        keys=np.array(sorted(key(word) for word in WORDS), np.uint32),
        vocabulary=chance.integers(-127, 127, (len(WORDS), width)).astype(np.int8),
        vocabulary_scale=np.full(len(WORDS), 0.01, np.float32),
        buckets=chance.integers(-127, 127, (buckets, width)).astype(np.int8),
        bucket_scale=np.full(buckets, 0.01, np.float32),
        filters=floats(reach, width, filters),
        filter_bias=floats(filters) * 0.1,
        hidden=floats(filters, hidden) * 0.4,
        hidden_bias=floats(hidden) * 0.1,
        out=floats(hidden, len(CATEGORIES)) * 0.5,
        direct=floats(filters, len(CATEGORIES)) * 0.4,
        out_bias=np.full(len(CATEGORIES), -1, np.float32),
        calibration=np.array([[0.9, 0.1], [1.1, -0.2]]),
    )


def toy_model(seed: int = 7) -> ToxicityModel:
    return ToxicityModel(toy_weights(seed), version="toy", digest="0" * 64)


def texts() -> st.SearchStrategy[str]:
    """Sentences, lists, odd white space, marks, words letter by letter, words that the model does not know."""
    words = st.sampled_from(
        [*WORDS, "Fool!", '"hate"', "k", "i", "l", "F00L", "xyzzy.", "you?", "e.g.", "-", "1.", "\U0001f4a9"]
    )
    long = st.integers(40, 120).map(lambda size: "x" * size)
    gaps = st.sampled_from([" ", " ", " ", "\n", "\n\n", "  ", "\r\n\r\n", "\u00a0", " " * 70])
    return st.lists(st.tuples(words | st.text(max_size=6) | (st.nothing() | long), gaps), max_size=30).map(
        lambda parts: "".join(word + gap for word, gap in parts)
    )
