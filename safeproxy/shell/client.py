"""The client's side of an exchange: reading its request, writing its answer, noticing that it has left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from aiohttp import http_exceptions, web
from multidict import CIMultiDict

from safeproxy.shell.connections import is_too_slow
from safeproxy.shell.exchange import Exchange
from safeproxy.shell.headers import REQUEST_ID, is_readable
from safeproxy.shell.quotas import is_ratelimit_header
from safeproxy.shell.refusal import Refusal
from safeproxy.wire.dialect import Dialect

#: How often a request looks whether its client is still there, where the server does not say so, in seconds.
WATCH_INTERVAL = 0.05

_UNREADABLE = (
    aiohttp.ClientPayloadError,
    http_exceptions.BadHttpMessage,
    http_exceptions.PayloadEncodingError,
    web.RequestPayloadError,
)


class ClientGone(Exception):  # noqa: N818 - an event, not a fault
    """The client has closed its connection; there is nobody left to answer."""


def note_gone(request: web.Request, exchange: Exchange) -> None:
    """The client has left, or was cut off."""
    exchange.cancelled()
    if is_too_slow(request):
        exchange.faults.append("client_too_slow")


def is_gone(request: web.Request) -> bool:
    """Whether the client's connection is closed."""
    return request.transport is None or request.transport.is_closing()


async def read_body(request: web.Request, exchange: Exchange, limit: int, pause: float) -> bytes:
    """The whole request body, its coding undone. Raises Refusal (413, 408, 400, 415) and ClientGone."""
    if not is_readable(request.headers):
        raise _unreadable_coding()
    declared = request.content_length
    if declared is not None and declared > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    async for piece in body_pieces(request, exchange, pause):
        pieces.append(piece)
        if exchange.request_bytes > limit:
            raise _too_large(limit)
    return b"".join(pieces)


async def body_pieces(request: web.Request, exchange: Exchange, pause: float) -> AsyncIterator[bytes]:
    """The request body as it arrives, counted; a client may ``pause`` for so many seconds.

    Raises Refusal (408, 400, 415) and ClientGone.
    """
    try:
        await _invite(request, exchange)
        while piece := await _piece(request, exchange, pause):
            exchange.request_bytes += len(piece)
            yield piece
    except ConnectionError:
        raise ClientGone from None
    except _UNREADABLE:
        if request.headers.get("content-encoding"):
            raise _unreadable_coding() from None
        raise Refusal(400, "unreadable_body", "The request body is not readable HTTP.") from None


async def _piece(request: web.Request, exchange: Exchange, pause: float) -> bytes:
    try:
        async with asyncio.timeout(pause):
            return await request.content.readany()
    except TimeoutError:
        exchange.faults.append("client_body_timeout")
        message = f"Nothing of the request body came for {pause:g} seconds (setting client_body_timeout)."
        raise Refusal(408, "client_body_timeout", message, retry=True) from None


async def keep_expecting(_: web.Request) -> None:
    """Take the place of the server's own answer to ``Expect``: a body is invited only when it is going to be read."""


async def _invite(request: web.Request, exchange: Exchange) -> None:
    """Tell a client that waits for it to send its body; one that has its answer already is told nothing more."""
    expects = request.headers.get("expect", "").lower() == "100-continue"
    if expects and request.version >= (1, 1) and exchange.status is None:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def parsed(body: bytes) -> Any:
    """What a request body says, None if it is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def model_of(value: Any) -> str | None:
    """The model a request names, if it names one."""
    model = value.get("model") if isinstance(value, dict) else None
    return model if isinstance(model, str) else None


async def begin(request: web.Request, exchange: Exchange, response: web.StreamResponse) -> None:
    """Send the head of the answer. Raises ClientGone."""
    if request.version < (1, 1) and response.content_length is None:
        response.force_close()  # HTTP/1.0 has no other end for a body of unknown length, whatever the client asks
    if exchange.limited:
        for name in [name for name in response.headers if is_ratelimit_header(name)]:
            response.headers.popall(name, None)
    response.headers.update(exchange.headers)
    with _leaving():
        await response.prepare(request)
    exchange.status = response.status


async def write(exchange: Exchange, response: web.StreamResponse, data: bytes) -> None:
    """Send a piece of the answer, waiting while the client reads slowly. Raises ClientGone."""
    with _leaving():
        await response.write(data)
    exchange.delivered_bytes += len(data)


async def end(response: web.StreamResponse) -> None:
    """Mark the end of the answer. Raises ClientGone."""
    with _leaving():
        await response.write_eof()


async def answer(
    request: web.Request,
    exchange: Exchange,
    status: int,
    headers: CIMultiDict[str],
    body: bytes,
    reason: str | None = None,
) -> web.StreamResponse:
    """Send a whole answer, its length declared. Raises ClientGone."""
    response = web.Response(status=status, reason=reason, headers=headers, body=body)
    if request.can_read_body or headers.get("Connection") == "close":
        # The rest of its body is of no use: the client need not send it, and must not take it for read.
        response.force_close()
    await begin(request, exchange, response)
    await end(response)
    if request.method != "HEAD":
        exchange.delivered_bytes += len(body)
    return response


async def refuse(
    request: web.Request, exchange: Exchange, refusal: Refusal, dialect: Dialect | None
) -> web.StreamResponse:
    """Answer in the proxy's own name. Raises ClientGone."""
    exchange.ended, exchange.refusal = refusal.ended, refusal.code
    headers = CIMultiDict(refusal.headers)
    headers["Content-Type"] = "application/json" if refusal.native is None else refusal.native[0]
    headers[REQUEST_ID] = exchange.id
    if not refusal.retry:
        headers["x-should-retry"] = "false"
    return await answer(request, exchange, refusal.status, headers, refusal.body(dialect))


@contextmanager
def watched(request: web.Request) -> Iterator[None]:
    """Cancel the running task once the client has left."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def look() -> None:
        if over:
            return
        if is_gone(request):
            task.cancel()
        else:
            loop.call_later(WATCH_INTERVAL, look)

    over = False
    loop.call_later(WATCH_INTERVAL, look)
    try:
        yield
    finally:
        over = True


@contextmanager
def _leaving() -> Iterator[None]:
    try:
        yield
    except ConnectionError:
        raise ClientGone from None


def _unreadable_coding() -> Refusal:
    message = "The request body's Content-Encoding cannot be undone here; send it as gzip or plain."
    return Refusal(415, "unsupported_encoding", message)


def _too_large(limit: int) -> Refusal:
    return Refusal(
        413,
        "request_too_large",
        f"The request body is longer than {limit} bytes, the proxy's limit (setting client_max_size).",
    )
