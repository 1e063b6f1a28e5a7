"""JSON as it stands on the wire: read so that nothing is lost, written so that strict clients accept it.

Limits: nesting of at most `MAX_DEPTH` levels, integers of at most 4,300 digits (Python's own limit).
"""

from __future__ import annotations

import json
import math
import re
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

#: Objects and arrays inside each other; real answers stay below twenty.
MAX_DEPTH = 64

#: Line ends to some clients' line readers (str.splitlines), and halves of surrogate pairs, which UTF-8 cannot carry.
_UNSAFE = re.compile("[\x85\u2028\u2029\ud800-\udfff]")
_UNSAFE_BYTES = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")
_LOWEST_HIGH, _HIGHEST_HIGH = "\ud800", "\udbff"
_LOWEST_LOW, _HIGHEST_LOW = "\udc00", "\udfff"


class _DuplicateKeyError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _DuplicateKeyError
    return result


def _finite(literal: str) -> float:
    value = float(literal)
    if math.isinf(value):
        raise ValueError("a number beyond the range of a double")
    return value


_UNIQUE = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite)
_LENIENT = json.JSONDecoder(parse_float=_finite)
_COMPACT_ASCII = json.JSONEncoder(separators=(",", ":"), check_circular=False)
_COMPACT = json.JSONEncoder(separators=(",", ":"), check_circular=False, ensure_ascii=False)


def parse(data: bytes) -> tuple[Any, bool]:
    """The value of a JSON text, and whether the text has one meaning only.

    With a key twice in an object, one client reads the first value and another the last; with bytes that are no UTF-8
    some replace and some refuse. Such a text must not be passed on as it came. Raises ValueError when it is no JSON or
    is nested too deeply.
    """
    certain = True
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode(errors="replace")
        certain = False
    try:
        try:
            value = _UNIQUE.decode(text)
        except _DuplicateKeyError:
            value = _LENIENT.decode(text)
            certain = False
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if _deeper_than(value, MAX_DEPTH):
        raise ValueError("nested too deeply")
    return value, certain


def _deeper_than(value: Any, limit: int) -> bool:
    """Whether objects and arrays stand in each other more than ``limit`` deep."""
    layer = [value] if isinstance(value, (dict, list)) else []
    for _ in range(limit):
        if not layer:
            return False
        layer = [
            child
            for parent in layer
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
    return bool(layer)


def is_safe(data: bytes) -> bool:
    """Whether a JSON text may be passed on as it came: some clients take U+0085, U+2028 and U+2029 for line ends."""
    return data.isascii() or _UNSAFE_BYTES.search(data) is None


def dump(value: Any, *, ascii_only: bool) -> bytes:
    """Compact JSON on one line; with ``ascii_only`` everything else is escaped, as the upstream did."""
    if ascii_only:
        return _COMPACT_ASCII.encode(value).encode()
    return _safe(_COMPACT.encode(value))


def dump_text(text: str, *, ascii_only: bool) -> bytes:
    """The body of a JSON string, without its quotes."""
    if ascii_only:
        return encode_basestring_ascii(text)[1:-1].encode()
    return _safe(encode_basestring(text)[1:-1])


def quote(text: str) -> str:
    """A JSON string, everything beyond ASCII kept but lone halves of surrogate pairs."""
    return _UNSAFE.sub(_escaped, encode_basestring(text))


def _safe(text: str) -> bytes:
    if not text.isascii():
        text = _UNSAFE.sub(_escaped, text)
    return text.encode()


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def split_half(text: str) -> tuple[str, str]:
    """``text`` less a high surrogate at its end, and that: the next piece may bring its other half."""
    if text and _LOWEST_HIGH <= text[-1] <= _HIGHEST_HIGH:
        return text[:-1], text[-1]
    return text, ""


def join_half(half: str, text: str) -> str:
    """``half``, a high surrogate or nothing, before ``text``; with its other half it becomes one code point."""
    if half and text and _LOWEST_LOW <= text[0] <= _HIGHEST_LOW:
        return chr(0x10000 + ((ord(half) - 0xD800) << 10) + ord(text[0]) - 0xDC00) + text[1:]
    return half + text


def join_pieces(pieces: list[str]) -> str:
    """The pieces as one text, halves of surrogate pairs that meet joined."""
    text = "".join(pieces)
    if len(pieces) > 1 and not text.isascii() and _UNSAFE.search(text):
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text
