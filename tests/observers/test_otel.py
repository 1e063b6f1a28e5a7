"""The OpenTelemetry observer without a network; what a collector gets is in tests/e2e/test_otel.py."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes, http_attributes
from opentelemetry.trace import StatusCode

from safeproxy.errors import ConfigError
from safeproxy.ledger.record import RequestClosed
from safeproxy.observers import otel
from safeproxy.observers.otel import Telemetry
from safeproxy.wire import registry
from tests.ledger.test_record import FOUND
from tests.observers.test_metrics import FULL


class Kept(Telemetry):
    """Keeps what it would export."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__("http://collector:4318")
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        monkeypatch.setattr(otel, "OTLPSpanExporter", lambda _: self.exporter)
        monkeypatch.setattr(otel, "OTLPMetricExporter", lambda _: None)
        monkeypatch.setattr(otel, "BatchSpanProcessor", SimpleSpanProcessor)
        monkeypatch.setattr(otel, "PeriodicExportingMetricReader", lambda _: self.reader)
        self.start()

    def of(self, closed: RequestClosed) -> ReadableSpan:
        """The span of a request."""
        self.opened(closed.opened)
        self.found(FOUND)
        self.closed(closed)
        return self.exporter.get_finished_spans()[-1]

    def measured(self) -> dict[str, list[Any]]:
        """Points by the metric's name."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for of in (data.resource_metrics if data is not None else ())
            for scope in of.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def telemetry(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Traces and measures."""
    return Kept(monkeypatch)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Of a span."""
    return dict(span.attributes or {})


def test_names_are_those_of_the_conventions(telemetry: Kept) -> None:
    """Every attribute and metric that claims to be GenAI's, HTTP's or the errors' is in the installed package."""
    span = telemetry.of(dataclasses.replace(FULL, ended="upstream_error"))
    conventions = {
        value
        for module in (gen_ai_attributes, gen_ai_metrics, http_attributes, error_attributes)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    measured = telemetry.measured()
    ours = {*attributes(span), *measured, *(name for points in measured.values() for name in points[0].attributes)}
    assert {name for name in ours if not name.startswith("safeproxy.")} <= conventions
    assert len(measured) == 5


def test_every_dialect_has_its_operation() -> None:
    """A new dialect is either known to the conventions' table or of no API in particular."""
    dialects = {one.name for one in vars(registry).values() if hasattr(one, "media_type") and hasattr(one, "name")}
    assert dialects - {"generic", "generic_lines"} == set(otel._APIS)


def test_spans_tell_who_pays_and_where_it_went(telemetry: Kept) -> None:
    """Tenant, upstream, attempts, tokens; never the client's address, key, path or tags."""
    told = attributes(telemetry.of(FULL))
    wanted = {
        "safeproxy.tenant": "acme",
        "safeproxy.upstream": "first",
        "safeproxy.attempts": 3,
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.response.time_to_first_chunk": 0.15,
    }
    assert wanted.items() <= told.items()
    assert not {"192.0.2.7", "127.0.0.1", "k1", "alice", "blue", "/v1/chat/completions"} & {
        str(v) for v in told.values()
    }


@pytest.mark.parametrize(
    ("changed", "error", "status"),
    [
        ({}, None, StatusCode.UNSET),
        ({"ended": "content_filter"}, None, StatusCode.UNSET),
        ({"ended": "client_cancelled", "status": None}, None, StatusCode.UNSET),
        ({"status": 404, "upstream_status": 404}, "404", StatusCode.UNSET),
        (
            {"status": 429, "ended": "refused", "refusal": "rate_limit_exceeded"},
            "rate_limit_exceeded",
            StatusCode.UNSET,
        ),
        ({"status": 503, "ended": "refused", "refusal": "overloaded"}, "overloaded", StatusCode.ERROR),
        ({"ended": "upstream_error", "faults": ("upstream_cut",)}, "upstream_cut", StatusCode.ERROR),
        ({"ended": "upstream_incomplete", "faults": ()}, "upstream_incomplete", StatusCode.ERROR),
        ({"ended": "detector_error", "faults": ("ada@example.com",)}, "other", StatusCode.ERROR),
    ],
)
def test_what_is_an_error(telemetry: Kept, changed: dict[str, Any], error: str | None, status: StatusCode) -> None:
    """What the proxy or the upstream did wrong; a client's own mistake has a type, as HTTP's conventions say."""
    span = telemetry.of(dataclasses.replace(FULL, **changed))
    assert attributes(span).get("error.type") == error
    assert span.status.status_code == status


def test_a_model_that_could_be_text_is_not_told(telemetry: Kept) -> None:
    """Neither in the span's name nor in its attributes."""
    opened = dataclasses.replace(FULL.opened, model="my name is Ada")
    span = telemetry.of(dataclasses.replace(FULL, opened=opened, model_served="so is mine"))
    assert span.name == "chat other"
    assert attributes(span)["gen_ai.response.model"] == "other"


def test_an_odd_method_is_not_told(telemetry: Kept) -> None:
    """A method can be any word of the client's."""
    opened = dataclasses.replace(FULL.opened, method="ADA", api=None, model=None)
    span = telemetry.of(dataclasses.replace(FULL, opened=opened))
    assert (span.name, attributes(span)["http.request.method"]) == ("_OTHER", "_OTHER")
    assert telemetry.measured() == {}


def test_it_does_nothing_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that does not run exports nothing; closing twice is no harm."""
    telemetry = Telemetry("http://collector:4318")
    for _ in range(2):
        telemetry.opened(FULL.opened)
        telemetry.found(FOUND)
        assert telemetry.context(FULL.opened.request_id) == {}
        telemetry.closed(FULL)
        telemetry.close(0)
    kept = Kept(monkeypatch)
    kept.opened(FULL.opened)
    kept.close(10)
    kept.closed(FULL)
    assert kept.exporter.get_finished_spans() == ()


def test_no_span_is_kept_longer_than_its_request(telemetry: Kept) -> None:
    """What is over is forgotten."""
    telemetry.of(FULL)
    assert telemetry.context(FULL.opened.request_id) == {}


@pytest.mark.parametrize("endpoint", ["collector:4318", "grpc://collector:4317", ""])
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    """With the setting's name and an example."""
    with pytest.raises(ConfigError, match=r"otlp_endpoint.*http://"):
        Telemetry(endpoint)
