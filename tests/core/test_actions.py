"""What stands in a span's place."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.actions import masked, pseudonym, stand_in
from safeproxy.core.operators import decrypted
from safeproxy.core.rule import Rule
from safeproxy.errors import ConfigError
from safeproxy.events import Action

KEY = b"a key for tests"
#: What survives inside JSON and markdown.
SAFE = regex.compile(r"[A-Za-z0-9_:\[\]-]+")


def rule(**keys: object) -> Rule:
    return Rule(id="mail", entity="EMAIL", pattern="x", **keys)  # type: ignore[arg-type]


def test_a_redacted_span_is_named_after_its_entity() -> None:
    """Unless the rule has a placeholder of its own."""
    assert stand_in(rule(), Action.REDACT, "ada@x.com", None) == "[EMAIL]"
    assert stand_in(rule(placeholder="[GONE]"), Action.REDACT, "ada@x.com", None) == "[GONE]"


def test_the_action_handed_in_decides() -> None:
    """It may be stronger than the rule's own, when findings were united."""
    mask = rule(action=Action.MASK, mask_keep=2)
    assert stand_in(mask, Action.MASK, "12345678", None) == "XXXXXX78"
    assert stand_in(mask, Action.REDACT, "12345678", None) == "[EMAIL]"


@given(st.text(max_size=30), st.integers(0, 40))
def test_a_mask_never_shows_more_than_half(text: str, keep: int) -> None:
    """At most ``keep`` code points at the end stay, the length is kept, the rest is X."""
    shown = masked(text, keep)
    kept = min(keep, len(text) // 2)
    hidden = len(text) - kept
    assert shown == "X" * hidden + text[hidden:]
    assert hidden >= kept


def test_a_pseudonym_is_the_same_for_the_same_value_and_key() -> None:
    """So that equal values can be told without being known."""
    name = pseudonym("EMAIL", "ada@x.com", KEY)
    assert name == pseudonym("EMAIL", "ada@x.com", KEY) == stand_in(rule(), Action.HASH, "ada@x.com", KEY)
    assert regex.fullmatch(r"\[EMAIL:[0-9a-f]{16}\]", name)
    others = {
        pseudonym("EMAIL", "ada@x.con", KEY),
        pseudonym("PHONE", "ada@x.com", KEY),
        pseudonym("EMAIL", "ada@x.com", b"another key"),
    }
    assert len(others | {name}) == 4


def test_a_pseudonym_is_that_of_the_standard() -> None:
    """HMAC-SHA-256 over entity, NUL and value, by the value that any other tool computes."""
    assert pseudonym("E", "x", b"k") == "[E:86c3967c489c3c65]"


@given(st.text(st.characters(), max_size=10))
def test_stand_ins_are_made_of_safe_characters(text: str) -> None:
    """Whatever the span holds, lone surrogates included, none of it shows."""
    for action in (Action.REDACT, Action.HASH, Action.ENCRYPT):
        assert SAFE.fullmatch(stand_in(rule(), action, text, KEY))


@pytest.mark.parametrize("action", [Action.HASH, Action.ENCRYPT])
def test_without_a_key_there_is_no_pseudonym(action: Action) -> None:
    """The error names the rule and what is missing."""
    with pytest.raises(ConfigError, match=f"'mail' has action '{action}', which needs a hash key"):
        stand_in(rule(), action, "ada@x.com", None)


def test_what_was_encrypted_can_be_turned_back() -> None:
    """By who has the key, in the text around it."""
    hidden = stand_in(rule(), Action.ENCRYPT, "ada@x.com", KEY)
    assert "ada" not in hidden
    assert decrypted(f"Write to {hidden}.", KEY) == "Write to ada@x.com."
    assert decrypted(f"Write to {hidden}.", b"another") == f"Write to {hidden}."
