"""What clients send: wrong, large, compressed, and to paths the proxy does not filter."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.harness import CHAT, Abort, body, error_of, proxied

PROMPT_RULES = r"""
- id: key
  title: A key in a prompt
  entity: KEY
  category: secret
  pattern: 'key-[0-9]{4}'
  on: {request: true}
- id: never
  title: A word that no prompt may hold
  entity: NEVER
  category: injection
  action: halt
  words: [abracadabra]
  on: {request: true}
"""


async def test_too_large_a_request_is_refused(tmp_path: Path) -> None:
    """50 MB get a 413 that names the limit; the upstream hears nothing."""
    async with proxied(tmp_path) as (upstream, proxy):
        status, _, raw = await proxy.post(data=io.BytesIO(b"x" * 50_000_000))
        assert status == 413
        assert "client_max_size" in error_of(raw)["message"]
        assert upstream.asked == []
        closed = await proxy.closed()
        assert (closed["ended"], closed["status"]) == ("refused", 413)


async def test_too_large_a_request_is_refused_without_a_declared_length(tmp_path: Path) -> None:
    """The same for a body that comes in chunks."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    async with proxied(tmp_path, client_max_size=100_000) as (upstream, proxy):
        status, _, _ = await proxy.post(data=pieces())
        assert status == 413
        assert upstream.asked == []


@pytest.mark.parametrize(
    "raw", [b"{broken", b"[1, 2]", b"7", b"", b"\xff", b"[" * 100_000, b'{"model": 7, "messages": 8}']
)
async def test_nonsense_is_the_upstreams_to_answer(tmp_path: Path, raw: bytes) -> None:
    """Without rules for prompts the proxy does not judge requests: bytes in, the same bytes out."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.answers({"error": {"message": "Bad request.", "type": "t", "param": None, "code": None}}, 400)
        status, _, got = await proxy.post(data=raw)
        assert (status, error_of(got)["message"]) == (400, "Bad request.")
        assert upstream.asked[0]["body"] == raw
        assert (await proxy.closed())["model"] is None


async def test_a_compressed_request_is_read(tmp_path: Path) -> None:
    """The model is known and the upstream gets a body that matches its headers."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.answers(body("Hi"))
        raw = b'{"model": "gz"}'
        await proxy.post(data=gzip.compress(raw), headers={"Content-Encoding": "gzip"})
        assert (await proxy.closed())["model"] == "gz"
        (asked,) = upstream.asked
        assert asked["body"] == raw
        assert "Content-Encoding" not in asked["headers"]


async def test_a_compressed_bomb_is_refused(tmp_path: Path) -> None:
    """The limit holds for what comes out of the compression."""
    async with proxied(tmp_path, client_max_size=1_000_000) as (upstream, proxy):
        status, _, _ = await proxy.post(data=gzip.compress(b"0" * 50_000_000), headers={"Content-Encoding": "gzip"})
        assert status == 413
        assert upstream.asked == []


async def test_a_broken_compression_is_refused(tmp_path: Path) -> None:
    """A body that claims gzip and is not is an error with a remedy."""
    async with proxied(tmp_path) as (upstream, proxy):
        status, _, raw = await proxy.post(data=b"no gzip at all", headers={"Content-Encoding": "gzip"})
        assert status in (400, 415)
        assert raw
        assert upstream.asked == []


async def test_prompts_are_filtered_if_a_rule_asks_for_it(tmp_path: Path) -> None:
    """A redacting rule changes the prompt; it is recorded as found in the request."""
    async with proxied(tmp_path, PROMPT_RULES) as (upstream, proxy):
        upstream.answers(body("Hi"))
        await proxy.post(body={"model": "m", "messages": [{"role": "user", "content": "my key-1234, please"}]})
        sent = json.loads(upstream.asked[0]["body"])
        assert sent["messages"][0]["content"] == "my [KEY], please"
        await proxy.closed()
        (finding,) = [record for record in proxy.records() if record["event"] == "finding"]
        assert (finding["side"], finding["rule"]) == ("request", "key")


async def test_prompts_are_blocked_if_a_rule_asks_for_it(tmp_path: Path) -> None:
    """The refusal is the API's own, is not to be retried, and the upstream hears nothing."""
    async with proxied(tmp_path, PROMPT_RULES) as (upstream, proxy):
        messages = [{"role": "user", "content": "say abracadabra"}]
        status, headers, raw = await proxy.post(body={"model": "m", "messages": messages})
        assert (status, headers["x-should-retry"]) == (400, "false")
        assert error_of(raw)["code"] == "content_filter"
        assert upstream.asked == []
        assert (await proxy.closed())["ended"] == "prompt_blocked"


@pytest.mark.parametrize("raw", [b"{broken", b"7", b" ", b"\xff"])
async def test_prompts_must_be_json_if_a_rule_reads_them(tmp_path: Path, raw: bytes) -> None:
    """What cannot be read cannot be judged."""
    async with proxied(tmp_path, PROMPT_RULES) as (upstream, proxy):
        status, _, got = await proxy.post(data=raw)
        assert (status, error_of(got)["code"]) == (400, "invalid_json")
        assert upstream.asked == []


@pytest.mark.parametrize(
    "path", ["/v1/threads", "/v1/images/generations", "/v1/models/../chat/completions", "/v1//models"]
)
async def test_unknown_paths_are_refused_if_that_is_set(tmp_path: Path, path: str) -> None:
    """The answer names the path and the setting; the upstream hears nothing."""
    async with proxied(tmp_path, unknown_paths="refuse") as (upstream, proxy):
        async with proxy.session.post(proxy.at(path), json={}) as response:
            assert response.status == 501
            message = error_of(await response.read())["message"]
        assert path in message
        assert "pass_paths" in message
        assert upstream.asked == []
        assert (await proxy.closed())["ended"] == "refused"


async def test_listed_paths_pass_byte_for_byte(tmp_path: Path) -> None:
    """Coding, length, digests and bytes are the upstream's own, in both directions."""
    async with proxied(tmp_path) as (upstream, proxy):
        packed = gzip.compress(b"model " * 100)
        upstream.says(packed, Content_Type="application/json", Content_Encoding="gzip", ETag='"1"')
        upstream.headers["Content-Length"] = str(len(packed))
        async with proxy.session.get(
            proxy.at("/v1/models?a=%2F"), headers={"Accept-Encoding": "gzip, br"}, auto_decompress=False
        ) as response:
            assert await response.read() == packed
            assert response.headers["Content-Length"] == str(len(packed))
            assert response.headers["Content-Encoding"] == "gzip"
            assert response.headers["ETag"] == '"1"'
        (asked,) = upstream.asked
        assert asked["target"] == "/v1/models?a=%2F"
        assert asked["headers"]["Accept-Encoding"] == "gzip, br"
        closed = await proxy.closed()
        assert (closed["ended"], closed["bytes"]["delivered"]) == ("passed_unfiltered", len(packed))


async def test_uploads_are_streamed(tmp_path: Path) -> None:
    """A file larger than the limit for filtered paths passes, with its length."""
    async with proxied(tmp_path, client_max_size=10_000) as (upstream, proxy):
        upstream.answers({"id": "file-1"})
        data = os.urandom(3_000_000)
        status, _, raw = await proxy.post("/v1/files", data=io.BytesIO(data))
        assert (status, json.loads(raw)) == (200, {"id": "file-1"})
        assert upstream.asked[0]["body"] == data
        assert upstream.asked[0]["headers"]["Content-Length"] == "3000000"
        assert (await proxy.closed())["bytes"]["request"] == 3_000_000


async def test_a_passed_answer_that_breaks_off_breaks_off(tmp_path: Path) -> None:
    """A part of a file must not look like the whole."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(b"first half", 0.1, Abort(), Content_Type="application/octet-stream")
        with pytest.raises(Exception, match="payload"):
            async with proxy.session.get(proxy.url + "/v1/models") as response:
                await response.read()
        assert (await proxy.closed())["ended"] == "upstream_error"


async def test_the_pass_list_can_be_set(tmp_path: Path) -> None:
    """What the operator lists passes, what is no longer listed does not, and what can be filtered is filtered."""
    async with proxied(tmp_path, pass_paths=("/own/**", "/v1/chat/**"), unknown_paths="refuse") as (upstream, proxy):
        upstream.answers(body("ada@example.com"))
        assert (await proxy.post("/own/path"))[0] == 200
        assert (await proxy.post("/v1/embeddings"))[0] == 501
        assert b"ada" not in (await proxy.post(CHAT))[2]


async def test_web_sockets_are_refused(tmp_path: Path) -> None:
    """A connection that cannot be filtered is not opened, on no path."""
    async with proxied(tmp_path) as (upstream, proxy):
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x" * 22 + "=="}
        for path in ("/v1/realtime", "/v1/models", CHAT):
            async with proxy.session.get(proxy.url + path, headers=headers) as response:
                assert response.status == 403
                assert error_of(await response.read())["code"] == "websocket_refused"
        assert upstream.asked == []
        closed = await proxy.closed(3)
        assert (closed["ended"], closed["status"]) == ("refused", 403)


async def test_preflight_requests_are_forwarded(tmp_path: Path) -> None:
    """Browsers ask before they post; the upstream's headers answer, no body comes through."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(b"text", Content_Type="text/plain", Access_Control_Allow_Origin="*")
        async with proxy.session.options(proxy.url + CHAT) as response:
            assert (response.status, await response.read()) == (200, b"")
            assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert upstream.asked[0]["method"] == "OPTIONS"


@pytest.mark.parametrize("path", [CHAT, "/v1/models"])
async def test_head_requests_are_forwarded(tmp_path: Path, path: str) -> None:
    """A head without a body is safe on every path."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.answers({}, X_Note="1")
        async with proxy.session.head(proxy.url + path) as response:
            assert (response.status, response.headers["X-Note"]) == (200, "1")
        assert upstream.asked[0]["method"] == "HEAD"


async def test_a_version_in_the_upstreams_address_is_not_doubled(tmp_path: Path) -> None:
    """Clients may write /v1 or leave it out."""
    async with proxied(tmp_path) as (upstream, _):
        (tmp_path / "second").mkdir()
        async with proxied(tmp_path / "second", upstream=f"{upstream.url}/v1") as (_, proxy):
            upstream.answers(body("Hi"))
            await proxy.post("/v1/chat/completions")
            await proxy.post("/chat/completions")
        assert [asked["target"] for asked in upstream.asked] == [CHAT, CHAT]
