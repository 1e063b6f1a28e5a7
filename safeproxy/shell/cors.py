"""Lets pages of other origins use the proxy from a browser, where the operator says so and not the upstream."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web
from multidict import CIMultiDict

from safeproxy.errors import ConfigError
from safeproxy.shell.headers import REQUEST_ID, Headers, add_vary

#: As browsers write it in the header Origin: no path, no slash at the end.
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_NAMES = re.compile(r"[\w!#$%&'*+.^`|~-]+(?: *, *[\w!#$%&'*+.^`|~-]+)*", re.ASCII)
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
#: How long a browser may remember the answer to its question, in seconds: the most that all of them accept.
_REMEMBER = "7200"
#: What SDKs read in answers and browsers would otherwise hide from them.
_EXPOSED = (
    REQUEST_ID,
    "x-request-id",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
    "openai-version",
    "openai-model",
)


@dataclass(frozen=True, slots=True)
class Cors:
    """Whose pages may use the proxy. Cookies are never let through: APIs take their keys in headers."""

    origins: frozenset[str]

    @classmethod
    def parse(cls, origins: Iterable[str]) -> Cors:
        """Raises ConfigError naming the origin that is none."""
        return cls(frozenset(map(_origin, origins)))

    async def on_prepare(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Mark any answer just before it is sent (a signal of aiohttp)."""
        self.mark(request.headers, response.headers)

    def mark(self, asked: Headers, headers: CIMultiDict[str]) -> None:
        """Put our own word about origins in the place of the upstream's."""
        for name in [name for name in headers if name.lower().startswith("access-control-")]:
            headers.popall(name, None)
        allowed = self._allowed(asked)
        if "*" not in self.origins:
            add_vary(headers, "Origin")
        if allowed is None:
            return
        headers["Access-Control-Allow-Origin"] = allowed
        limits = sorted({name.lower() for name in headers if "ratelimit" in name.lower()})
        headers["Access-Control-Expose-Headers"] = ", ".join((*_EXPOSED, *limits))
        if is_preflight(asked):
            headers["Access-Control-Allow-Methods"] = _METHODS
            wanted = asked.get("access-control-request-headers", "")
            if _NAMES.fullmatch(wanted):
                headers["Access-Control-Allow-Headers"] = wanted
            headers["Access-Control-Max-Age"] = _REMEMBER
            add_vary(headers, "Access-Control-Request-Headers")

    def _allowed(self, asked: Headers) -> str | None:
        if "*" in self.origins:
            return "*"
        origin = asked.get("origin", "")
        return origin if origin in self.origins else None


def is_preflight(headers: Headers) -> bool:
    """Whether an OPTIONS request with these headers is a browser's question for leave to ask."""
    return "origin" in headers and "access-control-request-method" in headers


def _origin(text: str) -> str:
    origin = text.strip().lower()
    if origin == "*":
        return origin
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        raise ConfigError(
            f"setting 'cors_origins': {text!r} is not an origin; write scheme, host and port and no more, "
            "such as https://app.example.com or http://localhost:3000, or * for any"
        )
    port = match["port"]
    return origin.removesuffix(f":{port}") if port and _DEFAULT_PORTS.get(match["scheme"]) == port else origin
