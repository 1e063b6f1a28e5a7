"""What is wrong with a rule, in plain words: which place, which name, what was found, what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from safeproxy.rulesets.faults import describe
from safeproxy.rulesets.model import RuleModel
from safeproxy.rulesets.yaml_lines import Document, Location, Place
from tests.rulesets.test_model import LEAST

FILE = Path("a.yaml")


def document(places: dict[Location, tuple[int, int]]) -> Document:
    """A file in which these values stand at these lines and columns; the rest is at its start."""
    made = Document(FILE)
    for location, (line, column) in places.items():
        made.note_value(location, Place(FILE, line, column))
    return made


def faults(rule: dict[str, Any], found_in: Document | None = None, top: Location = ()) -> list[str]:
    """What is said of a broken rule."""
    with pytest.raises(ValidationError) as caught:
        RuleModel.model_validate(rule)
    return describe(caught.value, found_in or Document(FILE), top)


def fault(**keys: Any) -> str:
    """The only fault of a rule with these keys, without its place."""
    (line,) = faults({**LEAST, **keys})
    return line.removeprefix("a.yaml:1:1: ")


def test_faults_are_told_in_the_order_of_the_file() -> None:
    """By line, then by column, not in the order of the model."""
    where = document({("score",): (2, 20), ("title",): (10, 1), ("flags",): (2, 9)})
    lines = faults({**LEAST, "title": 1, "flags": "q", "score": "x"}, where)
    assert [line.split(": ")[0] for line in lines] == ["a.yaml:2:9", "a.yaml:2:20", "a.yaml:10:1"]


def test_places_are_looked_up_from_the_documents_top() -> None:
    """A rule in a list is found by its index; what is missing is placed at the rule."""
    where = document({(1,): (7, 3), (1, "words", 0): (9, 5), ("words", 0): (1, 1)})
    lines = faults({"id": "a", "entity": "A", "category": "other", "words": [5]}, where, (1,))
    assert lines == [
        "a.yaml:7:3: 'title' is missing; expected it here",
        "a.yaml:9:5: entry 1 of 'words' is 5, a number; expected text (put it in quotes)",
    ]


def test_an_unknown_key_is_placed_at_the_key() -> None:
    """Its value is not what is wrong."""
    where = document({("patern",): (3, 9)})
    where.note_key(("patern",), Place(FILE, 3, 1))
    assert faults({**LEAST, "patern": "x"}, where) == ["a.yaml:3:1: unknown key 'patern'; expected 'pattern'?"]


@pytest.mark.parametrize(
    ("keys", "nearest"),
    [
        ({"context": {"words": ["a"], "bonos": 1}}, "'bonos'; expected 'bonus'?"),
        ({"on": {"chanels": []}}, "'chanels'; expected 'channels'?"),
        ({"tests": {"zzz": []}}, "'zzz'; expected one of match, no_match, known_gap"),
        ({"tests": {"match": [{"text": "a", "spans": [[0, 1]], "whi": "x"}]}}, "'whi'; expected one of text, spans"),
        ({"tests": {"known_gap": [{"text": "a", "why": "x", "spans": []}]}}, "'spans'; expected one of text, why"),
        ({"valdate": "luhn"}, "'valdate'; expected 'validate'?"),
    ],
)
def test_an_unknown_key_is_compared_with_those_of_its_own_mapping(keys: dict[str, Any], nearest: str) -> None:
    """As they are written in files; all of them are named where none is near."""
    assert fault(**keys) == f"unknown key {nearest}"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (5, "5, a number"),
        (True, "True, a truth value"),
        (None, "nothing"),
        (["secret"], "a list"),
        ({"a": 1}, "a mapping"),
    ],
)
def test_a_value_is_told_with_its_kind(value: object, said: str) -> None:
    """An author sees that `5` was no text; what is in a list is not repeated."""
    assert fault(title=value) == f"'title' is {said}; expected text (put it in quotes)"


def test_a_long_value_is_cut_short() -> None:
    """Its beginning is enough to know it by."""
    said = fault(category="x" * 1000)
    assert "'category' is '" + "x" * 59 + "...; expected 'personal'" in said


def test_only_what_is_wrong_by_itself_is_told() -> None:
    """A list whose only entry is broken is not said to be empty as well; an empty one is."""
    assert len(faults({"id": "a", "title": "A", "entity": "A", "category": "other", "words": [None]})) == 1
    assert (
        fault(on={"channels": []})
        == "'channels' is a list; expected it to have at least 1 item after validation, not 0"
    )


def test_half_a_surrogate_pair_is_not_repeated() -> None:
    """It could not be printed."""
    assert fault(title="a\ud83d") == "'title' has half a surrogate pair; expected whole characters"
