"""Which web pages may use the proxy, and what their browsers are told."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from safeproxy.errors import ConfigError
from safeproxy.shell.cors import Cors, is_preflight

APP = "https://app.example.com"
ASKS = {"Origin": APP, "Access-Control-Request-Method": "POST"}


def marked(origins: list[str], asked: dict[str, str], headers: dict[str, str] | None = None) -> CIMultiDict[str]:
    """The headers of an answer, after our own word was put into them."""
    made = CIMultiDict(headers or {})
    Cors.parse(origins).mark(CIMultiDict(asked), made)
    return made


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (APP, APP),
        (" HTTPS://App.Example.com ", APP),
        ("https://app.example.com:443", APP),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://localhost:80", "http://localhost"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("*", "*"),
    ],
)
def test_origins_are_read_as_browsers_write_them(written: str, meant: str) -> None:
    """Small letters, no default port."""
    assert Cors.parse([written]).origins == {meant}


@pytest.mark.parametrize(
    "written",
    [
        "",
        "app.example.com",
        "https://",
        f"{APP}/",
        f"{APP}/path",
        "https://*.example.com",
        "null",
        "https://a b",
        "http://ü",
    ],
)
def test_what_is_no_origin_is_an_error(written: str) -> None:
    """The message names the setting, the value and the remedy."""
    with pytest.raises(ConfigError, match=r"'cors_origins': .* is not an origin; write scheme"):
        Cors.parse([APP, written])


def test_a_listed_page_may_read_the_answer() -> None:
    """Its origin is repeated, and caches are told that the answer is for it."""
    headers = marked([APP, "http://localhost:3000"], {"Origin": APP}, {"Vary": "Accept"})
    assert headers["Access-Control-Allow-Origin"] == APP
    assert headers["Vary"] == "Accept, Origin"
    assert "Access-Control-Allow-Credentials" not in headers
    assert "Access-Control-Allow-Methods" not in headers


@pytest.mark.parametrize("asked", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": APP.upper()}, {}])
def test_no_other_page_may(asked: dict[str, str]) -> None:
    """It is told nothing, not even what the upstream would have told it."""
    headers = marked([APP], asked, {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "x"})
    assert dict(headers) == {"Vary": "Origin"}


def test_any_page_may_if_that_is_set() -> None:
    """The answer is the same for all, so nothing varies."""
    headers = marked(["*"], {"Origin": "https://evil.example"})
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in headers


def test_the_upstreams_word_is_replaced() -> None:
    """Two values of Access-Control-Allow-Origin would be an error to a browser."""
    theirs = {"access-control-allow-origin": "https://theirs", "Access-Control-Allow-Credentials": "true", "X": "1"}
    headers = marked([APP], {"Origin": APP}, theirs)
    assert headers.getall("Access-Control-Allow-Origin") == [APP]
    assert "Access-Control-Allow-Credentials" not in headers
    assert headers["X"] == "1"


def test_what_sdks_read_is_exposed() -> None:
    """The ids, the hints to retry, and the limits that this answer has."""
    headers = marked(
        [APP], {"Origin": APP}, {"X-RateLimit-Remaining-Tokens": "1", "anthropic-ratelimit-tokens-limit": "2"}
    )
    exposed = headers["Access-Control-Expose-Headers"].split(", ")
    assert {"x-safeproxy-request-id", "x-request-id", "request-id", "retry-after", "retry-after-ms"} <= set(exposed)
    assert exposed[-2:] == ["anthropic-ratelimit-tokens-limit", "x-ratelimit-remaining-tokens"]


def test_leave_to_ask_names_methods_and_the_wanted_headers() -> None:
    """A wildcard would not cover Authorization, so the wanted ones are repeated."""
    headers = marked([APP], {**ASKS, "Access-Control-Request-Headers": "authorization,content-type, x-stainless-os"})
    assert headers["Access-Control-Allow-Headers"] == "authorization,content-type, x-stainless-os"
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert int(headers["Access-Control-Max-Age"]) > 0
    assert headers["Vary"] == "Origin, Access-Control-Request-Headers"


@pytest.mark.parametrize("wanted", ["", "a b", "a\r\nX-Evil: 1", "a;b", ",", "ü"])
def test_headers_that_are_no_names_are_not_repeated(wanted: str) -> None:
    """Nothing of the client's choice gets into the answer but names of headers."""
    headers = marked(["*"], {**ASKS, "Access-Control-Request-Headers": wanted})
    assert "Access-Control-Allow-Headers" not in headers


@pytest.mark.parametrize(
    ("headers", "expected"),
    [(ASKS, True), ({"Origin": APP}, False), ({"Access-Control-Request-Method": "POST"}, False)],
)
def test_leave_to_ask_is_known_by_two_headers(headers: dict[str, str], expected: bool) -> None:
    """Any other OPTIONS request is the upstream's to answer."""
    assert is_preflight(CIMultiDict(headers)) is expected
