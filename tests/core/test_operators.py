"""Stand-ins that can be turned back."""

from __future__ import annotations

import regex
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.operators import decrypted, encrypted

KEY = b"a secret of any length"
TEXTS = st.text(st.characters(exclude_categories=()), min_size=1, max_size=80)


@given(TEXTS, TEXTS)
def test_comes_back_from_the_middle_of_a_text(value: str, around: str) -> None:
    """Whatever the value is, half a surrogate pair included."""
    assert decrypted(f"{around}{encrypted('US_SSN', value, KEY)} and", KEY) == f"{around}{value} and"


@given(TEXTS)
def test_is_made_of_what_survives_in_json_and_markdown(value: str) -> None:
    """As any placeholder."""
    assert regex.fullmatch(r"\[US_SSN:[A-Za-z0-9_-]+\]", encrypted("US_SSN", value, KEY))


def test_equal_values_have_equal_stand_ins() -> None:
    """Under one key and entity; under others they are unlike."""
    first = encrypted("US_SSN", "219-09-9999", KEY)
    assert first == encrypted("US_SSN", "219-09-9999", KEY)
    assert first != encrypted("US_SSN", "219-09-9999", b"another key")
    assert first.partition(":")[2] != encrypted("US_ITIN", "219-09-9999", KEY).partition(":")[2]


def test_what_was_not_made_under_the_key_stays() -> None:
    """A pseudonym, another key's stand-in, a changed one, one under another entity's name."""
    stand_in = encrypted("US_SSN", "219-09-9999", KEY)
    last = "B" if stand_in[-4] == "A" else "A"
    changed = stand_in[:-4] + last + stand_in[-3:]
    for text in ("[US_SSN:0123456789abcdef]", changed, stand_in.replace("US_SSN", "US_ITIN"), "[US_SSN]"):
        assert decrypted(text, KEY) == text
    assert decrypted(stand_in, b"another key") == stand_in
