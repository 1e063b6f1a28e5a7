"""The proxy as an aiohttp application, to be run by itself or mounted inside another."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator

from aiohttp import web

from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import ConfigError
from safeproxy.ledger.writer import AuditWriter
from safeproxy.observers.audit import AuditObserver
from safeproxy.observers.base import Observers
from safeproxy.observers.log import LogObserver, operational_logger
from safeproxy.pipeline import Policy
from safeproxy.shell.callers import Callers
from safeproxy.shell.client import keep_expecting
from safeproxy.shell.cors import Cors
from safeproxy.shell.handler import handle
from safeproxy.shell.limits import Limits
from safeproxy.shell.paths import Origin, PassPaths
from safeproxy.shell.reload import load_rules, rules_state, warm_up
from safeproxy.shell.scrub import Scrubber
from safeproxy.shell.seal import Sealer
from safeproxy.shell.service import SERVICE, Service
from safeproxy.shell.settings import Settings
from safeproxy.shell.upstream import make_session

#: How long cancelled answers get to say goodbye when the process is stopped, in seconds.
_GOODBYE = 2.0


def create_app(settings: Settings) -> web.Application:
    """The proxy as an application: every path is the proxy's, but for ``/-/health`` and ``/-/ready``.

    Mount it with ``parent.add_subapp("/llm", create_app(settings))``; paths are then read below ``/llm``.
    Raises ConfigError, and RuleError for a rule that cannot be used, naming what to mend.
    """
    service = _service(settings, load_rules(settings))
    warm_up(service.policy)
    app = web.Application()
    app[SERVICE] = service
    app.cleanup_ctx.append(_running)
    app.on_shutdown.append(stop)
    if service.cors is not None:
        app.on_response_prepare.append(service.cors.on_prepare)
    app.router.add_get("/-/health", _health)
    app.router.add_get("/-/ready", _ready)
    app.router.add_route("*", "/{tail:.*}", handle, expect_handler=keep_expecting)
    return app


def _service(settings: Settings, rules: RuleSet) -> Service:
    writer = AuditWriter(settings.audit)
    if not writer.probe() and settings.on_audit_error == "halt":
        raise ConfigError(
            f"setting 'audit': nothing can be written in {settings.audit}; name another folder or mend its permissions"
        )
    writer.close()  # opened again at the first record: an application that never runs keeps nothing open
    log = operational_logger()
    sealer = Sealer(settings.sealing_key)
    policy = Policy(
        rules=rules,
        hash_key=settings.key,
        on_detector_error=settings.on_detector_error,
        max_event_bytes=settings.max_event_bytes,
        seal=sealer.seal,
    )
    return Service(
        settings=settings,
        policy=policy,
        origin=Origin.parse(settings.upstream or settings.upstreams[0].url),
        callers=Callers(settings, log),
        limits=Limits(settings, log),
        passing=PassPaths.parse(settings.pass_paths),
        writer=writer,
        observers=Observers(AuditObserver(writer), [LogObserver(log)]),
        log=log,
        scrub=Scrubber(policy),
        sealer=sealer,
        scans_prompts=any(rule.request for rule in rules.rules),
        waits=rules.waits,
        cors=Cors.parse(settings.cors_origins) if settings.cors_origins else None,
    )


async def _running(app: web.Application) -> AsyncIterator[None]:
    service = app[SERVICE]
    service.stopping = False
    async with make_session(service.settings) as session:
        service.session_ = session
        yield
    service.session_ = None
    await service.limits.close()
    service.writer.close()


async def stop(app: web.Application) -> None:
    """Begin nothing new and let running answers end; break off those that last too long, in the API's own way."""
    service = app[SERVICE]
    service.stopping = True
    if not service.running:
        return
    _, late = await asyncio.wait(service.running, timeout=service.settings.shutdown_grace)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=_GOODBYE)


async def _health(_: web.Request) -> web.Response:
    """The process lives."""
    return web.json_response({"status": "ok"})


async def _ready(request: web.Request) -> web.Response:
    """Requests would be answered: the rules are loaded and the audit trail can be written."""
    service = request.app[SERVICE]
    writable = service.writer.probe()
    ready = not service.stopping and (writable or service.settings.on_audit_error == "pass")
    state = {
        "ready": ready,
        "stopping": service.stopping,
        "rules": rules_state(service),
        "detectors": [dataclasses.asdict(facts) for facts in service.current.policy.rules.model_facts],
        "audit": {"writable": writable},
    }
    return web.Response(text=json.dumps(state), status=200 if ready else 503, content_type="application/json")
