"""The JSON Schema of rule files, generated from the models, so that editors complete and check them.

``rules/rule.schema.json`` is its copy for editors; a test keeps the two equal.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from safeproxy.rulesets.model import RuleModel


class _Generator(GenerateJsonSchema):
    """Without titles made up from field names, and without defaults that stand for 'not given'."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        result = super().default_schema(schema)
        if result.get("default") in ("", [], None):
            result.pop("default", None)
        return result


def rule_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of a rule file: one rule, or a list of rules."""
    rule = TypeAdapter(RuleModel).json_schema(schema_generator=_Generator)
    definitions = rule.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "safeproxy rule file",
        "description": "One rule, or a list of rules.",
        "anyOf": [
            {"$ref": "#/$defs/RuleModel"},
            {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/RuleModel"}},
        ],
        "$defs": {**definitions, "RuleModel": rule},
    }


def schema_text() -> str:
    """The schema as it is written to ``rules/rule.schema.json``."""
    return json.dumps(rule_schema(), indent=2, ensure_ascii=False) + "\n"
