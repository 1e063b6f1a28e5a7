"""No credential, prompt, answer or found text is left in a log, an error, a metric or a record, whatever happens."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from safeproxy.shell.asking import Question
from safeproxy.shell.service import SERVICE
from tests.e2e.harness import CHAT, Abort, Proxy, Upstream, Wait, body, event, proxied, stream, until
from tests.e2e.test_keys import issued

#: What clients present, each where it may stand; none has the form of a virtual key.
PRESENTED = {
    "Authorization": "Bearer quiet-bearer-1",
    "x-api-key": "quiet-anthropic-2",
    "api-key": "quiet-azure-3",
    "x-goog-api-key": "quiet-google-4",
    "Cookie": "session=quiet-cookie-5",
    "Proxy-Authorization": "Basic quiet-basic-6",
    "x-other": "quiet-untagged-7",
}
QUERY = "?key=quiet-query-8"
PROMPT, ANSWER, FOUND = "quiet-prompt-9", "quiet-answer-10", "quietfound@example.com"
UPSTREAM_KEYS = ("quiet-upstream-11", "quiet-upstream-12")
SETTINGS = {"admin_token": "quiet-admin-token-13", "hash_key": "quiet-hash-key-14", "seal_key": "quiet-seal-key-15"}
REDIS = "redis://user:quiet-redis-16@127.0.0.1:9/0"
#: In all of them.
MARK = "quiet"

Outcome = Callable[[Upstream, Proxy], Awaitable[None]]


async def ask(proxy: Proxy, path: str = CHAT, **options: Any) -> tuple[int, bytes]:
    """Present everything; give status and body of the answer."""
    sent = {"json": {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}, "headers": PRESENTED, **options}
    status, _, raw = await proxy.post(path + QUERY, **sent)
    return status, raw


async def succeeds(upstream: Upstream, proxy: Proxy) -> None:
    """A stream and a body in which something is found."""
    upstream.says(*stream(ANSWER + " ", FOUND))
    assert (await ask(proxy))[0] == 200
    upstream.answers(body(f"{ANSWER} {FOUND}"))
    assert (await ask(proxy))[0] == 200


async def halts(upstream: Upstream, proxy: Proxy) -> None:
    """A stream and a body that a rule ends."""
    upstream.says(*stream(ANSWER, " forbidden"))
    await ask(proxy)
    upstream.answers(body(f"{ANSWER} forbidden"))
    await ask(proxy)


async def refuses_keys(upstream: Upstream, proxy: Proxy) -> None:
    """The upstream repeats the key that it was given."""
    for status in (401, 403, 429):
        upstream.answers({"error": {"message": f"Incorrect key {UPSTREAM_KEYS[0]}"}}, status=status)
        await ask(proxy)


async def breaks(upstream: Upstream, proxy: Proxy) -> None:
    """Errors, pages, resets, answers that are no answers."""
    upstream.says(f"<p>{ANSWER}</p>".encode(), status=502, Content_Type="text/html")
    status, raw = await ask(proxy)
    assert (status, MARK in raw.decode()) == (502, False)
    upstream.says(event(ANSWER), Abort())
    await ask(proxy)
    upstream.says(Abort())
    await ask(proxy)
    upstream.says(f'{{"choices": [{ANSWER}'.encode(), Content_Type="application/json")
    status, raw = await ask(proxy)
    assert (status, MARK in raw.decode()) == (502, False)
    upstream.says(f"data: {{{ANSWER}\n\n".encode())
    assert MARK not in (await ask(proxy))[1].decode()


async def is_nonsense(upstream: Upstream, proxy: Proxy) -> None:
    """Requests that cannot be read, and paths that are refused."""
    for data in (f'{{"messages": {PROMPT}'.encode(), b"\xff" + PROMPT.encode()):
        upstream.answers(body(ANSWER))
        await ask(proxy, json=None, data=data)
    status, raw = await ask(proxy, json=None, data=PROMPT.encode() * 1000)
    assert (status, MARK in raw.decode()) == (413, False)
    status, raw = await ask(proxy, "/-/metrics")
    assert MARK not in raw.decode()
    async with proxy.session.get(proxy.at("/-/metrics"), headers={"Authorization": "Bearer quiet-wrong"}) as wrong:
        assert wrong.status == 401
        assert MARK not in await wrong.text()


async def leaves(upstream: Upstream, proxy: Proxy) -> None:
    """The client goes in the midst of an answer."""
    upstream.says(event(ANSWER + " "), event(FOUND[:9]), Wait())
    async with aiohttp.ClientSession() as session:
        answer = await session.post(proxy.at(CHAT + QUERY), json={"messages": [PROMPT]}, headers=PRESENTED)
        await answer.content.readany()
        answer.close()
    await upstream.left.wait()


OUTCOMES: dict[str, Outcome] = {
    "succeeds": succeeds,
    "halts": halts,
    "refuses keys": refuses_keys,
    "breaks": breaks,
    "is nonsense": is_nonsense,
    "leaves": leaves,
}


async def is_told(proxy: Proxy) -> str:
    """Metrics and records, once all requests are over."""
    await until(lambda: not proxy.app[SERVICE].running)
    token = {"Authorization": f"Bearer {SETTINGS['admin_token']}"}
    async with proxy.session.get(proxy.at("/-/metrics"), headers=token) as metrics:
        assert metrics.status == 200
        return await metrics.text() + json.dumps(proxy.records())


def watch(caplog: pytest.LogCaptureFixture) -> None:
    """Hear all that anybody logs, the event loop's own complaints among it."""
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0001


def kept(upstream: str, folder: Path) -> dict[str, Any]:
    """Settings with every secret that there can be, and a Redis that is not there."""
    file = folder / "upstream-keys.txt"
    file.write_text("\n".join(UPSTREAM_KEYS), encoding="ascii")
    one = {"name": "main", "url": upstream, "keys_file": file}
    limits = [{"per": "address", "requests": 1_000}]
    return {**SETTINGS, "upstreams": [one], "limits": limits, "redis_url": REDIS, "client_max_size": 9_000}


@pytest.mark.parametrize("name", OUTCOMES)
@pytest.mark.parametrize("mode", ["the client's own credentials", "upstream keys and a Redis"])
async def test_nothing_is_left(
    tmp_path: Path, name: str, mode: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """In either mode, whatever becomes of a request; all that is logged, measured and recorded is searched."""
    watch(caplog)
    async with proxied(tmp_path) as (upstream, _):
        own = {"upstream": upstream.url, **SETTINGS, "client_max_size": 9_000}
        settings = own if mode.startswith("the client") else kept(upstream.url, tmp_path)
        (tmp_path / "asked").mkdir()
        async with proxied(tmp_path / "asked", tag_headers=("x-tag",), **settings) as (_, proxy):
            await OUTCOMES[name](upstream, proxy)
            told = await is_told(proxy)
    logged = caplog.text + "".join(capfd.readouterr())
    assert '"event": "request"' in logged
    assert "request.closed" in told
    for text in (logged, told):
        assert MARK not in text, text[max(0, text.index(MARK) - 200) :][:400]


async def test_nothing_is_left_of_a_virtual_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """One that is good, one that is wrong, one that stands in the wrong place."""
    watch(caplog)
    file = tmp_path / "keys.yaml"
    key = issued(file, tenant="acme")
    wrong = key[:-4] + "9999"
    async with proxied(tmp_path, client_keys=file, admin_token=SETTINGS["admin_token"]) as (upstream, proxy):
        upstream.answers(body("Hello"))
        for presented in (key, wrong):
            for headers in ({"Authorization": f"Bearer {presented}"}, {"x-api-key": presented}, {"x-tag": presented}):
                status, _, raw = await proxy.post(headers=headers)
                assert status in (200, 401)
                assert presented not in raw.decode()
        told = await is_told(proxy)
    text = told + caplog.text + "".join(capfd.readouterr())
    assert key.split("-")[1] in text  # its id is there, to tell whose it was
    for secret in (key, wrong, key.split("-", 2)[2], wrong.split("-", 2)[2]):
        assert secret not in text


async def test_nothing_is_left_of_a_bug(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error of our own may hold anything in its message: its kind and place alone are logged."""
    watch(caplog)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"{PROMPT} {PRESENTED}")

    monkeypatch.setattr(Question, "of", broken)
    async with proxied(tmp_path, admin_token=SETTINGS["admin_token"]) as (_, proxy):
        status, raw = await ask(proxy)
        assert (status, MARK in raw.decode()) == (500, False)
        told = await is_told(proxy)
    logged = caplog.text + "".join(capfd.readouterr())
    assert "RuntimeError" in logged
    assert MARK not in logged + told
