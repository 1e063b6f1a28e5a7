"""Newline-delimited JSON, cut anywhere."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.errors import UpstreamError
from safeproxy.wire.ndjson import NdjsonDecoder, SseToNdjson, encode_line
from safeproxy.wire.sse import Frame


def decoded(pieces: list[bytes], limit: int = 1000) -> list[Frame]:
    decoder = NdjsonDecoder(limit)
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return [*frames, *decoder.finish()]


def test_each_line_is_a_frame() -> None:
    """Raw with its line end, data without."""
    assert decoded([b'{"a":1}\n{"b":2}\n']) == [Frame(b'{"a":1}\n', b'{"a":1}'), Frame(b'{"b":2}\n', b'{"b":2}')]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b'{"a":1}\r\n', b'{"a":1}'),
        (b"\xef\xbb\xbf{}\n", b"{}"),
        (b"{}", b"{}"),
        (b'{"a":\r1}\n', b'{"a":\r1}'),
    ],
)
def test_what_some_client_would_not_take_is_not_plain(stream: bytes, data: bytes) -> None:
    """Other line ends, a byte order mark, no line end at all."""
    (frame,) = decoded([stream])
    assert (frame.data, frame.plain) == (data, False)


def test_blank_lines_are_skipped() -> None:
    """Spaces do not make a line."""
    assert [frame.data for frame in decoded([b"\n\r\n \n{}\n\n"])] == [b"{}"]
    assert decoded([]) == decoded([b"\n"]) == []


def test_lines_end_at_bytes_only() -> None:
    """U+2028 and U+0085 stand inside a line."""
    line = '{"a":"\u2028\x85"}'.encode()
    assert [frame.data for frame in decoded([line + b"\n"])] == [line]


@given(st.lists(st.sampled_from([b'{"a":1}\n', b"[2]\r\n", b"\n", b"{}\n"])), st.integers(1, 9))
def test_the_cutting_does_not_matter(lines: list[bytes], size: int) -> None:
    """Any pieces give the frames of the whole."""
    stream = b"".join(lines)
    assert decoded([stream[at : at + size] for at in range(0, len(stream), size)]) == decoded([stream])


def test_idle_says_whether_a_line_is_open() -> None:
    """The pipeline asks before it takes bytes for a frame."""
    decoder = NdjsonDecoder()
    assert decoder.idle
    assert list(decoder.feed(b"{")) == []
    assert not decoder.idle
    assert len(list(decoder.feed(b"}\n"))) == 1
    assert decoder.idle


def test_a_line_too_long_is_an_error_after_the_lines_before_it() -> None:
    """Whole or in pieces, with its end or not."""
    for pieces in ([b"{}\n" + b"x" * 11], [b"{}\n", b"x" * 6, b"x" * 5], [b"{}\n" + b"x" * 10 + b"\n"]):
        decoder, frames = NdjsonDecoder(10), []
        with pytest.raises(UpstreamError):  # noqa: PT012 - the frames before the error matter
            for piece in pieces:
                for frame in decoder.feed(piece):
                    frames.append(frame.data)
        assert frames == [b"{}"]


def test_a_line_in_many_pieces_costs_linear_work() -> None:
    """What was searched is not searched again."""
    decoder = NdjsonDecoder()
    start = time.perf_counter()
    for _ in range(200_000):
        assert not list(decoder.feed(b"xxxx"))
    assert len(list(decoder.feed(b"\n"))) == 1
    assert time.perf_counter() - start < 5


def test_a_line_is_one_line() -> None:
    """Line ends between tokens become spaces."""
    assert encode_line(b'{"a":\r\n1,\n\r2}') == b'{"a": 1,  2}\n'


def test_events_become_lines() -> None:
    """Without comments, names, blank frames and the end marker, however they are cut."""
    stream = b': keep-alive\n\ndata: {"a":1}\n\nevent: x\ndata: {"b":\ndata: 2}\n\ndata:\n\ndata: [DONE]\n\n'
    assert SseToNdjson().feed(stream) == b'{"a":1}\n{"b": 2}\n'
    lines = SseToNdjson()
    assert b"".join(lines.feed(bytes([byte])) for byte in stream) == b'{"a":1}\n{"b": 2}\n'
