"""The proxy as an aiohttp application, to be run by itself or mounted inside another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from aiohttp import web

from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import ConfigError
from safeproxy.ledger.writer import AuditWriter
from safeproxy.observers.audit import AuditObserver
from safeproxy.observers.base import Observer, Observers
from safeproxy.observers.log import LogObserver, operational_logger
from safeproxy.pipeline import Policy
from safeproxy.shell.admin import EXPOSITION, Admin
from safeproxy.shell.callers import Callers
from safeproxy.shell.client import keep_expecting
from safeproxy.shell.cors import Cors
from safeproxy.shell.handler import handle
from safeproxy.shell.limits import Limits
from safeproxy.shell.paths import PassPaths
from safeproxy.shell.prices import Prices
from safeproxy.shell.reload import load_rules, warm_up
from safeproxy.shell.sampling import sampling
from safeproxy.shell.scrub import Scrubber
from safeproxy.shell.seal import Sealer
from safeproxy.shell.service import SERVICE, Service
from safeproxy.shell.settings import Settings
from safeproxy.shell.upstreams import Upstreams

if TYPE_CHECKING:
    from safeproxy.observers.otel import Telemetry

#: How long cancelled answers get to say goodbye when the process is stopped, in seconds.
_GOODBYE = 2.0
#: How long the last traces and metrics get to reach their collector, in seconds.
_FLUSH = 3.0


def create_app(settings: Settings) -> web.Application:
    """The proxy as an application: every path is the upstream's, but for those below ``/-/``.

    Mount it with ``parent.add_subapp("/llm", create_app(settings))``; paths are then read below ``/llm``.
    Raises ConfigError, and RuleError for a rule that cannot be used, naming what to mend.
    """
    service = _service(settings, load_rules(settings))
    warm_up(service.policy)
    app = web.Application()
    app[SERVICE] = service
    if service.metrics is not None:
        app[EXPOSITION] = service.metrics.exposition
    app.cleanup_ctx.append(_running)
    app.on_shutdown.append(stop)
    if service.cors is not None:
        app.on_response_prepare.append(service.cors.on_prepare)
    Admin(app).add_routes()
    app.router.add_route("*", "/{tail:.*}", handle, expect_handler=keep_expecting)
    return app


def _service(settings: Settings, rules: RuleSet) -> Service:
    writer = AuditWriter(settings.audit)
    if not writer.probe() and settings.on_audit_error == "halt":
        raise ConfigError(
            f"setting 'audit': nothing can be written in {settings.audit}; name another folder or mend its permissions"
        )
    writer.close()  # opened again at the first record: an application that never runs keeps nothing open
    # Only now: this import decides whether values are kept for several workers.
    from safeproxy.observers.metrics import Metrics

    log = operational_logger()
    metrics = Metrics(rules)
    telemetry = _telemetry(settings)
    told: list[Observer] = [LogObserver(log), metrics]
    if telemetry is not None:
        told.append(telemetry)
    sealer = Sealer(settings.sealing_key)
    policy = Policy(
        rules=rules,
        hash_key=settings.key,
        on_detector_error=settings.on_detector_error,
        max_event_bytes=settings.max_event_bytes,
        max_answer_chars=settings.max_answer_chars,
        seal=sealer.seal,
    )
    return Service(
        settings=settings,
        policy=policy,
        upstreams=Upstreams(settings, lambda name, fault: log.critical("upstream", upstream=name, fault=fault)),
        callers=Callers(settings, log),
        limits=Limits(settings, log),
        prices=None if settings.prices is None else Prices(settings.prices, log),
        passing=PassPaths.parse(settings.pass_paths),
        writer=writer,
        observers=Observers(AuditObserver(writer), told),
        log=log,
        scrub=Scrubber(policy),
        sealer=sealer,
        scans_prompts=any(rule.request for rule in rules.rules),
        waits=rules.waits,
        cors=Cors.parse(settings.cors_origins) if settings.cors_origins else None,
        metrics=metrics,
        telemetry=telemetry,
    )


def _telemetry(settings: Settings) -> Telemetry | None:
    """Who exports traces and metrics, if a collector was named. Raises ConfigError."""
    if settings.otlp_endpoint is None:
        return None
    try:
        from safeproxy.observers.otel import Telemetry
    except ImportError as error:
        raise ConfigError(
            f"setting 'otlp_endpoint' needs OpenTelemetry ({error}); install the extra: pip install 'safeproxy[otel]'"
        ) from None
    return Telemetry(settings.otlp_endpoint)


async def _running(app: web.Application) -> AsyncIterator[None]:
    service = app[SERVICE]
    service.stopping = False
    async with _measured(service), service.upstreams.running():
        yield
    await service.limits.close()
    service.writer.close()


@asynccontextmanager
async def _measured(service: Service) -> AsyncIterator[None]:
    """Measure what no request tells; in the end send off what is not yet exported."""
    task = None
    if service.metrics is not None:
        task = asyncio.create_task(sampling(service.metrics, lambda: not service.writer.failed))
    if service.telemetry is not None:
        service.telemetry.start()
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if service.telemetry is not None:
            await asyncio.to_thread(service.telemetry.close, _FLUSH)


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
