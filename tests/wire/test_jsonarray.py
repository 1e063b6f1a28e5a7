"""One JSON array in pieces, cut anywhere."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.errors import UpstreamError
from safeproxy.wire.jsonarray import ArrayWriter, JsonArrayDecoder, encode_element
from safeproxy.wire.sse import Frame


def decoded(pieces: list[bytes], limit: int = 1000) -> list[Frame]:
    decoder = JsonArrayDecoder(limit)
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return [*frames, *decoder.finish()]


def test_each_element_is_a_frame() -> None:
    """Raw behind a separator, data as it stands."""
    stream = b'\r\n[{"a": [1, {"b": "]}"}]}\n,\r\n{\n  "c": "\\"}"\n}\n]\n'
    first, second = b'{"a": [1, {"b": "]}"}]}', b'{\n  "c": "\\"}"\n}'
    assert decoded([stream]) == [Frame(b"\x1e" + first, first), Frame(b"\x1e" + second, second)]
    assert not JsonArrayDecoder().idle


def test_an_element_leaves_with_its_closing_bracket() -> None:
    """No comma is waited for."""
    decoder = JsonArrayDecoder()
    assert list(decoder.feed(b'[{"a":1')) == []
    assert [frame.data for frame in decoder.feed(b"}")] == [b'{"a":1}']


VALUES = st.recursive(
    st.none() | st.integers() | st.text(alphabet='a"\\{}[],:\n\u2028é', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=4),
    st.integers(1, 9),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_the_cutting_does_not_matter(values: list[Any], size: int, indent: int | None, ascii_only: bool) -> None:
    """Any pieces give the elements, byte for byte, and written again they are the same array."""
    elements = [json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode() for value in values]
    stream = b"[" + b"\n,\r\n".join(elements) + b"\n]\n"
    frames = decoded([stream[at : at + size] for at in range(0, len(stream), size)])
    assert [frame.data for frame in frames] == elements
    assert decoded([stream]) == frames
    writer = ArrayWriter()
    text = b"".join(writer.feed(frame.raw, last=False) for frame in frames) + writer.feed(b"", last=True)
    assert text == b"[" + b",\n".join(elements) + b"]"


@pytest.mark.parametrize(
    "stream", [b"{}", b'"x"', b"[1]", b"[{}{}]", b"[,{}]", b"[{},]", b"[]x", b"[{}]]", b"[{}] {}", b"x", b"[\x1e{}]"]
)
def test_what_is_no_array_of_objects_is_an_error(stream: bytes) -> None:
    """And so is anything that follows it."""
    with pytest.raises(UpstreamError):
        decoded([stream])
    with pytest.raises(UpstreamError):
        decoded([bytes([byte]) for byte in stream])


def test_an_element_that_is_cut_off_is_given_as_it_is() -> None:
    """It is no JSON, so whoever parses it sees that it is broken."""
    (frame,) = decoded([b'[{"a": "x'])
    assert (frame.data, frame.plain) == (b'{"a": "x', False)
    assert decoded([b"[{}"]) == [Frame(b"\x1e{}", b"{}")]
    assert decoded([b"[{},"]) == [Frame(b"\x1e{}", b"{}")]


def test_a_byte_order_mark_is_skipped() -> None:
    """Only before the array."""
    assert decoded([b"\xef\xbb\xbf[]"]) == []
    with pytest.raises(UpstreamError):
        decoded([b"[\xef\xbb\xbf]"])


def test_an_element_too_large_is_an_error_after_those_before_it() -> None:
    """Whole or in pieces, with its end or not."""
    for pieces in ([b'[{},{"a":"xxxxxxx'], [b"[{},{", b'"a":', b'"xxxxxxx'], [b'[{},{"a":"xxxx"}]']):
        decoder, frames = JsonArrayDecoder(10), []
        with pytest.raises(UpstreamError):  # noqa: PT012 - the frames before the error matter
            for piece in pieces:
                for frame in decoder.feed(piece):
                    frames.append(frame.data)
        assert frames == [b"{}"]


def test_an_element_in_many_pieces_costs_linear_work() -> None:
    """What was searched is not searched again."""
    decoder = JsonArrayDecoder()
    assert not list(decoder.feed(b'[{"a":"'))
    start = time.perf_counter()
    for _ in range(100_000):
        assert not list(decoder.feed(b"xx\\\\"))
    assert len(list(decoder.feed(b'"}]'))) == 1
    assert time.perf_counter() - start < 5


def test_an_array_is_written_as_it_grows() -> None:
    """Its beginning with the first element, its end at last; nothing at all is an empty one."""
    writer = ArrayWriter()
    assert writer.feed(b"", last=False) == b""
    assert writer.feed(encode_element(b"{}") + encode_element(b"[1]"), last=False) == b"[{},\n[1]"
    assert writer.feed(encode_element(b"{}"), last=True) == b",\n{}]"
    assert ArrayWriter().feed(b"", last=True) == b"[]"
