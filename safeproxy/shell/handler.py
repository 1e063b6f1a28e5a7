"""Decides what becomes of a request: filtered, passed unfiltered, or refused; never waved through."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from safeproxy.errors import ClientError
from safeproxy.ledger.record import MAX_MODEL, clean
from safeproxy.pipeline import filter_prompt
from safeproxy.shell import client, relay
from safeproxy.shell.admin import is_own, nothing_here
from safeproxy.shell.asked import SSE, Asked, prepared
from safeproxy.shell.asking import Question, Send, Upload
from safeproxy.shell.asking import asked as answer_to
from safeproxy.shell.backoff import is_repeatable
from safeproxy.shell.cors import is_preflight
from safeproxy.shell.exchange import Exchange
from safeproxy.shell.headers import (
    REQUEST_ID,
    body_was_decoded,
    is_readable,
    leads_elsewhere,
    request_headers,
    response_headers,
    trace_context,
)
from safeproxy.shell.refusal import Refusal
from safeproxy.shell.service import SERVICE, Service, audit_refusal
from safeproxy.shell.sockets import Socket
from safeproxy.shell.upstream import Upstream
from safeproxy.shell.upstreams import Group, model_in_path
from safeproxy.wire.base import BLOCKED
from safeproxy.wire.dialect import Dialect
from safeproxy.wire.registry import Route, error_dialect, route_for, socket_dialect

#: Methods whose answers carry no body of interest: their heads are safe on every path.
_BODILESS = frozenset({"HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request leads: the upstreams below whose common beginning its path lies, and the rest of the path."""

    group: Group
    path: str
    raw_path: str

    def upstream(self, service: Service, model: str | None) -> Upstream:
        """The one to ask; ``model`` is what the body says. Raises Refusal."""
        model = model_in_path(self.raw_path) or model
        found = self.group.choose(model)
        if found is None:
            assert model is not None
            name = clean(service.scrub(model), MAX_MODEL)
            raise Refusal(404, "model_not_found", f"There is no upstream for the model {name} (setting upstreams).")
        return found


async def handle(request: web.Request) -> web.StreamResponse:
    """Serve one request on any path; the only handler of the proxy."""
    service = request.app[SERVICE].current
    path, raw_path = _relative(request)
    if is_own(path):
        return await nothing_here(request)
    exchange = Exchange(
        observers=service.observers,
        rules=service.policy.rules.digest,
        detectors=service.policy.rules.model_facts,
        client=service.callers.address(request),
        method=request.method,
        path=service.scrub(path),
        trace={} if service.telemetry is None else trace_context(request.headers),
    )
    task: asyncio.Task[object] | None = asyncio.current_task()
    assert task is not None
    service.running.add(task)
    try:
        with nullcontext() if service.server_cancels else client.watched(request):
            return await _answered(service, request, exchange, path, raw_path)
    except client.ClientGone:
        client.note_gone(request, exchange)
        return web.Response(status=499)  # nobody is left to read it; aiohttp wants something to return
    except asyncio.CancelledError:
        if client.is_gone(request):
            client.note_gone(request, exchange)
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
    group = service.upstreams.under(raw_path)
    target = None if group is None else Target(group, group.below(path), group.below(raw_path))
    below = path if target is None else target.path
    route = None if target is None else route_for(request.method, below, request.rel_url.query_string)
    spoken = route or (None if group is None else group.route)
    dialect = error_dialect(below, request.headers) if spoken is None else spoken.dialect
    exchange.api = None if dialect is None else dialect.name
    try:
        return await _serve(service, request, exchange, route, target, dialect)
    except Refusal as refusal:
        return await client.refuse(request, exchange, refusal, dialect)
    except client.ClientGone:
        raise
    except asyncio.CancelledError:
        if exchange.status is not None or client.is_gone(request) or not service.resumed():
            raise
        return await client.refuse(request, exchange, _stopping("shutdown"), dialect)
    except Exception as error:  # noqa: BLE001 - whatever breaks, the client gets an answer and the process lives
        service.log_bug(error, exchange)
        exchange.faults.append("internal_error")
        if exchange.status is not None:
            raise client.ClientGone from None  # the head has left; nothing sensible can follow it
        sorry = Refusal(500, "internal_error", "The proxy could not handle this request.", ended="internal_error")
        return await client.refuse(request, exchange, sorry, dialect)


async def _serve(
    service: Service,
    request: web.Request,
    exchange: Exchange,
    route: Route | None,
    target: Target | None,
    dialect: Dialect | None,
) -> web.StreamResponse:
    if service.stopping:
        raise _stopping("refused")
    if service.cors is not None and request.method == "OPTIONS" and is_preflight(request.headers):
        return await _preflight(service, request, exchange)
    exchange.caller = await service.callers.identify(request)
    await service.limits.admit(exchange, dialect)
    if target is None:
        message = f"There is no upstream for {exchange.path} (setting upstreams); begin the path as one of them says."
        raise Refusal(404, "no_upstream", message)
    if "websocket" in request.headers.get("upgrade", "").lower():
        return await _socket(service, request, exchange, target)
    passes = service.passing.allow(request.method, target.path, target.raw_path)
    if route is not None and not (route.lines and passes):
        return await _filtered(service, request, exchange, route, target)
    if passes:
        return await _unfiltered(service, request, exchange, target)
    if request.method in _BODILESS:
        return await _bodiless(service, request, exchange, target)
    if service.settings.unknown_paths == "filter" or target.group.route is not None:
        return await _filtered(service, request, exchange, None, target)
    raise Refusal(
        501,
        "unsupported_path",
        f"The proxy does not know the answers of {request.method} {exchange.path}, so it refuses them (setting "
        "unknown_paths). If they carry no generated text, add the path to the setting pass_paths.",
    )


def _stopping(ended: str) -> Refusal:
    """The answer to who comes too late, or has waited too long."""
    headers = CIMultiDict({"Retry-After": "1", "Connection": "close"})
    return Refusal(503, "shutting_down", "The proxy is being stopped.", ended=ended, retry=True, headers=headers)


async def _socket(service: Service, request: web.Request, exchange: Exchange, target: Target) -> web.StreamResponse:
    dialect = socket_dialect(target.path)
    if service.settings.websockets == "refuse":
        message = f"WebSocket connections are refused (setting websockets), so {exchange.path} is; use plain HTTP."
        raise Refusal(403, "websocket_refused", message)
    if dialect is None:
        message = f"The messages of WebSocket connections to {exchange.path} are not known, so they are refused."
        raise Refusal(403, "websocket_refused", message)
    exchange.api = dialect.name
    query = request.rel_url.query
    upstream = target.upstream(service, query.get("model") or query.get("deployment"))
    return await Socket(service, request, exchange, dialect).run(upstream, target.raw_path)


async def _preflight(service: Service, request: web.Request, exchange: Exchange) -> web.StreamResponse:
    """Answer a browser that asks for leave to ask; the upstream hears nothing. The headers are put in by the signal."""
    service.open(exchange)
    exchange.ended = "no_content"
    return await client.answer(request, exchange, 204, CIMultiDict({REQUEST_ID: exchange.id}), b"")


async def _filtered(
    service: Service, request: web.Request, exchange: Exchange, route: Route | None, target: Target
) -> web.StreamResponse:
    settings = service.settings
    headers = request_headers(request.headers, filtered=True)
    body: bytes | Upload | None = None
    value = model = None
    if request.can_read_body and _is_upload(request, route or target.group.route):
        # An upload: it may be large, and says nothing of its answer.
        body = _streamed(request, exchange, headers, settings.client_body_timeout)
        if service.scans_prompts:
            exchange.faults.append("prompt_unscanned")
    elif request.can_read_body:
        body = await client.read_body(request, exchange, settings.client_max_size, settings.client_body_timeout)
        value = client.parsed(body)
        model = client.model_of(value)
        exchange.model = None if model is None else service.scrub(model)
    first = target.upstream(service, model)
    route = route or first.route
    service.open(exchange)
    asked = Asked.of(
        route,
        request.headers,
        value,
        notice=settings.halt_notice,
        style=settings.halt_style,
        usage=settings.asks_usage,
    )
    if isinstance(body, bytes):
        began = time.perf_counter()
        body = await service.filtering(_prepared, service, exchange, asked, body, value)
        exchange.filtered += time.perf_counter() - began
    if asked.as_lines:
        headers["Accept"] = SSE
    raw_path = (route and route.stands_for) or target.raw_path
    question = _question(request, raw_path, headers, body, route, value)
    async with answer_to(service, exchange, first, question, _send(request.method, body)) as upstream:
        return await _relayed(service, request, exchange, asked, upstream)


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
    capped = asked.cap(value, service.settings.caps)
    exchange.faults += capped
    try:
        return prepared(asked, body, value, service.sealer.unseal, changed=bool(capped))
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


async def _unfiltered(service: Service, request: web.Request, exchange: Exchange, target: Target) -> web.StreamResponse:
    headers = request_headers(request.headers, filtered=False)
    body: bytes | Upload | None = None
    value = None
    settings = service.settings
    if request.can_read_body and target.group.by_model and not _is_upload(request, None):
        body = await client.read_body(request, exchange, settings.client_max_size, settings.client_body_timeout)
        value = client.parsed(body)
    elif request.can_read_body:
        body = _streamed(request, exchange, headers, settings.client_body_timeout)
    first = target.upstream(service, client.model_of(value))
    service.open(exchange)
    question = _question(request, target.raw_path, headers, body, first.route, value)
    send = _send(request.method, body, decode=False)
    async with answer_to(service, exchange, first, question, send) as upstream:
        return await relay.relay_unfiltered(request, exchange, upstream)


def _streamed(request: web.Request, exchange: Exchange, headers: CIMultiDict[str], pause: float) -> Upload:
    """The request body as it arrives, with the length that the client declared unless the coding was undone."""
    if request.content_length is not None and not body_was_decoded(request.headers):
        headers["Content-Length"] = str(request.content_length)
    return Upload(client.body_pieces(request, exchange, pause))


async def _bodiless(service: Service, request: web.Request, exchange: Exchange, target: Target) -> web.StreamResponse:
    service.open(exchange)
    headers = request_headers(request.headers, filtered=True)
    first = target.upstream(service, None)
    question = _question(request, target.raw_path, headers, None, first.route, None)
    async with answer_to(service, exchange, first, question, _send(request.method, None)) as upstream:
        return await relay.relay_head(request, exchange, upstream)


def _question(
    request: web.Request,
    raw_path: str,
    headers: CIMultiDict[str],
    body: bytes | Upload | None,
    route: Route | None,
    value: Any,
) -> Question:
    """The request as the upstreams are to see it; ``value`` is the decoded body."""
    dialect = None if route is None else route.dialect
    repeatable = is_repeatable(request.method, headers, route, value)
    upload = body if isinstance(body, Upload) else None
    return Question.of(request, raw_path, headers, dialect, repeatable=repeatable, upload=upload)


def _send(method: str, body: bytes | Upload | None, *, decode: bool = True) -> Send[aiohttp.ClientResponse]:
    async def send(upstream: Upstream, url: URL, headers: CIMultiDict[str]) -> aiohttp.ClientResponse:
        pieces = aiter(body) if isinstance(body, Upload) else body
        return await upstream.send(method, url, headers, pieces, decode=decode)

    return send


def _relative(request: web.Request) -> tuple[str, str]:
    """The path below the mount point, decoded and as it came."""
    path = "/" + request.match_info["tail"]
    raw = request.rel_url.raw_path
    resource = request.match_info.route.resource
    mount = "" if resource is None else resource.canonical.removesuffix("/{tail}")
    return path, raw.removeprefix(mount)
