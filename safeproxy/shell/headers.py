"""Which headers cross the proxy, in both directions. Pure.

Everything passes as it is, credentials included, except what belongs to one connection (RFC 9110, 7.6.1),
what describes bytes that the proxy changes, and what would lead the client around the proxy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from multidict import CIMultiDict, CIMultiDictProxy

REQUEST_ID = "x-safeproxy-request-id"

#: Headers that tie a request to the trace it belongs to.
TRACE_CONTEXT = ("traceparent", "tracestate")

#: Codings that have been undone when a body is read, a request's or the upstream's; one at a time.
UNDONE = frozenset({"gzip", "deflate", "br", "zstd"})

#: What the upstream may choose from.
ACCEPTED_ENCODINGS = "gzip, deflate, br, zstd"

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    }
)
_REQUEST_DROPPED = _HOP_BY_HOP | {"host", "content-length", "expect", REQUEST_ID}
#: A part of an answer cannot be judged, so none may be asked for.
_REQUEST_FILTERED_DROPPED = {"accept-encoding", "range", "if-range"}
_RESPONSE_DROPPED = _HOP_BY_HOP | {"alt-svc", REQUEST_ID}
#: These describe the upstream's bytes, which are not the ones delivered.
_RESPONSE_FILTERED_DROPPED = {
    "accept-ranges",
    "content-digest",
    "content-encoding",
    "content-length",
    "content-md5",
    "content-range",
    "digest",
    "etag",
    "repr-digest",
    "want-content-digest",
}

Headers = CIMultiDictProxy[str] | CIMultiDict[str]


def request_headers(headers: Headers, *, filtered: bool) -> CIMultiDict[str]:
    """The headers to send upstream; the caller's HTTP client adds Host and Content-Length.

    ``filtered`` says that the answer will be read and filtered, not passed byte for byte: then only codings
    are accepted that can be undone. A body coding that the server has undone is no longer named.
    """
    drop = _REQUEST_DROPPED | _named_in_connection(headers)
    if filtered:
        drop |= _REQUEST_FILTERED_DROPPED
    if body_was_decoded(headers):
        drop |= {"content-encoding"}
    kept = CIMultiDict(_kept(headers, drop))
    if filtered:
        kept["Accept-Encoding"] = ACCEPTED_ENCODINGS
    return kept


def response_headers(headers: Headers, *, filtered: bool, request_id: str) -> CIMultiDict[str]:
    """The headers to send to the client; ``filtered`` says that the body is not the upstream's own bytes."""
    drop = _RESPONSE_DROPPED | _named_in_connection(headers)
    if filtered:
        drop |= _RESPONSE_FILTERED_DROPPED
    kept = CIMultiDict(_kept(headers, drop))
    kept[REQUEST_ID] = request_id
    return kept


def trace_context(headers: Headers) -> dict[str, str]:
    """The headers of W3C Trace Context that a request carries; several of one name are one list."""
    return {name: ",".join(headers.getall(name)) for name in TRACE_CONTEXT if name in headers}


def body_was_decoded(headers: Headers) -> bool:
    """Whether the server has undone the request body's coding, so that its declared length is void."""
    return headers.get("content-encoding", "").strip().lower() in UNDONE


def is_readable(headers: Headers) -> bool:
    """Whether a body with these headers has come through as plain bytes: what it says can be filtered.

    Only one coding is ever undone, so two of them, or one that nobody here knows, leave bytes that say nothing.
    """
    codings = [coding for coding in _listed(headers, "content-encoding") if coding != "identity"]
    transfer = set(_listed(headers, "transfer-encoding")) - {"chunked", "identity"}
    return not transfer and (not codings or (len(codings) == 1 and body_was_decoded(headers)))


def add_vary(headers: CIMultiDict[str], name: str) -> None:
    """Say that the answer depends on this header of the request, besides those it says so of already."""
    named = headers.popall("vary", [])
    if not {"*", name.lower()} & {one.strip().lower() for value in named for one in value.split(",")}:
        named.append(name)
    headers["Vary"] = ", ".join(named)


def leads_elsewhere(headers: Headers) -> bool:
    """Whether a redirect names a host, and so leads a client around the proxy; one that only names a path does not."""
    location = headers.get("location", "").strip()
    return re.match(r"(?:[a-z][a-z0-9+.-]*:|[/\\]{2})", location, re.IGNORECASE) is not None


def safe_reason(reason: str | None) -> str | None:
    """The upstream's reason phrase if it may stand in a status line."""
    return reason if reason and reason.isascii() and reason.isprintable() else None


def _named_in_connection(headers: Headers) -> set[str]:
    return set(_listed(headers, "connection"))


def _listed(headers: Headers, name: str) -> list[str]:
    values: Iterable[str] = headers.getall(name, ())
    return [part.strip().lower() for value in values for part in value.split(",") if part.strip()]


def _kept(headers: Headers, drop: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        lowered = name.lower()
        if lowered not in drop and not lowered.startswith("proxy-") and _writable(value):
            yield name, value


def _writable(value: str) -> bool:
    """Whether ``value`` can be sent in one header line: no line ends, nothing that UTF-8 cannot say."""
    if value.isascii():
        return not ("\r" in value or "\n" in value or "\0" in value)
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return not any(c in value for c in "\r\n\0")
