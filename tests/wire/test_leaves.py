"""Text in undocumented places."""

from __future__ import annotations

from typing import Any

import pytest

from safeproxy.wire.dialect import Mode, Reading
from safeproxy.wire.leaves import KNOWN_KEYS, Leaves, entry_index, is_exempt, numbered, unknown_keys


def leaves(value: Any, **how: bool) -> list[tuple[str, Mode]]:
    """Channel names and modes of the text in a value."""
    reading = Reading()
    Leaves(reading, **how).collect({"top": value}, "top", ("top",), "top")
    return [(slot.name, slot.mode) for slot in reading.slots]


@pytest.mark.parametrize(
    ("key", "value", "exempt"),
    [
        ("id", "chatcmpl-1", True),
        ("id", "two words", False),
        ("id", "x" * 300, False),
        ("call_id", "c1", True),
        ("created_at", "2026-11-22T00:00:00Z", True),
        ("signature", "A" * 5000, True),
        ("signature", "not base64", False),
        ("thought_signature", "AbC=", True),
        ("encrypted_content", "gAAA", True),
        ("content", "x", False),
        ("index", "x", False),
        ("anything", "x", False),
        ("url", "data:image/png;base64,iVBORw0=", True),
        ("url", "https://example.com", False),
        ("url", "data:text/plain;base64,not base64", False),
        (0, "x", False),
    ],
)
def test_a_string_is_text_unless_its_key_and_looks_say_otherwise(key: str | int, value: str, exempt: bool) -> None:
    """An exempt key exempts only what such a key carries."""
    assert is_exempt(key, value) is exempt


def test_leaves_at_any_depth_are_found() -> None:
    """Every string but identifiers, in order."""
    value = {"id": "a", "note": "b", "list": ["c", {"type": "t", "title": "d"}], "n": 1, "none": None}
    assert leaves(value) == [("top.*", Mode.WHOLE), ("top.*.0", Mode.WHOLE), ("top.*.1.title", Mode.WHOLE)]


def test_text_like_keys_go_on_from_event_to_event() -> None:
    """A repeated `content` outside a delta is a channel; in a body nothing is; arguments are JSON there."""
    value = {"content": "a", "title": "b", "arguments": "{}"}
    assert [mode for _, mode in leaves(value)] == [Mode.DELTA, Mode.WHOLE, Mode.DELTA]
    assert [mode for _, mode in leaves(value, delta=True)] == [Mode.DELTA] * 3
    assert [mode for _, mode in leaves(value, whole=True)] == [Mode.WHOLE, Mode.WHOLE, Mode.JSON]


def test_channel_names_hold_none_of_the_upstreams_words() -> None:
    """Names go into records: a key nobody documents is not named there."""
    assert leaves({"ada@example.com": "x"}) == [("top.*", Mode.WHOLE)]


def test_unknown_keys_are_text() -> None:
    """Keys at any depth, wherever they stand and whatever they hold."""
    value = {"content": [{"mine": None}], "yours": {"text": 1, "theirs": []}}
    assert sorted(key.key for key in unknown_keys(value)) == ["mine", "theirs", "yours"]
    assert unknown_keys([1, "x", {"choices": 2}]) == []
    assert "choices" in KNOWN_KEYS


@pytest.mark.parametrize(("entry", "index"), [({"index": 4}, 4), ({"index": "4"}, 9), ({"index": True}, 9), ("x", 9)])
def test_an_entry_is_known_by_its_index_or_its_position(entry: Any, index: int) -> None:
    """Only a sane number counts as an index."""
    assert entry_index(entry, 9) == index


@pytest.mark.parametrize("key", ["id", "user_id", "status", "detail", "created_by", "model"])
def test_an_address_is_no_id(key: str) -> None:
    """Whatever the key promises."""
    assert not is_exempt(key, "ada@example.com")


@pytest.mark.parametrize("key", ["created_by", "detail", "createdness"])
def test_keys_promise_only_what_they_are_known_for(key: str) -> None:
    """A name that begins like another is another."""
    assert not is_exempt(key, "token")


def test_an_entry_with_a_wrong_number_is_read_as_text_in_a_channel_of_its_own() -> None:
    """Well-numbered entries come back with number and path; each other one opens channels named by what it said."""
    reading = Reading()
    entries: list[Any] = [{"index": 2}, {}, {"index": -1, "text": "a b"}, {"index": "1", "text": "c d"}, "e f"]
    assert list(numbered(reading, "choices", entries, whole=False)) == [
        (entries[0], 2, ("choices", 0)),
        (entries[1], 0, ("choices", 1)),
    ]
    texts = {slot.channel: slot.holder[slot.key] for slot in reading.slots}
    assert {"a b", "c d", "e f"} <= set(texts.values())
    assert len({name for name, text in texts.items() if text in ("a b", "c d", "e f")}) == 3
    assert reading.news
