"""The proxy as an aiohttp application, to be run by itself or mounted inside another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import ConfigError
from safeproxy.ledger.writer import AuditWriter
from safeproxy.observers.audit import AuditObserver
from safeproxy.observers.base import Observers
from safeproxy.observers.log import LogObserver, operational_logger
from safeproxy.pipeline import Policy, filter_prompt
from safeproxy.rulesets import load, shipped
from safeproxy.shell.admin import Admin
from safeproxy.shell.callers import Callers
from safeproxy.shell.client import keep_expecting
from safeproxy.shell.cors import Cors
from safeproxy.shell.handler import handle
from safeproxy.shell.limits import Limits
from safeproxy.shell.paths import Origin, PassPaths
from safeproxy.shell.scrub import Scrubber
from safeproxy.shell.seal import Sealer
from safeproxy.shell.service import SERVICE, Service
from safeproxy.shell.settings import Settings
from safeproxy.shell.upstream import make_session
from safeproxy.wire.registry import dialect_for

#: How long cancelled answers get to say goodbye when the process is stopped, in seconds.
_GOODBYE = 2.0


def create_app(settings: Settings) -> web.Application:
    """The proxy as an application: every path is the upstream's, but for those below ``/-/``.

    Mount it with ``parent.add_subapp("/llm", create_app(settings))``; paths are then read below ``/llm``.
    Raises ConfigError, and RuleError for a rule that cannot be used, naming what to mend.
    """
    rules = load(settings.rules) if settings.rules else shipped()
    if rules.needs_hash_key and settings.key is None:
        raise ConfigError(
            "setting 'hash_key' is missing: a rule has the action hash; give a secret of 16 bytes or more"
        )
    service = _service(settings, rules)
    _warm_up(service)
    app = web.Application()
    app[SERVICE] = service
    app.cleanup_ctx.append(_running)
    app.on_shutdown.append(_stop)
    if service.cors is not None:
        app.on_response_prepare.append(service.cors.on_prepare)
    Admin(app).add_routes()
    app.router.add_route("*", "/{tail:.*}", handle, expect_handler=keep_expecting)
    return app


def _warm_up(service: Service) -> None:
    """Compile what the first request would otherwise wait for."""
    service.policy.rules.warm_up()
    dialect = dialect_for("POST", "/v1/chat/completions")
    if service.scans_prompts and dialect is not None:
        filter_prompt(dialect, service.policy, b'{"messages": [{"role": "user", "content": "An ordinary question?"}]}')


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
        callers=Callers(settings),
        limits=Limits(settings),
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


async def _stop(app: web.Application) -> None:
    """Let running answers end; break off those that last too long, in the API's own way."""
    service = app[SERVICE]
    service.stopping = True
    if not service.running:
        return
    _, late = await asyncio.wait(service.running, timeout=service.settings.shutdown_grace)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=_GOODBYE)
