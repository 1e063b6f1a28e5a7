"""Labels: bounded in number, and never text."""

from __future__ import annotations

import pytest

from safeproxy.observers.labels import NONE, OTHER, Bounded


def test_the_first_values_pass_and_the_rest_are_folded() -> None:
    """Whoever makes up new values makes no new series; those that were there stay what they are."""
    label = Bounded(2)
    assert [label(value) for value in ("a", "b", "c", "a", "d", "b")] == ["a", "b", OTHER, "a", OTHER, "b"]


def test_a_value_is_let_through_only_if_it_is_to_be_admitted() -> None:
    """What a client merely says takes no place, and is told by name once somebody has vouched for it."""
    label = Bounded(2)
    assert label("a", admit=False) == OTHER
    assert label("a") == "a"
    assert label("a", admit=False) == "a"


def test_known_values_take_no_place_of_others() -> None:
    """What the configuration names is there from the start, beyond the limit if need be."""
    label = Bounded(3, ["x", "y"])
    assert [label(value) for value in ("a", "x", "b", "y")] == ["a", "x", OTHER, "y"]


@pytest.mark.parametrize("value", ["ada lovelace", "[EMAIL_ADDRESS]", "a\nb", "", "x" * 101, "ä", '"', "/path"])
def test_what_could_be_text_is_never_a_label(value: str) -> None:
    """Only what has the form of a name stands in a label."""
    assert Bounded()(value) == OTHER


@pytest.mark.parametrize("value", ["gpt-4o", "claude-3-5@20241022", "meta-llama/Llama-3:free", "models/gemini-2.0"])
def test_names_of_models_are_labels(value: str) -> None:
    """As the providers spell them."""
    assert Bounded()(value) == value


def test_nothing_is_called_none() -> None:
    """A label is never empty: that would be no label at all."""
    assert Bounded()(None) == NONE
