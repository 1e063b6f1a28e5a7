"""Which requests are understood, and which answers."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict

from safeproxy.wire.registry import CHAT, dialect_for, dialect_of, error_dialect, route_for


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "openai_chat"),
        ("/chat/completions", "openai_chat"),
        ("/v1/chat/completions/", "openai_chat"),
        ("/v1beta/openai/chat/completions", "openai_chat"),
        ("/openai/deployments/gpt-4o/chat/completions", "openai_chat"),
        ("/openai/v1/chat/completions", "openai_chat"),
        ("/v1/completions", "openai_completions"),
        ("/openai/deployments/gpt-4o/completions", "openai_completions"),
        ("/v1/responses", "openai_responses"),
        ("/openai/responses", "openai_responses"),
        ("/openai/v1/responses", "openai_responses"),
        ("/v1/responses/resp_1/cancel", "openai_responses"),
        ("/v1/conversations/conv_1/items", "openai_responses"),
        ("/v1/messages", "anthropic"),
        ("/messages", "anthropic"),
        ("/v1/models/gemini-x:generateContent", "gemini"),
        ("/v1beta/models/gemini-x:generateContent", "gemini"),
        ("/v1beta/models/gemini-x:streamGenerateContent", "gemini_array"),
        ("/v1/projects/p/locations/l/publishers/google/models/g:streamGenerateContent", "gemini_array"),
        ("/api/chat", "ollama"),
        ("/api/generate", "ollama"),
        ("/v2/chat", "cohere"),
        ("/v1/audio/transcriptions", "transcription"),
    ],
)
def test_answers_are_understood_wherever_they_are_asked_for(path: str, name: str) -> None:
    """The APIs' own paths and those of who speaks the same."""
    dialect = dialect_for("POST", path)
    assert dialect is not None
    assert dialect.name == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/responses/resp_1", "openai_responses"),
        ("/v1/responses/resp_1/input_items", "openai_responses"),
        ("/v1/conversations/conv_1/items/msg_1", "openai_responses"),
        ("/v1/chat/completions/c_1", "openai_chat"),
        ("/v1/chat/completions/c_1/messages", "openai_chat"),
    ],
)
def test_what_was_stored_is_read_like_what_was_said(path: str, name: str) -> None:
    """These are other doors to the same text."""
    dialect = dialect_for("GET", path)
    assert dialect is not None
    assert dialect.name == name


@pytest.mark.parametrize("path", ["/v1/files/file-1/content", "/v1/messages/batches/b/results"])
def test_results_of_batches_are_files_of_answers(path: str) -> None:
    """One a line."""
    route = route_for("GET", path)
    assert route is not None
    assert route.lines


@pytest.mark.parametrize(
    ("query", "name"),
    [("alt=sse", "gemini"), ("key=k&alt=sse", "gemini"), ("alt=json", "gemini_array"), ("xalt=sse", "gemini_array")],
)
def test_the_query_chooses_the_framing(query: str, name: str) -> None:
    """Gemini streams events only if it is asked to."""
    route = route_for("POST", "/v1beta/models/m:streamGenerateContent", query)
    assert route is not None
    assert route.dialect.name == name


def test_one_path_is_our_own() -> None:
    """It stands for another, and its answers are lines."""
    route = route_for("POST", "/api/v1/chat/stream")
    assert route is not None
    assert (route.dialect, route.stands_for) == (CHAT, "/v1/chat/completions")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/chat/completions"),
        ("POST", "/x/v1/chat/completions"),
        ("POST", "/openai/deployments/a/b/chat/completions"),
        ("GET", "/v1/messages"),
        ("GET", "/api/chat"),
        ("POST", "/v1/models/m:countTokens"),
        ("POST", "/"),
    ],
)
def test_other_requests_are_not(method: str, path: str) -> None:
    """What is not known is not guessed."""
    assert dialect_for(method, path) is None


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/v1/models", {"Anthropic-Version": "2023-06-01"}, "anthropic"),
        ("/v1beta/models", {}, "gemini"),
        ("/v1alpha1/operations/1", {}, "gemini"),
        ("/v1beta/openai/models", {}, None),
        ("/api/tags", {}, "ollama"),
        ("/api/v1/models", {}, None),
        ("/v2/embed", {}, "cohere"),
        ("/v1/models", {"Authorization": "Bearer k"}, None),
        ("/x/api/tags", {}, None),
    ],
)
def test_errors_are_told_in_the_terms_of_the_api_that_is_likely_meant(
    path: str, headers: dict[str, str], name: str | None
) -> None:
    """Where no route names the path: by its beginning, or by a header that one API alone has."""
    dialect = error_dialect(path, CIMultiDict(headers))
    assert (None if dialect is None else dialect.name) == name


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ({"object": "chat.completion"}, "openai_chat"),
        ({"object": "response"}, "openai_responses"),
        ({"type": "message"}, "anthropic"),
        ({"object": "list"}, "generic"),
        (None, "generic"),
    ],
)
def test_answers_are_told_by_their_shape(answer: Any, name: str) -> None:
    """Where no path tells, in a file of answers."""
    assert dialect_of(answer).name == name


@pytest.mark.parametrize(
    ("method", "path", "generates"),
    [
        ("POST", "/v1/chat/completions", True),
        ("POST", "/api/v1/chat/stream", True),
        ("POST", "/v1/chat/completions/chatcmpl-1", False),
        ("GET", "/v1/chat/completions", False),
        ("POST", "/v1/completions", True),
        ("POST", "/completion", True),
        ("POST", "/v1/responses", True),
        ("POST", "/v1/responses/resp_1/cancel", False),
        ("POST", "/v1/responses/input_tokens", False),
        ("GET", "/v1/responses/resp_1", False),
        ("POST", "/v1/messages", True),
        ("POST", "/v1/messages/batches", False),
        ("POST", "/v1/messages/count_tokens", False),
        ("POST", "/v1beta/models/m:generateContent", True),
        ("POST", "/v1beta/models/m:streamGenerateContent", True),
        ("POST", "/v1beta/models/m:streamGenerateContent?alt=sse", True),
        ("POST", "/api/chat", True),
        ("POST", "/v2/chat", True),
        ("POST", "/v1/audio/transcriptions", False),
    ],
)
def test_requests_that_ask_for_something_new_are_known(method: str, path: str, generates: bool) -> None:
    """They may be told how much."""
    path, _, query = path.partition("?")
    route = route_for(method, path, query)
    assert route is not None
    assert route.generates is generates
