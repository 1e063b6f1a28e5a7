"""HTTP/2 and HTTP/3 by way of the fronts of deploy/: what a stream promises must hold through them too."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.fronts import Front, fronted
from tests.e2e.harness import (
    CHAT,
    DONE,
    Abort,
    Proxy,
    Upstream,
    Wait,
    error_of,
    event,
    events,
    finishes,
    proxied,
    stream,
    text,
)
from tests.e2e.multiplexed import Client, connected

FRONTS = ["caddy of Debian", "caddy", "envoy"]
ASKED = {"model": "m", "messages": [], "stream": True}


@dataclass
class Chain:
    """An upstream, the proxy, a front, and a connection to it."""

    upstream: Upstream
    proxy: Proxy
    front: Front
    client: Client


@asynccontextmanager
async def chained(
    folder: Path, way: tuple[str, str], source: str = "127.0.0.1", **settings: Any
) -> AsyncIterator[Chain]:
    """All four, ``way`` being the front and the protocol."""
    kind, protocol = way
    async with (
        proxied(folder, **settings) as (upstream, proxy),
        fronted(kind, folder / "front", proxy.url) as front,
        connected(protocol, front, source) as client,
    ):
        yield Chain(upstream, proxy, front, client)


#: HTTP/3 of Caddy 2.6 is older than what clients speak.
WAYS = [
    (kind, protocol) for kind in FRONTS for protocol in ("h2", "h3") if (kind, protocol) != ("caddy of Debian", "h3")
]


@pytest.fixture(params=WAYS, ids=" ".join)
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A front and a protocol."""
    given: tuple[str, str] = request.param
    return given


async def test_events_arrive_one_by_one(tmp_path: Path, way: tuple[str, str]) -> None:
    """The upstream says the next word only when the client has read the one before: any buffer would stop it."""
    async with chained(tmp_path, way) as chain:
        read = [asyncio.Event() for _ in range(3)]
        first, *rest = [event(f"word{number}, and ") for number in range(3)]
        chain.upstream.says(first, read[0], rest[0], read[1], rest[1], read[2], event(finish="stop"), DONE)
        answer = chain.client.ask(CHAT, ASKED)
        for number, seen in enumerate(read):
            await answer.until(f"word{number}".encode())
            seen.set()
        raw = await answer.whole()
        assert (answer.status, text(raw), finishes(raw)) == (200, "word0, and word1, and word2, and ", ["stop"])


async def test_a_client_that_leaves_is_noticed_by_the_upstream(tmp_path: Path, way: tuple[str, str]) -> None:
    """One stream is given up: the upstream is closed, the record says so, and the connection goes on."""
    async with chained(tmp_path, way) as chain:
        chain.upstream.says(event("Hello, world. "), Wait())
        answer = chain.client.ask(CHAT, ASKED)
        await answer.until(b"Hello")
        chain.client.leave(answer)
        await chain.upstream.left.wait()
        assert (await chain.proxy.closed())["ended"] == "client_cancelled"
        chain.upstream.says(*stream("Again."))
        assert text(await chain.client.ask(CHAT, ASKED).whole()) == "Again."


async def test_a_halt_arrives_whole(tmp_path: Path, way: tuple[str, str]) -> None:
    """The API's own end comes through in order, and nothing that was held."""
    async with chained(tmp_path, way) as chain:
        chain.upstream.says(event("This is "), event("forbidden fruit"), Wait())
        answer = chain.client.ask(CHAT, ASKED)
        raw = await answer.whole()
        assert (text(raw), finishes(raw)) == ("This is ", ["content_filter"])
        assert events(raw)[-1] == "[DONE]"
        await chain.upstream.left.wait()


async def test_an_upstream_that_breaks_off_ends_in_an_error_event(tmp_path: Path, way: tuple[str, str]) -> None:
    """The client reads the API's error, and not a broken stream that it would have to guess about."""
    async with chained(tmp_path, way) as chain:
        chain.upstream.says(event("Hello, world. "), Abort())
        raw = await chain.client.ask(CHAT, ASKED).whole()
        assert text(raw) == "Hello, world. "
        assert error_of(raw)["message"]


async def test_streams_share_a_connection(tmp_path: Path, way: tuple[str, str]) -> None:
    """Many streams run at once on one connection: each says its first word before any may go on."""
    async with chained(tmp_path, way) as chain:
        go = asyncio.Event()
        chain.upstream.says(event("Hello, "), go, event("to ada@"), event("example.com"), event(finish="stop"), DONE)
        answers = [chain.client.ask(CHAT, ASKED) for _ in range(40)]
        for answer in answers:
            await answer.until(b"Hello")
        go.set()
        for answer in answers:
            raw = await answer.whole()
            assert (text(raw), finishes(raw)) == ("Hello, to [EMAIL_ADDRESS]", ["stop"])


async def test_one_stream_may_leave_while_the_others_go_on(tmp_path: Path, way: tuple[str, str]) -> None:
    """Giving up every other stream of a connection neither ends nor delays the rest."""
    async with chained(tmp_path, way) as chain:
        go = asyncio.Event()
        chain.upstream.says(event("Hello, "), go, event("world."), event(finish="stop"), DONE)
        answers = [chain.client.ask(CHAT, ASKED) for _ in range(10)]
        for answer in answers:
            await answer.until(b"Hello")
        for answer in answers[::2]:
            chain.client.leave(answer)
        await chain.upstream.left.wait()
        go.set()
        for answer in answers[1::2]:
            assert text(await answer.whole()) == "Hello, world."


async def test_what_is_for_the_machines_behind_stays_there(tmp_path: Path, way: tuple[str, str]) -> None:
    """Readiness and metrics cannot be asked for through a front."""
    async with chained(tmp_path, way) as chain:
        for path in ("/-/metrics", "/-/ready"):
            answer = chain.client.ask(path)
            await answer.whole()
            assert answer.status == 404
        assert not chain.upstream.asked


@pytest.mark.parametrize("kind", FRONTS)
async def test_http3_is_advertised(tmp_path: Path, kind: str) -> None:
    """Clients learn from HTTP/2 that there is HTTP/3."""
    async with chained(tmp_path, (kind, "h2")) as chain:
        chain.upstream.says(*stream("Hello."))
        answer = chain.client.ask(CHAT, ASKED)
        await answer.whole()
        assert 'h3=":' in answer.headers["alt-svc"]


@pytest.mark.parametrize("kind", FRONTS)
async def test_the_record_has_the_client_s_address(tmp_path: Path, kind: str) -> None:
    """The front's word on who asks is taken, the client's own is not."""
    async with chained(tmp_path, (kind, "h2"), "127.0.0.2", trusted_proxies=("127.0.0.1",)) as chain:
        chain.upstream.says(*stream("Hello."))
        await chain.client.ask(CHAT, ASKED, x_forwarded_for="192.0.2.9").whole()
        await chain.proxy.closed()
        opened = [record for record in chain.proxy.records() if record["event"] == "request.opened"]
        assert [record["client"] for record in opened] == ["127.0.0.2"]


@pytest.mark.parametrize("kind", FRONTS)
async def test_a_real_client_reads_a_stream_over_http2(tmp_path: Path, kind: str) -> None:
    """OpenAI's own client, told to speak HTTP/2."""
    async with proxied(tmp_path) as (upstream, proxy), fronted(kind, tmp_path / "front", proxy.url) as front:
        upstream.says(*stream("Write to ada@", "example.com today."))
        trust = ssl.create_default_context(cafile=str(front.authority))
        async with (
            httpx.AsyncClient(http1=False, http2=True, verify=trust, trust_env=False) as http,
            openai.AsyncOpenAI(base_url=f"{front.url}/v1", api_key="k", max_retries=0, http_client=http) as client,
        ):
            answer = await client.chat.completions.create(model="m", messages=[], stream=True)
            said = [chunk.choices[0].delta.content or "" async for chunk in answer]
            assert "".join(said) == "Write to [EMAIL_ADDRESS] today."
            assert answer.response.http_version == "HTTP/2"
