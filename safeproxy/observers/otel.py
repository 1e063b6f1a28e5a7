"""The observer that sends traces and metrics to an OpenTelemetry collector, over OTLP/HTTP; needs the extra ``otel``.

Names and units are those of the GenAI semantic conventions (opentelemetry-semantic-conventions 0.66b2), of which those
that may hold prompts or answers are not used. What the conventions have no name for begins with ``safeproxy.``. The
standard variables of the SDK hold: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS,
OTEL_TRACES_SAMPLER, OTEL_METRIC_EXPORT_INTERVAL and the others. Two threads of the SDK's do the sending, from a queue
with an end: what a collector does not take in time is dropped.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.environment_variables import OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from safeproxy import __version__
from safeproxy.errors import ConfigError
from safeproxy.ledger.record import FindingMade, RequestClosed, RequestOpened, code
from safeproxy.ledger.usage import tokens_of
from safeproxy.observers.labels import Bounded

#: What the conventions call the operation and the provider of each dialect.
_APIS = {
    "openai_chat": ("chat", "openai"),
    "openai_completions": ("text_completion", "openai"),
    "openai_responses": ("chat", "openai"),
    "openai_socket": ("chat", "openai"),
    "openai_realtime": ("chat", "openai"),
    "anthropic": ("chat", "anthropic"),
    "gemini": ("generate_content", "gcp.gemini"),
    "gemini_array": ("generate_content", "gcp.gemini"),
    "ollama": ("chat", "ollama"),
    "cohere": ("chat", "cohere"),
    "transcription": ("transcription", "openai"),
}
#: Ends that are errors, whatever the status that had left before.
_TROUBLE = frozenset({"upstream_error", "upstream_incomplete", "detector_error", "audit_error", "internal_error"})

#: Bucket boundaries as the conventions advise.
_TOKENS = [4.0**power for power in range(14)]
_DURATION = [0.01 * 2**power for power in range(14)]
_TTFT = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
_TPOT = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5]

Attributes = dict[str, str | int | float | list[str]]


@dataclass(frozen=True, slots=True)
class _Export:
    """What there is while it runs."""

    tracers: TracerProvider
    meters: MeterProvider
    tracer: Tracer
    duration: Histogram
    tokens: Histogram
    ttft: Histogram
    ttft_delivered: Histogram
    tpot: Histogram


class Telemetry:
    """Makes a span of each request, and measures it. Does nothing before `start` and after `close`.

    ``endpoint`` is the collector's address, such as ``http://127.0.0.1:4318``. Raises ConfigError if it is none.
    """

    def __init__(self, endpoint: str) -> None:
        if not endpoint.startswith(("http://", "https://")):
            raise ConfigError("setting 'otlp_endpoint': give an address such as http://127.0.0.1:4318")
        self._endpoint = endpoint.rstrip("/")
        self._export: _Export | None = None
        self._spans: dict[str, Span] = {}
        self._models = Bounded()
        self._propagator = TraceContextTextMapPropagator()

    def start(self) -> None:
        """Begin to export; in the process that serves, for the threads do not survive a fork."""
        resource = _resource()
        # At exit the SDK would wait for its collector; `close` has a deadline instead.
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{self._endpoint}/v1/traces")))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{self._endpoint}/v1/metrics"))
        meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        meter = meters.get_meter("safeproxy", __version__)

        def histogram(name: str, unit: str, about: str, bounds: list[float]) -> Histogram:
            return meter.create_histogram(name, unit, about, explicit_bucket_boundaries_advisory=bounds)

        self._export = _Export(
            tracers=tracers,
            meters=meters,
            tracer=tracers.get_tracer("safeproxy", __version__),
            duration=histogram("gen_ai.client.operation.duration", "s", "GenAI operation duration.", _DURATION),
            tokens=histogram(
                "gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", _TOKENS
            ),
            ttft=histogram("gen_ai.server.time_to_first_token", "s", "Time until the upstream's first byte.", _TTFT),
            ttft_delivered=histogram(
                "gen_ai.client.operation.time_to_first_chunk", "s", "Time until the first byte delivered.", _TTFT
            ),
            tpot=histogram(
                "gen_ai.server.time_per_output_token", "s", "Mean time between the upstream's events.", _TPOT
            ),
        )

    def close(self, timeout: float) -> None:
        """Send what is still to be sent, for at most ``timeout`` seconds. Blocks."""
        export, self._export = self._export, None
        if export is None:
            return

        def send() -> None:
            for shut_down in (export.tracers.shutdown, export.meters.shutdown):
                with suppress(Exception):  # it raises when the collector is gone
                    shut_down()

        # The SDK's own shutdown has no deadline that can be set, so it is left behind if it takes too long.
        thread = threading.Thread(target=send, name="safeproxy-telemetry", daemon=True)
        thread.start()
        thread.join(timeout)

    def context(self, request_id: str) -> dict[str, str]:
        """The headers that make what is asked upstream a part of the request's span."""
        headers: dict[str, str] = {}
        span = self._spans.get(request_id)
        if span is not None:
            self._propagator.inject(headers, set_span_in_context(span))
        return headers

    def opened(self, record: RequestOpened) -> None:
        """Begin the span, as a part of the client's own if it named one."""
        if self._export is None:
            return
        known = _APIS.get(record.api or "")
        model = self._models(record.model) if record.model else None
        name = " ".join((known[0], model) if known and model else known[:1] if known else (_method(record.method),))
        self._spans[record.request_id] = self._export.tracer.start_span(
            name,
            # From an empty context: what else the process may trace is no part of this.
            self._propagator.extract(record.trace, Context()),
            SpanKind.SERVER,
            {"http.request.method": _method(record.method), **_asked(record, model)},
            start_time=_nanoseconds(record.time),
        )

    def found(self, record: FindingMade) -> None:
        """Note on the span which rule it was and what was done."""
        span = self._spans.get(record.request_id)
        if span is not None:
            finding = record.finding
            about = {"safeproxy.rule": finding.rule, "safeproxy.action": finding.applied.value}
            span.add_event("safeproxy.finding", {**about, "safeproxy.side": record.side}, _nanoseconds(record.time))

    def closed(self, record: RequestClosed) -> None:
        """End the span, and measure."""
        span = self._spans.pop(record.opened.request_id, None)
        if span is None or self._export is None:
            return
        error = _error_of(record)
        span.set_attributes(self._told(record))
        if error is not None:
            span.set_attribute("error.type", error)
        if record.ended in _TROUBLE or (record.status or 0) >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_nanoseconds(record.time))
        self._measure(self._export, record, error)

    def _told(self, record: RequestClosed) -> Attributes:
        """What the span says of the answer."""
        attributes: Attributes = {"safeproxy.ended": code(record.ended)}
        if record.status is not None:
            attributes["http.response.status_code"] = record.status
        if record.upstream is not None:
            attributes |= {"safeproxy.upstream": record.upstream, "safeproxy.attempts": record.attempts}
        if record.opened.api in _APIS:
            if record.model_served is not None:
                attributes["gen_ai.response.model"] = self._models(record.model_served)
            if record.delivered_finish:
                reasons = [code(reason) for _, reason in sorted(record.delivered_finish.items())]
                attributes["gen_ai.response.finish_reasons"] = reasons
            tokens = tokens_of(record.usage)
            if tokens is not None:
                attributes["gen_ai.usage.input_tokens"] = tokens.input
                attributes["gen_ai.usage.output_tokens"] = tokens.output
            if record.stream and record.timing.delivered_ttft_ms is not None:
                attributes["gen_ai.response.time_to_first_chunk"] = record.timing.delivered_ttft_ms / 1000
        return attributes

    def _measure(self, export: _Export, record: RequestClosed, error: str | None) -> None:
        opened, timing = record.opened, record.timing
        if opened.api not in _APIS:
            return
        about: dict[str, str | int | float] = {**_operation(opened.api)}
        served = record.upstream_status is not None and record.upstream_status < 400
        about["gen_ai.request.model"] = self._models(opened.model, admit=served)
        if record.model_served is not None:
            about["gen_ai.response.model"] = self._models(record.model_served, admit=served)
        failed = {} if error is None else {"error.type": error}
        export.duration.record(timing.duration_ms / 1000, {**about, **failed})
        tokens = tokens_of(record.usage)
        if tokens is not None:
            for kind, number in (("input", tokens.input), ("output", tokens.output)):
                export.tokens.record(number, {**about, "gen_ai.token.type": kind})
        if record.stream:
            for histogram, milliseconds in (
                (export.ttft, timing.upstream_ttft_ms),
                (export.ttft_delivered, timing.delivered_ttft_ms),
                (export.tpot, timing.upstream_tpot_ms),
            ):
                if milliseconds is not None:
                    histogram.record(milliseconds / 1000, about)


def _resource() -> Resource:
    """What exports: one process of one service."""
    named = OTEL_SERVICE_NAME in os.environ or "service.name=" in os.environ.get(OTEL_RESOURCE_ATTRIBUTES, "")
    own = {} if named else {"service.name": "safeproxy"}
    return Resource.create({**own, "service.version": __version__, "service.instance.id": str(uuid.uuid4())})


def _operation(api: str) -> dict[str, str]:
    operation, provider = _APIS[api]
    return {"gen_ai.operation.name": operation, "gen_ai.provider.name": provider}


def _asked(record: RequestOpened, model: str | None) -> Mapping[str, str]:
    """What the span says of the request."""
    attributes = {"safeproxy.request_id": record.request_id}
    if record.caller.tenant is not None:
        attributes["safeproxy.tenant"] = record.caller.tenant
    if record.api in _APIS:
        attributes |= _operation(record.api)
        if model is not None:
            attributes["gen_ai.request.model"] = model
    return attributes


def _error_of(record: RequestClosed) -> str | None:
    """A word for what went wrong, None if nothing did."""
    if record.ended not in _TROUBLE and (record.status or 0) < 400:
        return None
    if record.refusal is not None:
        return code(record.refusal)
    if record.ended in _TROUBLE:
        return code(record.faults[0]) if record.faults else record.ended
    return str(record.status)


def _method(method: str) -> str:
    """The method if it is one that everybody knows, as the HTTP conventions want it."""
    return method if method in {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} else "_OTHER"


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
