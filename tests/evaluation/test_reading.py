"""Labelled texts are read as they stand; what is wrong is named by line, and no text is shown."""

from __future__ import annotations

import gzip
import io
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.evaluation.reading import DataError, Record, records


def read(data: bytes | str) -> list[Record]:
    """The records of these lines."""
    raw = data if isinstance(data, bytes) else data.encode()
    return list(records(io.BufferedReader(io.BytesIO(raw)), "file"))


def test_spans_and_labels_are_read() -> None:
    """A span's fields after the third and the record's other keys are left out; blank lines count as lines."""
    lines = '\ufeff{"text": "é Ada", "spans": [[2, 5, "PERSON", "x"]], "source": 1}\n\n{"text": "", "labels": {"a": 1}}'
    first, second = read(lines)
    assert first == Record(1, "é Ada", ((2, 5, "PERSON"),), None)
    assert second == Record(3, "", None, {"a": 1.0})


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_gzip_is_told_by_its_first_bytes(pack: type) -> None:
    """Standard input has no name to tell it by."""
    assert [record.text for record in read(pack(b'{"text": "a", "spans": []}\n'))] == ["a"]


def test_no_lines_are_no_records() -> None:
    """An empty file is not an error of a line."""
    assert read("") == read(" \n\n") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("secret", "one JSON object a line, but at column 1: Expecting value"),
        ('{"text": "secret" ', "at column 19"),
        ("[" * 100_000, "nested too deeply"),
        ('{"text": "secret", "spans": [[' + "9" * 5000, "a number of too many digits"),
        ('["secret"]', '"text", got a list'),
        ('"secret"', '"text", got a string'),
        ("3", '"text", got a number'),
        ("null", '"text", got null'),
        ("true", '"text", got true or false'),
        ('{"secret": 1}', '"text", got an object without it'),
        ('{"text": 1}', 'an object whose "text" is not a string'),
        ('{"text": "secret"}', 'expected "spans" or "labels"'),
        (r'{"text": "secret \ud800", "spans": []}', "half of a surrogate pair"),
        ('{"text": "secret", "spans": {}}', '"spans" to be a list, got an object'),
        ('{"text": "secret", "spans": [[0, 6, "A"], [0, 7, "A"]]}', "spans[1]: expected [start, end, LABEL] with"),
        ('{"text": "secret", "spans": [[0, 7, "A"]]}', "<= 6, the text's length in code points, got [0, 7]"),
        ('{"text": "secret", "spans": [[3, 3, "A"]]}', "got [3, 3]"),
        ('{"text": "secret", "spans": [[-1, 3, "A"]]}', "got [-1, 3]"),
        ('{"text": "secret", "spans": [[0, 1]]}', "got something else"),
        ('{"text": "secret", "spans": [[0, 1.5, "A"]]}', "got something else"),
        ('{"text": "secret", "spans": [[false, true, "A"]]}', "got something else"),
        ('{"text": "secret", "spans": [[0, 1, ""]]}', "got something else"),
        ('{"text": "secret", "spans": [[0, 1, "secret\\u001b[2J"]]}', "got something else"),
        ('{"text": "secret", "spans": [{"start": 0, "end": 1, "label": "A"}]}', "got something else"),
        ('{"text": "secret", "labels": ["a"]}', '"labels" to be an object, got a list'),
        ('{"text": "secret", "labels": {"a": 1, "b": 1.5}}', "category 'b' to have a number from 0 to 1"),
        ('{"text": "secret", "labels": {"a": NaN}}', "category 'a'"),
        ('{"text": "secret", "labels": {"a": null}}', "leave it out where it is unknown"),
        ('{"text": "secret", "labels": {"\\n": 1}}', "the name of category 0"),
    ],
)
def test_a_bad_line_is_named_without_its_text(line: str, message: str) -> None:
    """File, line, and what was expected."""
    with pytest.raises(DataError) as caught:
        read('{"text": "a", "spans": []}\n' + line)
    told = str(caught.value)
    assert told.startswith("file:2: ")
    assert message in told
    assert "secret" not in told


def test_bytes_that_are_no_text_are_named() -> None:
    """Which byte, and where in the line."""
    with pytest.raises(DataError, match="file:1: expected UTF-8, got the byte 0xff at offset 10"):
        read(b'{"text": "\xff", "spans": []}')


@pytest.mark.parametrize("cut", [5, 25, -4])
def test_a_broken_gzip_file_is_an_error(cut: int) -> None:
    """Cut short anywhere, it says so."""
    with pytest.raises(DataError, match="file: cannot be read"):
        read(gzip.compress(b'{"text": "a", "spans": []}\n')[:cut])


@given(st.binary())
def test_any_bytes_are_records_or_an_error(data: bytes) -> None:
    """Nothing else comes of them."""
    with suppress(DataError):
        read(data)


@given(st.text(st.characters(codec="utf-8")), st.data())
def test_offsets_are_code_points(text: str, data: st.DataObject) -> None:
    """The span that was written is the span that is read."""
    if text:
        start = data.draw(st.integers(0, len(text) - 1))
        end = data.draw(st.integers(start + 1, len(text)))
        line = json.dumps({"text": text, "spans": [[start, end, "A"]]}, ensure_ascii=data.draw(st.booleans()))
        (record,) = read(line)
        assert (record.text, record.spans) == (text, ((start, end, "A"),))
