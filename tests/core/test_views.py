"""Folded views: what each shows for a code point, and that it does so code point by code point."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.rule import View
from safeproxy.core.views import FOLDS, folded, nfkd, skeleton

_FOLDED = st.sampled_from(sorted(FOLDS))
#: Any code points, and those of the scripts and marks that folding is about.
_CHARACTER = (st.integers(0, 0x10FFFF) | st.integers(0, 0x3000)).map(chr)
_TEXT = st.lists(_CHARACTER, max_size=12).map("".join)


@given(st.sampled_from(list(View)), _TEXT, _TEXT)
def test_the_view_of_a_text_is_that_of_its_parts(view: View, one: str, two: str) -> None:
    """So it does not depend on where the text is cut."""
    assert folded(one + two, view) == folded(one, view) + folded(two, view)


def test_the_raw_view_is_the_text_itself() -> None:
    """Nothing is mapped and nothing vanishes."""
    text = "A\u200b\uff21\u0430\u0301\ud800\0"
    assert folded(text, View.RAW) == text


@given(_FOLDED, _TEXT)
def test_folding_what_is_folded_changes_nothing(view: View, text: str) -> None:
    """A word list that was folded once matches text that was folded once."""
    once = folded(text, view)
    assert folded(once, view) == once


def test_printable_ascii_is_itself_in_nfkd() -> None:
    """So patterns for numbers and addresses read as they do on raw text."""
    assert folded(string.printable, View.NFKD) == string.printable


def test_the_skeleton_of_ascii_is_lower_case() -> None:
    """Only the back-tick is read as something else, an apostrophe."""
    assert folded(string.printable, View.SKELETON) == string.printable.lower().replace("`", "'")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\uff14\uff11\uff20\uff0e", "41@."),
        ("\U0001d7d9\U0001d7da\u2460", "121"),
        ("\ufb01\ufb03", "fiffi"),
        ("\u00e9", "e\u0301"),
        ("\u00bd", "1\u20442"),
        ("\u338f", "kg"),
        ("\u0410\u0430", "\u0410\u0430"),
    ],
)
def test_nfkd_shows_compatibility_forms_as_plain_ones(text: str, shown: str) -> None:
    """Full-width, mathematical and circled digits, ligatures, units; case, marks and scripts stay."""
    assert folded(text, View.NFKD) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u0440\u0430\u0443\u0440\u0430l", "paypal"),
        ("\u0420\u0410\u0423", "pay"),
        ("\u03b1\u03c1\u03c1\u03b9\u03b5", "appie"),
        ("N\u00e4\u0308me", "name"),
        ("\U0001d4d7\U0001d4ee\U0001d4f5\U0001d4f5\U0001d4f8", "hello"),
        ("\uff28\uff45\uff4c\uff4c\uff4f", "hello"),
        ("\u00df\u0130\u00d8\u0141", "ssiol"),
        ("\u03f2an\u00b4t", "can't"),
        ("it\u2019s\u2013so", "it's-so"),
        ("a\u20dd\u0336b", "ab"),
    ],
)
def test_skeleton_shows_what_letters_look_like(text: str, shown: str) -> None:
    """Cyrillic and Greek look-alikes, fancy alphabets, marks, struck letters, dashes and quotes."""
    assert folded(text, View.SKELETON) == shown


_INVISIBLE = [
    "\u00ad", "\u034f", "\u061c", "\u115f", "\u1160", "\u180e", "\u200b", "\u200c", "\u200d", "\u200e", "\u202e",
    "\u180b", "\u17b4", "\ufe00", "\ufe0f", "\U000e0100",
    "\u2060", "\u2063", "\u2066", "\u2800", "\u3164", "\ufeff", "\uffa0", "\U000e0041", "\U0001d173",
]  # fmt: skip


@pytest.mark.parametrize("view", FOLDS)
@pytest.mark.parametrize("char", _INVISIBLE)
def test_what_cannot_be_seen_is_not_there(view: View, char: str) -> None:
    """Zero-width, bidirectional, filler and tag characters cannot split a word."""
    assert folded(f"4{char}2", view) == "42"


@pytest.mark.parametrize("fold", [nfkd, skeleton])
def test_every_code_point_folds_to_few(fold: object) -> None:
    """Lone surrogates and unassigned ones too; none folds to more than eighteen."""
    assert callable(fold)
    assert max(len(fold(chr(code))) for code in [*range(0xD7F0, 0xE010), *range(0xFB00, 0xFFFF), 0x10FFFF]) == 18


def test_every_dash_reads_as_a_hyphen() -> None:
    """Models like to write numbers with non-breaking hyphens."""
    for dash in "\u2010\u2011\u2012\u2013\u2014\u2212":
        assert folded(f"536{dash}22", View.NFKD) == folded(f"536{dash}22", View.SKELETON) == "536-22"
