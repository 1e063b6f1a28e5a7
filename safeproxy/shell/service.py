"""What all requests of one application share."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import structlog
from aiohttp import web
from multidict import CIMultiDict

from safeproxy import suspend
from safeproxy.events import Finding
from safeproxy.ledger.writer import AuditError, AuditWriter
from safeproxy.observers.base import Observers
from safeproxy.pipeline import Policy
from safeproxy.shell.callers import Callers
from safeproxy.shell.cors import Cors
from safeproxy.shell.exchange import Exchange
from safeproxy.shell.headers import TRACE_CONTEXT
from safeproxy.shell.limits import Limits
from safeproxy.shell.paths import PassPaths
from safeproxy.shell.prices import Prices
from safeproxy.shell.refusal import Refusal
from safeproxy.shell.scrub import Scrubber
from safeproxy.shell.seal import Sealer
from safeproxy.shell.settings import Settings
from safeproxy.shell.upstreams import Upstreams

if TYPE_CHECKING:
    from safeproxy.observers.metrics import Metrics
    from safeproxy.observers.otel import Telemetry

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class Life:
    """Where the process stands; all that was ever in force shares it."""

    stopping: bool = False
    rules_fault: RulesFault | None = None
    """Why the rules could not be loaded anew when that was last asked for; None if they could."""


@dataclass(frozen=True, slots=True)
class RulesFault:
    """Rules that were to be put in force and cannot be."""

    time: str
    place: str | None
    """File, line and column, if it is the fault of one."""


@dataclass(slots=True, kw_only=True)
class Service:
    """The settings in force and what was made of them.

    Other rules make a copy of it that differs in them (see `safeproxy.shell.reload`): a request takes what `current`
    gives when it begins, and keeps it to its end. All but the rules is shared by the copies.
    """

    settings: Settings
    policy: Policy
    upstreams: Upstreams
    passing: PassPaths
    writer: AuditWriter
    observers: Observers
    log: structlog.typing.FilteringBoundLogger
    scrub: Scrubber
    scans_prompts: bool
    callers: Callers
    limits: Limits
    prices: Prices | None = None
    """None if there is no price list."""
    waits: bool = False
    """Whether a call of the pipeline may wait in its middle."""
    cors: Cors | None = None
    """None if the upstream says which web pages may read its answers."""
    metrics: Metrics | None = None
    telemetry: Telemetry | None = None
    """Who traces, if anybody does."""
    sealer: Sealer = field(default_factory=lambda: Sealer(None))
    running: set[asyncio.Task[object]] = field(default_factory=set)
    """Tasks of the requests being served."""
    life: Life = field(default_factory=Life)
    newer: Service | None = None
    """What was put in force after this, at the first one the newest."""
    server_cancels: bool = False
    """Whether the server cancels a handler whose client went away; if not, each request watches for it."""
    admin_url: str | None = None
    """Where the admin paths are served, if they have a port of their own."""

    @property
    def current(self) -> Service:
        """What is in force now."""
        return self.newer or self

    @property
    def stopping(self) -> bool:
        """Whether the process ends, and nothing new is begun."""
        return self.life.stopping

    @stopping.setter
    def stopping(self, value: bool) -> None:
        self.life.stopping = value

    def resumed(self) -> bool:
        """Let the running task go on though it was cancelled, if that was to end the process: it has to say so."""
        task = asyncio.current_task()
        if task is None or not self.stopping:
            return False
        task.uncancel()
        return True

    async def filtering(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Make a call of the pipeline; while a detector in it waits, the event loop goes on."""
        if self.waits:
            return await suspend.run(call, *args, **kwargs)
        return call(*args, **kwargs)

    @property
    def unrecorded(self) -> bool:
        """Whether answers must stop because the audit trail cannot be written."""
        return self.writer.failed and self.settings.on_audit_error == "halt"

    def open(self, exchange: Exchange) -> None:
        """Record that the request has arrived, before the upstream hears of it. Raises Refusal."""
        try:
            exchange.open()
        except AuditError as error:
            self.say("audit", fault=str(error))
            if self.settings.on_audit_error == "halt":
                raise audit_refusal() from None

    def found(self, exchange: Exchange, findings: Sequence[Finding], *, side: str = "response") -> None:
        """Record findings; where that fails `unrecorded` tells."""
        try:
            exchange.found(findings, side=side)
        except AuditError as error:
            self.say("audit", fault=str(error), request_id=exchange.id)

    def close(self, exchange: Exchange) -> None:
        """Record that the request is over. Where that fails nothing is left to stop but the next requests."""
        served = None if exchange.report is None else exchange.report.model
        exchange.model_served = None if served is None else self.scrub(served)
        if self.prices is not None:
            exchange.cost = self.prices.cost(exchange)
        try:
            exchange.close()
        except AuditError as error:
            self.say("audit", fault=str(error), request_id=exchange.id)

    def traced(self, exchange: Exchange, headers: CIMultiDict[str]) -> None:
        """Make what the upstream does a part of our own trace; without one the client's own headers stay."""
        if self.telemetry is not None:
            for name in TRACE_CONTEXT:
                headers.popall(name, None)
            headers.update(self.telemetry.context(exchange.id))

    def say(self, event: str, **facts: object) -> None:
        """Log that something is wrong with the proxy itself; a log that is broken too must not make it worse."""
        with suppress(Exception):
            self.log.critical(event, **facts)

    def log_bug(self, error: BaseException, exchange: Exchange) -> None:
        """Log an error of our own by kind and place; its message could hold text."""
        frame = traceback.extract_tb(error.__traceback__)[-1:]
        place = [f"{Path(entry.filename).name}:{entry.lineno}" for entry in frame]
        self.say("bug", kind=type(error).__name__, place=place, request_id=exchange.id)


def audit_refusal() -> Refusal:
    """The answer to a request that cannot be recorded."""
    return Refusal(
        503,
        "audit_unavailable",
        "The audit trail cannot be written, so nothing can be answered now.",
        ended="audit_error",
        retry=True,
    )


SERVICE = web.AppKey("safeproxy_service", Service)
