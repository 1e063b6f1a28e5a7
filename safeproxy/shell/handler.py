"""Decides what becomes of a request: filtered, passed unfiltered, or refused; never waved through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from safeproxy.errors import ClientError
from safeproxy.pipeline import filter_prompt
from safeproxy.shell import client, relay
from safeproxy.shell.asked import SSE, Asked, prepared
from safeproxy.shell.cors import is_preflight
from safeproxy.shell.exchange import Exchange
from safeproxy.shell.headers import (
    REQUEST_ID,
    body_was_decoded,
    is_readable,
    leads_elsewhere,
    request_headers,
    response_headers,
)
from safeproxy.shell.refusal import Refusal
from safeproxy.shell.service import SERVICE, Service, audit_refusal
from safeproxy.shell.sockets import Socket
from safeproxy.shell.upstream import FAULTS, send
from safeproxy.wire.base import BLOCKED
from safeproxy.wire.registry import Route, error_dialect, route_for, socket_dialect

#: Methods whose answers carry no body of interest: their heads are safe on every path.
_BODILESS = frozenset({"HEAD", "OPTIONS"})


async def handle(request: web.Request) -> web.StreamResponse:
    """Serve one request on any path; the only handler of the proxy."""
    service = request.app[SERVICE].current
    path, raw_path = _relative(request)
    exchange = Exchange(
        observers=service.observers,
        rules=service.policy.rules.digest,
        detectors=service.policy.rules.model_facts,
        client=service.callers.address(request),
        method=request.method,
        path=service.scrub(path),
    )
    task: asyncio.Task[object] | None = asyncio.current_task()
    assert task is not None
    service.running.add(task)
    try:
        with nullcontext() if service.server_cancels else client.watched(request):
            return await _answered(service, request, exchange, path, raw_path)
    except client.ClientGone:
        exchange.cancelled()
        return web.Response(status=499)  # nobody is left to read it; aiohttp wants something to return
    except asyncio.CancelledError:
        if client.is_gone(request):
            exchange.cancelled()
        elif not exchange.complete:
            exchange.ended = exchange.ended or "shutdown"
        raise
    finally:
        service.running.discard(task)
        service.limits.release(exchange)
        if exchange.report is not None:
            service.found(exchange, exchange.report.take_findings())
        service.close(exchange)


async def _answered(
    service: Service, request: web.Request, exchange: Exchange, path: str, raw_path: str
) -> web.StreamResponse:
    """Serve the request or say why not, in the shape of the API that was asked."""
    route = route_for(request.method, path, request.rel_url.query_string)
    dialect = error_dialect(path, request.headers) if route is None else route.dialect
    try:
        return await _serve(service, request, exchange, route, path, raw_path)
    except Refusal as refusal:
        return await client.refuse(request, exchange, refusal, dialect)
    except client.ClientGone:
        raise
    except Exception as error:  # noqa: BLE001 - whatever breaks, the client gets an answer and the process lives
        service.log_bug(error, exchange)
        exchange.faults.append("internal_error")
        if exchange.status is not None:
            raise client.ClientGone from None  # the head has left; nothing sensible can follow it
        sorry = Refusal(500, "internal_error", "The proxy could not handle this request.", ended="internal_error")
        return await client.refuse(request, exchange, sorry, dialect)


async def _serve(
    service: Service, request: web.Request, exchange: Exchange, route: Route | None, path: str, raw_path: str
) -> web.StreamResponse:
    if service.stopping:
        headers = CIMultiDict({"Retry-After": "1", "Connection": "close"})
        raise Refusal(503, "shutting_down", "The proxy is being stopped.", retry=True, headers=headers)
    if service.cors is not None and request.method == "OPTIONS" and is_preflight(request.headers):
        return await _preflight(service, request, exchange)
    exchange.caller = await service.callers.identify(request)
    await service.limits.admit(exchange, None if route is None else route.dialect)
    if "websocket" in request.headers.get("upgrade", "").lower():
        return await _socket(service, request, exchange, path, raw_path)
    passes = service.passing.allow(request.method, path, raw_path)
    if route is not None and not (route.lines and passes):
        return await _filtered(service, request, exchange, route, route.stands_for or raw_path)
    if passes:
        return await _unfiltered(service, request, exchange, raw_path)
    if request.method in _BODILESS:
        return await _bodiless(service, request, exchange, raw_path)
    if service.settings.unknown_paths == "filter":
        return await _filtered(service, request, exchange, None, raw_path)
    raise Refusal(
        501,
        "unsupported_path",
        f"The proxy does not know the answers of {request.method} {exchange.path}, so it refuses them (setting "
        "unknown_paths). If they carry no generated text, add the path to the setting pass_paths.",
    )


async def _socket(
    service: Service, request: web.Request, exchange: Exchange, path: str, raw_path: str
) -> web.StreamResponse:
    dialect = socket_dialect(path)
    if service.settings.websockets == "refuse":
        message = f"WebSocket connections are refused (setting websockets), so {exchange.path} is; use plain HTTP."
        raise Refusal(403, "websocket_refused", message)
    if dialect is None:
        message = f"The messages of WebSocket connections to {exchange.path} are not known, so they are refused."
        raise Refusal(403, "websocket_refused", message)
    return await Socket(service, request, exchange, dialect).run(raw_path)


async def _preflight(service: Service, request: web.Request, exchange: Exchange) -> web.StreamResponse:
    """Answer a browser that asks for leave to ask; the upstream hears nothing. The headers are put in by the signal."""
    service.open(exchange)
    exchange.ended = "no_content"
    return await client.answer(request, exchange, 204, CIMultiDict({REQUEST_ID: exchange.id}), b"")


async def _filtered(
    service: Service, request: web.Request, exchange: Exchange, route: Route | None, raw_path: str
) -> web.StreamResponse:
    headers = request_headers(request.headers, filtered=True)
    body: bytes | AsyncIterator[bytes] | None = None
    value = None
    if request.can_read_body and _is_upload(request, route):
        body = _streamed(request, exchange, headers)  # an upload: it may be large, and says nothing of its answer
        if service.scans_prompts:
            exchange.faults.append("prompt_unscanned")
    elif request.can_read_body:
        body = await client.read_body(request, exchange, service.settings.client_max_size)
        value = client.parsed(body)
        model = client.model_of(value)
        exchange.model = None if model is None else service.scrub(model)
    service.open(exchange)
    settings = service.settings
    asked = Asked.of(route, request.headers, value, notice=settings.halt_notice, style=settings.halt_style)
    if isinstance(body, bytes):
        body = await service.filtering(_prepared, service, exchange, asked, body, value)
    if asked.as_lines:
        headers["Accept"] = SSE
    upstream = await _sent(service, request, exchange, raw_path, headers, body)
    try:
        return await _relayed(service, request, exchange, asked, upstream)
    finally:
        upstream.close()


def _is_upload(request: web.Request, route: Route | None) -> bool:
    """Whether a request body is no JSON: where the path is known only a form is none, whatever else it is called."""
    if "content-type" not in request.headers:
        return False
    kind = request.content_type
    if route is not None:
        return kind.startswith("multipart/")
    return not (kind == "application/json" or kind.endswith("+json"))


def _prepared(service: Service, exchange: Exchange, asked: Asked, body: bytes, value: Any) -> bytes:
    """The request body as it may be sent upstream. Raises Refusal."""
    if service.scans_prompts and body:
        scanned = _scanned(service, exchange, asked, body)
        if scanned is not body:
            body, value = scanned, client.parsed(scanned)
    try:
        return prepared(asked, body, value, service.sealer.unseal)
    except ClientError as error:
        raise Refusal(400, "sealed_text", f"This request cannot be sent on: {error}.") from None


def _scanned(service: Service, exchange: Exchange, asked: Asked, body: bytes) -> bytes:
    """The prompt as the rules for requests leave it. Raises Refusal."""
    try:
        verdict = filter_prompt(asked.dialect, service.policy, body)
    except ClientError:
        message = "The request body is not a JSON object, so the rules for prompts cannot read it."
        raise Refusal(400, "invalid_json", message) from None
    service.found(exchange, verdict.findings, side="request")
    if service.unrecorded:
        raise audit_refusal()
    if verdict.blocked:
        native = asked.refused_prompt(BLOCKED)
        status, told = (400, None) if native is None else (native[0], native[1:])
        raise Refusal(status, "content_filter", BLOCKED, ended="prompt_blocked", native=told)
    return verdict.body


async def _relayed(
    service: Service, request: web.Request, exchange: Exchange, asked: Asked, upstream: aiohttp.ClientResponse
) -> web.StreamResponse:
    """Choose by what the upstream says it sends, not by what the client asked for."""
    kind = upstream.content_type if "content-type" in upstream.headers else ""
    if 300 <= upstream.status < 400 and leads_elsewhere(upstream.headers):
        message = (
            "The upstream answered with a redirect, which would lead the client around the proxy; "
            "set upstream to the address that it redirects to."
        )
        raise Refusal(502, "upstream_redirect", message, ended="upstream_error")
    if upstream.status in (204, 304) or upstream.content_length == 0 or 300 <= upstream.status < 400:
        return await relay.relay_head(request, exchange, upstream)
    if not is_readable(upstream.headers):
        message = "The upstream's answer has a Content-Encoding that cannot be undone here; it is withheld."
        status = upstream.status if upstream.status >= 400 else 502
        raise Refusal(status, "upstream_encoding", message, ended="upstream_error")
    if asked.is_stream(kind, upstream.status):
        return await relay.Stream(service, request, exchange, asked, upstream).run()
    if kind == "application/json" or kind.endswith("+json"):
        return await relay.relay_body(service, request, exchange, asked, upstream)
    if upstream.status >= 400:
        message = f"The upstream answered with status {upstream.status} and a body that is not JSON; it is withheld."
        headers = response_headers(upstream.headers, filtered=True, request_id=exchange.id)
        raise Refusal(upstream.status, "upstream_error", message, ended="upstream_error", retry=True, headers=headers)
    message = (
        "The upstream's answer is neither JSON nor an event stream, so it cannot be filtered; it is withheld. "
        "Ask for JSON, or add the path to the setting pass_paths if it carries no generated text."
    )
    raise Refusal(502, "upstream_content_type", message, ended="upstream_error")


async def _unfiltered(service: Service, request: web.Request, exchange: Exchange, raw_path: str) -> web.StreamResponse:
    service.open(exchange)
    headers = request_headers(request.headers, filtered=False)
    body = _streamed(request, exchange, headers) if request.can_read_body else None
    upstream = await _sent(service, request, exchange, raw_path, headers, body, decode=False)
    try:
        return await relay.relay_unfiltered(request, exchange, upstream)
    finally:
        upstream.close()


def _streamed(request: web.Request, exchange: Exchange, headers: CIMultiDict[str]) -> AsyncIterator[bytes]:
    """The request body as it arrives, with the length that the client declared unless the coding was undone."""
    if request.content_length is not None and not body_was_decoded(request.headers):
        headers["Content-Length"] = str(request.content_length)
    return client.body_pieces(request, exchange)


async def _bodiless(service: Service, request: web.Request, exchange: Exchange, raw_path: str) -> web.StreamResponse:
    service.open(exchange)
    headers = request_headers(request.headers, filtered=True)
    upstream = await _sent(service, request, exchange, raw_path, headers, None)
    try:
        return await relay.relay_head(request, exchange, upstream)
    finally:
        upstream.close()


async def _sent(
    service: Service,
    request: web.Request,
    exchange: Exchange,
    raw_path: str,
    headers: CIMultiDict[str],
    body: bytes | AsyncIterator[bytes] | None,
    *,
    decode: bool = True,
) -> aiohttp.ClientResponse:
    """Send the request upstream; give the answer, its head read. Raises Refusal."""
    query = service.callers.conceal(headers, request.rel_url.raw_query_string)
    url = service.origin.url(raw_path, query)
    try:
        upstream = await send(service.session, service.settings, request.method, url, headers, body, decode=decode)
    except FAULTS as error:
        refusal = relay.upstream_refusal(error)
        exchange.faults.append(refusal.code)
        raise refusal from None
    exchange.upstream_status = upstream.status
    return upstream


def _relative(request: web.Request) -> tuple[str, str]:
    """The path below the mount point, decoded and as it came."""
    path = "/" + request.match_info["tail"]
    raw = request.rel_url.raw_path
    resource = request.match_info.route.resource
    mount = "" if resource is None else resource.canonical.removesuffix("/{tail}")
    return path, raw.removeprefix(mount)
