"""Reads labelled texts: JSON lines, plain or gzip. An error names file and line, and never shows the text."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from safeproxy.errors import SafeproxyError

_GZIP_MAGIC = b"\x1f\x8b"


class DataError(SafeproxyError):
    """The labelled texts cannot be used; the message names file, line and what was expected."""


class GoldSpan(NamedTuple):
    """A span that whoever labelled the text marked: half open, in code points."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled text. ``spans`` or ``labels`` are None where the line says nothing of them: unknown, not empty.

    ``labels`` gives the degree, 0 to 1, of the categories that are known; ``line`` counts from 1.
    """

    line: int
    text: str
    spans: tuple[GoldSpan, ...] | None
    labels: dict[str, float] | None


def records(stream: io.BufferedReader, name: str) -> Iterator[Record]:
    """The records of the lines of ``stream``, which is unpacked if it is gzip; blank lines are left out.

    ``name`` is what errors call the stream. Raises DataError for a line that is no record.
    """
    for number, line in enumerate(_lines(stream, name), 1):
        if not line.isspace():
            try:
                yield _record(number, line)
            except DataError as error:
                raise DataError(f"{name}:{number}: {error}") from None


def _lines(stream: io.BufferedReader, name: str) -> Iterator[bytes]:
    try:
        packed = stream.peek(2)[:2] == _GZIP_MAGIC
        yield from gzip.GzipFile(fileobj=stream) if packed else stream
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name}: cannot be read: {error}") from None


def _record(number: int, line: bytes) -> Record:
    """The record of a line; DataError says what is wrong without quoting it."""
    value = _parsed(line)
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise DataError(f'expected an object with the string "text", got {_kind(value)}')
    if "spans" not in value and "labels" not in value:
        raise DataError('expected "spans" or "labels" beside "text"; an empty list of spans means that there are none')
    text = value["text"]
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise DataError('expected "text" to be Unicode text, got half of a surrogate pair')
    spans = _spans(value["spans"], len(text)) if "spans" in value else None
    labels = _labels(value["labels"]) if "labels" in value else None
    return Record(number, text, spans, labels)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"expected UTF-8, got the byte 0x{line[error.start]:02x} at offset {error.start}") from None
    except json.JSONDecodeError as error:
        raise DataError(f"expected one JSON object a line, but at column {error.colno}: {error.msg}") from None
    except ValueError:
        raise DataError("expected one JSON object a line, got one with a number of too many digits") from None
    except RecursionError:
        raise DataError("expected one JSON object a line, got one that is nested too deeply") from None


def _spans(value: Any, length: int) -> tuple[GoldSpan, ...]:
    if not isinstance(value, list):
        raise DataError(f'expected "spans" to be a list, got {_kind(value)}')
    return tuple(_span(index, span, length) for index, span in enumerate(value))


def _span(index: int, value: Any, length: int) -> GoldSpan:
    """The span; what follows its third field is left out."""
    got = "something else"
    if isinstance(value, list) and [type(field) for field in value[:3]] == [int, int, str] and _is_name(value[2]):
        start, end, label = value[:3]
        if 0 <= start < end <= length:
            return GoldSpan(start, end, label)
        got = f"[{start}, {end}]"
    raise DataError(
        f"spans[{index}]: expected [start, end, LABEL] with 0 <= start < end <= {length}, "
        f"the text's length in code points, got {got}"
    )


def _labels(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise DataError(f'expected "labels" to be an object, got {_kind(value)}')
    for index, (category, degree) in enumerate(value.items()):
        if not _is_name(category):
            raise DataError(f"labels: expected the name of category {index} to be printable and not empty")
        if not isinstance(degree, (int, float)) or not 0 <= degree <= 1:
            raise DataError(
                f"labels: expected category {category!r} to have a number from 0 to 1; leave it out where it is unknown"
            )
    return {category: float(degree) for category, degree in value.items()}


def _is_name(value: str) -> bool:
    """Whether it can be a label: it is going to be printed."""
    return bool(value) and value.isprintable() and len(value) <= 100


def _kind(value: Any) -> str:
    """What sort of JSON value it is, without showing it."""
    if isinstance(value, dict):
        return "an object without it" if "text" not in value else 'an object whose "text" is not a string'
    kinds = {str: "a string", list: "a list", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
