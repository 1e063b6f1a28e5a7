"""Tests for sentences without names."""

from __future__ import annotations

import pytest

from safeproxy.training.names_nameless import (
    CommonWords,
    code_lines,
    comments,
    docstrings,
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


@pytest.mark.parametrize(
    "sentence",
    ["Return the OrderedDict as it is.", "Mark the file as read.", "Raise ValueError if the key is unknown."],
)
def test_code_words_and_common_words_are_no_names(sentence: str) -> None:
    """Else the sentences that are hard would be missing."""
    assert not may_have_name(sentence)


def test_nothing_is_held_out_and_taught() -> None:
    """The sentences that judge are not the sentences that teach, but for lines of code that recur."""
    taught, judged = library(held_out=False), library(held_out=True)
    assert len(judged[0]) > 5000
    assert len(judged[1]) > 2500
    assert len(set(taught[0]) & set(judged[0])) < len(judged[0]) / 20


def test_common_words_are_those_mostly_written_small() -> None:
    """A sentence passes if all its words are common and only its first has a capital."""
    words = CommonWords(["the file is here"] * 9 + ["Sampleton is the file", "sampleton"] * 6)
    assert words.all_common("The file is here")
    assert not words.all_common("The file is Sampleton")
    assert not words.all_common("sampleton is here")
    assert not words.all_common("Here is a rarity")
