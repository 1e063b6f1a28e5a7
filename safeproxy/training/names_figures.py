"""Measures a names model: `python -m safeproxy.training.names_figures DATA_FOLDER MODEL [MODEL ...]`.

A model is a folder or the name of an installed spaCy pipeline, of which the component `ner` alone is run. Two figures:

- on the development sets, precision, recall, F1 by overlap: a gold name is found if a finding of its kind meets it, a
  finding is right if it overlaps a gold name of its kind. Kinds are persons, and places and addresses together.
- findings of any label in sentences without names, see `names_nameless`.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import spacy
from spacy.language import Language

from safeproxy.training.corpus import Text, text_of
from safeproxy.training.names import faster_products
from safeproxy.training.names_nameless import held_out_sentences
from safeproxy.training.names_teachers import OF_SPACY

SETS = ("wnut17_test", "btc_test", "presidio_v2")

KINDS = {"persons": frozenset({"PERSON"}), "places": frozenset({"LOC", "ADDRESS"}), "organisations": frozenset({"ORG"})}

Span = tuple[int, int, str]


@dataclass
class Overlap:
    """Counts of one kind: gold names, how many of them were found, findings, how many of them are right."""

    gold: int = 0
    found: int = 0
    predicted: int = 0
    right: int = 0

    def add(self, gold: Sequence[Span], predicted: Sequence[Span]) -> None:
        """Counts the names of one text."""
        self.gold += len(gold)
        self.predicted += len(predicted)
        self.found += sum(any(_overlap(a, b) for b in predicted) for a in gold)
        self.right += sum(any(_overlap(a, b) for b in gold) for a in predicted)

    @property
    def precision(self) -> float:
        """The share of the findings that are right."""
        return self.right / max(1, self.predicted)

    @property
    def recall(self) -> float:
        """The share of the gold names that were found."""
        return self.found / max(1, self.gold)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall / max(1e-9, self.precision + self.recall)


def _overlap(a: Span, b: Span) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def findings(nlp: Language, texts: Iterable[str]) -> Iterable[list[Span]]:
    """The names in each text as (start, end, our label); labels that are not ours are left out."""
    ner = nlp.get_pipe("ner")
    for doc in ner.pipe(map(nlp.make_doc, texts), batch_size=128):
        mapped = [(e.start_char, e.end_char, OF_SPACY.get(e.label_, e.label_)) for e in doc.ents]
        yield [span for span in mapped if any(span[2] in kind for kind in KINDS.values())]


def development(data: Path, name: str) -> list[Text]:
    """A development set with our labels."""
    with gzip.open(data / "development" / f"ner_{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [text_of(json.loads(line)) for line in lines]


def overlap_scores(gold: Sequence[Text], predicted: Iterable[list[Span]]) -> dict[str, Overlap]:
    """The counts of each kind over the texts of a set."""
    scores = {kind: Overlap() for kind in KINDS}
    for text, spans in zip(gold, predicted, strict=True):
        for kind, labels in KINDS.items():
            scores[kind].add([s for s in text.spans if s[2] in labels], [s for s in spans if s[2] in labels])
    return scores


def false_findings(nlp: Language, sentences: Sequence[str]) -> list[tuple[str, str]]:
    """Label and words of each finding in sentences without names."""
    found = zip(sentences, findings(nlp, sentences), strict=True)
    return [(label, sentence[start:end]) for sentence, spans in found for start, end, label in spans]


def report(data: Path, model: str, examples: int) -> None:
    """Prints the figures of one model."""
    nlp = spacy.load(model)
    print(f"\n{model}")
    for name in SETS:
        gold = development(data, name)
        for kind, score in overlap_scores(gold, findings(nlp, [text.text for text in gold])).items():
            print(f"{name:12} {kind:14} F1 {score.f1:.3f}  precision {score.precision:.3f}  recall {score.recall:.3f}")
    for part, sentences in held_out_sentences(data).items():
        false = false_findings(nlp, sentences)
        rate = 10_000 * len(false) / len(sentences)
        print(
            f"{part:12} {len(sentences):6} sentences, {len(false):4} findings, {rate:6.1f} in 10,000",
            *Counter(x for x, _ in false).items(),
        )
        for label, words in false[:examples]:
            print("   ", label, repr(words))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m safeproxy.training.names_figures")
    parser.add_argument("data", type=Path, help="folder with development/ in it")
    parser.add_argument("models", nargs="+", help="folders or names of pipelines")
    parser.add_argument("--examples", type=int, default=0, help="false findings to show of each part")
    given = parser.parse_args(arguments)
    with faster_products():
        for model in given.models:
            report(given.data, model, given.examples)


if __name__ == "__main__":
    main()
