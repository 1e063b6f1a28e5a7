"""Compares the findings of `presidio:` rules, found in a stream, with those of `AnalyzerEngine` on the whole text.

    python -m safeproxy.presidio.compare FOLDER [--texts 1000] [--threshold 0.01] [--language en] [--seed 0]

reads every ``*.jsonl`` and ``*.jsonl.gz`` file below FOLDER (one object with a ``text`` a line), feeds each text to all
recognizers of the language whole and in random pieces, and prints how many findings there are and how many differ.
It prints no text.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safeproxy.core.rule import Rule
from safeproxy.errors import RuleError
from safeproxy.presidio.engine import WordsNlpEngine
from safeproxy.presidio.model import load_all
from safeproxy.presidio.recognizers import find, is_local, predefined, presidio


class Found(NamedTuple):
    """One finding, as both sides tell it."""

    entity: str
    start: int
    end: int
    score: float


class Comparison:
    """Some recognizers of one language, ready to run in both ways.

    Duplicates are looked for within an entity, so the rules name entities; each has all recognizers of its entity.
    """

    def __init__(self, references: Sequence[str], language: str, threshold: float, base: Path = Path()) -> None:
        recognizers = [r for reference in references for r in find(reference, base)]
        self._language = language
        self._threshold = threshold
        package = presidio()
        registry = package.RecognizerRegistry(recognizers=recognizers, supported_languages=[language])
        self._engine = package.AnalyzerEngine(
            registry=registry, nlp_engine=WordsNlpEngine([language]), supported_languages=[language]
        )
        self._model = load_all(references, base)
        pairs = [(reference, entity) for reference in references for entity in self._model.entities(reference)]
        rules = [
            Rule(id=reference, entity=entity, detector="presidio", model=reference, threshold=threshold)
            for reference, entity in pairs
        ]
        self._rules = [(number, rule) for number, rule in enumerate(rules) if self._can_find(rule)]
        self._entities = {number: rule.entity for number, rule in self._rules}

    def _can_find(self, rule: Rule) -> bool:
        try:
            self._model.detector([(0, rule)])
        except RuleError:  # the threshold is never reached
            return False
        return True

    def whole(self, text: str) -> list[Found]:
        """What Presidio finds, in order."""
        results = self._engine.analyze(text, self._language, score_threshold=self._threshold)
        return sorted(Found(r.entity_type, r.start, r.end, r.score) for r in results)

    def streamed(self, pieces: Iterable[str]) -> list[Found]:
        """What is found when the text comes in these pieces, in order."""
        detector = self._model.detector(self._rules)
        spans = [span for piece in pieces for span in detector.feed(piece)]
        spans += detector.finish()
        return sorted(Found(self._entities[s.rule], s.start, s.end, s.score) for s in spans)


def cuttings(text: str, chance: random.Random) -> Iterator[str]:
    """The text in pieces of 1 to 12 code points."""
    at = 0
    while at < len(text):
        size = chance.randint(1, 12)
        yield text[at : at + size]
        at += size


def local_references(language: str) -> list[str]:
    """The class names of all predefined recognizers of a language that run in a stream."""
    return [name for name, cls in predefined().items() if is_local(cls) and _language(name) == language]


def _language(name: str) -> str:
    recognizer: Any = find(name)[0]
    return str(recognizer.supported_language)


def texts(folder: Path) -> Iterator[str]:
    """The texts of all files of a folder, in order of the files' names."""
    for path in sorted(folder.rglob("*.jsonl*")):
        read = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in read.splitlines():
            yield str(json.loads(line)["text"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m safeproxy.presidio.compare", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=int, default=0, help="a random choice of so many; 0 means all")
    parser.add_argument("--join", type=int, default=1, help="so many texts make one, so that it is long")
    parser.add_argument("--threshold", type=float, default=0.01)
    parser.add_argument("--language", default="en")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)  # noqa: S311 - the same choice for the same seed
    chosen = list(texts(options.folder))
    if options.texts:
        chosen = chance.sample(chosen, min(options.texts, len(chosen)))
    joined = ["\n".join(chosen[at : at + options.join]) for at in range(0, len(chosen), options.join)]
    comparison = Comparison(local_references(options.language), options.language, options.threshold)
    return _report(comparison, joined, chance)


def _report(comparison: Comparison, chosen: Sequence[str], chance: random.Random) -> int:
    found: Counter[str] = Counter()
    differing: Counter[str] = Counter()
    seconds = [0.0, 0.0]
    for text in chosen:
        begun = time.perf_counter()
        expected = comparison.whole(text)
        middle = time.perf_counter()
        results = comparison.streamed(cuttings(text, chance))
        seconds[0] += middle - begun
        seconds[1] += time.perf_counter() - middle
        found.update(finding.entity for finding in expected)
        for pieces in (results, comparison.streamed([text])):
            differing.update(finding.entity for finding in set(expected) ^ set(pieces))
            if len(set(pieces)) != len(pieces):
                differing["(twice)"] += 1
    characters = sum(map(len, chosen))
    out = sys.stdout.write
    out(f"{len(chosen):,} texts, {characters:,} characters, {found.total():,} findings of {len(found)} entities\n")
    out(f"whole text: {seconds[0]:.1f} s; in pieces: {seconds[1]:.1f} s\n")
    for entity, count in found.most_common():
        out(f"  {entity:<32}{count:>8,}   differing {differing[entity]:,}\n")
    out(f"differing: {differing.total():,}\n")
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
