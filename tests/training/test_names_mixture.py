"""Tests for the mixture that is trained on."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.training.corpus import UNCLEAR, Text
from safeproxy.training.names_gazetteer import Names
from safeproxy.training.names_mixture import (
    capitalised,
    disguised,
    joined,
    mistyped,
    with_doubtful_nationalities,
    with_handles_apart,
    with_other_names,
)

TEXT = Text("Ada Example met #Bo in Sampleton.", ((0, 11, "PERSON"), (16, 19, "PERSON"), (23, 32, "LOC")), "x")


def pieces(text: Text) -> list[tuple[str, str]]:
    return [(text.text[start:end], label) for start, end, label in text.spans]


@given(st.integers(0, 10**6))
def test_other_names_stand_where_the_names_stood(seed: int) -> None:
    """The frame of the sentence stays, hashtags stay, labels stay."""
    text = with_other_names(TEXT, Names(random.Random(seed)))
    (person, a), (tag, b), (place, c) = pieces(text)
    assert (tag, a, b, c) == ("#Bo", "PERSON", "PERSON", "LOC")
    assert text.text == f"{person} met #Bo in {place}."


def test_unclear_names_are_not_exchanged() -> None:
    """Nothing is known of them, so nothing can be put in their place."""
    text = Text("Sample Dental", ((0, 13, UNCLEAR),))
    assert with_other_names(text, Names(random.Random(1))) == text


@given(st.text(max_size=60), st.integers(0, 10**6))
def test_typing_errors_keep_the_length(text: str, seed: int) -> None:
    """So spans still fit."""
    assert len(mistyped(text, random.Random(seed))) == len(text)


@given(st.text(max_size=40), st.integers(0, 10**6))
def test_a_disguise_keeps_the_length(text: str, seed: int) -> None:
    """Also where a letter in capitals is two letters."""
    assert len(disguised(Text(text), random.Random(seed)).text) == len(text)


@pytest.mark.parametrize("joint", [" ", "\n\n"])
def test_joined_texts_keep_their_names(joint: str) -> None:
    """Spans move with the text before them."""
    text = joined([TEXT, Text("No."), TEXT], joint)
    assert text.text == joint.join([TEXT.text, "No.", TEXT.text])
    assert pieces(text) == pieces(TEXT) * 2


@given(st.integers(0, 10**6))
def test_capitals_change_no_word(seed: int) -> None:
    """What remains of the sentence are its words in their order."""
    made = capitalised("one two three, four!", random.Random(seed))
    assert made.lower().strip(":.!") in "one two three, four!"
    assert made


def test_handles_written_apart_are_persons() -> None:
    """Every span moves along; a handle within a span stays part of it."""
    text = with_handles_apart(Text("Ada: hi @bo_1 and @cy, in Sampleton", ((0, 3, "PERSON"), (26, 35, "LOC"))))
    assert text.text == "Ada: hi @ bo_1 and @ cy, in Sampleton"
    assert pieces(text) == [("Ada", "PERSON"), ("bo_1", "PERSON"), ("cy", "PERSON"), ("Sampleton", "LOC")]


@given(st.text(alphabet="@a .", max_size=20), st.integers(0, 10), st.integers(1, 10))
def test_handles_written_apart_keep_the_other_names(text: str, start: int, length: int) -> None:
    """A name is still covered by a span, and all spans are within the text."""
    name = text[start : start + length]
    made = with_handles_apart(Text(text, ((start, start + len(name), "LOC"),) if name else ()))
    assert made.text.replace("@ ", "@").replace(" ", "") == text.replace("@ ", "@").replace(" ", "")
    assert all(0 <= a < b <= len(made.text) for a, b, _ in made.spans)
    assert ("LOC" in [label for _, _, label in made.spans]) == bool(name)


def test_nationalities_are_no_certain_places() -> None:
    """The Finnish are unclear, Finland is a place."""
    text = with_doubtful_nationalities(Text("Finnish Finland", ((0, 7, "LOC"), (8, 15, "LOC"))))
    assert pieces(text) == [("Finnish", UNCLEAR), ("Finland", "LOC")]
