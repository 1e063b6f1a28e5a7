"""Limits as clients meet them, and in a real Redis: shared, gone, back, and after a crash."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openai
import pytest
import redis.asyncio

from safeproxy.shell import limits as module
from safeproxy.shell import redis_counters
from safeproxy.shell.quotas import Quota
from safeproxy.shell.redis_counters import RedisCounters
from tests.e2e.harness import CHAT, LIMIT, Proxy, Upstream, Wait, body, error_of, event, proxied, stream

#: What the requests of a test say, which come from one address.
ADDRESS = "127.0.0.1"
PASSWORD = "correct-horse"


class Redis:
    """A Redis of our own, behind a password, on a Unix socket; it keeps nothing when it is stopped."""

    def __init__(self, folder: Path, binary: str) -> None:
        self._folder = folder
        self._binary = binary
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"unix://{folder}/s?password={PASSWORD}"

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["--port", "0", "--unixsocket", f"{self._folder}/s", "--requirepass", PASSWORD, "--save", ""]
        self._process = await asyncio.create_subprocess_exec(
            self._binary, *options, cwd=self._folder, stdout=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(LIMIT), redis.asyncio.from_url(self.url) as client:
            while True:
                try:
                    await client.ping()
                except redis.RedisError:
                    await asyncio.sleep(0.01)
                else:
                    return

    async def kill(self) -> None:
        """Stop it at once."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    async def keys(self) -> set[str]:
        """What it holds."""
        async with redis.asyncio.from_url(self.url, decode_responses=True) as client:
            return set(await client.keys("*"))


@pytest.fixture
async def server() -> AsyncIterator[Redis]:
    """A running Redis."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    with TemporaryDirectory() as folder:  # short: the path of a socket has 107 bytes at most
        started = Redis(Path(folder), binary)
        await started.start()
        try:
            yield started
        finally:
            await started.kill()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is asked again sooner than operators would want."""
    monkeypatch.setattr(module, "_PAUSE", 0.05)


@contextmanager
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A folder for each of two proxies."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    yield one, two


@asynccontextmanager
async def pair(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[tuple[Upstream, Proxy], tuple[Upstream, Proxy]]]:
    """Two proxies with the same settings."""
    with folders(tmp_path) as (one, two):
        async with proxied(one, **settings) as first, proxied(two, **settings) as second:
            for upstream, _ in (first, second):
                upstream.answers(body("Fine."))
            yield first, second


async def until(proxy: Proxy, status: int) -> Any:
    """The headers of the first answer with this status; another is asked for until it comes."""
    while True:
        got, headers, _ = await proxy.post()
        if got == status:
            return headers


async def test_headers_take_the_place_of_the_upstreams(tmp_path: Path) -> None:
    """The client sees the proxy's limits on every answer, and nothing of the operator's account."""
    limits = [{"per": "address", "requests": 2}]
    async with proxied(tmp_path, limits=limits) as (upstream, proxy):
        upstream.answers(
            body("Fine."),
            **{"x-ratelimit-limit-requests": "9999", "x-ratelimit-limit-tokens": "7", "x-ratelimit-reset-project": "1"},
        )
        for left in ("1", "0"):
            status, headers, _ = await proxy.post()
            assert status == 200
            assert headers.getall("x-ratelimit-limit-requests") == ["2"]
            assert headers["x-ratelimit-remaining-requests"] == left
            assert [name for name in headers if "ratelimit" in name.lower() and "requests" not in name.lower()] == []
        status, headers, raw = await proxy.post()
        assert status == 429
        assert int(headers["retry-after"]) in range(1, 122)
        assert headers["x-ratelimit-remaining-requests"] == "0"
        assert error_of(raw)["code"] == "rate_limit_exceeded"
        assert "x-should-retry" not in headers
        record = await proxy.closed(3)
        assert (record["ended"], record["status"], record["faults"]) == ("refused", 429, ["limit_requests"])
        assert len(upstream.asked) == 2


async def test_without_limits_the_upstreams_are_shown(tmp_path: Path) -> None:
    """Nothing changes for those who set none."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.answers(body("Fine."), **{"x-ratelimit-limit-requests": "9999"})
        _, headers, _ = await proxy.post()
        assert headers["x-ratelimit-limit-requests"] == "9999"


async def test_the_sdk_knows_it_for_a_rate_limit(tmp_path: Path) -> None:
    """``openai.RateLimitError``, with the time to wait."""
    limits = [{"per": "all", "requests": 1}]
    async with (
        proxied(tmp_path, limits=limits) as (upstream, proxy),
        openai.AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key="sk-test", max_retries=0) as sdk,
    ):
        upstream.says(*stream("Fine."))
        ask: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        async for _ in await sdk.chat.completions.create(**ask):
            pass
        with pytest.raises(openai.RateLimitError) as caught:
            await sdk.chat.completions.create(**ask)
        assert caught.value.code == "rate_limit_exceeded"
        assert int(caught.value.response.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/messages", lambda error: error["error"]["type"] == "rate_limit_error"),
        ("/v1beta/models/m:generateContent", lambda error: error["error"]["status"] == "RESOURCE_EXHAUSTED"),
        ("/v2/chat", lambda error: "Rate limit" in error["message"]),
        ("/api/chat", lambda error: "Rate limit" in error["error"]),
        ("/unheard/of", lambda error: error["error"]["type"] == "rate_limit_error"),
    ],
)
async def test_each_api_is_told_in_its_own_shape(tmp_path: Path, path: str, kind: Any) -> None:
    """The body of a 429, whichever API was asked."""
    async with proxied(tmp_path, limits=[{"per": "all", "requests": 1}]) as (upstream, proxy):
        upstream.answers({})
        await proxy.post(path)
        status, headers, raw = await proxy.post(path)
        assert status == 429
        assert kind(json.loads(raw))
        family = "anthropic-ratelimit-requests-limit" if path == "/v1/messages" else "x-ratelimit-limit-requests"
        assert headers[family] == "1"


async def test_requests_at_the_same_time(tmp_path: Path) -> None:
    """A second stream is refused while the first one runs, by the limit and by the process' own bound."""
    for settings, status, fault in (
        ({"limits": [{"per": "address", "streams": 1}]}, 429, "limit_streams"),
        ({"max_streams": 1}, 503, "max_streams"),
    ):
        folder = tmp_path / fault
        folder.mkdir()
        async with proxied(folder, **settings) as (upstream, proxy):
            upstream.says(event("Once "), Wait())
            async with proxy.session.post(proxy.at(CHAT), json={"model": "m"}) as running:
                assert running.status == 200
                got, headers, _ = await proxy.post()
                assert (got, headers["retry-after"]) == (status, "1")
                assert (await proxy.closed())["faults"] == [fault]
            # The client has left; once that is noticed there is room again.
            await upstream.left.wait()
            upstream.answers(body("Fine."))
            await until(proxy, 200)


async def test_tokens_are_the_upstreams(tmp_path: Path) -> None:
    """What the API says was used is charged, and the next request waits; the record has it."""
    async with proxied(tmp_path, limits=[{"per": "address", "tokens": 7}]) as (upstream, proxy):
        upstream.answers(body("Fine."))
        assert (await proxy.post())[0] == 200
        headers = await until(proxy, 429)
        assert headers["x-ratelimit-remaining-tokens"] == "0"
        assert "limit_tokens" in proxy.records()[-1]["faults"]


async def test_two_proxies_share_a_limit(tmp_path: Path, server: Redis) -> None:
    """Requests are counted together; what Redis holds names nobody's credentials."""
    limits = [{"per": "address", "requests": 3, "tokens": 1000}]
    async with pair(tmp_path, limits=limits, redis_url=server.url) as ((_, one), (_, two)):
        header = {"Authorization": "Bearer sk-secret"}
        told = [await proxy.post(headers=header) for proxy in (one, two, one, two, one)]
        assert [status for status, _, _ in told] == [200, 200, 200, 429, 429]
        assert [headers["x-ratelimit-remaining-requests"] for _, headers, _ in told] == ["2", "1", "0", "0", "0"]
        assert all(not record["faults"] for record in one.records() if record.get("status") == 200)
    assert await server.keys() == {
        f"safeproxy:{{requests/address/{ADDRESS}/3}}",
        f"safeproxy:{{tokens/address/{ADDRESS}/1000}}",
    }


async def test_two_proxies_share_tokens(tmp_path: Path, server: Redis) -> None:
    """What was used at one is missing at the other."""
    async with pair(tmp_path, limits=[{"per": "all", "tokens": 7}], redis_url=server.url) as ((_, one), (_, two)):
        assert (await one.post())[0] == 200
        await until(two, 429)


async def test_two_proxies_share_places(tmp_path: Path, server: Redis) -> None:
    """A stream at one takes the place at the other until it ends."""
    limits = [{"per": "address", "streams": 1}]
    async with pair(tmp_path, limits=limits, redis_url=server.url) as ((upstream, one), (_, two)):
        upstream.says(event("Once "), Wait())
        async with one.session.post(one.at(CHAT), json={"model": "m"}) as running:
            assert running.status == 200
            assert (await two.post())[0] == 429
        await until(two, 200)
    assert await server.keys() == set()


async def test_redis_killed_counts_locally_and_comes_back(
    tmp_path: Path, server: Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each process counts for itself and says so in the record; then together again; the password is never told."""
    limits = [{"per": "address", "requests": 2}]
    async with pair(tmp_path, limits=limits, redis_url=server.url) as ((_, one), (_, two)):
        assert [(await proxy.post())[0] for proxy in (one, two, one)] == [200, 200, 429]
        await server.kill()
        assert [(await proxy.post())[0] for proxy in (one, one, one, two, two, two)] == [200, 200, 429] * 2
        assert (await one.closed(5))["faults"] == ["limit_requests", "limits_local"]
        await server.start()
        while not await server.keys():  # empty as it started; the limit is full here, but not there
            await one.post()
        await until(two, 429)
        assert two.records()[-1]["faults"] == ["limit_requests"]
    log = capfd.readouterr().err
    assert log.count('"redis_gone"') in (2, 3)  # once each; starting again, it may fail once more
    assert log.count('"redis_back"') >= 1
    assert PASSWORD not in log


async def test_redis_killed_is_a_refusal_if_set(tmp_path: Path, server: Redis) -> None:
    """503 with a code of its own while it is gone, in the middle of a stream too, which itself goes on."""
    settings = {"limits": [{"per": "all", "requests": 9, "streams": 9}], "on_limits_error": "refuse"}
    async with proxied(tmp_path, redis_url=server.url, **settings) as (upstream, proxy):
        more = asyncio.Event()
        upstream.says(event("Once "), more, *stream("upon a time."))
        async with proxy.session.post(proxy.at(CHAT), json={"model": "m"}) as running:
            await server.kill()
            status, headers, raw = await proxy.post()
            assert (status, headers["retry-after"]) == (503, "1")
            assert error_of(raw)["code"] == "limits_unavailable"
            record = await proxy.closed()
            assert (record["ended"], record["faults"]) == ("refused", ["limits_unavailable"])
            more.set()
            assert b"upon a time." in await running.read()
        await server.start()
        upstream.answers(body("Fine."))
        await until(proxy, 200)


async def test_a_redis_that_says_nothing_stalls_nobody(tmp_path: Path) -> None:
    """It takes connections and is silent: requests are counted locally after a moment, not after its pleasure."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    url = f"redis://127.0.0.1:{port}/0"
    async with listening, proxied(tmp_path, limits=[{"per": "all", "requests": 2}], redis_url=url) as (upstream, proxy):
        upstream.answers(body("Fine."))
        assert [(await proxy.post())[0] for _ in range(3)] == [200, 200, 429]
        assert all("limits_local" in one["faults"] for one in proxy.records() if one["event"] == "request.closed")


async def test_a_crashed_holders_lease_ends(tmp_path: Path, server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds a place and is never heard of again loses it; who is heard of keeps it."""
    monkeypatch.setattr(redis_counters, "LEASE", 1.5)
    monkeypatch.setattr(module, "RENEWAL", 0.1)
    limits = [{"per": "all", "streams": 2}]
    async with proxied(tmp_path, limits=limits, redis_url=server.url) as (upstream, proxy):
        crashed = RedisCounters(server.url)
        assert await crashed.hold(Quota("streams", "all", "streams/all/all/2", 2), "lost")
        upstream.says(event("Once "), Wait())
        async with proxy.session.post(proxy.at(CHAT), json={"model": "m"}) as running:
            assert running.status == 200
            assert (await proxy.post())[0] == 429
            upstream.answers(body("Fine."))
            await until(proxy, 200)
            # The one that runs was renewed meanwhile: there is room for one, not for two.
            while not await crashed.hold(Quota("streams", "all", "streams/all/all/2", 2), "lost again"):
                pass  # the end of the last request is told Redis in the background
            assert (await proxy.post())[0] == 429
        await crashed.close()


async def test_a_redis_that_forgot_learns_who_runs(
    tmp_path: Path, server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was started again, empty: the streams that run are counted again at the next renewal."""
    monkeypatch.setattr(module, "RENEWAL", 0.1)
    async with proxied(tmp_path, limits=[{"per": "all", "streams": 1}], redis_url=server.url) as (upstream, proxy):
        upstream.says(event("Once "), Wait())
        async with proxy.session.post(proxy.at(CHAT), json={"model": "m"}) as running:
            assert running.status == 200
            await server.kill()
            await server.start()
            while not await server.keys():
                pass
            other = RedisCounters(server.url)
            assert not await other.hold(Quota("streams", "all", "streams/all/all/1", 1), "another")
            await other.close()
