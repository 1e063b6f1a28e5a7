"""Texts that only this proxy can read again."""

from __future__ import annotations

from safeproxy.shell.seal import Sealer
from safeproxy.wire.leaves import is_exempt


def test_what_was_sealed_can_be_opened() -> None:
    """By whoever has the key, whatever the text."""
    text = "thought \u00e9\ud83d \U0001f600"
    sealed = Sealer(b"k" * 16).seal(text)
    assert Sealer(b"k" * 16).unseal(sealed) == text
    assert "thought" not in sealed


def test_a_seal_looks_like_a_signature() -> None:
    """Else it would be filtered as text on its way."""
    assert is_exempt("signature", Sealer(None).seal("x" * 10_000))


def test_no_other_key_opens_it() -> None:
    """Neither another one, nor that of another process, nor is anything else opened."""
    sealed = Sealer(b"k" * 16).seal("x")
    assert Sealer(b"j" * 16).unseal(sealed) is None
    assert Sealer(None).unseal(sealed) is None
    assert Sealer(None).unseal("safeproxy1.nonsense") is None


def test_a_changed_seal_is_void() -> None:
    """It is authenticated."""
    sealer = Sealer(None)
    sealed = sealer.seal("x" * 40)
    assert sealer.unseal(sealed[:40] + ("A" if sealed[40] != "A" else "B") + sealed[41:]) is None
