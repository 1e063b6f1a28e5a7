"""What is read of a word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.tokens import TOKEN_CEILING, Spelled, grams, key, tokens

KNOWN = {"moron", "fool", "women", "kill", "hate", "don't"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Moron!", ["moron", "!"]),
        ("(m0r0n).", ["moron"]),
        ("w0m3n", ["women"]),
        ("python3", ["python3"]),
        ("FOOOOOL", ["fool"]),
        ("wooooow", ["woow"]),
        ("\uff46\uff4f\uff4f\uff4c", ["fool"]),
        ("f\u200bool", ["fool"]),
        ("don\u2019t", ["don't"]),
        ("\u201chate\u201d", ['"', "hate", '"']),
        ("sh*t", ["sh*t"]),
        ("a.b", ["a", "b"]),
        ("!!!", ["!"]),
        ("--", []),
        ("\U0001f4a9", ["\U0001f4a9"]),
    ],
)
def test_tokens(word: str, expected: list[str]) -> None:
    """Case, width, marks and disguises are undone; a disguise only where it hides a word that is known."""
    assert tokens(word, KNOWN) == expected


@given(st.text(max_size=60))
def test_any_word_can_be_read(word: str) -> None:
    """Tokens are never empty nor longer than the ceiling, and each has an n-gram."""
    for token in tokens(word, KNOWN):
        assert 0 < len(token) <= TOKEN_CEILING
        assert grams(token, 64)
        assert all(0 <= bucket < 64 for bucket in grams(token, 64))


def test_letters_are_joined_when_they_spell_a_word() -> None:
    """`h a t e` is `hate`; initials and list marks spell nothing."""
    spelled = Spelled()
    assert [spelled.join(word, KNOWN) for word in ["h", "a", "t", "e.", "you", "k", "i"]] == [
        "",
        "",
        "",
        "hate",
        "",
        "",
        "",
    ]


def test_keys_are_crc32() -> None:
    """The file's keys have a meaning that does not depend on Python's hash."""
    assert key("fool") == 0xDAE3A1C5
