"""The observer that counts and measures, for Prometheus.

Importing this module decides how values are kept: if PROMETHEUS_MULTIPROC_DIR names a folder by then, in files that the
workers of one proxy share, so that each of them can give the sum over all; else in this process. So it is imported when
an application is made, not before. All work is done per request; nothing here is called for a chunk.
"""

from __future__ import annotations

import os
import platform
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from safeproxy import __version__
from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Action
from safeproxy.ledger.record import ENDED, FindingMade, RequestClosed, RequestOpened, code
from safeproxy.ledger.usage import tokens_of
from safeproxy.observers.labels import NONE, OTHER, Bounded

#: Whether several processes keep their values in one folder; the library decided so when it was imported.
_SHARED = "PROMETHEUS_MULTIPROC_DIR" in os.environ
#: Most tenants and rules that are told apart: the operator's own words, of which there may be many.
_MAX_OWN = 1000
#: Most tags that are told apart, by the name of their header.
_MAX_TAGS = 20

#: Upper bounds in seconds. An answer takes from a moment to the total_timeout of an hour.
_DURATION = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
#: Time to first token: from a cache or a small model at once, after long reasoning in minutes.
_TTFT = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 20, 60, 300)
#: Time between tokens: 400 a second down to one in a second.
_TPOT = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1)
#: Time a character is held: until the next token, as a rule.
_HELD = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 300)
#: Characters held at once: a word, a sentence, a rule's longest match, a whole tool call.
_HELD_CHARACTERS = (0, 4, 8, 16, 24, 32, 64, 128, 256, 512, 1024, 4096, 16_384, 65_536, 1_048_576)
#: Time in the filter, of a whole answer.
_FILTER = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
#: How late the event loop comes to what is due: below a millisecond is what timers resolve.
_LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

#: How the values of several workers become one: those of workers that have died are left out.
Mode = Literal["livesum", "livemin", "livemax"]


class Metrics:
    """What an operator watches. Labels are bounded, and hold no text, path, address, id or credential."""

    def __init__(self, rules: RuleSet) -> None:
        self.registry = CollectorRegistry()
        self._models = Bounded()
        self._tenants = Bounded(_MAX_OWN)
        self._tags = Bounded(_MAX_TAGS)
        self._tag_values: dict[str, Bounded] = {}
        self._digest = rules.digest
        self._make_traffic()
        self._make_latency()
        self._make_filter()
        self._make_usage()
        self._make_process()
        self._plugin_faults_seen: Tally[tuple[str, str]] = Tally()
        self._cpu_seen = 0.0
        self.workers.set(1)
        self.audit_writable.set(1)
        self.build.labels(version=__version__, python=platform.python_version()).set(1)
        self.put_in_force(rules)

    def put_in_force(self, rules: RuleSet) -> None:
        """Name what these rules are and ask, from now on; those before them have no rules in force any more."""
        self._rules = Bounded(_MAX_OWN, (rule.id for rule in rules.rules))
        self._detectors = Bounded(known=(model.name for model in rules.models))
        self._watched = {model.name: _faults_of(model) for model in rules.models}
        self.rules_loaded.labels(digest=self._digest).set(0)
        self.rules_loaded.labels(digest=rules.digest).set(len(rules.rules))
        self._digest = rules.digest

    def _make_traffic(self) -> None:
        self.requests = self._counter(
            "requests",
            "Requests that are over, by API, upstream, status class, how they ended, and whether it was a stream.",
            ("api", "upstream", "status", "ended", "stream"),
        )
        self.running = self._gauge("requests_running", "Requests that are being served.", mode="livesum")
        self.cancellations = self._counter(
            "cancellations",
            "Requests whose client went away before it had the whole answer: before or in it.",
            ("when",),
        )
        self.retries = self._counter(
            "retries",
            "Further attempts after the first, other upstreams included, by the upstream asked last.",
            ("upstream",),
        )
        self.refusals = self._counter(
            "refusals", "Answers in the proxy's own name, by their code and status.", ("code", "status")
        )
        self.limits = self._counter(
            "limits_hit", "Requests that a limit refused: of requests, tokens or streams, or max_streams.", ("kind",)
        )
        self.faults = self._counter("faults", "What went wrong on the way, by code; see audit/README.md.", ("code",))
        self.finish_reasons = self._counter(
            "finish_reasons",
            "Finish reasons, as the upstream gave them and as they were delivered.",
            ("stage", "reason"),
        )
        self.body_bytes = self._counter(
            "body_bytes", "Body bytes: of requests, from upstreams, to clients.", ("stage",)
        )

    def _make_latency(self) -> None:
        where = ("upstream", "model")
        self.duration = self._histogram(
            "request_duration_seconds", "Arrival to end.", _DURATION, ("api", "upstream", "stream")
        )
        self.upstream_ttft = self._histogram(
            "upstream_ttft_seconds", "Arrival of the request to the upstream's first byte; streams only.", _TTFT, where
        )
        self.delivered_ttft = self._histogram(
            "delivered_ttft_seconds", "Arrival of the request to the first byte delivered; streams only.", _TTFT, where
        )
        self.upstream_tpot = self._histogram(
            "upstream_tpot_seconds", "Mean time between a stream's events, as they came.", _TPOT, where
        )
        self.delivered_tpot = self._histogram(
            "delivered_tpot_seconds", "Mean time between a stream's events, as they went.", _TPOT, where
        )

    def _make_filter(self) -> None:
        self.held = self._histogram("held_seconds", "Mean time a character of a stream waited for its verdict.", _HELD)
        self.held_characters = self._histogram(
            "held_characters", "Most characters that a stream held at once, between two chunks.", _HELD_CHARACTERS
        )
        self.filter = self._histogram(
            "filter_seconds",
            "Time in the filter, a request; waiting for models that are asked elsewhere included.",
            _FILTER,
        )
        self.scanned = self._counter("scanned_characters", "Characters of answers that the rules have read.")
        self.characters = self._counter(
            "characters",
            "What became of them: passed, removed, held to the end and never sent; and placeholders sent instead.",
            ("fate",),
        )
        self.findings = self._counter(
            "findings",
            "Findings, by rule, the action that was applied, and side: request or response.",
            ("rule", "action", "side"),
        )
        self.halts = self._counter("halts", "Answers and prompts that a rule put an end to.", ("rule", "side"))
        self.plugin_faults = self._counter(
            "plugin_faults", "How often a detector that is asked could not judge, by code.", ("detector", "code")
        )

    def _make_usage(self) -> None:
        self.tokens = self._counter(
            "tokens",
            "Tokens by the upstream's count. Cached and written are part of input, reasoning of output.",
            ("tenant", "model", "kind"),
        )
        self.cost = self._counter("cost", "Cost by the operator's prices.", ("tenant", "model", "currency"))
        self.tag_tokens = self._counter("tag_tokens", "Tokens by tag.", ("tag", "value", "kind"))
        self.tag_cost = self._counter("tag_cost", "Cost by tag.", ("tag", "value", "currency"))

    def _make_process(self) -> None:
        self.lag = self._histogram("event_loop_lag_seconds", "How late the event loop came to what was due.", _LAG)
        self.memory = self._gauge("resident_memory_bytes", "Resident memory of all workers.", mode="livesum")
        self.cpu = self._counter("cpu_seconds", "CPU time of all workers, user and system.")
        self.workers = self._gauge("workers", "Processes that serve.", mode="livesum")
        self.audit_writable = self._gauge(
            "audit_writable", "1 if the last record could be written, in every worker.", mode="livemin"
        )
        self.rules_loaded = self._gauge(
            "rules", "Rules in force, by the digest of their set; 0 for a set that was.", ("digest",), mode="livemax"
        )
        self.build = self._gauge("build_info", "1, with what is running.", ("version", "python"), mode="livemax")

    def _counter(self, name: str, about: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"safeproxy_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(f"safeproxy_{name}", about, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, about: str, labels: tuple[str, ...] = (), *, mode: Mode) -> Gauge:
        return Gauge(f"safeproxy_{name}", about, labels, multiprocess_mode=mode, registry=self.registry)

    def opened(self, record: RequestOpened) -> None:  # noqa: ARG002 - an observer is told
        """One more is being served."""
        self.running.inc()

    def found(self, record: FindingMade) -> None:
        """Count the finding, and the halt if it is one."""
        finding = record.finding
        rule = self._rules(finding.rule)
        self.findings.labels(rule, finding.applied.value, record.side).inc()
        if finding.action is Action.HALT:
            self.halts.labels(rule, record.side).inc()

    def closed(self, record: RequestClosed) -> None:
        """Count and measure the whole request."""
        self.running.dec()
        # A name that an upstream has answered to is one; what a client merely says could be anything.
        served = record.upstream_status is not None and record.upstream_status < 400
        upstream = record.upstream or NONE
        model = self._models(record.opened.model or record.model_served, admit=served)
        self._count_request(record, upstream)
        self._measure(record, upstream, model)
        self._count_characters(record)
        self._count_usage(record, model, served=served)

    def _count_request(self, record: RequestClosed, upstream: str) -> None:
        ended = record.ended if record.ended in ENDED else OTHER
        api, stream = record.opened.api or NONE, _truth(record.stream)
        self.requests.labels(api, upstream, _class_of(record.status), ended, stream).inc()
        self.duration.labels(api, upstream, stream).observe(record.timing.duration_ms / 1000)
        if ended == "client_cancelled":
            self.cancellations.labels("before" if record.timing.delivered_ttft_ms is None else "during").inc()
        if record.attempts > 1:
            self.retries.labels(upstream).inc(record.attempts - 1)
        if record.refusal is not None:
            self.refusals.labels(code(record.refusal), str(record.status or NONE)).inc()
        for fault in {code(fault) for fault in record.faults}:
            self.faults.labels(fault).inc()
            if fault.startswith("limit_") or fault == "max_streams":
                self.limits.labels(fault.removeprefix("limit_")).inc()
        for stage, reasons in (("upstream", record.upstream_finish), ("delivered", record.delivered_finish)):
            for reason in reasons.values():
                self.finish_reasons.labels(stage, code(reason)).inc()
        sizes = record.bytes
        for stage, size in (("request", sizes.request), ("upstream", sizes.upstream), ("delivered", sizes.delivered)):
            self.body_bytes.labels(stage).inc(size)

    def _measure(self, record: RequestClosed, upstream: str, model: str) -> None:
        timing = record.timing
        if timing.filter_ms is not None:
            self.filter.observe(timing.filter_ms / 1000)
        if not record.stream:
            return
        for histogram, milliseconds in (
            (self.upstream_ttft, timing.upstream_ttft_ms),
            (self.delivered_ttft, timing.delivered_ttft_ms),
            (self.upstream_tpot, timing.upstream_tpot_ms),
            (self.delivered_tpot, timing.delivered_tpot_ms),
        ):
            if milliseconds is not None:
                histogram.labels(upstream, model).observe(milliseconds / 1000)
        if timing.held_mean_ms is not None:
            self.held.observe(timing.held_mean_ms / 1000)
            self.held_characters.observe(record.held_max)

    def _count_characters(self, record: RequestClosed) -> None:
        characters = record.characters
        if not characters.scanned:
            return
        self.scanned.inc(characters.scanned)
        for fate, number in (
            ("passed", characters.passed),
            ("removed", characters.removed),
            ("held", characters.held),
            ("placeholder", characters.placeholders),
        ):
            if number:
                self.characters.labels(fate).inc(number)

    def _count_usage(self, record: RequestClosed, model: str, *, served: bool) -> None:
        caller = record.opened.caller
        tenant = self._tenants(caller.tenant)
        tags = [self._tag(name, value, admit=served) for name, value in caller.tags.items()]
        tokens = tokens_of(record.usage)
        if tokens is not None:
            for kind in ("input", "output", "cached", "written", "reasoning"):
                number = getattr(tokens, kind)
                if number > 0:
                    self.tokens.labels(tenant, model, kind).inc(number)
                    for tag, value in tags:
                        self.tag_tokens.labels(tag, value, kind).inc(number)
        if record.cost is not None:
            currency = code(record.cost.currency)
            self.cost.labels(tenant, model, currency).inc(record.cost.amount)
            for tag, value in tags:
                self.tag_cost.labels(tag, value, currency).inc(record.cost.amount)

    def _tag(self, name: str, value: str, *, admit: bool) -> tuple[str, str]:
        tag = self._tags(name)
        values = self._tag_values.setdefault(tag, Bounded())
        return tag, values(value, admit=admit)

    def sample(self) -> None:
        """Read what nobody tells: memory, CPU time, how often detectors could not judge."""
        with suppress(OSError, ValueError):  # there is no /proc but on Linux
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            self.memory.set(pages * os.sysconf("SC_PAGE_SIZE"))
        cpu = time.process_time()
        self.cpu.inc(max(0.0, cpu - self._cpu_seen))
        self._cpu_seen = cpu
        for detector, faults_now in self._watched.items():
            for fault, number in faults_now().items():
                seen = self._plugin_faults_seen[detector, fault]
                if number > seen:
                    self.plugin_faults.labels(self._detectors(detector), code(fault)).inc(number - seen)
                    self._plugin_faults_seen[detector, fault] = number

    def exposition(self) -> tuple[bytes, str]:
        """Everything as Prometheus reads it, and the content type: the sum over the workers where there are several."""
        self.sample()
        registry = self.registry
        if _SHARED:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(_Lean(registry)), CONTENT_TYPE_PLAIN_0_0_4


class _Lean(CollectorRegistry):
    """What a registry collects, without the time at which each series was made: a second series, of no use here.

    The library can leave them out, too, but only for all that runs in the process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def _faults_of(model: object) -> Callable[[], Mapping[str, int]]:
    """What reads a model's faults, by code; only plug-ins count any."""
    return lambda: dict(getattr(model, "faults", None) or {})


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _class_of(status: int | None) -> str:
    """``2xx`` for 200; a client that was gone was told nothing."""
    return NONE if status is None else f"{status // 100}xx"
