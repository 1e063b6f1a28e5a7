"""Words and sentences, cut the same way whatever the pieces are."""

from __future__ import annotations

from itertools import pairwise

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.sentences import (
    GAP_CEILING,
    SENTENCE_CEILING,
    SENTENCE_WORDS,
    WORD_CEILING,
    Break,
    SentenceSplitter,
    Word,
    ends_sentence,
    sentences,
)
from tests.core.toy_toxicity import texts


def split(pieces: list[str]) -> list[Word | Break]:
    splitter = SentenceSplitter()
    return [*(part for piece in pieces for part in splitter.feed(piece)), *splitter.finish()]


def shown(text: str) -> list[str]:
    return [" ".join(word.text for word in sentence) for sentence in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two. Three!  Four", ["One two.", "Three!", "Four"]),
        ('He said "no." Then left.', ['He said "no."', "Then left."]),
        ("Mr. Smith met Dr. Wu (e.g. here).", ["Mr. Smith met Dr. Wu (e.g. here)."]),
        ("a line\nthat goes on\n\nanother", ["a line that goes on", "another"]),
        ("items:\n- one\n- two\n2. three", ["items:", "- one", "- two", "2. three"]),
        ("text\n## Heading\n> quoted", ["text", "## Heading", "> quoted"]),
        ("well - not an item", ["well - not an item"]),
        ("far" + " " * (GAP_CEILING + 1) + "away", ["far", "away"]),
        ("version 3.11 is out", ["version 3.11 is out"]),
    ],
)
def test_sentences_end_where_they_should(text: str, expected: list[str]) -> None:
    """End punctuation, blank lines, list items and long gaps end a sentence; abbreviations and numbers do not."""
    assert shown(text) == expected


@given(texts(), st.data())
def test_any_cutting_gives_the_same_words(text: str, data: st.DataObject) -> None:
    """Words, their places and the borders of sentences do not depend on the pieces."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]
    assert split(pieces) == split([text]) == split(list(text))


@given(texts())
def test_words_are_the_text_without_white_space(text: str) -> None:
    """Every character that is no white space is in exactly one word, at its place."""
    words = [part for part in split([text]) if isinstance(part, Word)]
    assert all(text[word.start : word.end] == word.text for word in words)
    assert "".join(word.text for word in words) == regex.sub(r"\s", "", text)


@given(texts())
def test_sizes_are_bounded(text: str) -> None:
    """No word and no sentence is longer than the ceilings say."""
    for sentence in sentences(text):
        assert len(sentence) <= SENTENCE_WORDS
        assert max(len(word.text) for word in sentence) <= WORD_CEILING
        assert sentence[-1].end - sentence[0].start <= SENTENCE_CEILING + GAP_CEILING + WORD_CEILING


def test_a_word_without_end_is_cut() -> None:
    """A run without white space is handed over in parts, so that nothing waits for its end."""
    splitter = SentenceSplitter()
    assert [part.text for part in splitter.feed("x" * 100) if isinstance(part, Word)] == ["x" * WORD_CEILING] * 2
    assert splitter.frontier == 2 * WORD_CEILING


def test_a_long_sentence_is_closed() -> None:
    """After so many words a new sentence begins."""
    assert [len(sentence) for sentence in sentences("w " * 70)] == [SENTENCE_WORDS, 70 - SENTENCE_WORDS]


def test_the_frontier_is_the_unfinished_word() -> None:
    """White space is behind the frontier at once, an unfinished word is not."""
    splitter = SentenceSplitter()
    list(splitter.feed("one two "))
    assert splitter.frontier == 8
    list(splitter.feed("thr"))
    assert splitter.frontier == 8


@pytest.mark.parametrize(
    ("word", "ends"),
    [("end.", True), ("end.)", True), ("what?!", True), ("e.g.", False), ("J.", False), ("1.", False), ("no", False)],
)
def test_ends_sentence(word: str, ends: bool) -> None:
    """Closing marks may follow the full stop; initials, numbers and abbreviations end nothing."""
    assert ends_sentence(word) is ends
