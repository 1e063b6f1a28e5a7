"""Where a client's credentials stand in a request, and how they are taken out and others put in. Pure.

Places as the SDKs use them: OpenAI, Cohere, Ollama and most others send ``Authorization: Bearer``, Anthropic's
``x-api-key`` or a bearer token, Azure's ``api-key``, Google's ``x-goog-api-key`` or ``?key=``. A browser cannot give
a WebSocket headers: there OpenAI's realtime API reads the subprotocol ``openai-insecure-api-key.KEY``, Azure's
``?api-key=``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

from multidict import CIMultiDict

from safeproxy.shell.headers import Headers


class Place(NamedTuple):
    """A header that carries a key, behind ``scheme`` (with its space, empty for none)."""

    header: str
    scheme: str


BEARER = Place("Authorization", "Bearer ")
ANTHROPIC = Place("x-api-key", "")
AZURE = Place("api-key", "")
GOOGLE = Place("x-goog-api-key", "")

#: Where the clients of a dialect put their keys, if not into `BEARER`.
_OF_DIALECT = {"anthropic": ANTHROPIC, "gemini": GOOGLE, "gemini_array": GOOGLE}
#: Parameters of a query that are credentials, by the place that they stand for. Google's may begin with a dollar sign.
_PARAMETERS = {"key": GOOGLE, "api-key": AZURE, "access_token": BEARER, "oauth_token": BEARER}
#: Headers that prove who asks, in lower case. Cookies belong to the proxy's own origin.
HEADERS = (
    *(place.header.lower() for place in (ANTHROPIC, AZURE, GOOGLE, BEARER)),
    *("proxy-authorization", "cookie", "x-amz-security-token", "ocp-apim-subscription-key"),
)
_PROTOCOLS = "Sec-WebSocket-Protocol"
_PROTOCOL = "openai-insecure-api-key."


def every(headers: Headers, raw_query: str) -> Iterator[tuple[Place, str]]:
    """Every key that the client presents, with the place it stands for; those first that tell which API is meant."""
    for place in (ANTHROPIC, AZURE, GOOGLE):
        yield from _said(place, headers.get(place.header, ""))
    for part in raw_query.split("&"):
        stands_for = _PARAMETERS.get(_parameter(part))
        if stands_for is not None:
            yield from _said(stands_for, unquote(part.partition("=")[2]))
    scheme, _, key = headers.get(BEARER.header, "").strip().partition(" ")
    if f"{scheme} ".lower() == BEARER.scheme.lower():
        yield from _said(BEARER, key)
    for protocol in _protocols(headers):
        if protocol.startswith(_PROTOCOL):
            yield from _said(BEARER, protocol.removeprefix(_PROTOCOL))


def find(headers: Headers, raw_query: str) -> tuple[Place, str] | None:
    """The key that the client presents and the place it stands for, None if there is none."""
    return next(every(headers, raw_query), None)


def remove(headers: CIMultiDict[str], raw_query: str) -> str:
    """Take every credential out of ``headers``, in place; give the query without any, the rest byte for byte."""
    for name in HEADERS:
        headers.popall(name, None)
    offered = _protocols(headers)
    kept = [protocol for protocol in offered if not protocol.startswith(_PROTOCOL)]
    if kept != offered:
        headers.popall(_PROTOCOLS)
        if kept:
            headers[_PROTOCOLS] = ", ".join(kept)
    return "&".join(part for part in raw_query.split("&") if _parameter(part) not in _PARAMETERS)


def put(headers: CIMultiDict[str], key: str, place: Place) -> None:
    """Put ``key`` where ``place`` says, in place of what stands there."""
    headers[place.header] = place.scheme + key


def native_place(dialect_name: str | None, presented: Place | None, header: str | None) -> Place:
    """Where a key of the upstream belongs: ``header`` (an operator's setting) says so, or the client, or the API.

    A bearer token says nothing of the API: clients of every API can send one to a proxy, Claude Code for one, where
    the API itself would not take its key so.
    """
    if header is not None:
        return BEARER if header.lower() == BEARER.header.lower() else Place(header, "")
    if presented is not None and presented != BEARER:
        return presented
    return _OF_DIALECT.get(dialect_name or "", BEARER)


def _said(place: Place, key: str) -> Iterator[tuple[Place, str]]:
    if key.strip():
        yield place, key.strip()


def _parameter(part: str) -> str:
    return unquote(part.partition("=")[0]).removeprefix("$")


def _protocols(headers: Headers) -> list[str]:
    """The subprotocols that a WebSocket is offered."""
    values: list[str] = headers.getall(_PROTOCOLS, [])
    return [one.strip() for value in values for one in value.split(",") if one.strip()]
