"""Tests for reading the training folders."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.training.corpus import (
    UNCLEAR,
    CorpusError,
    Text,
    disjoint,
    likeness_key,
    our_label,
    read,
    text_of,
    without_near_duplicates,
)


def write(folder: Path, name: str, records: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / name, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


@pytest.mark.parametrize(
    ("label", "piece", "ours"),
    [
        ("PERSON", "Ada Example", "PERSON"),
        ("LOCATION", "Sampleton", "LOC"),
        ("LOCATION", "12 Sample Lane", "ADDRESS"),
        ("ADDRESS", "12 Sample Lane", "ADDRESS"),
        ("ORG", "Sample Ltd", "ORG"),
        ("NAME?", "Sample Dental", UNCLEAR),
        ("PHONE", "555 0100", None),
        ("HANDLE", "@sample", None),
    ],
)
def test_labels_of_every_source_become_ours(label: str, piece: str, ours: str | None) -> None:
    """Places with a house number are addresses, person-or-company is unclear, what is no name of ours is left out."""
    assert our_label(label, piece) == ours


def test_a_record_may_carry_more_fields_and_longer_spans() -> None:
    """A fourth field of a span and further keys of a record do no harm."""
    record = {
        "text": "Ada at 12 Sample Lane",
        "spans": [[7, 21, "ADDRESS", "street"], [0, 3, "PERSON"]],
        "source": "x",
        "more": 1,
    }
    assert text_of(record).spans == ((0, 3, "PERSON"), (7, 21, "ADDRESS"))


@pytest.mark.parametrize(
    ("source", "spans", "complete"), [("btc", [], True), ("sgd-train", [], False), ("tweets", None, False)]
)
def test_only_sources_which_mark_every_name_are_complete(source: str, spans: list[Any] | None, complete: bool) -> None:
    """Dialogue slots and texts without spans leave names unmarked."""
    record = {"text": "a", "source": source} | ({} if spans is None else {"spans": spans})
    assert text_of(record).complete is complete


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.sampled_from(["PERSON", "LOC"]))))
def test_disjoint_spans_are_ordered_and_apart_and_all_of_them_given(spans: list[tuple[int, int, str]]) -> None:
    """No two spans kept overlap, and every real span given meets one that is kept."""
    kept = disjoint(spans)
    assert all(a[1] <= b[0] for a, b in pairwise(kept))
    assert set(kept) <= set(spans)
    assert all(any(a < d and c < b for c, d, _ in kept) for a, b, _ in spans if a < b)


def test_texts_that_differ_in_names_digits_links_and_case_are_alike() -> None:
    """The likeness key sees the frame of the sentence and not what fills it."""
    one = Text("Call Ada Example at 10, https://a.example/x", ((5, 16, "PERSON"),))
    two = Text("call Bo at 11, https://b.example/y !", ((5, 7, "PERSON"),))
    other = Text("Call Bo in Sampleton", ((5, 7, "PERSON"), (11, 20, "LOC")))
    assert likeness_key(one) == likeness_key(two) != likeness_key(other)


def test_near_duplicates_are_kept_as_often_as_asked() -> None:
    """Of texts alike the first ones stay; texts without any letter are never taken for alike."""
    texts = [Text("Room 1"), Text("room 2"), Text("Room 3!"), Text("12:30"), Text("12:31")]
    assert list(without_near_duplicates(texts)) == [texts[0], *texts[3:]]
    assert list(without_near_duplicates(texts, copies=2)) == [*texts[:2], *texts[3:]]


def test_reads_every_file_of_a_part_in_order(tmp_path: Path) -> None:
    """Files are read by name, lines in order."""
    write(tmp_path / "ner", "b.jsonl.gz", [{"text": "three", "spans": []}])
    write(tmp_path / "ner", "a.jsonl.gz", [{"text": "one", "spans": []}, {"text": "two", "spans": []}])
    assert [text.text for text in read(tmp_path, "ner")] == ["one", "two", "three"]


def test_the_development_folder_is_refused(tmp_path: Path) -> None:
    """What judges must not teach, even when asked for by name."""
    write(tmp_path / "development", "a.jsonl.gz", [{"text": "one", "spans": []}])
    with pytest.raises(CorpusError, match="'development' is not a folder to train on"):
        list(read(tmp_path, "development"))


def test_an_empty_folder_says_what_to_give(tmp_path: Path) -> None:
    """The message names the folder that was looked into."""
    with pytest.raises(CorpusError, match=r"no .*jsonl\.gz in .*ner"):
        list(read(tmp_path, "ner"))


@pytest.mark.parametrize("line", ["{", "[]", '{"spans": []}', '{"text": "a", "spans": [[0]]}'])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    """File and line are in the message."""
    (tmp_path / "ner").mkdir()
    with gzip.open(tmp_path / "ner" / "a.jsonl.gz", "wt") as file:
        file.write('{"text": "fine", "spans": []}\n' + line + "\n")
    with pytest.raises(CorpusError, match=r"a\.jsonl\.gz, line 2"):
        list(read(tmp_path, "ner"))
