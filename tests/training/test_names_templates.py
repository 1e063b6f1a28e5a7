"""Tests for generated text."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.training import names_templates
from safeproxy.training.corpus import LABELS
from safeproxy.training.names_templates import FORMS, NOTHING, PROSE, SOCIAL, Filler, generated


def test_every_slot_of_every_template_can_be_filled() -> None:
    """No template asks for something that nothing makes."""
    filler = Filler(random.Random(1))
    for template in [*PROSE, *FORMS, *SOCIAL, *NOTHING]:
        assert not re.search(r"\{[a-z_]+\d?\}", filler.fill(template).text), template


@given(st.integers(0, 2**32))
def test_spans_are_in_order_apart_and_tight(seed: int) -> None:
    """Each span has one of our labels, lies within the text, and neither begins nor ends with space."""
    rng = random.Random(seed)
    text = generated(rng, Filler(rng))
    end = 0
    for start, stop, label in text.spans:
        assert label in LABELS
        assert end <= start < stop <= len(text.text)
        assert text.text[start:stop] == text.text[start:stop].strip()
        end = stop


def test_a_span_covers_what_was_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of a slot, no more and no less, are the name."""
    filler = Filler(random.Random(1))
    monkeypatch.setitem(filler._named, "person", lambda: "Ada Example")
    monkeypatch.setitem(filler._named, "city", lambda: "Sampleton")
    text = filler.fill("So {person} of {city} left.")
    assert text.text == "So Ada Example of Sampleton left."
    assert text.spans == ((3, 14, "PERSON"), (18, 27, "LOC"))


def test_numbered_slots_repeat_their_value() -> None:
    """`{first1}` is the same name wherever it stands, and marked each time."""
    text = Filler(random.Random(3)).fill("{first1} and {first1}")
    one, two = text.text.split(" and ")
    assert one == two
    assert len(text.spans) == 2


def test_nothing_has_no_spans() -> None:
    """The templates without names have none."""
    filler = Filler(random.Random(1))
    assert not any(filler.fill(template).spans for template in NOTHING)


def test_the_same_seed_gives_the_same_text() -> None:
    """Generation is reproducible."""
    rngs = [random.Random(5), random.Random(5)]
    one, two = ([generated(rng, filler) for _ in range(20)] for rng, filler in ((rng, Filler(rng)) for rng in rngs))
    assert one == two


def test_words_that_are_no_names_are_no_slots_of_names() -> None:
    """A slot is filled either with a name or with something else, never with either."""
    assert not set(names_templates._LABEL) & set(names_templates._WORDS)
