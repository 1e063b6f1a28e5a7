"""Tests for the lists of names and for drawing from them."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.training.names_gazetteer import Names, countries, filled, known_names, places, plain_letters, weighted


def test_there_are_towns_of_the_whole_world() -> None:
    """Tens of thousands, with their regions."""
    assert len(places()) > 20_000
    assert ("Boerne", "TX") in places()
    assert ("Casablanca", "") in places()


def test_countries_are_short() -> None:
    """As they are called, not as they are filed."""
    assert "Kenya" in countries()
    assert not any("(" in name or "," in name for name in countries())


@pytest.mark.parametrize("name", ["Smith", "Kenya", "Boerne"])
def test_persons_countries_and_towns_are_known(name: str) -> None:
    """Whatever begins a name."""
    assert name in known_names()


def test_forms_are_weighted() -> None:
    """The last sum is the sum of all weights."""
    forms, sums = weighted("towns")
    assert len(forms) == len(sums) == 5
    assert sums[-1] == 100


def test_each_slot_is_made_anew() -> None:
    """Also the same slot twice."""
    numbers = iter("123")
    assert filled("{n}-{n} {n}", {"n": lambda: next(numbers)}) == "1-2 3"


@given(st.integers(0, 10**6))
def test_every_name_is_tight_and_whole(seed: int) -> None:
    """No space at its ends, no slot left."""
    names = Names(random.Random(seed))
    for make in (names.person, names.place, names.street, names.address, names.org, names.unit, names.postcode):
        made = make()
        assert made == made.strip() != ""
        assert not re.search(r"\{\w*\}", made)


def test_accents_can_be_taken_off() -> None:
    """As names are often typed."""
    assert plain_letters("Tomáš Müller") == "Tomas Muller"
