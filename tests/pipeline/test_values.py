"""JSON text taken apart and put together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.pipeline.values import TooManyValuesError, Values, is_json_container

TEXTS = st.sampled_from(["", "a", "two words", '"', "\\", "\n", "\u00e9", "\ud83d", "{", "[1]"])
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-100, 100),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3) | inner.map(json.dumps),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"passport": {"number": "AB1", "n": 2}}', '"passport": {"number": "AB1", "passport": {"n": "2", '),
        ('{"a": [1, ["x"]], "b": {"c": {"d": ""}}, "e": true}', '"a": "1", "a": "x", '),
        ('[1, "x"]', '"1", "x", '),
        ('{"a": "{\\"b\\": 1}", "c\\u0064": "\\u0065\\n"}', '"a": {"b": "1", "cd": "e\n", '),
        ('{"a": [{"b": 1}, 2], "c": 3', '"a": {"b": "1", "a": "2", "c": "3", '),
        ("}]1", '"1", '),
    ],
)
def test_the_context_of_a_value_is_its_keys_and_the_values_before(text: str, said: str) -> None:
    """As it would read in plain text, escapes decoded; an array's elements each have its key."""
    assert Values.of(text, 100).in_context() == said


def test_there_is_a_limit() -> None:
    """Keys count, too."""
    assert len(Values.of('{"a": [1, 2]}', 3).found) == 3
    with pytest.raises(TooManyValuesError):
        Values.of('{"a": [1, 2]}', 2)


def test_numbers_may_be_of_any_size() -> None:
    """Python's limit on the digits of an integer is none on JSON."""
    assert is_json_container("[" + "9" * 5000 + "]")


def test_the_text_of_all_values_does_not_grow_beyond_bounds() -> None:
    """However often a long key would have to be repeated."""
    text = json.dumps({"k" * 5000: {"long" * 100: [1] * 20_000}})
    assert len(Values.of(text, 50_000).in_context()) < 5 * len(text)
    many = json.dumps({"k" * 5000: {str(n): 1 for n in range(20_000)}})
    assert len(Values.of(many, 50_000).in_context()) < 5 * len(many)


@given(VALUES)
def test_taken_apart_and_put_together_it_is_the_same(value: Any) -> None:
    """Every spelling and all white space."""
    for indent in (None, 1):
        text = json.dumps(value, indent=indent)
        assert Values.of(text, 50_000).text() == text


@given(st.text(alphabet='{}[]":, \\n1a.-', max_size=30))
def test_anything_can_be_taken_apart(text: str) -> None:
    """Broken JSON, too."""
    values = Values.of(text, 50_000)
    assert values.text() == text
    said = values.in_context()
    for part in values.found:
        assert part.is_key or said[part.start :].startswith(part.text)
