"""Answers in the proxy's own name."""

from __future__ import annotations

import json

import pytest

from safeproxy.shell.refusal import Refusal
from safeproxy.wire.registry import dialect_for


@pytest.mark.parametrize("dialect", [None, dialect_for("POST", "/v1/chat/completions")])
@pytest.mark.parametrize("status", [400, 413, 501, 503])
def test_the_body_is_an_error_object(dialect: object, status: int) -> None:
    """With and without a dialect the error has message, type, param and code."""
    body = Refusal(status, "some_code", 'No "way".').body(dialect)  # type: ignore[arg-type]
    error = json.loads(body)["error"]
    assert (error["message"], error["code"], error["param"]) == ('No "way".', "some_code", None)
    assert error["type"]


def test_too_many_requests_have_a_kind_of_their_own() -> None:
    """Without a dialect too."""
    assert json.loads(Refusal(429, "c", "No.").body(None))["error"]["type"] == "rate_limit_error"
