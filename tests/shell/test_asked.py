"""What a request asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from multidict import CIMultiDict

from safeproxy.pipeline import LinesPipeline, Reframed, StreamPipeline
from safeproxy.shell.asked import LINES, SSE, Asked, prepared, wants_lines
from safeproxy.wire.registry import route_for
from tests.wire.chat import POLICY

CHAT = "/v1/chat/completions"


def asked(
    path: str,
    body: Any = None,
    *,
    method: str = "POST",
    notice: str = "",
    style: str = "auto",
    usage: bool = False,
    **headers: str,
) -> Asked:
    """What is made of a request."""
    path, _, query = path.partition("?")
    route = route_for(method, path, query)
    return Asked.of(route, CIMultiDict(headers), body, notice=notice, style=style, usage=usage)


def test_settings_and_request_meet() -> None:
    """Structured output comes from the request, the notice from the settings."""
    ask = asked(CHAT, {"response_format": {"type": "json_object"}}, notice="No.").ask
    assert (ask.json, ask.notice, ask.failed) == (True, "No.", False)


@pytest.mark.parametrize(
    ("style", "originator", "failed"),
    [
        ("auto", "codex_cli_rs", True),
        ("auto", "other", False),
        ("failed", "other", True),
        ("incomplete", "codex_cli_rs", False),
    ],
)
def test_who_asks_again_is_told_of_a_failure(style: str, originator: str, failed: bool) -> None:
    """By setting, or by what the client says it is."""
    assert asked("/v1/responses", style=style, originator=originator).ask.failed is failed


@pytest.mark.parametrize(
    ("accept", "wants"),
    [(LINES, True), (f"{LINES}, */*", True), (f"{SSE}, {LINES}", False), ("*/*", False), ("", False)],
)
def test_lines_are_for_who_asks_for_them(accept: str, wants: bool) -> None:
    """And does not want events as well."""
    assert wants_lines(CIMultiDict({"Accept": accept})) is wants
    assert asked(CHAT, accept=accept).as_lines is wants
    assert not asked("/v1/messages", accept=accept).as_lines


def test_our_own_path_gives_lines() -> None:
    """Whatever the client accepts."""
    one = asked("/api/v1/chat/stream", accept="*/*")
    assert one.as_lines
    assert one.media_type(SSE) == LINES
    assert one.media_type("application/json") == "application/json"
    assert json.loads(prepared(one, b"{}", {}, lambda _: None)) == {"stream": True}


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/openai/deployments/d/chat/completions"])
@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (None, {"include_usage": True}),
        ({}, {"include_usage": True}),
        ({"include_obfuscation": False}, {"include_obfuscation": False, "include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        ({"include_usage": None}, {"include_usage": True}),
    ],
)
def test_usage_is_asked_for_where_the_client_did_not(path: str, options: Any, sent: Any) -> None:
    """All else in the request stays, other options too."""
    body = {"stream_options": options, "stream": True, "model": "m"}
    one = asked(path, body, usage=True)
    assert one.ask.hides_usage
    assert json.loads(prepared(one, json.dumps(body).encode(), body, lambda _: None)) == {
        "stream": True,
        "model": "m",
        "stream_options": sent,
    }


@pytest.mark.parametrize(
    ("path", "body", "usage"),
    [
        (CHAT, {"stream": True}, False),
        (CHAT, {"stream": True, "stream_options": {"include_usage": True}}, True),
        (CHAT, {"stream": True, "stream_options": "all"}, True),
        (CHAT, {"stream": False}, True),
        (CHAT, {}, True),
        (CHAT, [], True),
        ("/completion", {"stream": True}, True),
        ("/v1/responses", {"stream": True}, True),
        ("/v1/messages", {"stream": True}, True),
        ("/api/chat", {"stream": True}, True),
        ("/v2/chat", {"stream": True}, True),
        ("/v1/models/m:streamGenerateContent", {"stream": True}, True),
        ("/unheard/of", {"stream": True}, True),
    ],
)
def test_usage_is_not_asked_for_where_it_comes_by_itself_or_is_not_wanted(path: str, body: Any, usage: bool) -> None:
    """The request keeps its bytes, and the client sees what there is."""
    one = asked(path, body, usage=usage)
    assert not one.ask.hides_usage
    assert prepared(one, b" raw ", body, lambda _: None) == b" raw "


def test_our_own_lines_are_asked_for_usage_too() -> None:
    """Though their request does not say that it wants a stream."""
    one, body = asked("/api/v1/chat/stream", {}, usage=True), dict[str, Any]()
    sent = json.loads(prepared(one, b"{}", body, lambda _: None))
    assert sent == {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("body", [{"stream": True}, [], None])
def test_a_request_that_needs_no_change_keeps_its_bytes(body: Any) -> None:
    """Byte for byte."""
    assert prepared(asked("/api/v1/chat/stream"), b" raw ", body, lambda _: None) == b" raw "


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        (CHAT, SSE, "openai_chat"),
        (CHAT, LINES, "generic_lines"),
        ("/api/chat", LINES, "ollama"),
        ("/api/chat", "application/ndjson", "ollama"),
        ("/api/chat", SSE, "generic"),
        ("/v1beta/models/m:streamGenerateContent", "application/json", "gemini_array"),
        ("/v1beta/models/m:streamGenerateContent", SSE, "gemini"),
        ("/unknown", SSE, "generic"),
        ("/unknown", LINES, "generic_lines"),
    ],
)
def test_a_stream_is_read_as_what_it_is(path: str, kind: str, name: str) -> None:
    """Servers do not always send what they were asked for."""
    one = asked(path)
    assert one.is_stream(kind, 200)
    assert one.spoken(kind).name == name


@pytest.mark.parametrize(("path", "kind"), [(CHAT, "application/json"), ("/unknown", "text/plain")])
def test_other_answers_are_no_streams(path: str, kind: str) -> None:
    """A whole body, or nothing that can be filtered."""
    assert not asked(path).is_stream(kind, 200)


def test_an_error_is_no_array_and_no_file() -> None:
    """Both are sent as one JSON object."""
    assert not asked("/v1beta/models/m:streamGenerateContent").is_stream("application/json", 400)
    assert not asked("/v1/files/f/content", method="GET").is_stream("application/json", 404)


def test_each_kind_of_stream_has_its_pipeline() -> None:
    """Events, events as lines, an array, a file."""
    assert isinstance(asked(CHAT).stream(SSE, POLICY), StreamPipeline)
    assert isinstance(asked(CHAT, accept=LINES).stream(SSE, POLICY), Reframed)
    assert isinstance(asked("/v1beta/models/m:streamGenerateContent").stream("application/json", POLICY), Reframed)
    file = asked("/v1/files/f/content", method="GET")
    assert file.is_stream("application/octet-stream", 200)
    assert isinstance(file.stream("application/octet-stream", POLICY), LinesPipeline)


def test_a_prompt_is_refused_as_the_api_does() -> None:
    """An error for most; Gemini answers without candidates, in the framing that was asked for."""
    assert asked(CHAT).refused_prompt("No.") is None
    feedback = {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "No."},
        "usageMetadata": {"promptTokenCount": 0, "totalTokenCount": 0},
    }
    told = [
        asked(f"/v1beta/models/m:{path}").refused_prompt("No.")
        for path in ("generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent")
    ]
    assert [one[:2] for one in told if one] == [(200, "application/json"), (200, SSE), (200, "application/json")]
    bodies = [one[2] for one in told if one]
    assert json.loads(bodies[0]) == feedback
    assert json.loads(bodies[1].removeprefix(b"data: ")) == feedback
    assert json.loads(bodies[2]) == [feedback]
