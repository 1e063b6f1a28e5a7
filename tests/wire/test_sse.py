"""The SSE framing: every shape the format allows, in any cutting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.errors import UpstreamError
from safeproxy.wire.sse import Frame, SseDecoder, encode, encode_comment


def frames(*pieces: bytes, limit: int = 1000) -> list[Frame]:
    """All frames of a stream that arrives in these pieces."""
    decoder = SseDecoder(limit)
    return [frame for piece in pieces for frame in decoder.feed(piece)] + list(decoder.finish())


def content(*pieces: bytes) -> list[tuple[bytes | None, bytes, bytes, bytes, tuple[bytes, ...]]]:
    """What a reader makes of the frames, their raw bytes left out."""
    return [(f.data, f.event, f.id, f.retry, f.comments) for f in frames(*pieces)]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\n\r\ndata: b\r\n\n", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"data\n\n", [b""]),
        (b"data: \xe2\x80\xa8\x85\n\n", [b"\xe2\x80\xa8\x85"]),
        (b": c\n\ndata: a\n\n", [None, b"a"]),
        (b"", []),
        (b"\n\n", []),
    ],
)
def test_everything_the_format_allows_is_read(stream: bytes, data: list[bytes | None]) -> None:
    """Line ends, marks, spaces, several lines, missing ends: the data is the same whole and byte by byte."""
    assert [frame.data for frame in frames(stream)] == data
    assert [frame.data for frame in frames(*(bytes([byte]) for byte in stream))] == data


def test_fields_are_read() -> None:
    """Event name, id, retry and comments stand beside the data."""
    (frame,) = frames(b": hello\nevent: delta\nid: 7\nretry: 30\ndata: a\n\n")
    assert (frame.event, frame.id, frame.retry, frame.comments) == (b"delta", b"7", b"30", (b"hello",))


@pytest.mark.parametrize("line", [b"event: a b", b"id: a b", b"retry: soon", b"other: x", b"x"])
def test_fields_that_could_carry_text_are_left_out(line: bytes) -> None:
    """A field with an odd name or value is dropped, and the frame is not passed on raw."""
    (frame,) = frames(line + b"\ndata: a\n\n")
    assert not frame.plain
    assert encode(frame.data or b"", frame) == b"data: a\n\n"


@pytest.mark.parametrize("raw", [b"data: a\n\n", b"data:a\n\n", b"event: x\nid: 1\ndata: a\n\n", b"data: a\r\n\r\n"])
def test_ordinary_frames_keep_their_bytes(raw: bytes) -> None:
    """What may be passed on raw has its raw bytes."""
    (frame,) = frames(raw)
    assert (frame.raw, frame.plain) == (raw, True)


@pytest.mark.parametrize(
    "raw",
    [
        b"data: a\ndata: b\n\n",
        b": c\ndata: a\n\n",
        b"data: a\r\r",
        b"\xef\xbb\xbfdata: a\n\n",
        b"data: a\n\r\n",
        b"data: a",
    ],
)
def test_odd_frames_are_not_plain(raw: bytes) -> None:
    """Several lines, comments, marks, odd line ends and a missing end call for a new frame."""
    (frame,) = frames(raw)
    assert not frame.plain


def test_a_frame_leaves_with_its_last_byte() -> None:
    """No frame waits for the next one, with any line end."""
    for end in (b"\n", b"\r\n", b"\r"):
        assert [f.data for f in SseDecoder().feed(b"data: a" + end + end)] == [b"a"]


LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"event: e", b"id: 1", b"retry: 2", b": c", b"odd", b"", b"", b"", b"\xef\xbb\xbf"]
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])).map(b"".join), max_size=12).map(b"".join)


@given(STREAMS, st.lists(st.integers(0, 6), max_size=20))
def test_any_cutting_gives_the_same_frames(stream: bytes, lengths: list[int]) -> None:
    """Frames do not depend on how the bytes arrive."""
    pieces, at = [], 0
    for length in lengths:
        pieces.append(stream[at : at + length])
        at += length
    assert content(*pieces, stream[at:]) == content(stream)
    assert content(*(bytes([byte]) for byte in stream)) == content(stream)


@given(st.binary(max_size=60))
def test_any_bytes_are_read(stream: bytes) -> None:
    """Garbage gives some frames or none, and never more bytes than came."""
    assert sum(len(frame.raw) for frame in frames(stream)) <= len(stream)


@pytest.mark.parametrize("pieces", [[b"data: " + b"x" * 100], [b"data: " + b"x" * 100 + b"\n\n"], [b"x"] * 100])
def test_an_event_beyond_the_limit_is_refused(pieces: list[bytes]) -> None:
    """The bound holds for finished and unfinished events."""
    with pytest.raises(UpstreamError):
        frames(*pieces, limit=50)


def test_frames_before_an_oversized_one_are_given() -> None:
    """The error comes after what was read before it."""
    read = SseDecoder(50).feed(b"data: a\n\ndata: " + b"x" * 100)
    assert next(read).data == b"a"
    with pytest.raises(UpstreamError):
        next(read)


def test_a_large_event_in_small_pieces_is_searched_once() -> None:
    """An event of 300,000 bytes that comes byte by byte is read in linear time, so this ends."""
    decoder = SseDecoder()
    stream = b"data: " + b"x" * 300_000 + b"\r\n\r\n"
    read = [frame for at in range(len(stream)) for frame in decoder.feed(stream[at : at + 1])]
    assert [len(frame.data or b"") for frame in read] == [300_000]


def test_encoding_is_one_line_with_a_blank_line_after() -> None:
    """Strict clients want `data: `, LF, one line; name and id are kept."""
    like = Frame(b"", None, event=b"delta", id=b"7")
    assert encode(b'{"a":\n1}', like) == b'event: delta\nid: 7\ndata: {"a": 1}\n\n'
    assert encode_comment(b"hi") == b": hi\n\n"
