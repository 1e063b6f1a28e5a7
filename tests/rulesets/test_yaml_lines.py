"""One YAML file as plain data: what the values are, where they stand, and what a file must not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from safeproxy.errors import RuleError
from safeproxy.rulesets import yaml_lines
from safeproxy.rulesets.yaml_lines import Document, Place, read_text, read_yaml


def read(folder: Path, content: str | bytes) -> Document:
    """A file with this content, read."""
    path = folder / "a.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_yaml(path)


def place(document: Document, *location: str | int) -> tuple[int, int]:
    """Line and column of a value."""
    found = document.place(location)
    return found.line, found.column


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, None) for word in ("~", "null", "Null", "NULL", "")),
        *((word, word) for word in ("yes", "No", "on", "OFF", "y", "tRUE", "nULL")),
        ("-12", -12),
        ("007", 7),
        ("9" * 18, int("9" * 18)),
        ("9" * 19, "9" * 19),
        (".5", 0.5),
        ("-1.", -1.0),
        ("1.5e-3", 0.0015),
        *((word, word) for word in ("1e5", ".", "0x1f", "0o7", "1_000", "12:30", ".inf", "2026-01-01", "<<", "=")),
        ("'true'", "true"),
        ('"5"', "5"),
        ('""', ""),
        ("! 5", "5"),
        ("!!str 5", "5"),
        ("!!str", ""),
        ('"\\u00e9\\n"', "\u00e9\n"),
        ("|\n  a\n  b\n", "a\nb\n"),
        (">-\n  a\n  b\n", "a b"),
    ],
)
def test_a_plain_scalar_is_what_its_form_says_and_all_else_is_text(tmp_path: Path, written: str, value: Any) -> None:
    """The values of YAML 1.2's core schema, and no more of YAML 1.1's."""
    data: Any = read(tmp_path, f"k: {written}").data
    assert data == {"k": value}
    assert type(data["k"]) is type(value)


def test_a_merge_key_is_a_key_like_any_other(tmp_path: Path) -> None:
    """Nothing is merged behind the author's back."""
    document = read(tmp_path, "- &a {x: 1}\n- {<<: *a, y: !!map {z: !!seq [2]}}\n")
    assert document.data == [{"x": 1}, {"<<": {"x": 1}, "y": {"z": [2]}}]


def test_keys_and_values_have_their_places(tmp_path: Path) -> None:
    """Lines and columns from 1; columns count characters, not bytes."""
    document = read(tmp_path, "- \u00e9\u00e9: 'x'\n  list:\n    - a\n    - {b: 5}\n")
    assert place(document, 0) == (1, 3)
    assert place(document, 0, "\u00e9\u00e9") == (1, 7)
    assert place(document, 0, "list", 0) == (3, 7)
    assert place(document, 0, "list", 1, "b") == (4, 11)
    assert str(document.key_place((0, "list"))) == f"{tmp_path}/a.yaml:2:3"
    assert document.key_place((0, "list", 1, "b")).column == 8


def test_what_is_not_there_is_placed_at_what_is_around_it(tmp_path: Path) -> None:
    """A missing key at its mapping; in an empty file all is at its start."""
    document = read(tmp_path, "a: 1\nb:\n  c: 2\n")
    assert place(document, "b", "no", "further") == (3, 3)
    assert document.key_place(("b", "no")) == document.place(("b",))
    assert read(tmp_path, "# nothing\n").place(("a", 0)) == Place(tmp_path / "a.yaml", 1, 1)


def test_an_alias_is_placed_where_it_stands(tmp_path: Path) -> None:
    """What is wrong with its use is not wrong with the anchor; what is in it is placed at the alias."""
    document = read(tmp_path, "a: &n [1, 2]\nb: *n\n")
    assert document.data == {"a": [1, 2], "b": [1, 2]}
    assert place(document, "b") == (2, 4)
    assert place(document, "b", 1) == (2, 4)


def test_aliases_count_with_all_that_is_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of a list of three and an alias of it are nine values; the message stands at the one too many."""
    monkeypatch.setattr(yaml_lines, "MAX_NODES", 9)
    assert read(tmp_path, "- &n [1, 2, 3]\n- *n\n").data == [[1, 2, 3], [1, 2, 3]]
    monkeypatch.setattr(yaml_lines, "MAX_NODES", 8)
    with pytest.raises(RuleError, match=r"a\.yaml:2:3: more than 8 values, aliases expanded"):
        read(tmp_path, "- &n [1, 2, 3]\n- *n\n")


def test_nesting_is_allowed_up_to_its_limit(tmp_path: Path) -> None:
    """And refused one level deeper."""
    deepest = yaml_lines.MAX_DEPTH + 1
    assert read(tmp_path, "[" * deepest + "]" * deepest).data is not None
    with pytest.raises(RuleError, match="nested more than 32 deep"):
        read(tmp_path, "[" * (deepest + 1) + "]" * (deepest + 1))


@pytest.mark.parametrize(("size", "fits"), [(20, True), (21, False)])
def test_a_file_may_be_as_long_as_its_limit(tmp_path: Path, size: int, fits: bool) -> None:
    """In bytes; what was expected is in the message."""
    path = tmp_path / "words.txt"
    path.write_bytes(b"\xc3\xa9" * (size // 2) + b"a" * (size % 2))
    if fits:
        assert len(read_text(path, 20, "a word file")) == 10
    else:
        with pytest.raises(RuleError, match=r"words\.txt: 21 bytes are too many for a word file; expected at most 20"):
            read_text(path, 20, "a word file")


def test_broken_utf_8_is_placed_by_its_characters(tmp_path: Path) -> None:
    """Those before it on its line, a cut character at the end too; a byte order mark is left out."""
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffone\n\u00e9".encode() + b"\xe2\x82")
    with pytest.raises(RuleError, match=r"words\.txt:2:2: the byte 0xe2 is not UTF-8"):
        read_text(path, 100, "a word file")
    path.write_bytes("\ufeffone\n\ufeff".encode())
    assert read_text(path, 100, "a word file") == "one\n\ufeff"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, and a name the system cannot even look up."""
    for path in (tmp_path, tmp_path / ("n" * 5000)):
        with pytest.raises(RuleError, match=r"expected a rule file"):
            read_text(path, 100, "a rule file")
