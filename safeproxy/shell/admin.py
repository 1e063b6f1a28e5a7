"""The paths of the proxy's own, below ``/-/``: whether it lives, whether it is ready, what it has measured."""

from __future__ import annotations

import asyncio
import dataclasses
import hmac
import ipaddress
import posixpath
from collections.abc import Callable

from aiohttp import web

from safeproxy.shell.refusal import Refusal
from safeproxy.shell.reload import rules_state
from safeproxy.shell.service import SERVICE

#: What there is to measure, as body and content type; an application without it has no ``/-/metrics``.
EXPOSITION: web.AppKey[Callable[[], tuple[bytes, str]]] = web.AppKey("safeproxy_exposition")

#: Headers of requests that another program on this machine hands on for somebody else, or a web page makes.
_FOR_OTHERS = ("forwarded", "via", "x-forwarded-for", "x-real-ip", "origin")


class Admin:
    """Answers for ``app``, an application made by `create_app`, whichever port it is asked on."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        settings = app[SERVICE].settings
        self._token = settings.admin_token
        self._own_port = settings.admin_port is not None

    def add_routes(self) -> None:
        """Serve what belongs on the proxy's own port; what is left of ``/-/`` is refused by the proxy's handler."""
        self._app.router.add_get("/-/health", self.health)
        if not self._own_port:
            self._add_guarded(self._app)

    def application(self) -> web.Application:
        """The same paths as an application for a port of their own."""
        app = web.Application()
        app.router.add_get("/-/health", self.health)
        self._add_guarded(app)
        app.router.add_route("*", "/{tail:.*}", nothing_here)
        return app

    def _add_guarded(self, app: web.Application) -> None:
        app.router.add_get("/-/ready", self.ready)
        app.router.add_get("/-/metrics", self.metrics)

    async def health(self, _: web.Request) -> web.Response:
        """The process lives."""
        return web.json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        """Requests would be answered; why, or why not, is for those who may know."""
        refusal = self._refusal(request)
        if refusal is not None and "authorization" in request.headers:
            return _refused(refusal)
        service = self._app[SERVICE]
        writable = service.writer.probe()
        ready = not service.stopping and (writable or service.settings.on_audit_error == "pass")
        state: dict[str, object] = {"ready": ready}
        if refusal is None:
            state |= {
                "stopping": service.stopping,
                "rules": rules_state(service),
                "detectors": [dataclasses.asdict(facts) for facts in service.current.policy.rules.model_facts],
                "audit": {"writable": writable},
            }
        return web.json_response(state, status=200 if ready else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """What was measured, for Prometheus."""
        refusal = self._refusal(request)
        if refusal is not None:
            return _refused(refusal)
        exposition = self._app.get(EXPOSITION)
        if exposition is None:
            return await nothing_here(request)
        body, content_type = await asyncio.to_thread(exposition)  # of several processes: it reads files
        return web.Response(body=body, headers={"Content-Type": content_type})

    def _refusal(self, request: web.Request) -> Refusal | None:
        """Why this client may not know, None if it may."""
        if self._token is not None:
            return _token_refusal(request.headers.get("authorization", ""), self._token.get_secret_value())
        if self._own_port or _is_local(request):
            return None
        message = (
            "This is for clients on the proxy's own machine that ask it directly. For others give the proxy an "
            "admin_token, and present it as a bearer token, or an admin_port."
        )
        return Refusal(403, "admin_only", message)


def is_own(path: str) -> bool:
    """Whether ``path``, decoded, is one of the proxy's own, or some server would read it as one: never sent on."""
    return f"{posixpath.normpath('/' + path.lstrip('/'))}/".startswith("/-/")


async def nothing_here(_: web.Request) -> web.Response:
    """The answer for paths below ``/-/`` that are none, or are elsewhere."""
    message = "The proxy has no such path of its own here (see the setting admin_port), and hands none of them on."
    return _refused(Refusal(404, "no_such_path", message))


def _token_refusal(header: str, wanted: str) -> Refusal | None:
    scheme, _, token = header.partition(" ")
    if not header:
        return Refusal(401, "admin_token_missing", "Present the setting admin_token as 'Authorization: Bearer TOKEN'.")
    # In constant time, so that nobody can find the token character by character.
    if scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("utf-8", "replace"), wanted.encode()):
        return None
    return Refusal(401, "admin_token_wrong", "This is not the setting admin_token, written 'Bearer TOKEN'.")


def _is_local(request: web.Request) -> bool:
    """Whether a client of this machine asks for itself, as far as can be told."""
    if any(name in request.headers for name in _FOR_OTHERS):
        return False
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    if not isinstance(peer, tuple):
        return False  # a Unix socket: somebody's front
    address = ipaddress.ip_address(peer[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _refused(refusal: Refusal) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
    return web.Response(
        body=refusal.body(None), status=refusal.status, headers={**headers, "Content-Type": "application/json"}
    )
