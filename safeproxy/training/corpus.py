"""Reads the training folders, `DATA/{ner,toxicity,injection}/*.jsonl.gz`, into texts with spans of our four labels.

A text says whether its source marks every name, and which of its spans are unclear: what is not known must not be
taught. The folder `development` beside them is not read here: it judges what comes out.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LABELS = ("PERSON", "LOC", "ADDRESS", "ORG")

UNCLEAR = "?"
"""Label of a stretch of which it is not known whether or how it is named."""

_LABEL_OF = {"PERSON": "PERSON", "LOCATION": "LOC", "LOC": "LOC", "ADDRESS": "ADDRESS", "ORG": "ORG", "NAME?": UNCLEAR}

_FOLDERS = ("ner", "toxicity", "injection")

_HOUSE_NUMBER = re.compile(r"\d")


@dataclass(frozen=True)
class Text:
    """A text and its names; offsets count code points, spans are sorted and do not overlap."""

    text: str
    spans: tuple[tuple[int, int, str], ...] = ()
    source: str = ""
    complete: bool = field(default=True, compare=False)
    """Whether a name that is not among the spans is certainly none."""


class CorpusError(ValueError):
    """A data folder that is not what it should be; the message names the file and the remedy."""


def our_label(label: str, piece: str) -> str | None:
    """Our label for `label` of a source at the words `piece`; None for what is no name of ours (phones, handles)."""
    mapped = _LABEL_OF.get(label)
    # "share my location, 978 Almaden Lake Drive": a place with a house number is an address.
    return "ADDRESS" if mapped == "LOC" and _HOUSE_NUMBER.match(piece) else mapped


def text_of(record: dict[str, Any]) -> Text:
    """The text of one line of a data file, its spans mapped to our labels."""
    text, source = record["text"], record.get("source", "")
    spans = []
    for start, end, label, *_ in record.get("spans", ()):
        mapped = our_label(label, text[start:end])
        if mapped is not None:
            spans.append((start, end, mapped))
    # Slots of dialogues and labels for toxicity leave most names unmarked.
    complete = "spans" in record and not source.startswith("sgd")
    return Text(text, disjoint(spans), source, complete)


def disjoint(spans: Iterable[tuple[int, int, str]]) -> tuple[tuple[int, int, str], ...]:
    """The spans in order, of those that overlap the one that starts first, of those the longest."""
    kept: list[tuple[int, int, str]] = []
    for start, end, label in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start < end and (not kept or start >= kept[-1][1]):
            kept.append((start, end, label))
    return tuple(kept)


def read(folder: Path, part: str) -> Iterator[Text]:
    """All texts of `folder/part/*.jsonl.gz`, in order of the file names.

    Raises:
        CorpusError: if the part is not one to train on, has no file, or has a line that cannot be read.

    """
    if part not in _FOLDERS:
        raise CorpusError(f"{part!r} is not a folder to train on; take one of {', '.join(_FOLDERS)}")
    files = sorted((folder / part).glob("*.jsonl.gz"))
    if not files:
        raise CorpusError(f"no *.jsonl.gz in {folder / part}; give the folder that has {', '.join(_FOLDERS)} in it")
    for file in files:
        yield from _read_file(file)


def _read_file(file: Path) -> Iterator[Text]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield text_of(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise CorpusError(
                    f"{file}, line {number}: not a record with text and spans; mend or remove it"
                ) from error


def likeness_key(text: Text) -> str:
    """Equal for texts that differ in names, digits, case, links, handles or punctuation only."""
    pieces, at = [], 0
    for start, end, label in text.spans:
        pieces += [text.text[at:start], f" {label}NAME "]
        at = end
    plain = "".join([*pieces, text.text[at:]]).lower()
    plain = re.sub(r"https?://\S+|@\w+", " ", plain)
    return " ".join(re.findall(r"[^\W\d_]+", plain))


def without_near_duplicates(texts: Iterable[Text], copies: int = 1) -> Iterator[Text]:
    """The texts, of those alike (see `likeness_key`) the first `copies`; all of those without any word."""
    seen: Counter[str] = Counter()
    for text in texts:
        key = likeness_key(text)
        seen[key] += 1
        if not key or seen[key] <= copies:
            yield text
