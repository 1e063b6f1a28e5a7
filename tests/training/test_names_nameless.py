"""Tests for sentences without names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from safeproxy.training import names_nameless
from safeproxy.training.names_nameless import (
    CommonWords,
    code_lines,
    comments,
    docstrings,
    is_held_out,
    library,
    may_have_name,
    sentences,
)

SOURCE = '''"""First line. Second sentence here.

New paragraph of words."""
# one comment
# goes on here
x = compute(1)  # another
def f():
    """Return it."""
'''


def test_prose_of_a_module_is_its_docstrings_and_comments() -> None:
    """Comments on neighbouring lines are one text."""
    assert list(docstrings(SOURCE))[1] == "Return it."
    assert next(comments(SOURCE)).startswith("one comment goes on here")


def test_sentences_are_of_three_words_at_least() -> None:
    """Paragraphs are joined to lines and cut after stops."""
    assert list(sentences("First line here. Second\nsentence here.\n\nShort. New paragraph of words")) == [
        "First line here.",
        "Second sentence here.",
        "New paragraph of words",
    ]


def test_code_lines_are_no_comments() -> None:
    """Only what has some length counts."""
    assert list(code_lines("# comment line\n  x = compute(1)\n\nif x:\n")) == ["x = compute(1)"]


@pytest.fixture
def _few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library as if it had these words, so that it need not be read."""
    counts = Counter({"mark": 9, "Mark": 2, "Return": 9, "return": 20})
    monkeypatch.setattr(names_nameless, "_library_words", lambda: counts)


@pytest.mark.usefixtures("_few_words")
@pytest.mark.parametrize(
    "sentence",
    [
        "Written by Fred Example.",
        "Copyright (c) 2001",
        "An idea of Margaret and others",
        "mail me@example.org",
        "the U.S. way",
    ],
)
def test_what_looks_like_a_name_is_left_out(sentence: str) -> None:
    """Credits and known names make a sentence useless here."""
    assert may_have_name(sentence)


@pytest.mark.usefixtures("_few_words")
@pytest.mark.parametrize(
    "sentence",
    ["Return the OrderedDict as it is.", "Mark the file as read.", "Raise ValueError if the key is unknown."],
)
def test_code_words_and_common_words_are_no_names(sentence: str) -> None:
    """Else the sentences that are hard would be missing."""
    assert not may_have_name(sentence)


@pytest.fixture
def _few_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library as if it had a few modules, so that it is read in no time."""
    few = [
        path
        for path in names_nameless.modules()
        if path.stem in ("abc", "bisect", "calendar", "heapq", "queue", "textwrap")
    ]
    monkeypatch.setattr(names_nameless, "modules", lambda: few)
    names_nameless._library_words.cache_clear()
    yield
    names_nameless._library_words.cache_clear()


@pytest.mark.usefixtures("_few_modules")
def test_nothing_is_held_out_and_taught() -> None:
    """Every module either teaches or judges, and so do its sentences."""
    assert {is_held_out(path) for path in names_nameless.modules()} == {True, False}
    taught, judged = library(held_out=False), library(held_out=True)
    assert all(taught + judged)
    assert not set(taught[0]) & set(judged[0])


def test_a_third_of_the_modules_is_held_out() -> None:
    """Roughly: it is drawn by a checksum."""
    judged = [path for path in names_nameless.modules() if is_held_out(path)]
    assert 0.25 < len(judged) / len(names_nameless.modules()) < 0.4


def test_common_words_are_those_mostly_written_small() -> None:
    """A sentence passes if all its words are common and only its first has a capital."""
    words = CommonWords(["the file is here"] * 9 + ["Sampleton is the file", "sampleton"] * 6)
    assert words.all_common("The file is here")
    assert not words.all_common("The file is Sampleton")
    assert not words.all_common("sampleton is here")
    assert not words.all_common("Here is a rarity")


def test_doubts_are_the_words_that_may_be_names() -> None:
    """Numbers, capitals, and small words which are names elsewhere; common words and handles are none."""
    words = CommonWords(["the file is here"] * 9)
    text = "The file of sampleton, anna and Sampleton is 12 here, @handle"
    assert [text[start:end] for start, end, _ in words.doubts(text)] == ["anna", "Sampleton", "12"]
