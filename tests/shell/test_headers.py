"""Headers: what crosses the proxy and what does not."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from safeproxy.shell.headers import (
    ACCEPTED_ENCODINGS,
    REQUEST_ID,
    add_vary,
    body_was_decoded,
    is_readable,
    request_headers,
    response_headers,
    safe_reason,
    trace_context,
)

CREDENTIALS = ["Authorization", "api-key", "x-api-key", "x-goog-api-key", "OpenAI-Organization", "anthropic-version"]
HOP_BY_HOP = ["Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Authorization"]
KEPT_FROM_UPSTREAM = ["x-request-id", "retry-after", "retry-after-ms", "x-should-retry", "x-ratelimit-limit-tokens"]
VOID_WHEN_FILTERED = ["Content-Length", "Content-Encoding", "ETag", "Content-MD5", "Digest", "Content-Range"]


@pytest.mark.parametrize("name", CREDENTIALS)
def test_credentials_pass_verbatim(name: str) -> None:
    """A client's own credentials and vendor headers reach the upstream unchanged."""
    sent = request_headers(CIMultiDict({name: " s3cret/+=="}), filtered=True)
    assert sent[name] == " s3cret/+=="


@pytest.mark.parametrize("name", [*HOP_BY_HOP, "Host", "Content-Length", "Expect", REQUEST_ID])
def test_connection_headers_stay_behind(name: str) -> None:
    """What belongs to the client's connection is not forwarded, filtered or not."""
    assert name not in request_headers(CIMultiDict({name: "1"}), filtered=True)
    assert name not in request_headers(CIMultiDict({name: "1"}), filtered=False)


def test_headers_named_by_connection_stay_behind() -> None:
    """RFC 9110, 7.6.1: what Connection lists is hop-by-hop too."""
    headers = CIMultiDict([("Connection", "close, X-Secret-Hop"), ("X-Secret-Hop", "1"), ("X-Other", "2")])
    assert dict(request_headers(headers, filtered=False)) == {"X-Other": "2"}
    assert "X-Secret-Hop" not in response_headers(headers, filtered=False, request_id="r")


def test_only_codings_that_can_be_undone_are_accepted() -> None:
    """On filtered paths the upstream is offered what can be undone, whatever the client offered."""
    sent = request_headers(CIMultiDict({"Accept-Encoding": "br, dcz"}), filtered=True)
    assert sent.getall("Accept-Encoding") == [ACCEPTED_ENCODINGS]


def test_unfiltered_requests_keep_their_codings_and_ranges() -> None:
    """What passes byte for byte may come in any coding and in parts."""
    headers = CIMultiDict({"Accept-Encoding": "br", "Range": "bytes=0-9"})
    assert dict(request_headers(headers, filtered=False)) == dict(headers)


def test_no_parts_are_asked_for_on_filtered_paths() -> None:
    """A part of an answer cannot be judged."""
    headers = CIMultiDict({"Range": "bytes=0-9", "If-Range": "x"})
    assert set(request_headers(headers, filtered=True)) == {"Accept-Encoding"}


@pytest.mark.parametrize(("coding", "decoded"), [("gzip", True), (" GZIP ", True), ("zstd", True), ("compress", False)])
def test_an_undone_body_coding_is_no_longer_named(coding: str, decoded: bool) -> None:
    """The server has undone the codings it knows, so their header would be a lie."""
    headers = CIMultiDict({"Content-Encoding": coding})
    assert body_was_decoded(headers) is decoded
    assert ("Content-Encoding" in request_headers(headers, filtered=True)) is not decoded


def test_repeated_headers_stay_repeated() -> None:
    """Two headers of one name arrive as two."""
    headers = CIMultiDict([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    assert response_headers(headers, filtered=True, request_id="r").getall("Set-Cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("name", KEPT_FROM_UPSTREAM)
def test_the_upstreams_own_headers_reach_the_client(name: str) -> None:
    """Rate limits, retry hints and request ids are the client's to read."""
    assert response_headers(CIMultiDict({name: "7"}), filtered=True, request_id="r")[name] == "7"


@pytest.mark.parametrize("name", VOID_WHEN_FILTERED)
def test_headers_about_the_bytes_go_when_the_bytes_change(name: str) -> None:
    """Length, coding and digests describe the upstream's bytes; unfiltered answers keep them."""
    assert name not in response_headers(CIMultiDict({name: "1"}), filtered=True, request_id="r")
    assert name in response_headers(CIMultiDict({name: "1"}), filtered=False, request_id="r")


def test_the_request_id_is_the_proxys_own() -> None:
    """An upstream cannot set the id that leads to the audit trail."""
    headers = response_headers(CIMultiDict({REQUEST_ID: "forged"}), filtered=False, request_id="own")
    assert headers.getall(REQUEST_ID) == ["own"]


def test_the_client_is_not_led_around_the_proxy() -> None:
    """Alt-Svc would send the next request straight to another host."""
    assert "Alt-Svc" not in response_headers(CIMultiDict({"Alt-Svc": 'h3=":443"'}), filtered=False, request_id="r")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b", "\udcff", "ä\r\nb"])
def test_values_that_could_break_the_message_are_dropped(value: str) -> None:
    """No header value can end a line or be unwritable."""
    assert "X" not in response_headers(CIMultiDict({"X": value}), filtered=False, request_id="r")
    assert "X" not in request_headers(CIMultiDict({"X": value}), filtered=False)


@pytest.mark.parametrize(("reason", "safe"), [("OK", "OK"), ("", None), (None, None), ("a\r\nb", None), ("ü", None)])
def test_reason_phrases_are_plain(reason: str | None, safe: str | None) -> None:
    """A reason phrase passes if it is printable ASCII; otherwise the status's usual one is used."""
    assert safe_reason(reason) == safe


@pytest.mark.parametrize(
    ("name", "values", "readable"),
    [
        ("Content-Encoding", [], True),
        ("Content-Encoding", [""], True),
        ("Content-Encoding", ["identity"], True),
        ("Content-Encoding", ["gzip"], True),
        ("Content-Encoding", [" Deflate "], True),
        ("Content-Encoding", ["br"], True),
        ("Content-Encoding", ["zstd"], True),
        ("Content-Encoding", ["compress"], False),
        ("Content-Encoding", ["dcz"], False),
        ("Content-Encoding", ["x-gzip"], False),
        ("Content-Encoding", ["gzip, br"], False),
        ("Content-Encoding", ["gzip", "br"], False),
        ("Content-Encoding", ["gzip", "gzip"], False),
        ("Content-Encoding", ["identity, gzip"], False),
        ("Transfer-Encoding", ["chunked"], True),
        ("Transfer-Encoding", ["gzip, chunked"], False),
    ],
)
def test_only_one_known_coding_is_readable(name: str, values: list[str], readable: bool) -> None:
    """Anything else leaves bytes that say nothing to a filter."""
    assert is_readable(CIMultiDict([(name, value) for value in values])) is readable


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], "Origin"),
        (["Accept"], "Accept, Origin"),
        (["A", "B"], "A, B, Origin"),
        (["a, origin"], "a, origin"),
        (["*"], "*"),
    ],
)
def test_what_an_answer_depends_on_is_added_once(before: list[str], after: str) -> None:
    """To what it was said to depend on already."""
    headers = CIMultiDict([("Vary", value) for value in before])
    add_vary(headers, "Origin")
    assert headers.getall("Vary") == [after]


def test_the_trace_that_a_request_belongs_to() -> None:
    """Only the two headers of W3C Trace Context, and a list in several headers is one list."""
    headers = CIMultiDict([("Traceparent", "00-a"), ("tracestate", "a=1"), ("TraceState", "b=2"), ("baggage", "c=3")])
    assert trace_context(headers) == {"traceparent": "00-a", "tracestate": "a=1,b=2"}
    assert trace_context(CIMultiDict()) == {}
