"""Says in plain words what is wrong with a rule, and what was expected, from what pydantic reports."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError

from safeproxy.rulesets.model import ContextModel, MatchSample, MissSample, OnModel, RuleModel, SamplesModel
from safeproxy.rulesets.yaml_lines import Document, Location, Place

#: The model of a mapping, by the last key that leads to it.
_MODELS: dict[str, type[BaseModel]] = {
    "context": ContextModel,
    "on": OnModel,
    "tests": SamplesModel,
    "match": MatchSample,
    "no_match": MissSample,
    "known_gap": MissSample,
}
_KINDS = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a mapping",
    type(None): "nothing",
}
#: What pydantic says differently from the rest of these messages.
_EXPECTED = {
    "string_type": "text (put it in quotes)",
    "tuple_type": "a list",
    "model_type": "a mapping",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
}
_SHOWN = 60


def describe(error: ValidationError, document: Document, top: Location) -> list[str]:
    """One line for each error: where, what was wrong, what was expected.

    ``top`` leads from the document's top to the rule that was judged.
    """
    faults = error.errors(include_url=False)
    locations = [fault["loc"] for fault in faults]
    lines = []
    for fault, location in zip(faults, locations, strict=True):
        if fault["type"] == "too_short" and any(other[: len(location)] == location != other for other in locations):
            continue  # pydantic leaves broken entries out and then misses them
        lines.append(_line(fault, document, (*top, *location)))
    return [f"{place}: {message}" for place, message in sorted(lines, key=_by_place)]


def _by_place(line: tuple[Place, str]) -> tuple[int, int]:
    return line[0].line, line[0].column


def _line(fault: Any, document: Document, location: Location) -> tuple[Place, str]:
    match fault["type"]:
        case "rule":
            return document.place((*location, *fault["ctx"]["at"])), fault["ctx"]["message"]
        case "extra_forbidden":
            key = str(location[-1])
            return document.key_place(location), f"unknown key {key!r}; expected {_nearest(key, location[:-1])}"
        case "missing":
            return document.place(location[:-1]), f"{_name(location)} is missing; expected it here"
        case "string_unicode":
            return document.place(location), f"{_name(location)} has half a surrogate pair; expected whole characters"
    return document.place(location), f"{_name(location)} is {_shown(fault['input'])}; expected {_wanted(fault)}"


def _wanted(fault: Any) -> str:
    if fault["type"] in _EXPECTED:
        return _EXPECTED[fault["type"]]
    wanted = str(fault["msg"])
    for start in ("Input should be ", "Input should ", "String should ", "Tuple should ", "Value should "):
        if wanted.startswith(start):
            wanted = wanted.removeprefix(start)
            return wanted if start == "Input should be " else f"it to {wanted}"
    return wanted


def _name(location: Location) -> str:
    """The key at the end of ``location``, with the index of an entry."""
    keys = [part for part in location if isinstance(part, str)]
    if not keys:
        return "this"
    last = location[-1]
    return f"{keys[-1]!r}" if isinstance(last, str) else f"entry {last + 1} of {keys[-1]!r}"


def _shown(value: object) -> str:
    if isinstance(value, list | dict) or value is None:
        return _KINDS[type(value)]
    text = repr(value)
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f"{text}, {_KINDS[type(value)]}" if not isinstance(value, str) else text


def _nearest(key: str, parent: Location) -> str:
    """The known key most like ``key``, or all of them."""
    leading = next((part for part in reversed(parent) if isinstance(part, str)), "")
    model = _MODELS.get(leading, RuleModel)
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(key, known, n=1)
    return f"{near[0]!r}?" if near else f"one of {', '.join(known)}"
