"""Trains the toxicity model: `python -m safeproxy.training.toxicity DATA_FOLDER OUT_FILE`.

Read are `DATA_FOLDER/toxicity`, the harmless texts of `toxicity_data.HARMLESS_WEIGHTS` beside it, and the sentences
made from `toxicity_phrases.txt`; texts too near to one in `DATA_FOLDER/development` are left out. Word vectors to
begin with (`--vectors`, the folder of a spaCy pipeline) are optional: the shipped model began with those of
`en_core_web_md`. Needs numpy, with `--vectors` spaCy. Takes some minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safeproxy.core.tokens import key
from safeproxy.errors import ConfigError
from safeproxy.models.toxicity import save
from safeproxy.training.toxicity_data import (
    CATEGORIES,
    Example,
    harmless,
    labelled,
    read_records,
    without_duplicates,
)
from safeproxy.training.toxicity_lexicon import Tokens, WordVectors, fitted_buckets, gram_table, vocabulary
from safeproxy.training.toxicity_network import Batch, Floats, Ints, Network, Shape
from safeproxy.training.toxicity_phrases import phrases

VERSION = "1"
#: Texts in one step of learning.
BATCH = 192
#: Tokens of a sentence beyond these are not learnt from.
MOST_TOKENS = 96
#: The share of the texts kept for the calibration.
HELD_OUT = 0.05


@dataclass(frozen=True)
class Plan:
    """How to train: sizes and rates, and the seed that makes a run repeatable."""

    width: int = 48
    buckets: int = 16384
    filters: int = 128
    epochs: int = 3
    rate: float = 2e-3
    vector_rate: float = 0.015
    seed: int = 1


def train(examples: Sequence[Example], plan: Plan, vectors: WordVectors | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of a model (see `safeproxy.models.toxicity.save`) that has learnt the examples."""
    known = vocabulary((example.text for example in examples), vectors)
    reader = Tokens(known)
    documents = [[sentence[:MOST_TOKENS] for sentence in reader.read(example.text)] for example in examples]
    lexicon = reader.lexicon(plan.buckets)
    network = Network(
        Shape(len(known), plan.buckets, len(CATEGORIES), width=plan.width, filters=plan.filters), lexicon, plan.seed
    )
    if vectors is not None:
        _begin_with(network, vectors, known)
    targets, weights = _label_arrays(examples)
    chance = np.random.default_rng(plan.seed)
    readable = np.array([number for number, document in enumerate(documents) if document])
    held = chance.random(len(readable)) < HELD_OUT
    learnt = readable[~held]
    steps, step = max(1, plan.epochs * (len(learnt) // BATCH)), 0
    for epoch in range(plan.epochs):
        losses = []
        for chosen in _portions(chance.permutation(learnt), BATCH):
            share = max(0.02, 1 - step / steps)
            batch = _batch(documents, chosen, targets, weights)
            losses.append(network.step(batch, plan.rate * share, plan.vector_rate * share))
            step += 1
        print(f"epoch {epoch + 1} of {plan.epochs}: loss {np.mean(losses):.4f}", file=sys.stderr)
    kept = readable[held] if held.any() else learnt
    logits = np.concatenate(
        [_logits(network, _batch(documents, chosen, targets, weights)) for chosen in _portions(kept, BATCH)]
    )
    calibration = np.array(
        [platt(logits[:, c], targets[kept, c], weights[kept, c]) for c in range(len(CATEGORIES))], np.float64
    )
    return _arrays(network, known, calibration)


def _begin_with(network: Network, vectors: WordVectors, known: dict[str, int]) -> None:
    """Start from word vectors, and for words that have none from their n-grams'."""
    buckets = fitted_buckets(vectors, network.shape.buckets)
    network.parameters["buckets"] = buckets
    table = network.parameters["vocabulary"]
    unknown = [word for word in known if word not in vectors]
    for word, row in known.items():
        if word in vectors:
            table[row] = vectors[word]
    table[[known[word] for word in unknown]] = gram_table(unknown, len(buckets)).means(np.arange(len(unknown)), buckets)


def _label_arrays(examples: Sequence[Example]) -> tuple[Floats, Floats]:
    """Targets, and weights that are 0 where a label is unknown: both (examples, categories)."""
    targets = np.zeros((len(examples), len(CATEGORIES)), np.float32)
    weights = np.zeros_like(targets)
    for number, example in enumerate(examples):
        for name, value in example.labels.items():
            targets[number, CATEGORIES.index(name)] = value
            weights[number, CATEGORIES.index(name)] = example.weight
    return targets, weights


def _portions(numbers: Ints, size: int) -> Iterator[Ints]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def _batch(documents: Sequence[Sequence[Ints]], chosen: Ints, targets: Floats, weights: Floats) -> Batch:
    sentences = [sentence for number in chosen for sentence in documents[number]]
    owner = np.repeat(np.arange(len(chosen)), [len(documents[number]) for number in chosen])
    return Batch(sentences, owner, targets[chosen], weights[chosen])


def _logits(network: Network, batch: Batch) -> Floats:
    highest, _ = network.text_logits(network.forward(batch.sentences), batch.owner)
    return highest


def platt(logits: Floats, targets: Floats, weights: Floats) -> tuple[float, float]:
    """Slope and intercept of the logistic function that fits the targets best (Platt 1999), by Newton's method.

    Targets may be soft. A slope below 0.2 (too little to learn from) is not believed: (1, 0) is then given.
    """
    inputs = np.stack([logits, np.ones_like(logits)], axis=1).astype(np.float64)
    value = np.array([1.0, 0.0])
    for _ in range(30):
        odds = 1 / (1 + np.exp(-inputs @ value))
        slope = inputs.T @ (weights * (odds - targets)) + 1e-3 * (value - (1, 0))
        curve = inputs.T @ (inputs * (weights * odds * (1 - odds))[:, None]) + 1e-3 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        value -= step / max(1.0, np.abs(step).max())
    return (float(value[0]), float(value[1])) if value[0] >= 0.2 else (1.0, 0.0)


def _arrays(network: Network, known: dict[str, int], calibration: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """The model as it is stored: vectors as bytes with a scale for each row, the rest in half precision."""
    p = network.parameters
    by_key = {key(word): row for word, row in known.items()}  # two words in four billion may share a key: the last wins
    keys = np.array(sorted(by_key), np.uint32)
    vectors, scale = _as_bytes(p["vocabulary"][[by_key[int(number)] for number in keys]])
    buckets, bucket_scale = _as_bytes(p["buckets"])
    small = ("filters", "filter_bias", "hidden", "hidden_bias", "out", "direct", "out_bias")
    return {
        "categories": np.array(CATEGORIES),
        "keys": keys,
        "vocabulary": vectors,
        "vocabulary_scale": scale,
        "buckets": buckets,
        "bucket_scale": bucket_scale,
        "calibration": calibration,
    } | {name: p[name].astype(np.float16) for name in small}


def _as_bytes(rows: Floats) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    scale = (np.abs(rows).max(axis=1) / 127 + 1e-6).astype(np.float16)
    return np.rint(rows / scale[:, None].astype(np.float32)).clip(-127, 127).astype(np.int8), scale


def examples_of(folder: Path, seed: int) -> list[Example]:
    """All examples of a data folder and of the templates, free of duplicates and of what is held out."""
    files = sorted((folder / "development").glob("*.jsonl.gz"))
    held_out = [str(record["text"]) for file in files for record in read_records(file)]
    real = without_duplicates([*labelled(folder), *harmless(folder)], held_out)
    same = {text.casefold() for text in held_out}
    return [*real, *(example for example in phrases(seed) if example.text.casefold() not in same)]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m safeproxy.training.toxicity", description="Train the model.")
    parser.add_argument(
        "data", type=Path, help="the data folder: has toxicity/, and may have ner/, injection/, development/"
    )
    parser.add_argument("out", type=Path, help="the .npz file to write")
    parser.add_argument("--vectors", type=Path, help="the folder of a spaCy pipeline whose word vectors to begin with")
    parser.add_argument("--epochs", type=int, default=Plan.epochs)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    options = parser.parse_args(arguments)
    plan = Plan(epochs=options.epochs, seed=options.seed)
    try:
        vectors = WordVectors(options.vectors, plan.width) if options.vectors else None
        examples = examples_of(options.data, plan.seed)
        save(options.out, train(examples, plan, vectors), VERSION)
    except ConfigError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
