"""Browsers: which pages may use the proxy, on every answer it gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.harness import CHAT, Proxy, body, error_of, proxied, stream, text

APP = "https://app.example.com"
ORIGIN = {"Origin": APP}
ASKS = {
    **ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}


async def asked(proxy: Proxy, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (names in small letters, each once) and body."""
    async with proxy.session.request(method, proxy.at(path), headers=headers) as response:
        names = [name.lower() for name in response.headers if name.lower().startswith("access-control-")]
        assert len(names) == len(set(names))
        return response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read()


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/threads"])
async def test_leave_to_ask_is_given_without_the_upstream(tmp_path: Path, path: str) -> None:
    """No key is needed, on no path; the request is recorded like any other."""
    async with proxied(tmp_path, cors_origins=(APP,)) as (upstream, proxy):
        status, headers, raw = await asked(proxy, "OPTIONS", path, ASKS)
        assert (status, raw) == (204, b"")
        assert headers["access-control-allow-origin"] == APP
        assert headers["access-control-allow-headers"] == "authorization,content-type"
        assert "POST" in headers["access-control-allow-methods"]
        assert upstream.asked == []
        closed = await proxy.closed()
        assert (closed["ended"], closed["status"], closed["method"]) == ("no_content", 204, "OPTIONS")
        assert closed["request_id"] == headers["x-safeproxy-request-id"]


async def test_pages_that_are_not_listed_get_no_leave(tmp_path: Path) -> None:
    """The answer says nothing, so the browser says no; the upstream is not asked either."""
    async with proxied(tmp_path, cors_origins=(APP,)) as (upstream, proxy):
        status, headers, _ = await asked(proxy, "OPTIONS", CHAT, {**ASKS, "Origin": "https://evil.example"})
        assert status == 204
        assert not [name for name in headers if name.startswith("access-control-")]
        assert headers["vary"] == "Origin"
        assert upstream.asked == []


async def test_other_options_requests_are_the_upstreams(tmp_path: Path) -> None:
    """Only a browser's question is answered here."""
    async with proxied(tmp_path, cors_origins=(APP,)) as (upstream, proxy):
        upstream.says(status=204, Allow="POST")
        _, headers, _ = await asked(proxy, "OPTIONS", CHAT, ORIGIN)
        assert headers["allow"] == "POST"
        assert headers["access-control-allow-origin"] == APP
        assert len(upstream.asked) == 1


async def test_every_kind_of_answer_can_be_read(tmp_path: Path) -> None:
    """Streams, bodies, what passes, upstream errors, refusals, our own pages: all say so, and once."""
    async with proxied(tmp_path, cors_origins=(APP,), client_max_size=1024, unknown_paths="refuse") as (
        upstream,
        proxy,
    ):
        theirs = {"Access_Control_Allow_Origin": "*", "Access_Control_Allow_Credentials": "true"}
        upstream.says(*stream("to ", "ada@example.com"), Content_Type="text/event-stream", **theirs)
        status, headers, raw = await asked(proxy, "POST", CHAT, ORIGIN)
        assert text(raw) == "to [EMAIL_ADDRESS]"
        answers = [(status, headers)]
        upstream.answers(body("Hi"), **theirs)
        answers += [
            (await asked(proxy, method, path, ORIGIN))[:2] for method, path in (("POST", CHAT), ("GET", "/v1/models"))
        ]
        upstream.answers({"error": {"message": "No."}}, 429, X_RateLimit_Remaining_Tokens="0", **theirs)
        answers.append((await asked(proxy, "POST", CHAT, ORIGIN))[:2])
        assert "x-ratelimit-remaining-tokens" in answers[-1][1]["access-control-expose-headers"]
        answers += [(await asked(proxy, "GET", path, ORIGIN))[:2] for path in ("/v1/threads", "/-/health", "/-/ready")]
        async with proxy.session.post(proxy.at(CHAT), data=b"x" * 2000, headers=ORIGIN) as response:
            assert error_of(await response.read())["code"] == "request_too_large"
            answers.append((response.status, {name.lower(): value for name, value in response.headers.items()}))
        assert [status for status, _ in answers] == [200, 200, 200, 429, 501, 200, 200, 413]
        for _, headers in answers:
            assert headers["access-control-allow-origin"] == APP
            assert "access-control-allow-credentials" not in headers
            assert "x-safeproxy-request-id" in headers["access-control-expose-headers"]
            assert headers["vary"] == "Origin"


async def test_an_upstream_that_is_not_there_is_told_to_the_page(tmp_path: Path) -> None:
    """Without the headers a page would see no more than a network error."""
    async with proxied(tmp_path, upstream="http://127.0.0.1:9", cors_origins=("*",)) as (_, proxy):
        status, headers, raw = await asked(proxy, "POST", CHAT, ORIGIN)
        assert (status, headers["access-control-allow-origin"]) == (502, "*")
        assert error_of(raw)["code"] == "upstream_unreachable"


async def test_without_the_setting_it_is_the_upstreams_word(tmp_path: Path) -> None:
    """Its headers pass, and its answer to the browser's question does too."""
    async with proxied(tmp_path, unknown_paths="refuse") as (upstream, proxy):
        upstream.says(status=204, Access_Control_Allow_Origin="https://theirs", Access_Control_Allow_Headers="a, b")
        status, headers, _ = await asked(proxy, "OPTIONS", CHAT, ASKS)
        assert (status, headers["access-control-allow-origin"]) == (204, "https://theirs")
        assert headers["access-control-allow-headers"] == "a, b"
        assert upstream.asked[0]["headers"]["Origin"] == APP
        upstream.answers(body("Hi"), Access_Control_Allow_Origin="*", Access_Control_Expose_Headers="x-request-id")
        _, headers, _ = await asked(proxy, "POST", CHAT, ORIGIN)
        assert (headers["access-control-allow-origin"], headers["access-control-expose-headers"]) == (
            "*",
            "x-request-id",
        )
        _, headers, _ = await asked(proxy, "GET", "/v1/threads", ORIGIN)
        assert "access-control-allow-origin" not in headers


async def test_a_proxy_that_is_being_stopped_gives_no_leave(tmp_path: Path) -> None:
    """And says so to the page."""
    async with proxied(tmp_path, cors_origins=(APP,)) as (_, proxy):
        await proxy.app.shutdown()
        status, headers, raw = await asked(proxy, "OPTIONS", CHAT, ASKS)
        assert (status, error_of(raw)["code"]) == (503, "shutting_down")
        assert headers["access-control-allow-origin"] == APP
