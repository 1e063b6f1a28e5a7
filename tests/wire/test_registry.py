"""Which requests are understood."""

from __future__ import annotations

import pytest

from safeproxy.wire.registry import dialect_for


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/chat/completions/",
        "/v1beta/openai/chat/completions",
        "/openai/deployments/gpt-4o/chat/completions",
        "/openai/v1/chat/completions",
    ],
)
def test_chat_completions_are_understood_wherever_they_are_served(path: str) -> None:
    """OpenAI's path and those of Azure, Gemini and others who speak the dialect."""
    dialect = dialect_for("POST", path)
    assert dialect is not None
    assert dialect.name == "openai_chat"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/chat/completions/x"),
        ("POST", "/x/v1/chat/completions"),
        ("POST", "/openai/deployments/a/b/chat/completions"),
        ("POST", "/"),
    ],
)
def test_other_requests_are_not(method: str, path: str) -> None:
    """What is not known is not guessed."""
    assert dialect_for(method, path) is None
