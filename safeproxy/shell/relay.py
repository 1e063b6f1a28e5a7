"""Carries an answer from the upstream to the client: as a stream, as a whole body, or unfiltered."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from safeproxy import suspend
from safeproxy.pipeline.policy import FAULT_TOO_LONG
from safeproxy.shell import client, compression, keepalive
from safeproxy.shell.asked import Asked
from safeproxy.shell.exchange import Exchange
from safeproxy.shell.headers import add_vary, response_headers, safe_reason
from safeproxy.shell.refusal import Refusal
from safeproxy.shell.service import Service, audit_refusal
from safeproxy.shell.upstream import FAULTS, begins, fault_of

#: How long a finished answer's connection may take to end, so that it can be used again, in seconds.
_TAIL = 0.1
#: Ends after which the upstream has nothing more to say.
_NATURAL = frozenset({"stop", "length", "tool_calls", "function_call"})


class Stream:
    """One streamed answer on its way through the filter: events, lines, an array's elements, a file of answers.

    Whatever happens after the head was sent, the client gets whole events, the API's own terminal event and a
    clean end of the body.
    """

    def __init__(
        self,
        service: Service,
        request: web.Request,
        exchange: Exchange,
        asked: Asked,
        upstream: aiohttp.ClientResponse,
    ) -> None:
        kind = upstream.content_type
        self._service = service
        self._request = request
        self._exchange = exchange
        self._dialect = asked.spoken(kind)
        self._upstream = upstream
        self._pipeline = asked.stream(kind, service.policy)
        exchange.report = self._pipeline.report
        # No line is empty, and a file of answers says nothing between them.
        self._keep_alive = b"" if asked.as_lines or asked.file else self._dialect.keep_alive
        self._broken_off = False
        # A call of the pipeline that waits in its middle must not be met by another.
        self._turn = asyncio.Lock()
        self._file = asked.file
        self._begun = b""
        exchange.stream = True
        headers = response_headers(upstream.headers, filtered=True, request_id=exchange.id)
        headers["X-Accel-Buffering"] = "no"
        if asked.media_type(kind) != kind:
            headers["Content-Type"] = asked.media_type(kind)
        self._response = compression.stream_response(
            gzip=_gzipped(service, request, headers),
            status=upstream.status,
            reason=safe_reason(upstream.reason),
            headers=headers,
        )

    async def run(self) -> web.StreamResponse:
        """Carry the whole answer. Raises ClientGone, and Refusal where what should be a file of answers is none."""
        if self._file:
            await self._begin_file()
        try:
            await client.begin(self._request, self._exchange, self._response)
            if self._begun:
                await self._send(self._begun)
            watch = asyncio.create_task(self._watch())
            try:
                await self._pump()
            finally:
                watch.cancel()
            self._exchange.complete = self._pipeline.done
            await client.end(self._response)
            await self._finish_upstream()
        except asyncio.CancelledError:
            if client.is_gone(self._request) or not self._response.prepared:
                raise
            await self._stop()
            if not self._service.stopping:
                raise
        finally:
            # At once, not back into the pool: what the upstream still generates costs money.
            self._upstream.close()
        return self._response

    async def _begin_file(self) -> None:
        """Read on until the first line is there: only then is it clear that this is a file of answers."""
        while not (self._begun or self._pipeline.done):
            try:
                data = await self._upstream.content.readany()
            except FAULTS as error:
                raise upstream_refusal(error, self._exchange) from None
            if data and not self._exchange.upstream_bytes:
                begins(self._upstream, self._exchange.idle_timeout)
            self._exchange.upstream_bytes += len(data)
            self._begun += await self._service.filtering(self._filter, data)
            if not data:
                break
        if self._pipeline.report.ended == "upstream_error":
            message = (
                "The upstream's file is no file of answers, one JSON object a line, so it is withheld. If such files "
                "carry no generated text, add the path to the setting pass_paths."
            )
            raise Refusal(502, "upstream_content_type", message, ended="upstream_error")

    async def _pump(self) -> None:
        """The hot loop: read what is there, filter it, send what is cleared."""
        service, exchange, pipeline = self._service, self._exchange, self._pipeline
        report, read, clock = pipeline.report, self._upstream.content.readany, time.perf_counter
        arrived, held, last = exchange.upstream, 0, 0.0
        delivered, write, waits = exchange.delivered, self._response.write, service.waits
        while not pipeline.done:
            try:
                data = await read()
            except FAULTS as error:
                await self._broken(error)
                return
            now = clock()
            if data:
                if not exchange.upstream_bytes:
                    begins(self._upstream, exchange.idle_timeout)
                exchange.upstream_bytes += len(data)
                arrived.at(now)
            out = await self._in_turn(data) if waits else self._filter(data)
            exchange.filtered += clock() - now
            if held:
                exchange.wait += held * (now - last)
                exchange.held_max = max(exchange.held_max, held)
            held, last = report.held, now
            if service.writer.failed and service.unrecorded and not (pipeline.done or self._broken_off):
                out += await self._failing("audit_unavailable", ended="audit_error")
            if out:
                # As `_send`, without the cost of another coroutine.
                try:
                    await write(out)
                except ConnectionError:
                    raise client.ClientGone from None
                exchange.delivered_bytes += len(out)
                delivered.at(clock())
            if not data or self._broken_off:
                return

    async def _broken(self, error: BaseException) -> None:
        """The upstream failed in mid-answer: the client is told, unless it has been told of something else."""
        if not self._broken_off:
            fault = fault_of(error, begun=self._exchange.upstream_bytes > 0)
            await self._send(await self._failing(fault.code))

    async def _in_turn(self, data: bytes) -> bytes:
        """As `_filter`, where a detector may wait: then nothing else may enter the pipeline."""
        async with self._turn:
            return await suspend.run(self._filter, data)

    def _filter(self, data: bytes) -> bytes:
        """Feed the pipeline (no data: the upstream's body has ended), record what was found."""
        try:
            out = self._pipeline.feed(data) if data else self._pipeline.finish()
            if self._pipeline.report.findings:
                self._service.found(self._exchange, self._pipeline.report.take_findings())
        except Exception as error:  # noqa: BLE001 - whatever breaks, the stream ends in order
            self._service.log_bug(error, self._exchange)
            return self._fail("internal_error", ended="internal_error")
        return out

    async def _failing(self, fault: str, *, ended: str | None = None) -> bytes:
        """As `_fail`; the findings in what is held may have to be waited for."""
        async with self._turn:
            return await self._service.filtering(self._fail, fault, ended=ended)

    def _fail(self, fault: str, *, ended: str | None = None) -> bytes:
        """Break the answer off the way the API would; ``ended`` if it is not the upstream's fault."""
        self._broken_off = True
        self._exchange.faults.append(fault)
        self._exchange.ended = ended
        try:
            return self._pipeline.fail(fault)
        except Exception as error:  # noqa: BLE001 - whatever breaks, the stream ends in order
            self._service.log_bug(error, self._exchange)
            self._exchange.ended = "internal_error"
            message = "The proxy could not go on with this answer."
            return self._dialect.error_frame(message, "internal_error")

    async def _send(self, data: bytes) -> None:
        try:
            await self._response.write(data)
        except ConnectionError:
            raise client.ClientGone from None
        self._exchange.delivered_bytes += len(data)
        self._exchange.delivered.at(time.perf_counter())

    async def _watch(self) -> None:
        """While nothing can be sent: signs of life where the API has one, else an end when that lasts too long.

        Runs beside the pump, which writes whole frames only, so that what is written here falls between them.
        """
        settings, delivered, report = self._service.settings, self._exchange.delivered, self._pipeline.report
        with suppress(client.ClientGone):  # the pump finds out by itself
            if not self._keep_alive:
                await keepalive.held_too_long(settings.hold_timeout, lambda: delivered.last, lambda: report.events)
                async with self._turn:
                    if not (self._pipeline.done or self._broken_off):
                        await self._send(await self._service.filtering(self._fail, "hold_timeout"))
                        self._upstream.close()
            elif settings.keep_alive:
                await keepalive.send_keep_alives(settings.keep_alive, lambda: delivered.last, self._send_keep_alive)

    async def _send_keep_alive(self) -> None:
        """Not counted among what was delivered when: it is no part of the answer."""
        if self._pipeline.done or self._broken_off:
            return
        await client.write(self._exchange, self._response, self._keep_alive)

    async def _stop(self) -> None:
        """Our own server stops in mid-answer: the client is told so, as the API would tell it."""
        self._service.resumed()
        if not (self._pipeline.done or self._broken_off):
            await self._send(await self._failing("shutdown", ended="shutdown"))
        await client.end(self._response)

    async def _finish_upstream(self) -> None:
        """Wait a moment for the upstream's body to end, so that its connection can serve another request."""
        report = self._pipeline.report
        if report.ended not in _NATURAL or self._exchange.ended is not None or FAULT_TOO_LONG in report.faults:
            return
        content = self._upstream.content
        with suppress(*FAULTS):
            async with asyncio.timeout(_TAIL):
                while await content.readany():
                    pass


async def relay_body(
    service: Service, request: web.Request, exchange: Exchange, asked: Asked, upstream: aiohttp.ClientResponse
) -> web.StreamResponse:
    """Read a whole JSON answer, filter it, send it. Raises Refusal and ClientGone."""
    body = await _read(service, exchange, upstream)
    pipeline = asked.body(service.policy)
    exchange.report = pipeline.report
    began = time.perf_counter()
    status, out = await service.filtering(pipeline.run, body, upstream.status)
    exchange.filtered += time.perf_counter() - began
    service.found(exchange, pipeline.report.take_findings())
    if service.unrecorded:
        raise audit_refusal()
    headers = response_headers(upstream.headers, filtered=True, request_id=exchange.id)
    if pipeline.report.ended in ("content_filter", "detector_error") or FAULT_TOO_LONG in pipeline.report.faults:
        headers["x-should-retry"] = "false"  # the verdict would be the same
    if _gzipped(service, request, headers):
        out = compression.packed(out, headers)
    reason = safe_reason(upstream.reason) if status == upstream.status else None
    response = await client.answer(request, exchange, status, headers, out, reason)
    exchange.delivered.at(time.perf_counter())
    return response


async def relay_head(request: web.Request, exchange: Exchange, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    """Send the head of an answer that has no body, or whose body is withheld. Raises ClientGone."""
    exchange.ended = "no_content"
    headers = response_headers(upstream.headers, filtered=True, request_id=exchange.id)
    headers.popall("content-type", None)
    return await client.answer(request, exchange, upstream.status, headers, b"", safe_reason(upstream.reason))


async def relay_unfiltered(
    request: web.Request, exchange: Exchange, upstream: aiohttp.ClientResponse
) -> web.StreamResponse:
    """Send an answer byte for byte as it arrives. Raises ClientGone.

    If the upstream breaks off, so must the answer: a clean end would pass a part for the whole.
    """
    exchange.ended = "passed_unfiltered"
    headers = response_headers(upstream.headers, filtered=False, request_id=exchange.id)
    response = web.StreamResponse(status=upstream.status, reason=safe_reason(upstream.reason), headers=headers)
    await client.begin(request, exchange, response)
    while True:
        try:
            data = await upstream.content.readany()
        except FAULTS as error:
            exchange.ended = "upstream_error"
            exchange.faults.append(fault_of(error, begun=exchange.upstream_bytes > 0).code)
            if request.transport is not None:
                request.transport.close()
            return response
        now = time.perf_counter()
        if not data:
            break
        if not exchange.upstream_bytes:
            begins(upstream, exchange.idle_timeout)
        exchange.upstream_bytes += len(data)
        exchange.upstream.at(now)
        await client.write(exchange, response, data)
        exchange.delivered.at(now)
    await client.end(response)
    return response


def _gzipped(service: Service, request: web.Request, headers: CIMultiDict[str]) -> bool:
    """Whether the answer is to be packed; whatever the client asks, caches must know that it depends on that."""
    if service.settings.compress != "gzip":
        return False
    add_vary(headers, "Accept-Encoding")
    return compression.takes_gzip(request.headers, request.version)


async def _read(service: Service, exchange: Exchange, upstream: aiohttp.ClientResponse) -> bytes:
    """The upstream's whole body, within the limit. Raises Refusal."""
    limit = service.settings.max_body_bytes
    pieces: list[bytes] = []
    try:
        async for piece in upstream.content.iter_any():
            if not exchange.upstream_bytes:
                begins(upstream, exchange.idle_timeout)
            exchange.upstream_bytes += len(piece)
            exchange.upstream.at(time.perf_counter())
            pieces.append(piece)
            if exchange.upstream_bytes > limit:
                message = f"The upstream's answer is longer than {limit} bytes (setting max_body_bytes)."
                raise Refusal(502, "upstream_too_large", message, ended="upstream_error")
    except FAULTS as error:
        raise upstream_refusal(error, exchange) from None
    return b"".join(pieces)


def upstream_refusal(error: BaseException, exchange: Exchange) -> Refusal:
    """The answer, noted, where the upstream failed before anything was delivered, or the client in its body."""
    if isinstance(error.__cause__, Refusal):  # from the body that was being handed on
        return error.__cause__
    fault = fault_of(error, begun=exchange.upstream_bytes > 0)
    exchange.faults.append(fault.code)
    return Refusal(fault.status, fault.code, fault.message, ended="upstream_error", retry=True)
