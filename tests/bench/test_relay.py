"""The yardstick, over loopback: what is sent through it arrives as it was, and at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from safeproxy.bench.relay import create_relay

pytestmark = [pytest.mark.e2e, pytest.mark.enable_socket]


@asynccontextmanager
async def relayed(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[TestClient[Any, Any]]:
    """A client of the relay, and behind it this handler; all of it ends within ten seconds."""
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handler)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(10))
        server = await stack.enter_async_context(TestServer(app))
        relay = create_relay(str(server.make_url("/")).rstrip("/"))
        yield await stack.enter_async_context(TestClient(TestServer(relay)))


async def test_a_request_and_its_answer_are_copied() -> None:
    """Method, path, query, body and the client's headers; status, content type and body."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response(status=418, body=b"got " + await request.read(), headers={"Content-Type": "text/x; a=b"})

    async with relayed(answer) as client:
        response = await client.put("/v1/a%20b?c=d%20e", data=b"\xff\x00", headers={"Authorization": "Bearer none"})
        assert (response.status, await response.read()) == (418, b"got \xff\x00")
        assert response.headers["Content-Type"] == "text/x; a=b"
    assert (asked[0].method, asked[0].raw_path) == ("PUT", "/v1/a%20b?c=d%20e")
    assert asked[0].headers["Authorization"] == "Bearer none"
    assert asked[0].headers["Content-Length"] == "2"


async def test_pieces_are_passed_on_as_they_come() -> None:
    """The second is sent only when the first has arrived."""
    arrived = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"one")
        await arrived.wait()
        await response.write(b"two")
        return response

    async with relayed(answer) as client:
        response = await client.get("/")
        assert await response.content.readexactly(3) == b"one"
        arrived.set()
        assert await response.content.read() == b"two"
