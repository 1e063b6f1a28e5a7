"""What may be sent twice, and how long upstreams want that to wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from safeproxy.shell.backoff import is_repeatable, wanted_wait
from safeproxy.wire.registry import route_for

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


@pytest.mark.parametrize(
    ("method", "path", "body", "safe"),
    [
        ("GET", "/v1/anything", None, True),
        ("HEAD", CHAT, None, True),
        ("DELETE", "/v1/files/f", None, True),
        ("POST", CHAT, {}, True),
        ("POST", CHAT, {"store": False}, True),
        ("POST", CHAT, {"store": True}, False),
        ("POST", CHAT, {"background": True}, False),
        ("POST", CHAT, None, False),
        ("POST", f"{CHAT}/c_1", {"metadata": {}}, False),
        ("POST", RESPONSES, {}, False),
        ("POST", RESPONSES, {"store": None}, False),
        ("POST", RESPONSES, {"store": False}, True),
        ("POST", RESPONSES, {"store": False, "background": True}, False),
        ("POST", RESPONSES, {"store": False, "conversation": "c_1"}, False),
        ("POST", f"{RESPONSES}/r_1/cancel", {"store": False}, False),
        ("POST", "/v1/messages", {}, True),
        ("POST", "/v1/messages/batches", {}, False),
        ("POST", "/v1beta/models/gemini-x:streamGenerateContent", {}, True),
        ("POST", "/api/chat", {}, True),
        ("POST", "/v2/chat", {}, True),
        ("POST", "/v1/completions", {}, True),
        ("POST", "/v1/threads", {}, False),
        ("POST", "/v1/batches", {}, False),
        ("POST", "/v1/fine_tuning/jobs", {}, False),
        ("PUT", "/v1/anything", {}, False),
    ],
)
def test_only_what_does_no_more_twice_than_once_is_sent_twice(method: str, path: str, body: Any, safe: bool) -> None:
    """Whoever has said that it is one and the same, with a key for that, is believed."""
    route = route_for(method, path)
    assert is_repeatable(method, CIMultiDict(), route, body) is safe
    assert is_repeatable(method, CIMultiDict({"Idempotency-Key": "1"}), route, body)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 0.5 "}, 0.5),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Wed, 02 Jan 2030 03:04:35 GMT"}, 30),
        ({"Retry-After": "Wed, 02 Jan 2030 03:04:35"}, 30),
        ({"Retry-After": "Wed, 02 Jan 2030 03:00:00 GMT"}, 0),
        ({"Retry-After": "7", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "x", "Retry-After": "7"}, 7),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0"}, 360),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "3"}, None),
        ({"x-ratelimit-reset-tokens": "20ms", "x-ratelimit-remaining-tokens": "0"}, 0.02),
        ({"x-ratelimit-reset-tokens": "1h2m3.5s", "x-ratelimit-remaining-tokens": "0"}, 3723.5),
        ({"x-ratelimit-reset-tokens": "", "x-ratelimit-remaining-tokens": "0"}, None),
    ],
)
def test_upstreams_say_how_long_to_wait_in_their_own_ways(headers: dict[str, str], seconds: float | None) -> None:
    """The most exact one counts; what cannot be read says nothing."""
    assert wanted_wait(CIMultiDict(headers), lambda: NOW) == seconds


@given(st.text(), st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset-tokens"]))
def test_no_header_breaks_it(text: str, name: str) -> None:
    """Whatever an upstream sends, it is a time that is not negative, or none."""
    wait = wanted_wait({name: text, "x-ratelimit-remaining-tokens": "0"}, lambda: NOW)
    assert wait is None or 0 <= wait < timedelta.max.total_seconds()
