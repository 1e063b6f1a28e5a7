"""Several upstreams: which one is asked, with which key, and where a client's own credentials go."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from yarl import URL

from tests.e2e.harness import CHAT, Proxy, Upstream, body, error_of, proxied, stream, text, upstream

NOBODY = "http://127.0.0.1:9"
#: Credentials of a client, in every place that some API's clients know.
OWN = {
    "Authorization": "Bearer client-bearer",
    "x-api-key": "client-x",
    "api-key": "client-azure",
    "x-goog-api-key": "client-google",
    "Cookie": "session=client-cookie",
}


def key_file(folder: Path, *keys: str) -> Path:
    """A file of upstream keys."""
    path = folder / "keys"
    path.write_text("\n".join(keys) + "\n", encoding="utf-8")
    return path


def keys_seen(played: Upstream) -> list[str]:
    """The bearer tokens that an upstream was asked with."""
    return [one["headers"]["Authorization"].removeprefix("Bearer ") for one in played.asked]


async def ask(proxy: Proxy, model: str = "m", path: str = CHAT, **options: Any) -> tuple[int, bytes]:
    """Status and body of an answer that is not streamed."""
    status, _, raw = await proxy.post(path, {"model": model, "messages": []}, **options)
    return status, raw


async def test_the_path_and_the_model_say_who_is_asked(tmp_path: Path) -> None:
    """The longest beginning of the path that fits, and it is not sent on; then the first that serves the model."""
    async with upstream() as a, upstream() as b, upstream() as c:
        given = [
            {"name": "a", "url": a.url, "models": ["gpt-*"]},
            {"name": "b", "url": b.url, "models": "claude-*"},
            {"name": "c", "url": f"{c.url}/v1", "path": "/groq"},
        ]
        async with proxied(tmp_path, upstreams=given) as (_, proxy):
            for one in (a, b, c):
                one.answers(body("Hi ada@example.com"))
            for model, path, asked in (("gpt-x", CHAT, a), ("claude-x", CHAT, b), ("gpt-x", f"/groq{CHAT}", c)):
                status, raw = await ask(proxy, model, path)
                assert status == 200
                assert json.loads(raw)["choices"][0]["message"]["content"] == "Hi [EMAIL_ADDRESS]"
                assert asked.asked.pop()["target"] == CHAT
            assert not (a.asked)
            assert not (b.asked)
            assert not (c.asked)
            names = [one["upstream"] for one in proxy.records() if one["event"] == "request.closed"]
            assert names == ["a", "b", "c"]


async def test_a_model_in_the_path_counts(tmp_path: Path) -> None:
    """As Gemini and Azure write it."""
    async with upstream() as a, upstream() as b:
        given = [
            {"name": "a", "url": a.url, "models": "gemini-*"},
            {"name": "b", "url": b.url, "models": "gpt-*"},
        ]
        async with proxied(tmp_path, upstreams=given) as (_, proxy):
            a.answers({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]})
            b.answers(body("Hi"))
            status, _, _ = await proxy.post("/v1beta/models/gemini-x:generateContent", {"contents": []})
            assert (status, len(a.asked)) == (200, 1)
            status, _, _ = await proxy.post(
                "/openai/deployments/gpt-x/chat/completions?api-version=1", {"messages": []}
            )
            assert (status, len(b.asked)) == (200, 1)


@pytest.mark.parametrize(
    ("path", "kind"),
    [(CHAT, "invalid_request_error"), ("/v1/messages", "not_found_error")],
    ids=["openai", "anthropic"],
)
async def test_a_model_that_nobody_serves_is_not_found(tmp_path: Path, path: str, kind: str) -> None:
    """In the shape of the API that was asked."""
    async with proxied(tmp_path, upstreams=[{"name": "a", "url": NOBODY, "models": "gpt-*"}]) as (_, proxy):
        status, raw = await ask(proxy, "other", path)
        assert (status, error_of(raw)["type"]) == (404, kind)
        assert "other" in error_of(raw)["message"]


async def test_a_path_that_nobody_serves_is_not_found(tmp_path: Path) -> None:
    """Not guessed at."""
    async with proxied(tmp_path, upstreams=[{"name": "a", "url": NOBODY, "path": "/a"}]) as (_, proxy):
        status, raw = await ask(proxy)
        assert (status, error_of(raw)["code"]) == (404, "no_upstream")


async def test_an_upstream_can_say_what_it_speaks(tmp_path: Path) -> None:
    """On a path that tells nothing, a halt and a finding are told as that API tells them."""
    async with upstream() as a:
        given = [{"name": "a", "url": a.url, "path": "/own", "dialect": "openai-chat"}]
        async with proxied(tmp_path, upstreams=given) as (_, proxy):
            a.says(*stream("Write to ada@exam", "ple.com now"))
            _, _, raw = await proxy.post("/own/generate")
            assert text(raw) == "Write to [EMAIL_ADDRESS] now"
            assert a.asked[0]["target"] == "/generate"


async def test_paths_below_a_beginning_pass_as_elsewhere(tmp_path: Path) -> None:
    """What may pass unfiltered is judged by the path that is sent on."""
    async with upstream() as a:
        given = [{"name": "a", "url": a.url, "path": "/own"}]
        async with proxied(tmp_path, upstreams=given) as (_, proxy):
            a.answers({"data": [{"id": "ada@example.com"}]})
            async with proxy.session.get(proxy.url + "/own/v1/models") as answer:
                assert (await answer.json())["data"][0]["id"] == "ada@example.com"
            assert a.asked[0]["target"] == "/v1/models"


@pytest.mark.parametrize(
    ("path", "sent", "header", "value"),
    [
        (CHAT, {}, "Authorization", "Bearer upstream-1"),
        ("/v1/messages", {"x-api-key": "client-x"}, "x-api-key", "upstream-1"),
        ("/v1/messages", {}, "x-api-key", "upstream-1"),
        ("/openai/deployments/m/chat/completions", {"api-key": "client-azure"}, "api-key", "upstream-1"),
        ("/v1beta/models/m:generateContent?key=client-query&alt=json", {}, "x-goog-api-key", "upstream-1"),
        (CHAT, OWN, "x-api-key", "upstream-1"),
    ],
)
async def test_the_client_s_credentials_are_replaced(
    tmp_path: Path, path: str, sent: dict[str, str], header: str, value: str
) -> None:
    """The upstream's key stands where that API has it, and nothing of the client's own is left."""
    async with upstream() as a:
        keys = key_file(tmp_path, "upstream-1")
        async with proxied(tmp_path, upstreams=[{"name": "a", "url": a.url, "keys_file": keys}]) as (_, proxy):
            a.answers(body("Hi"))
            await proxy.post(path, headers={**sent, "OpenAI-Organization": "client-org"})
            (asked,) = a.asked
            assert asked["headers"][header] == value
            assert "client-" not in f"{asked['target']} {dict(asked['headers'])}"
            assert ("alt=json" in asked["target"]) is ("alt=json" in path)


async def test_an_operator_can_name_the_header(tmp_path: Path) -> None:
    """For servers that have their keys elsewhere."""
    async with upstream() as a:
        one = {"name": "a", "url": a.url, "keys_file": key_file(tmp_path, "upstream-1"), "key_header": "X-Own-Key"}
        async with proxied(tmp_path, upstreams=[one]) as (_, proxy):
            a.answers(body("Hi"))
            await proxy.post(headers=OWN)
            assert a.asked[0]["headers"]["X-Own-Key"] == "upstream-1"
            assert "Authorization" not in a.asked[0]["headers"]


async def test_without_keys_the_client_s_own_go_on_unless_set_otherwise(tmp_path: Path) -> None:
    """The default is a proxy that nobody notices; an upstream without any credentials gets none."""
    async with upstream() as a, upstream() as b:
        given = [
            {"name": "a", "url": a.url},
            {"name": "b", "url": b.url, "path": "/b", "credentials": "remove"},
        ]
        async with proxied(tmp_path, upstreams=given) as (_, proxy):
            for one in (a, b):
                one.answers(body("Hi"))
            await proxy.post(headers=OWN)
            await proxy.post(f"/b{CHAT}", headers=OWN)
            assert OWN.items() <= dict(a.asked[0]["headers"]).items()
            assert "client-" not in str(b.asked)


async def test_keys_are_used_in_turn(tmp_path: Path) -> None:
    """Round robin."""
    async with upstream() as a:
        keys = key_file(tmp_path, "k1", "# not a key", "k2", "k3")
        async with proxied(tmp_path, upstreams=[{"name": "a", "url": a.url, "keys_file": keys}]) as (_, proxy):
            a.answers(body("Hi"))
            for _ in range(4):
                await ask(proxy)
            assert keys_seen(a) == ["k1", "k2", "k3", "k1"]


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_key_that_is_not_taken_is_set_aside(tmp_path: Path, status: int) -> None:
    """The next is tried at once, the client notices nothing, and the next request begins with a good one."""
    async with upstream() as a:
        keys = key_file(tmp_path, "bad", "good")
        async with proxied(tmp_path, upstreams=[{"name": "a", "url": a.url, "keys_file": keys}]) as (_, proxy):
            a.turns = [
                lambda: a.answers({"error": {"message": "no"}}, status=status),
                lambda: a.answers(body("Hi")),
            ]
            assert [(await ask(proxy))[0] for _ in range(3)] == [200, 200, 200]
            assert keys_seen(a) == ["bad", "good", "good", "good"]
            closed = [one for one in proxy.records() if one["event"] == "request.closed"]
            assert [one["attempts"] for one in closed] == [2, 1, 1]


async def test_when_all_keys_are_at_their_limit_the_client_is_told_for_how_long(tmp_path: Path) -> None:
    """With 429 and retry-after, and the upstream is left in peace meanwhile."""
    async with upstream() as a:
        keys = key_file(tmp_path, "k1", "k2")
        async with proxied(tmp_path, upstreams=[{"name": "a", "url": a.url, "keys_file": keys}]) as (_, proxy):
            a.answers({"error": {"message": "no"}}, status=429, Retry_After="70")
            assert (await ask(proxy))[0] == 429
            assert keys_seen(a) == ["k1", "k2"]
            status, headers, raw = await proxy.post()
            assert (status, error_of(raw)["code"]) == (429, "upstream_keys_limited")
            assert 60 < int(headers["Retry-After"]) <= 70
            assert len(a.asked) == 2


async def test_a_refused_key_of_the_proxy_s_is_not_the_client_s_fault(tmp_path: Path) -> None:
    """Its 401 would make a client throw away a good key, and what the upstream says may quote ours."""
    async with upstream() as a:
        keys = key_file(tmp_path, "upstream-1")
        async with proxied(tmp_path, upstreams=[{"name": "a", "url": a.url, "keys_file": keys}]) as (_, proxy):
            a.answers({"error": {"message": "Incorrect API key provided: upstream-1"}}, status=401)
            status, raw = await ask(proxy)
            assert (status, error_of(raw)["code"]) == (502, "upstream_key_refused")
            assert b"upstream-1" not in raw


async def test_a_changed_key_file_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a restart, and a broken one changes nothing."""
    monkeypatch.setattr("safeproxy.shell.reloaded.LOOK_INTERVAL", 0.0)
    async with upstream() as a:
        keys = key_file(tmp_path, "old")
        async with proxied(tmp_path, upstreams=[{"name": "a", "url": a.url, "keys_file": keys}]) as (_, proxy):
            a.answers(body("Hi"))
            await ask(proxy)
            key_file(tmp_path, "newer-key")
            await ask(proxy)
            keys.write_text("", encoding="utf-8")
            await ask(proxy)
            assert keys_seen(a) == ["old", "newer-key", "newer-key"]


async def test_connections_are_used_again(tmp_path: Path) -> None:
    """For whole answers and for streams that end by themselves; not where the setting says never."""
    for seconds, expected in ((15.0, 1), (0.0, 4)):
        folder = tmp_path / str(seconds)
        await asyncio.to_thread(os.mkdir, folder)
        async with proxied(folder, pool_keep_alive=seconds) as (played, proxy):
            for _ in range(2):
                played.answers(body("Hi"))
                await ask(proxy)
                played.says(*stream("Hi"))
                await proxy.post()
            assert len(played.connections) == expected


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/v1/chat/completions",
        "//evil.example/v1/chat/completions",
        "/v1/../../evil.example/chat/completions",
        "/%2e%2e/v1/chat/completions",
        "/\\\\evil.example/v1/chat/completions",
        "/@evil.example/v1/chat/completions",
        "/v1/chat/completions?x=http://evil.example",
    ],
)
async def test_no_request_chooses_the_host(tmp_path: Path, target: str) -> None:
    """Whatever request line and Host header say, the upstream of the settings is asked, or nobody."""
    async with proxied(tmp_path) as (played, proxy):
        played.answers(body("Hi"))
        url = URL(proxy.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        content = b'{"model": "m", "messages": []}'
        head = (
            f"POST {target} HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + content)
        answer = await reader.read()
        writer.close()
        status = int(answer.split(b" ", 2)[1])
        assert status == 200 if played.asked else 400 <= status < 502
        for asked in played.asked:
            assert asked["headers"]["Host"] == URL(played.url).authority
            assert asked["target"].startswith("/")


async def test_the_whole_answer_has_its_time(tmp_path: Path) -> None:
    """In mid-stream it ends with the API's error event, before the head with its error."""
    async with proxied(tmp_path, total_timeout=0.3) as (played, proxy):
        played.says(*(step for piece in ["a "] * 50 for step in (0.02, *stream(piece, finish=None, done=False)[1:])))
        _, _, raw = await proxy.post()
        assert error_of(raw)["message"]
        assert 0 < len(text(raw)) < 100
        assert (await proxy.closed())["faults"] == ["total_timeout"]
        played.mute = True
        began = time.monotonic()
        status, raw = await ask(proxy)
        assert (status, error_of(raw)["code"]) == (504, "total_timeout")
        assert time.monotonic() - began < 20


async def test_a_websocket_goes_to_its_upstream_with_its_key(tmp_path: Path) -> None:
    """By the model in the query; the client's own credentials stay here."""
    async with upstream() as a, upstream() as b:
        given = [
            {"name": "a", "url": a.url, "models": "other-*"},
            {"name": "b", "url": b.url, "models": "gpt-*", "keys_file": key_file(tmp_path, "upstream-1")},
        ]
        async with proxied(tmp_path, upstreams=given, websockets="filter") as (_, proxy):
            b.answers({"error": {"message": "no"}}, status=400)
            own = {name: OWN[name] for name in ("Authorization", "Cookie")}
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await proxy.session.ws_connect(proxy.url + "/v1/realtime?model=gpt-x", headers=own)
            assert refused.value.status == 400
            assert not a.asked
            assert b.asked[0]["headers"]["Authorization"] == "Bearer upstream-1"
            assert "client-" not in str(b.asked)


@asynccontextmanager
async def over_tls(authority: trustme.CA, *names: str) -> AsyncIterator[str]:
    """An upstream with a certificate for ``names``; gives its address."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(body("Over TLS"))

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("trusted", "names", "expected"),
    [
        ("own", ["127.0.0.1"], 200),
        ("other", ["127.0.0.1"], 502),
        (None, ["127.0.0.1"], 502),
        ("own", ["x.example"], 502),
    ],
    ids=["trusted", "another authority", "the system's authorities", "another name"],
)
@pytest.mark.parametrize("setting", ["upstream_ca", "ca_file"])
async def test_an_upstream_s_certificate_is_checked(
    tmp_path: Path, setting: str, trusted: str | None, names: list[str], expected: int
) -> None:
    """Against the authorities of the settings, or the system's; and it must be for the host that is asked."""
    authorities = {"own": trustme.CA(), "other": trustme.CA()}
    file = tmp_path / "ca.pem"
    if trusted is not None:
        authorities[trusted].cert_pem.write_to_path(str(file))
    given = {} if trusted is None else {setting: file}
    async with over_tls(authorities["own"], *names) as url:
        one = {"name": "a", "url": url, **({} if setting == "upstream_ca" else given)}
        async with proxied(tmp_path, upstreams=[one], **({} if setting == "ca_file" else given)) as (_, proxy):
            status, raw = await ask(proxy)
            assert status == expected
            if expected == 502:
                assert error_of(raw)["code"] == "upstream_tls"
                closed = await proxy.closed()
                assert (closed["ended"], closed["faults"]) == ("upstream_error", ["upstream_tls"])
