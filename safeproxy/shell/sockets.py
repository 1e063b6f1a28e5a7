"""WebSockets: two streams of messages, of which the one that comes down is filtered."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web
from multidict import CIMultiDict
from yarl import URL

from safeproxy.errors import ClientError
from safeproxy.pipeline import SocketPipeline, filter_prompt
from safeproxy.shell import client
from safeproxy.shell.asking import Question, asked
from safeproxy.shell.exchange import Exchange
from safeproxy.shell.headers import REQUEST_ID, request_headers
from safeproxy.shell.refusal import Refusal
from safeproxy.shell.service import Service
from safeproxy.shell.upstream import Upstream
from safeproxy.wire import jsontext
from safeproxy.wire.base import text_of
from safeproxy.wire.caps import Caps, cap
from safeproxy.wire.dialect import Ask, Dialect
from safeproxy.wire.registry import SOCKET

#: Headers of the handshake, which each side makes for itself.
_HANDSHAKE = ("accept-encoding", *(f"sec-websocket-{name}" for name in ("extensions", "key", "version")))
_PROTOCOLS = "sec-websocket-protocol"


class Socket:
    """One WebSocket on its way through the filter."""

    def __init__(self, service: Service, request: web.Request, exchange: Exchange, dialect: Dialect) -> None:
        self._service = service
        self._request = request
        self._exchange = exchange
        self._dialect = dialect
        self._pipeline = SocketPipeline(dialect, service.policy, Ask(notice=service.settings.halt_notice))
        exchange.report = self._pipeline.report
        exchange.stream = True

    async def run(self, first: Upstream, raw_path: str) -> web.StreamResponse:
        """Connect to the upstream, then carry messages both ways until either side closes. Raises Refusal."""
        service, request = self._service, self._request
        if not web.WebSocketResponse().can_prepare(request).ok:
            raise Refusal(400, "bad_handshake", "This is no proper WebSocket handshake.")
        service.open(self._exchange)
        headers = request_headers(request.headers, filtered=True)
        for name in _HANDSHAKE:
            headers.popall(name, None)
        # Nothing is asked before the connection stands.
        question = Question.of(request, raw_path, headers, self._dialect, repeatable=True)
        async with asked(service, self._exchange, first, question, _connected) as upstream:
            return await self._run(upstream)

    async def _run(self, upstream: aiohttp.ClientWebSocketResponse) -> web.StreamResponse:
        try:
            protocols = (upstream.protocol,) if upstream.protocol else ()
            limit = self._service.settings.max_event_bytes
            down = web.WebSocketResponse(protocols=protocols, max_msg_size=limit, compress=False)
            down.headers[REQUEST_ID] = self._exchange.id
            await client.begin(self._request, self._exchange, down)
            await self._carry(down, upstream)
            return down
        finally:
            await upstream.close()

    async def _carry(self, down: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse) -> None:
        both = [
            asyncio.create_task(self._upwards(down, upstream)),
            asyncio.create_task(self._downwards(down, upstream)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            results = await asyncio.gather(*both, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _upwards(self, down: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse) -> None:
        """The client's messages; prompts are looked at where a rule asks for it."""
        async for message in down:
            if message.type is WSMsgType.BINARY:
                self._exchange.request_bytes += len(message.data)
                if self._service.scans_prompts and "prompt_unscanned" not in self._exchange.faults:
                    self._exchange.faults.append("prompt_unscanned")
                await upstream.send_bytes(message.data)
            elif message.type is WSMsgType.TEXT:
                self._exchange.request_bytes += len(message.data.encode("utf-8", "replace"))
                try:
                    text = await self._service.filtering(self._prompt, message.data)
                except ClientError:
                    self._exchange.ended, self._exchange.complete = "refused", True
                    await down.close(code=WSCloseCode.INVALID_TEXT, message=b"not a JSON object")
                    return
                if text is None:
                    self._exchange.ended, self._exchange.complete = "prompt_blocked", True
                    await down.close(code=WSCloseCode.POLICY_VIOLATION, message=b"content_filter")
                    return
                await upstream.send_str(text)
        if not self._pipeline.done:
            self._exchange.cancelled()

    def _prompt(self, text: str) -> str | None:
        """The message as it may be sent, None if it may not. Raises ClientError where rules cannot read it."""
        if not self._service.scans_prompts:
            return self._capped(text)
        verdict = filter_prompt(self._dialect, self._service.policy, text.encode("utf-8", "replace"))
        self._service.found(self._exchange, verdict.findings, side="request")
        return None if verdict.blocked or self._service.unrecorded else self._capped(verdict.body.decode())

    def _capped(self, text: str) -> str:
        """The message within the caps, if it asks for a response and its API says there how much."""
        caps = self._service.settings.caps
        if caps == Caps() or self._dialect is not SOCKET:
            return text
        asked = client.parsed(text.encode("utf-8", "replace"))
        codes = cap(asked, self._dialect.name, caps) if text_of(asked, "type") == "response.create" else []
        self._exchange.faults += codes
        return jsontext.dump(asked, ascii_only=text.isascii()).decode() if codes else text

    async def _downwards(self, down: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse) -> None:
        """The upstream's messages, filtered. After a halt the connection ends: the upstream would go on."""
        pipeline = self._pipeline
        code: int = WSCloseCode.OK
        async for message in upstream:
            if message.type is not WSMsgType.TEXT:
                await self._send(down, await self._service.filtering(pipeline.fail, "binary_message"))
                code = WSCloseCode.UNSUPPORTED_DATA
                break
            now = time.perf_counter()
            self._exchange.upstream_bytes += len(message.data.encode("utf-8", "replace"))
            self._exchange.upstream.at(now)
            out = await self._service.filtering(pipeline.feed, message.data)
            self._exchange.filtered += time.perf_counter() - now
            await self._send(down, out)
            if pipeline.done:
                code = WSCloseCode.POLICY_VIOLATION
                break
        else:
            broken = upstream.close_code in (None, WSCloseCode.ABNORMAL_CLOSURE)
            filtering = self._service.filtering
            last = await (filtering(pipeline.fail, "upstream_reset") if broken else filtering(pipeline.finish))
            await self._send(down, last)
            code = WSCloseCode.INTERNAL_ERROR if broken else upstream.close_code or WSCloseCode.OK
        self._exchange.complete = True
        with suppress(ConnectionError):
            await down.close(code=code)

    async def _send(self, down: web.WebSocketResponse, messages: list[str]) -> None:
        self._service.found(self._exchange, self._pipeline.report.take_findings())
        if self._service.unrecorded:
            messages = self._pipeline.fail("audit_unavailable")
            self._exchange.ended = "audit_error"
        for message in messages:
            try:
                await down.send_str(message)
            except ConnectionError:
                raise client.ClientGone from None
            self._exchange.delivered_bytes += len(message.encode("utf-8", "replace"))
            self._exchange.delivered.at(time.perf_counter())


async def _connected(upstream: Upstream, url: URL, headers: CIMultiDict[str]) -> aiohttp.ClientWebSocketResponse:
    """A WebSocket to the upstream."""
    offered = ",".join(headers.popall(_PROTOCOLS, ())).split(",")
    return await upstream.connect(url, headers, [one.strip() for one in offered if one.strip()])
