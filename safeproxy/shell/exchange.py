"""The account of one request: its identity, counters and clock readings, and the records made of them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from multidict import CIMultiDict

from safeproxy.events import Finding, ModelFacts
from safeproxy.ledger.record import Bytes, Caller, Characters, Cost, FindingMade, RequestClosed, RequestOpened, Timing
from safeproxy.ledger.writer import AuditError
from safeproxy.observers.base import Observers
from safeproxy.pipeline import Report


@dataclass(slots=True)
class Pace:
    """When the events of one answer came, or went: enough for TTFT and TPOT."""

    first: float | None = None
    last: float = 0.0

    def at(self, now: float) -> None:
        """Something came, or went."""
        if self.first is None:
            self.first = now
        self.last = now

    def ttft_ms(self, start: float) -> float | None:
        """Milliseconds from ``start`` to the first."""
        return None if self.first is None else (self.first - start) * 1000

    def tpot_ms(self, events: int) -> float | None:
        """Mean milliseconds between ``events`` events from the first to the last."""
        return None if self.first is None or events < 2 else (self.last - self.first) * 1000 / (events - 1)


@dataclass(slots=True, kw_only=True)
class Exchange:
    """What is known of a request while it runs. Times are readings of `time.perf_counter`, in seconds."""

    observers: Observers
    rules: str
    client: str | None
    method: str
    path: str
    detectors: Sequence[ModelFacts] = ()
    api: str | None = None
    """Name of the dialect that the path speaks."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """The client's trace context."""
    model: str | None = None
    model_served: str | None = None
    """As it may be recorded; the report has it as the upstream wrote it."""
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    started: float = field(default_factory=time.perf_counter)
    status: int | None = None
    upstream_status: int | None = None
    stream: bool = False
    ended: str | None = None
    complete: bool = False
    """Whether the client was sent the whole answer: one that leaves now has cancelled nothing."""
    report: Report | None = None
    request_bytes: int = 0
    upstream_bytes: int = 0
    delivered_bytes: int = 0
    upstream: Pace = field(default_factory=Pace)
    delivered: Pace = field(default_factory=Pace)
    faults: list[str] = field(default_factory=list)
    applied: dict[str, int] = field(default_factory=dict)
    wait: float = 0.0
    """Sum over all characters of the time each was held, in seconds."""
    held_max: int = 0
    """Most characters held at once."""
    filtered: float = 0.0
    """Time in the filter, in seconds."""
    refusal: str | None = None
    """Code of the answer that the proxy gave in its own name."""
    caller: Caller = field(default_factory=Caller)
    asked_upstream: str | None = None
    """Name of the upstream asked last."""
    attempts: int = 0
    """How often an upstream was asked."""
    idle_timeout: float = 30.0
    """How long the upstream asked last may be silent once its answer has begun, in seconds."""
    cost: Cost | None = None
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    """Headers of the proxy's own, in place of the upstream's of the same name."""
    limited: bool = False
    """Whether the proxy has limits of its own: those of the account upstream are not shown then."""
    _record: RequestOpened | None = None

    def cancelled(self) -> None:
        """The client has gone away."""
        if not self.complete:
            self.ended = "client_cancelled"

    def open(self) -> None:
        """Tell the observers that the request has arrived. Raises AuditError."""
        self._record = RequestOpened(
            request_id=self.id,
            time=time.time(),
            client=self.client,
            method=self.method,
            path=self.path,
            model=self.model,
            rules=self.rules,
            detectors=self.detectors,
            caller=self.caller,
            api=self.api,
            trace=self.trace,
        )
        self.observers.opened(self._record)

    def found(self, findings: Iterable[Finding], *, side: str = "response") -> None:
        """Tell the observers of findings. Raises AuditError, after all of them were counted and tried."""
        failure: AuditError | None = None
        for finding in findings:
            applied = finding.applied.value
            self.applied[applied] = self.applied.get(applied, 0) + 1
            try:
                self.observers.found(FindingMade(request_id=self.id, time=time.time(), side=side, finding=finding))
            except AuditError as error:
                failure = error
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Tell the observers that the request is over. Raises AuditError."""
        now = time.perf_counter()
        try:
            if self._record is None:
                self.open()
        finally:  # who was told of the beginning is told of the end
            assert self._record is not None
            self.observers.closed(self._closed(self._record, now))

    def _closed(self, opened: RequestOpened, now: float) -> RequestClosed:
        report = self.report
        events = 0 if report is None else report.events
        scanned = 0 if report is None else report.scanned
        usage: Mapping[str, int] | None = None if report is None else report.usage
        return RequestClosed(
            opened=opened,
            time=time.time(),
            ended=self.ended or (report.ended if report is not None else None) or "other",
            status=self.status,
            upstream_status=self.upstream_status,
            stream=self.stream,
            model_served=self.model_served,
            findings=self.applied,
            characters=_characters(report),
            upstream_finish={} if report is None else report.upstream_finish,
            delivered_finish={} if report is None else report.delivered_finish,
            timing=Timing(
                duration_ms=(now - self.started) * 1000,
                upstream_ttft_ms=self.upstream.ttft_ms(self.started),
                delivered_ttft_ms=self.delivered.ttft_ms(self.started),
                upstream_tpot_ms=self.upstream.tpot_ms(events) if self.stream else None,
                delivered_tpot_ms=self.delivered.tpot_ms(events) if self.stream else None,
                held_mean_ms=self.wait * 1000 / scanned if self.stream and scanned else None,
                filter_ms=self.filtered * 1000 if self.filtered else None,
            ),
            usage=usage,
            bytes=Bytes(request=self.request_bytes, upstream=self.upstream_bytes, delivered=self.delivered_bytes),
            faults=tuple(dict.fromkeys((*self.faults, *(() if report is None else report.faults)))),
            upstream=self.asked_upstream,
            attempts=self.attempts,
            cost=self.cost,
            refusal=self.refusal,
            held_max=self.held_max,
        )


def _characters(report: Report | None) -> Characters:
    if report is None:
        return Characters()
    return Characters(
        scanned=report.scanned,
        passed=report.passed,
        removed=report.removed,
        held=report.held,
        placeholders=report.placeholders,
    )
