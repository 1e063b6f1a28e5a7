"""What the toxicity model learns from: texts, weighed by source, without duplicates, unknown labels masked."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import regex

from safeproxy.errors import ConfigError

#: The categories, in the order of the model's outputs.
CATEGORIES = ("toxicity", "insult", "threat", "identity_hate", "sexual", "self_harm")

#: What a source's labels are called here. What is not listed (profanity, violence, votes) is not learnt.
_NAMES = {name: name for name in CATEGORIES} | {"toxic": "toxicity"}

#: How much a text of the source counts. Davidson's "offensive" is mostly profanity; DiaSafety's labels need the turn
#: before; the few hundred answers of assistants that people graded are what the model is for.
SOURCE_WEIGHTS = {
    "toxic_spans": 1.0,
    "jigsaw_test_balanced12k": 1.0,
    "wiki_context": 0.5,
    "hatemoji_build": 0.7,
    "vicomtech": 0.7,
    "convabuse": 0.7,
    "toxigen_demos": 2.0,
    "davidson": 0.15,
    "diasafety": 0.5,
    "graded_assistant_replies": 2.0,
}
#: Texts with nothing to find, as far as anybody knows, and how much each counts. Beside `toxicity/`.
HARMLESS_WEIGHTS = {
    "ner/crossner": 0.3,
    "ner/gum": 0.3,
    "ner/sgd": 0.15,
    "injection/benign_awesome_prompts": 1.0,
}
#: A category that makes a text toxic, too.
_IMPLY_TOXICITY = ("insult", "threat", "identity_hate")

_WORDS = regex.compile(r"[\p{L}\p{N}]+|\p{So}")
_SHINGLE = 4
#: A text is a duplicate when more than this share of its runs of four words has been seen before.
_OVERLAP = 0.6


class Example(NamedTuple):
    """A text, its known labels (0 to 1), how much it counts, and where it is from."""

    text: str
    labels: dict[str, float]
    weight: float
    source: str


def read_records(file: Path) -> Iterator[dict[str, Any]]:
    """The records of a `.jsonl.gz` file. Raises ConfigError for a file that cannot be read, naming it."""
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} is not a readable .jsonl.gz file ({type(error).__name__})") from None


def labelled(folder: Path) -> Iterator[Example]:
    """The labelled texts of a data folder. Raises ConfigError when it has none."""
    files = sorted((folder / "toxicity").glob("*.jsonl.gz"))
    if not files:
        raise ConfigError(f"no *.jsonl.gz in {folder / 'toxicity'}; give the folder that holds toxicity/")
    for file in files:
        source = file.name.removesuffix(".jsonl.gz")
        for record in read_records(file):
            labels = known_labels(record["labels"])
            if labels:
                yield Example(str(record["text"]), labels, SOURCE_WEIGHTS.get(source, 0.5), source)


def known_labels(labels: object) -> dict[str, float]:
    """Our categories among a record's labels: unknown ones are left out, never taken as 0."""
    assert isinstance(labels, dict)
    known = {_NAMES[name]: float(value) for name, value in labels.items() if name in _NAMES and value is not None}
    implied = max((known.get(name, 0.0) for name in _IMPLY_TOXICITY), default=0.0)
    if implied >= 0.5:
        known["toxicity"] = max(known.get("toxicity", 0.0), implied)
    return known


def harmless(folder: Path) -> Iterator[Example]:
    """Texts of other kinds in the data folder that are presumably clean, where they are there."""
    for name, weight in HARMLESS_WEIGHTS.items():
        file = folder / f"{name}.jsonl.gz"
        if file.exists():
            for record in read_records(file):
                yield Example(str(record["text"]), dict.fromkeys(CATEGORIES, 0.0), weight, name)


def without_duplicates(examples: Iterable[Example], held_out: Iterable[str] = ()) -> Iterator[Example]:
    """The examples that are no near-duplicates of one before them, or of a text that is held out."""
    seen: set[int] = set()
    for text in held_out:
        seen.update(_shingles(text))
    for example in examples:
        shingles = _shingles(example.text)
        if sum(shingle in seen for shingle in shingles) <= _OVERLAP * len(shingles):
            yield example
        seen.update(shingles)


def _shingles(text: str) -> list[int]:
    words = _WORDS.findall(text.casefold())
    count = max(1, len(words) - _SHINGLE + 1)
    return [zlib.crc32(" ".join(words[at : at + _SHINGLE]).encode("utf-8", "replace")) for at in range(count)]
