"""Reading labels, and leaving duplicates out."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from safeproxy.errors import ConfigError
from safeproxy.training.toxicity_data import Example, known_labels, read_records, without_duplicates


def example(text: str, source: str = "a") -> Example:
    return Example(text, {"toxicity": 0.0}, 1.0, source)


def test_unknown_is_not_negative() -> None:
    """A label that is absent, null or none of our categories is left out."""
    assert known_labels({"toxic": 0.25, "threat": None, "violence": 1.0}) == {"toxicity": 0.25}


def test_hate_is_toxic() -> None:
    """A source that knows hate only says by it that a text is toxic, but not that one is harmless."""
    assert known_labels({"identity_hate": 1.0}) == {"identity_hate": 1.0, "toxicity": 1.0}
    assert known_labels({"identity_hate": 0.0}) == {"identity_hate": 0.0}
    assert known_labels({"insult": 0.66, "toxic": 0.9}) == {"insult": 0.66, "toxicity": 0.9}


def test_near_duplicates_are_left_out() -> None:
    """Of texts that share most runs of four words the first stays, also across sources; short ones must be equal."""
    long = "one two three four five six seven eight nine ten"
    examples = [example(long), example(long.upper() + "!", "b"), example("Yes."), example("yes"), example("no")]
    assert [kept.text for kept in without_duplicates(examples)] == [long, "Yes.", "no"]


def test_what_is_held_out_is_left_out() -> None:
    """A text that is near to one held out is no example."""
    assert not list(without_duplicates([example("a text, for figures only")], ["A text for figures only"]))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """The error names the file, and shows none of its text."""
    file = tmp_path / "bad.jsonl.gz"
    file.write_bytes(gzip.compress(b"not json"))
    with pytest.raises(ConfigError, match=r"bad\.jsonl\.gz") as caught:
        list(read_records(file))
    assert "not json" not in str(caught.value)
