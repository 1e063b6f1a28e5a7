"""Answers that are not streamed, and errors, through real sockets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.harness import Abort, body, error_of, proxied, stream, text

SECRET = "ada@example.com"


async def test_a_whole_answer_is_filtered(tmp_path: Path) -> None:
    """The body is rewritten, its length declared, and usage recorded."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.answers(body(f"Write to {SECRET}."), ETag='"1"')
        status, headers, raw = await proxy.post()
        assert status == 200
        assert json.loads(raw)["choices"][0]["message"]["content"] == "Write to [EMAIL_ADDRESS]."
        assert int(headers["Content-Length"]) == len(raw)
        assert "ETag" not in headers
        closed = await proxy.closed()
        assert (closed["ended"], closed["stream"], closed["findings"]) == ("stop", False, {"redact": 1})
        assert (closed["model"], closed["model_served"]) == ("m", "m-1")
        assert closed["usage"]["total_tokens"] == 7
        assert closed["bytes"]["delivered"] == len(raw)


async def test_a_whole_answer_is_halted(tmp_path: Path) -> None:
    """A halt cuts the text and says so as the API does."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.answers(body("This is forbidden, and more."))
        _, _, raw = await proxy.post()
        choice = json.loads(raw)["choices"][0]
        assert choice["finish_reason"] == "content_filter"
        assert "forbidden" not in raw.decode()
        assert "more" not in raw.decode()
        assert (await proxy.closed())["ended"] == "content_filter"


async def test_a_stream_request_may_be_answered_with_json(tmp_path: Path) -> None:
    """The content type of the answer decides, not what was asked for."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.answers(body(f"to {SECRET}"))
        _, headers, raw = await proxy.post(body={"model": "m", "stream": True})
        assert headers["Content-Type"] == "application/json"
        assert SECRET not in raw.decode()


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_errors_keep_their_status_and_headers(tmp_path: Path, status: int) -> None:
    """The upstream's own error reaches the client, an echoed secret in it does not."""
    async with proxied(tmp_path) as (upstream, proxy):
        error = {"error": {"message": f"No, {SECRET}!", "type": "t", "param": None, "code": "c"}}
        upstream.answers(error, status, Retry_After="7", x_ratelimit_remaining_tokens="0")
        got, headers, raw = await proxy.post()
        assert got == status
        assert error_of(raw) == {"message": "No, [EMAIL_ADDRESS]!", "type": "t", "param": None, "code": "c"}
        assert (headers["Retry-After"], headers["x-ratelimit-remaining-tokens"]) == ("7", "0")
        closed = await proxy.closed()
        assert (closed["ended"], closed["status"], closed["upstream_status"]) == ("upstream_error", status, status)


async def test_an_error_page_is_replaced(tmp_path: Path) -> None:
    """HTML from a gateway becomes the API's own error shape under the same status."""
    async with proxied(tmp_path) as (upstream, proxy):
        page = b"<html>Busy " + SECRET.encode()
        upstream.says(page, status=503, Content_Type="text/html", Retry_After="7")
        status, headers, raw = await proxy.post()
        assert (status, headers.getall("Content-Type"), headers["Retry-After"]) == (503, ["application/json"], "7")
        assert error_of(raw)["code"] == "upstream_error"
        assert SECRET not in raw.decode()


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "text/html"])
async def test_an_answer_of_another_kind_is_not_waved_through(tmp_path: Path, kind: str) -> None:
    """What cannot be read cannot be filtered, so it is withheld."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(SECRET.encode(), Content_Type=kind)
        status, headers, raw = await proxy.post()
        assert (status, headers["x-should-retry"]) == (502, "false")
        assert error_of(raw)["code"] == "upstream_content_type"
        assert SECRET not in raw.decode()
        assert (await proxy.closed())["ended"] == "upstream_error"


@pytest.mark.parametrize("raw", [b"{broken", b"", b"\xff\xfe", b"[" * 100_000])
async def test_a_body_that_is_no_json_is_an_error(tmp_path: Path, raw: bytes) -> None:
    """A broken body is the upstream's fault and is said so in the API's shape."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(raw, Content_Type="application/json")
        status, _, got = await proxy.post()
        assert status == 502
        assert error_of(got)["message"]
        assert (await proxy.closed())["ended"] == "upstream_error"


async def test_a_body_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    """The limit is named, the answer is not buffered beyond it."""
    async with proxied(tmp_path, max_body_bytes=100_000) as (upstream, proxy):
        upstream.answers(body("word " * 100_000))
        status, _, raw = await proxy.post()
        assert status == 502
        assert "max_body_bytes" in error_of(raw)["message"]
        assert (await proxy.closed())["bytes"]["upstream"] < 400_000


async def test_a_body_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    """Half a body is not an answer."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(b'{"choices": [', 0.1, Abort(), Content_Type="application/json")
        status, _, raw = await proxy.post()
        assert status == 502
        assert error_of(raw)["code"].startswith("upstream_")


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_pass(tmp_path: Path, status: int) -> None:
    """Nothing to filter is nothing to refuse."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(status=status, X_Note="1")
        got, headers, raw = await proxy.post()
        assert (got, headers["X-Note"], raw) == (status, "1", b"")
        assert (await proxy.closed())["ended"] == "no_content"


async def test_redirects_are_the_clients_to_follow(tmp_path: Path) -> None:
    """Status and Location pass, the body does not, and the proxy goes nowhere by itself."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(SECRET.encode(), status=307, Location="/elsewhere", Content_Type="text/html")
        status, headers, raw = await proxy.post(allow_redirects=False)
        assert (status, headers["Location"], raw) == (307, "/elsewhere", b"")
        assert len(upstream.asked) == 1


@pytest.mark.parametrize("location", ["https://other.example/x", "//other.example/x", "HTTP://127.0.0.1:1/"])
async def test_a_redirect_around_the_proxy_is_refused(tmp_path: Path, location: str) -> None:
    """The client would get its answer there, unfiltered."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(b"", status=302, Location=location)
        status, headers, raw = await proxy.post(allow_redirects=False)
        assert status == 502
        assert "Location" not in headers
        assert error_of(raw)["code"] == "upstream_redirect"


async def test_cookies_are_passed_and_not_kept(tmp_path: Path) -> None:
    """One client's cookie never turns up in another's request."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.answers(body("Hi"), Set_Cookie="session=1; Path=/")
        _, headers, _ = await proxy.post()
        assert headers["Set-Cookie"] == "session=1; Path=/"
        await proxy.post()
        assert "Cookie" not in upstream.asked[1]["headers"]


async def test_an_upstream_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A refused connection is a 502 in the API's shape."""
    async with proxied(tmp_path, upstream="http://127.0.0.1:9") as (_, proxy):
        status, _, raw = await proxy.post()
        assert status == 502
        assert error_of(raw)["code"] == "upstream_unreachable"
        closed = await proxy.closed()
        assert (closed["ended"], closed["status"], closed["upstream_status"]) == ("upstream_error", 502, None)


async def test_an_upstream_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    """Waiting for the first byte has a limit."""
    async with proxied(tmp_path, first_byte_timeout=0.3) as (upstream, proxy):
        upstream.says()
        upstream.mute = True
        status, _, raw = await proxy.post()
        assert status == 504
        assert error_of(raw)["code"] == "upstream_first_byte_timeout"


async def test_streams_and_bodies_get_the_same_verdict(tmp_path: Path) -> None:
    """The same text, streamed or not, reaches the client as the same text."""
    said = f"One {SECRET}, two bob@b.com; watched."
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.answers(body(said))
        whole = json.loads((await proxy.post())[2])["choices"][0]["message"]["content"]
        upstream.says(*stream(*said))
        assert text((await proxy.post())[2]) == whole == "One [EMAIL_ADDRESS], two [EMAIL_ADDRESS]; watched."


async def test_paths_reach_the_upstream_as_written(tmp_path: Path) -> None:
    """Query and percent-encoding are not touched; credentials and vendor headers arrive."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.answers(body("Hi"))
        headers = {"Authorization": "Bearer sk-x", "OpenAI-Beta": "b=1", "X-Stainless-Lang": "python"}
        url = proxy.at("/openai/deployments/a%2Db/chat/completions?api-version=2&q=%zz+a%2Fb")
        async with proxy.session.post(url, data=b'{ "model" : "x" }', headers=headers) as response:
            assert response.status == 200
        (asked,) = upstream.asked
        assert asked["target"] == "/openai/deployments/a%2Db/chat/completions?api-version=2&q=%zz+a%2Fb"
        assert asked["body"] == b'{ "model" : "x" }'
        assert asked["headers"]["Accept-Encoding"] == "gzip, deflate, br, zstd"
        for name, value in headers.items():
            assert asked["headers"][name] == value
