"""Virtual keys from end to end: who has one is served, nobody else is, and nothing of a key is left anywhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web

from safeproxy.shell import reloaded
from safeproxy.shell.client_keys import add, changing, id_of
from tests.e2e.harness import CHAT, Proxy, Upstream, body, proxied, stream

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def issued(file: Path, **facts: Any) -> str:
    """A new key in the file."""
    return add(file, "app", now=datetime.now(UTC), **facts)[0]


def revoke(file: Path) -> None:
    """Every key of the file."""
    with changing(file) as keys:
        for id_, kept in keys.items():
            keys[id_] = kept.model_copy(update={"revoked": datetime.now(UTC)})


@asynccontextmanager
async def guarded(folder: Path, **settings: Any) -> AsyncIterator[tuple[Upstream, Proxy, str]]:
    """A proxy that wants virtual keys, and one of them."""
    file = folder / "keys.yaml"
    key = issued(file, tenant="acme", tags={"team": "search"})
    async with proxied(folder, client_keys=file, **settings) as (upstream, proxy):
        yield upstream, proxy, key


def sdk(proxy: Proxy, key: str) -> openai.AsyncOpenAI:
    """The real SDK, which asks again twice where it is not told better."""
    return openai.AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key=key)


def events(proxy: Proxy) -> list[str]:
    """The kinds of the records so far."""
    return [record["event"] for record in proxy.records()]


async def test_who_has_a_key_is_served_and_recorded(tmp_path: Path) -> None:
    """The SDK notices nothing; both records tell whose key it was; the upstream gets no credentials at all."""
    async with guarded(tmp_path) as (upstream, proxy, key), sdk(proxy, key) as client:
        upstream.says(*stream("Mail ada@ex", "ample.com", " soon."))
        chunks = [chunk async for chunk in await client.chat.completions.create(stream=True, **ASK)]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Mail [EMAIL_ADDRESS] soon."
        await proxy.closed()
    named = {"key": id_of(key), "key_name": "app", "tenant": "acme", "tags": {"team": "search"}}
    for record in (proxy.records()[0], proxy.records()[-1]):
        assert {name: record.get(name) for name in named} == named
    (asked,) = upstream.asked
    assert "Authorization" not in asked["headers"]
    assert key[-43:] not in repr(asked)


@pytest.mark.parametrize("wrong", ["sk-own-of-the-upstream", "sp-0123456789ab-" + "A" * 43, "changed"])
async def test_a_wrong_key_is_an_authentication_error_of_the_sdk(tmp_path: Path, wrong: str) -> None:
    """It is told once, not asked again; the upstream hears of nothing, the audit trail does."""
    async with guarded(tmp_path) as (upstream, proxy, key):
        if wrong == "changed":
            wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
        async with sdk(proxy, wrong) as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                await client.chat.completions.create(**ASK)
        assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")
        assert caught.value.response.headers["WWW-Authenticate"] == "Bearer"
        closed = await proxy.closed()
        assert (closed["ended"], closed["status"], closed["client"]) == ("refused", 401, "127.0.0.1")
        assert "key" not in closed
        assert events(proxy) == ["request.opened", "request.closed"]
        assert not upstream.asked


async def test_a_revoked_key_stops_working_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is issued meanwhile begins to; a running answer is not touched."""
    monkeypatch.setattr(reloaded, "LOOK_INTERVAL", 0.0)
    async with guarded(tmp_path) as (upstream, proxy, key), sdk(proxy, key) as client:
        upstream.answers(body("Hello."))
        await client.chat.completions.create(**ASK)
        revoke(tmp_path / "keys.yaml")
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(**ASK)
        newer = issued(tmp_path / "keys.yaml")
        await client.with_options(api_key=newer).chat.completions.create(**ASK)
        assert len(upstream.asked) == 2


ANTHROPIC = ("type", "error", "error.type", "authentication_error")
SHAPES = [
    ("POST", CHAT, {}, ("error.type", "invalid_request_error", "error.code", "invalid_api_key")),
    ("POST", "/v1/responses", {}, ("error.type", "invalid_request_error", "error.code", "invalid_api_key")),
    ("POST", "/v1/completions", {}, ("error.code", "invalid_api_key")),
    ("POST", "/v1/audio/transcriptions", {}, ("error.code", "invalid_api_key")),
    ("GET", "/v1/models", {}, ("error.code", "invalid_api_key")),
    ("POST", "/v1/messages", {}, ANTHROPIC),
    ("GET", "/v1/models", {"anthropic-version": "2023-06-01"}, ANTHROPIC),
    ("POST", "/v1beta/models/m:generateContent", {}, ("error.status", "UNAUTHENTICATED", "error.code", 401)),
    ("POST", "/v1beta/models/m:streamGenerateContent", {}, ("error.status", "UNAUTHENTICATED", "error.code", 401)),
    ("GET", "/v1beta/models", {}, ("error.status", "UNAUTHENTICATED", "error.code", 401)),
]


@pytest.mark.parametrize(("method", "path", "headers", "facts"), SHAPES)
async def test_each_api_refuses_in_its_own_shape(
    tmp_path: Path, method: str, path: str, headers: dict[str, str], facts: Sequence[Any]
) -> None:
    """Status 401 and the fields by which its SDKs tell a wrong key from other errors."""
    async with (
        guarded(tmp_path) as (upstream, proxy, _),
        proxy.session.request(method, proxy.at(path), headers=headers, json=ASK) as response,
    ):
        assert response.status == 401
        assert response.headers["x-should-retry"] == "false"
        told = await response.json()
        for place, value in zip(facts[::2], facts[1::2], strict=True):
            found = told
            for step in place.split("."):
                found = found[step]
            assert found == value
        assert not upstream.asked


@pytest.mark.parametrize(("path", "name"), [("/api/chat", "error"), ("/api/tags", "error"), ("/v2/chat", "message")])
async def test_where_an_error_is_a_string_it_is_one(tmp_path: Path, path: str, name: str) -> None:
    """Ollama and Cohere have nothing but a message."""
    async with guarded(tmp_path) as (_, proxy, _):
        status, _, raw = await proxy.post(path)
        assert status == 401
        assert json.loads(raw).keys() == {name}
        assert "Incorrect API key" in json.loads(raw)[name]


async def test_nothing_of_a_key_is_left_anywhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the audit trail nor the log nor an answer nor what the upstream was asked holds a piece of a secret."""
    places: list[tuple[str, dict[str, str]]] = [
        (CHAT, {"Authorization": "Bearer KEY"}),
        ("/v1/messages", {"x-api-key": "KEY"}),
        ("/openai/deployments/m/chat/completions?api-version=1", {"api-key": "KEY"}),
        ("/v1beta/models/m:generateContent?key=KEY", {}),
        ("/v1beta/models/m:generateContent", {"x-goog-api-key": "KEY"}),
        ("/v1/unknown?a=b&key=KEY", {"Cookie": "KEY"}),
        ("/v1/embeddings", {"Authorization": "Bearer KEY", "Proxy-Authorization": "Basic KEY"}),
    ]
    seen: list[bytes] = []
    async with guarded(tmp_path) as (upstream, proxy, key):
        upstream.answers(body("Hello."))
        wrong = f"{key[:-20]}{key[-20:][::-1]}"
        for one in (key, wrong):
            for path, headers in places:
                sent = {name: value.replace("KEY", one) for name, value in headers.items()}
                status, answered, raw = await proxy.post(path.replace("KEY", one), headers=sent)
                assert status == (200 if one == key else 401), path
                seen += [raw, repr(answered).encode()]
        assert len(upstream.asked) == len(places)
        seen.append(repr(upstream.asked).encode())
        targets = [asked["target"] for asked in upstream.asked]
        assert targets[3] == "/v1beta/models/m:generateContent"
        assert targets[5] == "/v1/unknown?a=b"
    seen += [file.read_bytes() for file in proxy.audit.iterdir()]
    seen += ["".join(capfd.readouterr()).encode(), (tmp_path / "keys.yaml").read_bytes()]
    for one in (key, wrong):
        secret = one.split("-", 2)[2]
        pieces = [secret[at : at + 12].encode() for at in range(len(secret) - 11)]
        assert not [piece for piece in pieces for text in seen if piece in text]


async def test_a_browser_s_question_and_the_proxy_s_own_paths_need_no_key(tmp_path: Path) -> None:
    """A preflight cannot carry one, and who watches the proxy has none; a browser may read why it is refused."""
    origin = {"Origin": "https://app.example.com"}
    asks = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with guarded(tmp_path, cors_origins="https://app.example.com") as (upstream, proxy, _):
        async with proxy.session.options(proxy.at(CHAT), headers=asks) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Headers"] == "authorization"
        for path in ("/-/health", "/-/ready"):
            async with proxy.session.get(proxy.at(path)) as response:
                assert response.status == 200
        status, headers, _ = await proxy.post(headers=origin)
        assert (status, headers["Access-Control-Allow-Origin"]) == (401, "https://app.example.com")
        assert not upstream.asked


async def test_addresses_and_tags_are_recorded_and_tags_stay_here(tmp_path: Path) -> None:
    """Behind a trusted proxy the client's own address counts, for who is refused as well."""
    settings = {"trusted_proxies": "127.0.0.0/8,::1", "tag_headers": "x-project"}
    async with guarded(tmp_path, **settings) as (upstream, proxy, key):
        upstream.answers(body("Hello."))
        sent = {"X-Forwarded-For": "198.51.100.66, 203.0.113.9", "x-project": "p-1"}
        await proxy.post(headers={**sent, "Authorization": f"Bearer {key}"})
        await proxy.post(headers=sent)
        served, refused = [record for record in proxy.records() if record["event"] == "request.closed"]
        assert (served["client"], served["tags"]) == ("203.0.113.9", {"x-project": "p-1", "team": "search"})
        assert (refused["client"], refused["status"]) == ("203.0.113.9", 401)
        (asked,) = upstream.asked
        assert "x-project" not in asked["headers"]


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[str, list[web.Request]]]:
    """An upstream of WebSockets that says one thing; and the handshakes that it got."""
    got: list[web.Request] = []

    async def handle(request: web.Request) -> web.WebSocketResponse:
        got.append(request)
        socket = web.WebSocketResponse(protocols=("realtime",))
        await socket.prepare(request)
        await socket.send_str('{"type":"session.created"}')
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/v1/realtime", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", got
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("way", ["header", "subprotocol", "query"])
async def test_a_websocket_needs_a_key_too(tmp_path: Path, way: str) -> None:
    """In a header, or as browsers give it; nothing of it is in the upstream's handshake."""
    async with (
        listening() as (url, got),
        guarded(tmp_path, upstream=url, websockets="filter") as (_, proxy, key),
    ):
        headers = {"header": {"Authorization": f"Bearer {key}"}}.get(way, {})
        protocols = ["realtime", *([f"openai-insecure-api-key.{key}"] if way == "subprotocol" else [])]
        at = f"{proxy.url}/v1/realtime?model=m" + (f"&api-key={key}" if way == "query" else "")
        async with proxy.session.ws_connect(at, protocols=protocols, headers=headers) as socket:
            assert socket.protocol == "realtime"
            assert (await socket.receive_json())["type"] == "session.created"
        assert (await proxy.closed())["key"] == id_of(key)
        (handshake,) = got
        assert handshake.raw_path == "/v1/realtime?model=m"
        assert handshake.headers["Sec-WebSocket-Protocol"] == "realtime"
        assert key[-43:] not in repr(handshake.headers)


async def test_a_websocket_without_a_key_is_refused(tmp_path: Path) -> None:
    """Before any message, with the API's error."""
    async with listening() as (url, got), guarded(tmp_path, upstream=url, websockets="filter") as (_, proxy, _):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await proxy.session.ws_connect(f"{proxy.url}/v1/realtime")
        assert caught.value.status == 401
        assert (await proxy.closed())["ended"] == "refused"
        assert not got
