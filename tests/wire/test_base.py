"""What most dialects have in common."""

from __future__ import annotations

import json
from typing import Any

import pytest

from safeproxy.events import ChannelKind
from safeproxy.wire.base import (
    BaseDialect,
    asks_for_json,
    at,
    compact,
    empty_after,
    index_of,
    informs,
    is_base64,
    is_plain,
    numbers,
    read_anything,
    settle_pieces,
    skeleton,
    text_of,
    thought_first,
)
from safeproxy.wire.dialect import Mode, Reading, Slot
from safeproxy.wire.sse import Frame


def slot(holder: Any, key: Any, mode: Mode = Mode.JSON) -> Slot:
    """A place of text."""
    return Slot("c", "c", ChannelKind.CONTENT, mode, holder, key, (key,), 0)


def test_a_stream_has_an_object_of_its_own() -> None:
    """Of the same kind, knowing what was asked."""
    dialect = BaseDialect()
    voice = dialect.voice(dialect.ask({}))
    assert type(voice) is BaseDialect
    assert voice is not dialect


def test_frames_keep_their_names() -> None:
    """Events of our own are named after those they are made of."""
    assert BaseDialect().encode(b"{}", Frame(b"", None, event=b"e")) == b"event: e\ndata: {}\n\n"
    assert BaseDialect().is_end(b" [DONE]")
    assert json.loads(BaseDialect().error_frame("No.", "c").removeprefix(b"data: "))["error"]["code"] == "c"


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (429, "rate_limit_error"), (502, "upstream_error")]
)
def test_errors_go_with_the_status(status: int, kind: str) -> None:
    """The widespread shape."""
    assert json.loads(BaseDialect().error_body("No.", status=status, code="c"))["error"]["type"] == kind


def test_an_api_without_an_end_of_its_own_says_so() -> None:
    """Then an error takes the place of a body, and of a refused prompt."""
    dialect = BaseDialect()
    assert not dialect.halt_body({}, [], 0, dialect.ask({}))
    assert dialect.refused_prompt("No.") is None
    assert not dialect.restore({}, lambda _: None)
    assert dialect.writer() is None


def test_a_skeleton_keeps_what_identifies() -> None:
    """Along the path, positions become the first."""
    event = {"id": "e", "n": 3, "list": [{"index": 0, "x": 1}, {"index": 1, "type": "t", "text": "said", "more": "x"}]}
    made, path = skeleton(event, ("list", 1, "text"), ("id",))
    assert made == {"id": "e", "list": [{"index": 1, "type": "t", "text": ""}]}
    assert path == ("list", 0, "text")


def test_what_follows_a_cut_is_emptied() -> None:
    """By kind."""
    holder: dict[str, Any] = {"a": "x", "b": "y", "c": {"d": 1}, "e": [1]}
    empty_after([slot(holder, key) for key in holder], 0)
    assert holder == {"a": "x", "b": "", "c": {}, "e": []}


def test_pieces_of_a_call_that_never_began_are_text() -> None:
    """Within a call no text leaves by itself."""
    lost = Reading(pieces=[slot({"k": "x"}, "k")])
    settle_pieces(lost)
    assert (lost.pieces, lost.slots[0].mode) == ([], Mode.DELTA)
    held = Reading(block="b", slots=[slot({"k": "x"}, "k", Mode.DELTA), slot({"k": "x"}, "k", Mode.WHOLE)])
    settle_pieces(held)
    assert [one.mode for one in held.pieces] == [Mode.DELTA]
    assert [one.mode for one in held.slots] == [Mode.WHOLE]


def test_small_things() -> None:
    """Values that may have any type."""
    value = {"a": [{"b": "c"}], "index": 2, "n": 1.5, "id": "x y"}
    assert (at(value, "a", 0, "b"), at(value, "a", 5), at(value, "n", "x")) == ("c", None, None)
    assert (text_of(value, "id"), text_of(value, "n"), text_of(None, "id")) == ("x y", "", "")
    assert (index_of(value), index_of({"index": "2"}), index_of([])) == (2, 0, 0)
    assert (is_plain("n", 1.5), is_plain("id", "x"), is_plain("id", "x y"), is_plain("n", [])) == (
        True,
        True,
        False,
        False,
    )
    assert (informs("status", "done"), informs("text", "words"), informs("x", {})) == (True, False, False)
    assert (is_base64("UklGRg=="), is_base64("no, words")) == (True, False)
    assert thought_first({"content": 1, "reasoning": 2, "thinking": 3}) == ["reasoning", "thinking", "content"]
    assert compact({"a": "\u00e9"}) == b'{"a":"\\u00e9"}'
    assert asks_for_json({"response_format": {"type": "json_object"}})
    assert not asks_for_json({"response_format": "json_object"})


def test_numbers_are_taken_over_by_known_names_only() -> None:
    """Others could be words."""
    usage = {"total_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1, "x": 2}, "made up": 4, "stop": True}
    assert numbers(usage) == {"total_tokens": 3, "prompt_tokens_details.cached_tokens": 1}
    assert numbers({"total_tokens": 3.0, "eval_count": 2.5, "prompt_tokens": 1e999}) == {"total_tokens": 3}
    assert numbers("none") is None


def test_anything_can_be_read() -> None:
    """Every text stands alone."""
    reading = read_anything({"a": ["x", {"made up": "y"}], "id": "z"}, "body")
    assert [one.holder[one.key] for one in reading.slots] == ["x", "y"]
    assert [key.key for key in reading.keys] == ["a", "made up"]
