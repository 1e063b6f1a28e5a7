"""The JSON Schema of rule files says what the model says, as far as a schema can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from safeproxy.rulesets.schema import rule_schema, schema_text
from tests.rulesets.test_model import BROKEN, LEAST, SOUND

COMMITTED = Path(__file__).parents[2] / "rules" / "rule.schema.json"
VALIDATOR = Draft202012Validator(rule_schema())


def test_the_committed_schema_is_the_generated_one() -> None:
    """After a change of the model, write `schema_text()` to rules/rule.schema.json again."""
    assert COMMITTED.read_text(encoding="utf-8") == schema_text()


def test_the_schema_is_a_schema() -> None:
    """It keeps to the draft it names."""
    Draft202012Validator.check_schema(json.loads(schema_text()))


@pytest.mark.parametrize("keys", SOUND)
def test_what_the_model_takes_the_schema_takes(keys: dict[str, Any]) -> None:
    """Alone and in a list."""
    assert VALIDATOR.is_valid(keys)
    assert VALIDATOR.is_valid([keys, keys])


@pytest.mark.parametrize(("keys", "message"), BROKEN)
def test_what_the_model_refuses_the_schema_refuses(keys: dict[str, Any], message: str) -> None:
    """Alone and in a list behind a sound rule; `message` is the model's business."""
    assert not VALIDATOR.is_valid(keys), message
    assert not VALIDATOR.is_valid([LEAST, keys]), message


def test_every_key_has_a_description() -> None:
    """Editors show it."""
    for name, model in rule_schema()["$defs"].items():
        for key, schema in model.get("properties", {}).items():
            assert schema.get("description"), f"{name}.{key}"
