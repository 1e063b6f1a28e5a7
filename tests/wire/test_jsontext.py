"""JSON text: nothing is lost in reading, nothing unsafe is written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.wire.jsontext import (
    MAX_DEPTH,
    dump,
    dump_text,
    is_safe,
    join_half,
    join_pieces,
    parse,
    quote,
    split_half,
)

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=20)


def test_a_plain_text_has_one_meaning() -> None:
    """Ordinary JSON may be passed on as it came."""
    assert parse(b'{"a":[1,"x"]}') == ({"a": [1, "x"]}, True)


@pytest.mark.parametrize("data", [b'{"a":1,"a":2}', b'[{"a":1,"a":2}]', b'{"a":"\xff"}'])
def test_what_clients_may_read_differently_is_marked(data: bytes) -> None:
    """A key twice, or bytes that are no UTF-8, must not pass raw."""
    assert parse(data)[1] is False


@pytest.mark.parametrize(
    "data", [b"", b"x", b"{", b'{"a":1}}', b"1e999", b"1" * 5000, b"[" * 100_000, b"\xef\xbb\xbf{}", b'"\x01"']
)
def test_what_is_no_json_is_a_value_error(data: bytes) -> None:
    """Garbage, numbers out of range and endless nesting are refused, never a crash."""
    with pytest.raises(ValueError):
        parse(data)


def test_nesting_is_bounded() -> None:
    """As deep as the limit is read, one deeper is not."""
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)[1]
    with pytest.raises(ValueError, match="deep"):
        parse(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


@given(ANY_TEXT, st.booleans())
def test_written_text_reads_back_and_is_safe(text: str, ascii_only: bool) -> None:
    """Any text, lone surrogates too, comes back the same, and no line reader sees a line end in it."""
    data = dump({"a": text}, ascii_only=ascii_only)
    assert json.loads(data) == {"a": json.loads(json.dumps(text))}
    assert len(data.decode().splitlines()) == 1
    assert data.isascii() or not ascii_only
    assert is_safe(data)
    assert b'"' + dump_text(text, ascii_only=ascii_only) + b'"' == data[len(b'{"a":') : -1]


def test_other_alphabets_stay_readable_where_the_upstream_had_them() -> None:
    """Only what clients trip over is escaped then."""
    assert dump("\u00e9\u2028\ud83d", ascii_only=False).decode() == '"\u00e9\\u2028\\ud83d"'
    assert quote("\u00e9\u2028") == '"\u00e9\\u2028"'
    assert not is_safe("\u2028".encode())


@given(ANY_TEXT, ANY_TEXT)
def test_halves_meet(left: str, right: str) -> None:
    """A high surrogate is kept for its other half, and pieces join as one text does."""
    start, half = split_half(left)
    assert start + half == left
    joined = start + join_half(half, right)
    assert joined == join_pieces([left, right]) or not left or not right
    assert join_half("\ud83d", "\ude00!") == "\U0001f600!"
    assert split_half("a\ud83d") == ("a", "\ud83d")
    assert join_pieces(["\ud83d", "\ude00"]) == "\U0001f600"
