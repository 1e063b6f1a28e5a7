"""Connections of clients: cut off where a client is too slow to ask, or to read what it asked for.

aiohttp's server has no such limits. What is here costs a timer where a client makes somebody wait, and nothing for
each piece of an answer. A pause within a request's body is the business of `safeproxy.shell.client`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from safeproxy.shell.settings import Settings


class Connection(web.RequestHandler):
    """aiohttp's connection, with the two limits of its `Server`."""

    __slots__ = ("_head_timer", "_read_timer", "_server", "too_slow")

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self.too_slow = False
        """Whether it was cut off because the client left what it was sent unread."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The first request has to be there in time, counted from here on."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """A request that has begun has to be there in time; a connection that is kept may be silent before it."""
        heads = self._request_count
        super().data_received(data)
        if self._request_count != heads:
            self._stop_head_timer()
        elif data and self._head_timer is None and self._waiter is not None:  # no request is being served
            self._await_head()

    def pause_writing(self) -> None:
        """What was sent piles up: the client has to read on in time."""
        super().pause_writing()
        self._read_timer = self._loop.call_later(self._server.read_timeout, self._cut_off_unread)

    def resume_writing(self) -> None:
        """It does."""
        self._stop_read_timer()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing is waited for any more."""
        self._stop_head_timer()
        self._stop_read_timer()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(self._server.header_timeout, self.force_close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _cut_off_unread(self) -> None:
        self.too_slow = True
        if self.transport is not None:
            self.transport.abort()  # to close it would wait for the client to read


class Server(web.Server):
    """aiohttp's server, making such connections. Times are in seconds."""

    def __init__(self, server: web.Server, *, header_timeout: float, read_timeout: float) -> None:
        super().__init__(
            server.request_handler,
            request_factory=server.request_factory,
            handler_cancellation=server.handler_cancellation,
            **server._kwargs,
        )
        self.header_timeout = header_timeout
        self.read_timeout = read_timeout

    def __call__(self) -> Connection:
        """A connection that is about to be made."""
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application as ``settings`` say of its clients' connections."""

    __slots__ = ("_settings",)

    def __init__(self, app: web.Application, settings: Settings) -> None:
        super().__init__(
            app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=1.0,
            max_line_size=settings.max_header_bytes,
            max_field_size=settings.max_header_bytes,
        )
        self._settings = settings

    async def _make_server(self) -> web.Server:
        return Server(
            await super()._make_server(),
            header_timeout=self._settings.client_header_timeout,
            read_timeout=self._settings.client_read_timeout,
        )


def is_too_slow(request: web.Request) -> bool:
    """Whether the client was cut off because it did not read what it was sent."""
    return isinstance(request.protocol, Connection) and request.protocol.too_slow
