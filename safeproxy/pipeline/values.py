"""JSON text taken apart into what it says, and put together again with some of it replaced.

A filter reads each value twice: alone, and in its context, which is how the same JSON would read as plain text: after
its keys and the values before it, escapes decoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from safeproxy.wire.jsontext import quote

#: JSON inside a JSON string inside a JSON string ...: deeper than this it is taken as plain text.
NESTING = 8

#: Of a key at most so many code points are context: no rule looks farther back.
_KEY_REACH = 128
#: Keys are repeated before every value of theirs, up to so many code points beyond the values' own length.
_REPEATED = 4096

#: The strings and numbers of a JSON text; a string may lack its end if the text does.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|-?\d[\d.eE+-]*', re.DOTALL)
_CONTAINER = re.compile(r"\s*[\[{]")
_BRACKET = re.compile(r"[\[\]{}]")
_COLON = re.compile(r"\s*:")


def _literal(number: str) -> str:
    return number


# Numbers are only looked at as text, so none is too large. Line ends inside strings are common in models' JSON.
_DECODER = json.JSONDecoder(parse_int=_literal, parse_float=_literal, parse_constant=_literal, strict=False)
_STRING = json.JSONDecoder(strict=False)


class TooManyValuesError(Exception):
    """The JSON text has more values than it may have. Never crosses the pipeline's border."""


@dataclass(slots=True)
class Value:
    """A string or a number: ``text`` is what it says, ``new`` what it shall say.

    ``keys`` are the keys it stands under, its own last, at most two; an array's elements have the array's. ``is_key``
    says that it is a key itself. ``start`` is its position in the text of `Values.in_context`.
    """

    token: str
    text: str
    keys: tuple[str, ...]
    is_key: bool
    new: str = ""
    start: int = 0

    @property
    def is_number(self) -> bool:
        """Whether it is a number, which stays one."""
        return not self.token.startswith('"')

    def written(self) -> str:
        """The token that stands in its place."""
        if self.new == self.text:
            return self.token
        return self.new if self.is_number else quote(self.new)


@dataclass(slots=True)
class _Nested:
    """A string that is JSON itself, in parts."""

    token: str
    text: str
    parts: list[_Part]


_Part = str | Value | _Nested


@dataclass(slots=True)
class Values:
    """The values of a JSON text in order, nested ones too; empty strings, ``true``, ``false`` and ``null`` left out.

    Broken JSON is taken apart as well as it goes.
    """

    _parts: list[_Part]
    _limit: int
    found: list[Value] = field(default_factory=list)

    @classmethod
    def of(cls, text: str, limit: int) -> Values:
        """Take a text apart. Raises TooManyValuesError when it has more than ``limit`` values."""
        values = cls([], limit)
        values._parts = values._apart(text, (), NESTING)
        return values

    def text(self) -> str:
        """The JSON text with every value as it shall be. All else stays as it is, white space and spelling included."""
        return _joined(self._parts)

    def in_context(self) -> str:
        """All values but keys, each after the keys it stands under: ``"passport": {"number": "..."}, ...``.

        Sets where in it each value starts. Its length is linear in that of the JSON text, whatever the keys are.
        """
        pieces: list[str] = []
        at = 0
        values = [value for value in self.found if not value.is_key]
        room = sum(len(value.text) for value in values) + _REPEATED
        before: tuple[str, ...] = ()
        for value in values:
            keys = value.keys
            if room <= 0:
                keys = () if keys == before else keys[-1:]
            before = value.keys
            head = " {".join(f'"{key[-_KEY_REACH:]}":' for key in keys) + ' "' if keys else '"'
            room -= len(head)
            value.start = at + len(head)
            pieces += head, value.text, '", '
            at = value.start + len(value.text) + 3
        return "".join(pieces)

    def _apart(self, text: str, outer: tuple[str, ...], nesting: int) -> list[_Part]:
        parts: list[_Part] = []
        around: list[tuple[str, ...]] = []  # for each container that is open: the keys it stands under
        keys, at = outer, 0
        for match in _TOKEN.finditer(text):
            gap, token = text[at : match.start()], match.group()
            at = match.end()
            for bracket in _BRACKET.findall(gap):
                if bracket in "[{":
                    around.append(keys)
                else:
                    keys = around.pop() if around else outer
            said = _decoded(token)
            is_key = token.startswith('"') and _COLON.match(text, at) is not None
            parts.append(gap)
            parts.append(self._part(token, said, keys, is_key=is_key, nesting=nesting))
            if is_key:
                keys = (*(around[-1] if around else outer)[-1:], said)
        parts.append(text[at:])
        return parts

    def _part(self, token: str, said: str, keys: tuple[str, ...], *, is_key: bool, nesting: int) -> _Part:
        if not said:
            return token
        if nesting and token.startswith('"') and is_json_container(said):
            return _Nested(token, said, self._apart(said, keys, nesting - 1))
        value = Value(token, said, keys, is_key, said)
        if len(self.found) == self._limit:
            raise TooManyValuesError
        self.found.append(value)
        return value


def _joined(parts: Iterable[_Part]) -> str:
    return "".join(
        part if isinstance(part, str) else part.written() if isinstance(part, Value) else _rewritten(part)
        for part in parts
    )


def _rewritten(nested: _Nested) -> str:
    new = _joined(nested.parts)
    return nested.token if new == nested.text else quote(new)


def is_json(text: str) -> bool:
    """Whether the text is valid JSON of any type."""
    try:
        _DECODER.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def is_json_container(text: str) -> bool:
    """Whether the text is one complete JSON object or array."""
    return _CONTAINER.match(text) is not None and is_json(text)


def _decoded(token: str) -> str:
    """What a string token says; the token itself if it is broken, or a number."""
    if not token.startswith('"'):
        return token
    closed = token if len(token) > 1 and token.endswith('"') else token.rstrip("\\") + '"'
    try:
        value = _STRING.decode(closed)
    except ValueError:
        return token
    return value if isinstance(value, str) else token
