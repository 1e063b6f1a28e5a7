"""Tokens are spaCy's; the words near a place are the same however the text is cut and however much of it is let go."""

from __future__ import annotations

import random
from functools import cache

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from safeproxy.presidio.buffer import Buffer
from safeproxy.presidio.engine import WordsNlpEngine
from safeproxy.presidio.words import MAX_AHEAD, MAX_RUN, Tokenizer, Words
from tests.presidio.samples import listed

PARTS = st.one_of(
    st.text("ab1.,:;-'\"()/$ \n\t\u00a0\x1c", max_size=12),
    st.sampled_from(
        listed(
            "don't|U.S.|e.g.|http://x.org/a?b=c|12:30|is:3|:)|:-D|a:b|10km|$5.00|can't've|C++|co-op|...|  | \n | the "
            "| of |ssn|Café|日本語|(see|it's|'re|“q”|a.b@c.de|3,000.50|x=y|\\n|\u200b"
        )
    ),
)
TEXTS = st.lists(PARTS, max_size=30).map("".join)


@cache
def tokenizer(language: str = "en") -> Tokenizer:
    return Tokenizer(language)


@cache
def blank(language: str) -> spacy.Language:
    return spacy.blank(language)


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["en", "de", "it"]))
def test_tokens_are_those_of_spacy(text: str, language: str) -> None:
    """The whole text split by spaCy at once, and run by run."""
    artifacts = WordsNlpEngine([language]).process_text(text, language)
    expected = [(token.idx, token.text) for token in blank(language)(text)]
    assert list(zip(artifacts.tokens_indices, artifacts.tokens, strict=True)) == expected


@pytest.mark.parametrize("language", ["ko", "th", "ja", "xx1"])
def test_languages_with_another_tokenizer_take_the_english_one(language: str) -> None:
    """Those of another make need packages of their own, or split by other rules than white space."""
    assert [token.text for token in tokenizer(language).tokens("don't")] == ["do", "n't"]


def test_which_words_count() -> None:
    """Stop words, punctuation and what holds a colon do not."""
    assert [token.keyword for token in tokenizer().tokens("(The:SSN,be")] == ["", "", "", "ssn", "", ""]
    assert [token.keyword for token in tokenizer().tokens("12:30")] == [""]


def test_half_a_surrogate_pair_is_a_character() -> None:
    """JSON can spell it; UTF-8 cannot."""
    assert [token.end for token in tokenizer().tokens("a\ud800b,c")][-1] == 5


def test_memory_is_bounded() -> None:
    """Runs that never come again leave nothing behind in spaCy, and little here."""
    split = Tokenizer("en")
    split.tokens("first")
    strings = len(split._spacy.vocab.strings)
    for number in range(5000):
        split.tokens(f"w{number}x")
    assert len(split._spacy.vocab.strings) == strings
    assert len(split._remembered) <= 4096


@settings(deadline=None)
@given(TEXTS.filter(bool), st.integers())
def test_words_do_not_depend_on_what_was_let_go(text: str, seed: int) -> None:
    """Asked at each place when it becomes known, with the text before it trimmed away now and then."""
    whole = Buffer()
    whole.text, whole.ended = text, True
    expected = Words(tokenizer(), whole, 6)
    chance = random.Random(seed)
    buffer = Buffer()
    words = Words(tokenizer(), buffer, 6)
    asked = 0
    for char in text:
        buffer.text += char
        while asked < buffer.end and (before := words.before(asked)) is not None:
            after = words.after(asked)
            if after is None:
                break
            assert (before, after) == (expected.before(asked), expected.after(asked))
            asked += 1
        if chance.random() < 0.2 and asked < buffer.end:
            buffer.drop_before(words.trim(asked))
    buffer.ended = True
    for start in range(asked, len(text)):
        assert (words.before(start), words.after(start)) == (expected.before(start), expected.after(start))


def test_a_word_is_not_known_before_its_run_ends() -> None:
    """A run that goes on may be split otherwise."""
    buffer = Buffer()
    words = Words(tokenizer(), buffer, 6)
    buffer.text = "card number12"
    assert words.before(0) == ("card",)
    assert words.before(5) is None
    buffer.text += " "
    assert words.before(5) == ("number12", "card")


def test_a_long_run_is_split() -> None:
    """So that what is held has a bound."""
    buffer = Buffer()
    words = Words(tokenizer(), buffer, 6)
    buffer.text = "a" * MAX_RUN
    assert words.before(0) == ("a" * MAX_RUN,)
    buffer.text += "b"
    assert words.before(MAX_RUN) is None


def test_the_next_word_is_looked_for_near_only() -> None:
    """Stop words without end do not hold the text back without end."""
    buffer = Buffer()
    words = Words(tokenizer(), buffer, 6)
    buffer.text = "::1 " + "the " * (MAX_AHEAD // 4)
    assert words.after(0) is None
    buffer.text += "the "
    assert words.after(0) == ""
