"""The prose of the benchmark and its cuttings."""

from __future__ import annotations

from safeproxy.bench import prose
from safeproxy.core.filter import StreamFilter
from safeproxy.rulesets import shipped


def test_tokens_are_the_whole_text() -> None:
    """Cutting loses nothing."""
    assert "".join(prose.tokens(prose.PROSE)) == prose.PROSE


def test_tokens_look_like_a_models() -> None:
    """About four characters on average, a space with the word after it, long words in several pieces."""
    assert prose.tokens("It didn't understand, ok?") == ["It", " didn", "'", "t", " unde", "rstand", ",", " ok", "?"]
    assert 3.5 <= len(prose.PROSE) / len(prose.tokens(prose.PROSE)) <= 4.5


def test_fixed_pieces() -> None:
    """All have the size but the last."""
    assert prose.fixed("abcdefghij") == ["abcd", "efgh", "ij"]


def test_chunks_start_again() -> None:
    """More chunks than the prose has begin it anew."""
    once = prose.tokens(prose.PROSE)
    assert prose.chunks(len(once) + 2) == [*once, *once[:2]]


def test_prose_is_clean() -> None:
    """No shipped rule finds anything in it, also where it starts again: else the figures would mean nothing."""
    stream = StreamFilter(shipped(), hash_key=b"k" * 16)
    text = prose.PROSE * 2
    assert stream.feed(text) + stream.finish() == text
    assert stream.take_findings() == []
