"""Reading one YAML file into plain data, with the place of every key and value.

The dialect is the core schema of YAML 1.2 as far as it matters here: only ``true`` and ``false`` are booleans,
so that the key ``on`` and the word ``no`` stay text. Merge keys, tags and dates are left out; aliases are
expanded up to a bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from safeproxy.errors import RuleError

#: Largest rule file read, in bytes.
MAX_FILE_BYTES = 4 * 2**20
#: Values in one file after aliases are expanded; the largest inline word list is 200,000.
MAX_NODES = 300_000
#: Deepest nesting; a rule's spans, the deepest thing there is, are at 8.
MAX_DEPTH = 32

_TAG = "tag:yaml.org,2002:"
#: What an untagged plain scalar is, by its form; anything else is text.
_PLAIN = (
    ("null", re.compile(r"~|null|Null|NULL|")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("int", re.compile(r"[-+]?[0-9]{1,18}")),
    ("float", re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]{1,3})?")),
)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Which code points YAML 1.2 refuses (section 5.1, c-printable).
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: Way from the top of a file to a value: keys and list indexes.
Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: a file, and the line and column (from 1) in it."""

    path: Path
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(slots=True)
class Document:
    """One file's data (mappings, lists, text, numbers, booleans, None) and the places of its parts."""

    path: Path
    data: object = None
    _keys: dict[Location, Place] = field(default_factory=dict)
    _values: dict[Location, Place] = field(default_factory=dict)

    def note_key(self, location: Location, place: Place) -> None:
        """Remember where the key at the end of ``location`` stands."""
        self._keys[location] = place

    def note_value(self, location: Location, place: Place) -> None:
        """Remember where the value at ``location`` stands."""
        self._values[location] = place

    def place(self, location: Location) -> Place:
        """Where the value at ``location`` stands, or the nearest thing around it that exists."""
        while location and location not in self._values:
            location = location[:-1]
        return self._values.get(location, Place(self.path))

    def key_place(self, location: Location) -> Place:
        """Where the key of the value at ``location`` stands."""
        return self._keys.get(location) or self.place(location)


def read_yaml(path: Path, what: str = "a rule file", holds: str = "a rule, or a list of rules") -> Document:
    """Read the one YAML document in ``path``; ``what`` the file is and ``holds`` is for errors.

    Raises RuleError with file, line and column for whatever is not plain YAML in UTF-8 within the limits above.
    """
    text = read_text(path, MAX_FILE_BYTES, what)
    found = _UNPRINTABLE.search(text)
    if found:
        place = _place_of(path, text, found.start())
        raise RuleError(f"{place}: the character {found.group()!a} is not allowed; expected printable text")
    try:
        return _Reader(path, yaml.parse(text, Loader=_LOADER), holds).document()
    except yaml.MarkedYAMLError as error:
        raise RuleError(_syntax_message(path, text, error, holds)) from None
    except yaml.YAMLError:
        raise RuleError(f"{Place(path)}: not readable as YAML; expected {holds}") from None


def read_text(path: Path, limit: int, what: str) -> str:
    """The text of a UTF-8 file of at most ``limit`` bytes, without a byte order mark.

    Raises RuleError if it cannot be read, is larger (judged before it is read) or is not UTF-8.
    """
    try:
        if not path.is_file():
            raise RuleError(f"{path}: there is no such file; expected {what}")
        size = path.stat().st_size
        if size <= limit:
            with path.open("rb") as file:
                data = file.read(limit + 1)
            size = len(data)
    except OSError as error:
        raise RuleError(f"{path}: cannot be read ({error.strerror}); expected {what}") from None
    if size > limit:
        raise RuleError(f"{path}: {size:,} bytes are too many for {what}; expected at most {limit:,}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _place_of(path, data[: error.start].decode("utf-8"), None)
        raise RuleError(f"{place}: the byte 0x{data[error.start]:02x} is not UTF-8; expected text in UTF-8") from None
    return text.removeprefix("\ufeff")


def _place_of(path: Path, text: str, offset: int | None) -> Place:
    before = text[:offset]
    return Place(path, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def _syntax_message(path: Path, text: str, error: yaml.MarkedYAMLError, holds: str) -> str:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"{Place(path)}: {error.problem}; expected YAML"
    place = Place(path, mark.line + 1, mark.column + 1)
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: mark.column + 1]:
        return f"{place}: a tab stands where YAML wants spaces; expected spaces for indentation"
    problem = " ".join(str(part) for part in (error.context, error.problem) if part)
    return f"{place}: not YAML: {problem}; expected {holds}"


class _Reader:
    """Builds plain data from the parser's events, and notes the places.

    PyYAML's own composer calls itself for every level of nesting and libyaml's crashes on a deep one, hence this.
    An alias is the same object once more, not a copy, but counts with all that is in it.
    """

    def __init__(self, path: Path, events: Iterator[yaml.Event], holds: str) -> None:
        self._document = Document(path)
        self._events = events
        self._holds = holds
        self._left = MAX_NODES
        self._anchors: dict[str, tuple[object, int]] = {}

    def document(self) -> Document:
        """Read all events: one document, or none."""
        begun = False
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if begun:
                    raise RuleError(
                        f"{self._place(event)}: a second YAML document begins; "
                        f"expected one document, with {self._holds}"
                    )
                begun = True
                self._document.data = self._value(next(self._events), (), 0)
        return self._document

    def _value(self, event: yaml.Event, location: Location, depth: int) -> object:
        place = self._place(event)
        self._document.note_value(location, place)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), place)
        left = self._left
        self._spend(1, place)
        if depth > MAX_DEPTH:
            raise RuleError(f"{place}: nested more than {MAX_DEPTH} deep; expected {self._holds}")
        value: object
        if isinstance(event, yaml.MappingStartEvent) and event.tag in (None, "!", f"{_TAG}map"):
            value = self._mapping(location, depth)
        elif isinstance(event, yaml.SequenceStartEvent) and event.tag in (None, "!", f"{_TAG}seq"):
            value = self._sequence(location, depth)
        elif isinstance(event, yaml.ScalarEvent):
            value = _scalar(event, place)
        else:
            raise _refused_tag(event, place)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, left - self._left
        return value

    def _sequence(self, location: Location, depth: int) -> list[object]:
        result: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            result.append(self._value(event, (*location, len(result)), depth + 1))
        return result

    def _mapping(self, location: Location, depth: int) -> dict[str, object]:
        result: dict[str, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            place = self._place(event)
            key = _scalar(event, place) if isinstance(event, yaml.ScalarEvent) else None
            if not isinstance(key, str):
                raise RuleError(f"{place}: this key is not text; expected the name of a key")
            here = (*location, key)
            if key in result:
                first = self._document.key_place(here)
                raise RuleError(f"{place}: the key {key!r} is given twice, first at {first}; expected it once")
            self._document.note_key(here, place)
            result[key] = self._value(next(self._events), here, depth + 1)
        return result

    def _alias(self, name: str, place: Place) -> object:
        if name not in self._anchors:
            raise RuleError(f"{place}: the alias {name[:40]!r} stands for nothing; expected its anchor before it")
        value, size = self._anchors[name]
        self._spend(size, place)
        return value

    def _spend(self, count: int, place: Place) -> None:
        self._left -= count
        if self._left < 0:
            raise RuleError(f"{place}: more than {MAX_NODES:,} values, aliases expanded; expected a smaller file")

    def _place(self, event: yaml.Event) -> Place:
        mark: Any = event.start_mark
        return Place(self._document.path, mark.line + 1, mark.column + 1)


def _scalar(event: yaml.ScalarEvent, place: Place) -> object:
    """The value of a scalar: text, a number, a boolean or None. No tag but ``!!str`` is needed, none is taken."""
    text = str(event.value)
    if event.tag not in (None, "!", f"{_TAG}str"):
        raise _refused_tag(event, place)
    if event.tag is not None or not event.implicit[0]:
        return text
    match next((kind for kind, form in _PLAIN if form.fullmatch(text)), "str"):
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text)
        case "float":
            return float(text)
        case _:
            return text


def _refused_tag(event: Any, place: Place) -> RuleError:
    return RuleError(f"{place}: the tag {str(event.tag)[:80]!r} is not allowed; expected plain YAML without tags")
