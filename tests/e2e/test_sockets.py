"""WebSockets through the proxy: refused, or filtered message by message."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from tests.e2e.harness import RULES, Proxy, proxied
from tests.pipeline.test_sockets import EMAIL, message, response


class Peer:
    """A realtime API: it notes what it is told and plays a script at each ``response.create``."""

    def __init__(self, *script: str | bytes) -> None:
        self.script = script
        self.heard: list[Any] = []
        self.headers: Any = None
        self.code: int | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One connection."""
        self.headers = request.headers.copy()
        socket = web.WebSocketResponse(protocols=("realtime",))
        await socket.prepare(request)
        async for told in socket:
            self.heard.append(told.data)
            if told.type is WSMsgType.TEXT and "response.create" in told.data:
                for one in self.script:
                    await (socket.send_bytes(one) if isinstance(one, bytes) else socket.send_str(one))
            elif told.type is WSMsgType.TEXT and "goodbye" in told.data:
                await socket.close(code=1001)
        self.code = socket.close_code
        return socket


@asynccontextmanager
async def connected(
    folder: Path, peer: Peer, *, rules: str = RULES, path: str = "/v1/realtime", **settings: Any
) -> AsyncIterator[tuple[Proxy, aiohttp.ClientWebSocketResponse]]:
    """A client's WebSocket through the proxy to the peer."""
    app = web.Application()
    app.router.add_get(path, peer.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with (
            proxied(folder, rules, upstream=upstream, websockets="filter", **settings) as (_, proxy),
            proxy.session.ws_connect(
                f"{proxy.url}{path}?model=m",
                protocols=("realtime", "other"),
                headers={"Authorization": "Bearer k"},
            ) as socket,
        ):
            yield proxy, socket
    finally:
        await runner.cleanup()


async def heard(socket: aiohttp.ClientWebSocketResponse, *, until: str = "response.done") -> list[Any]:
    """The messages up to one of a type, or to the end of the connection."""
    found: list[Any] = []
    async for told in socket:
        found.append(json.loads(told.data))
        if found[-1]["type"] == until:
            break
    return found


async def test_both_ways_are_carried_and_one_is_filtered(tmp_path: Path) -> None:
    """Credentials and protocol pass, messages arrive one by one, findings are recorded."""
    peer = Peer(*response("Mail ", *EMAIL, " now"))
    async with connected(tmp_path, peer) as (proxy, socket):
        assert socket.protocol == "realtime"
        await socket.send_str(message("response.create", note="ada@example.com"))
        found = await heard(socket)
        assert "ada" not in json.dumps(found)
        assert found[-1]["response"]["output"][0]["content"][0]["transcript"] == "Mail [EMAIL_ADDRESS] now"
        await socket.send_bytes(b"sound")
        await socket.close()
        record = await proxy.closed()
    assert peer.headers["Authorization"] == "Bearer k"
    assert json.loads(peer.heard[0])["note"] == "ada@example.com"
    assert peer.heard[1] == b"sound"
    assert record["findings"]["redact"] == 1
    assert record["ended"] == "client_cancelled"


async def test_a_halt_closes_the_connection(tmp_path: Path) -> None:
    """After the API's own end; the upstream is left at once."""
    peer = Peer(*response("It is ", "forbidden", " to say"), *response("More"))
    async with connected(tmp_path, peer) as (proxy, socket):
        await socket.send_str(message("response.create"))
        found = await heard(socket, until="never")
        assert found[-1]["response"]["status_details"]["reason"] == "content_filter"
        assert "forbidden" not in json.dumps(found)
        assert "More" not in json.dumps(found)
        assert socket.close_code == 1008
        assert (await proxy.closed())["ended"] == "content_filter"


async def test_what_is_no_text_is_not_waved_through(tmp_path: Path) -> None:
    """A binary message from the upstream ends the connection."""
    async with connected(tmp_path, Peer(b"\x00\x01")) as (_, socket):
        await socket.send_str(message("response.create"))
        found = await heard(socket, until="never")
        assert [one["type"] for one in found] == ["error"]
        assert socket.close_code == 1003


async def test_the_upstream_may_close(tmp_path: Path) -> None:
    """Its code is passed on."""
    async with connected(tmp_path, Peer()) as (proxy, socket):
        await socket.send_str("goodbye")
        assert await heard(socket, until="never") == []
        assert socket.close_code == 1001
        assert (await proxy.closed())["ended"] == "stop"


async def test_prompts_are_looked_at_where_a_rule_asks(tmp_path: Path) -> None:
    """Redacted, or refused with the end of the connection."""
    rules = RULES.replace("action: halt\n", "action: halt\n  on: {request: true}\n")
    peer = Peer()
    async with connected(tmp_path, peer, rules=rules) as (proxy, socket):
        await socket.send_str(message("conversation.item.create", text="fine"))
        await socket.send_str(message("conversation.item.create", text="forbidden"))
        assert await heard(socket, until="never") == []
        assert socket.close_code == 1008
        assert (await proxy.closed())["ended"] == "prompt_blocked"
    assert len(peer.heard) == 1


async def test_an_upstream_that_will_not_is_told(tmp_path: Path) -> None:
    """With its status, before any message."""
    async with proxied(tmp_path, websockets="filter") as (upstream, proxy):
        upstream.answers({"error": "no"}, status=401)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await proxy.session.ws_connect(f"{proxy.url}/v1/realtime")
        assert caught.value.status == 401
        assert (await proxy.closed())["ended"] == "upstream_error"


async def test_other_paths_are_refused(tmp_path: Path) -> None:
    """Their messages are not known."""
    async with proxied(tmp_path, websockets="filter") as (upstream, proxy):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await proxy.session.ws_connect(f"{proxy.url}/v1/other")
        assert caught.value.status == 403
        assert not upstream.asked
