"""Reading what a client sent."""

from __future__ import annotations

import pytest

from safeproxy.shell.client import model_of, parsed


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model": "gpt-x"}', "gpt-x"),
        (b'{"messages": [{"model": "no"}]}', None),
        (b'{"model": 7}', None),
        (b'["model"]', None),
        (b'"model"', None),
        (b"{broken", None),
        (b"", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
    ],
)
def test_the_model_is_read_from_json(body: bytes, model: str | None) -> None:
    """Whatever is no JSON object with a string under 'model' names no model; nothing raises."""
    assert model_of(parsed(body)) == model
