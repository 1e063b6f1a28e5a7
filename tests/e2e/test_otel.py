"""Traces and metrics, as a real OTLP/HTTP receiver gets them."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from safeproxy import __version__
from safeproxy.shell import app as shell_app
from tests.e2e.harness import CHAT, Abort, Wait, body, event, proxied, stream

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
ASKED = {"model": "gpt-x", "stream": True, "messages": [{"role": "user", "content": "Who is Countess Lovelace?"}]}


@dataclass
class Collector:
    """Takes what is exported and keeps it."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    traces: list[ExportTraceServiceRequest] = field(default_factory=list)
    metrics: list[ExportMetricsServiceRequest] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        """Parse one export."""
        data = await request.read()
        self.bodies.append(data)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if request.path == "/v1/traces":
            self.traces.append(ExportTraceServiceRequest.FromString(data))
        else:
            assert request.path == "/v1/metrics"
            self.metrics.append(ExportMetricsServiceRequest.FromString(data))
        return web.Response(content_type="application/x-protobuf")

    @property
    def spans(self) -> list[Span]:
        """All spans."""
        return [
            span for one in self.traces for of in one.resource_spans for scope in of.scope_spans for span in scope.spans
        ]

    @property
    def measured(self) -> dict[str, Metric]:
        """The last state of each metric, by name."""
        return {
            metric.name: metric
            for one in self.metrics
            for of in one.resource_metrics
            for scope in of.scope_metrics
            for metric in scope.metrics
        }

    @property
    def resources(self) -> list[dict[str, Any]]:
        """What each export says of who sends it."""
        traces = [of.resource for one in self.traces for of in one.resource_spans]
        metrics = [of.resource for one in self.metrics for of in one.resource_metrics]
        return [plain(resource.attributes) for resource in (*traces, *metrics)]


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes as a dictionary."""
    return {one.key: _plain(one.value) for one in attributes if isinstance(one, KeyValue)}


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    assert kind is not None
    return [_plain(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """A receiver on a loopback port."""
    receiver = Collector()
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the machine; an export that fails gives up after a second."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")


async def test_a_request_is_a_span_of_the_client_s_trace(tmp_path: Path) -> None:
    """Named and described by the GenAI conventions; the upstream's part hangs below it."""
    async with collector() as receiver:
        async with proxied(tmp_path, otlp_endpoint=receiver.url) as (upstream, proxy):
            upstream.says(*stream("Ask ", "ada@exa", "mple.com."))
            headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=1", "baggage": "a=b"}
            _, answered, _ = await proxy.post(body=ASKED, headers=headers)
            sent = upstream.asked[0]["headers"]
        (span,) = receiver.spans
    assert (span.name, span.kind) == ("chat gpt-x", Span.SPAN_KIND_SERVER)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert sent.getall("traceparent") == [f"00-{TRACE}-{span.span_id.hex()}-01"]
    assert (sent["tracestate"], sent["baggage"]) == ("vendor=1", "a=b")
    told = plain(span.attributes)
    assert told.pop("gen_ai.response.time_to_first_chunk") > 0
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-x",
        "gen_ai.response.model": "m-1",
        "gen_ai.response.finish_reasons": ["stop"],
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "safeproxy.ended": "stop",
        "safeproxy.request_id": answered["x-safeproxy-request-id"],
    } | {name: value for name, value in told.items() if name in ("safeproxy.upstream", "safeproxy.attempts")}
    (found,) = span.events
    assert found.name == "safeproxy.finding"
    assert plain(found.attributes) == {
        "safeproxy.rule": "email",
        "safeproxy.action": "redact",
        "safeproxy.side": "response",
    }
    assert 0 < span.start_time_unix_nano < found.time_unix_nano <= span.end_time_unix_nano
    assert span.status.code == Status.STATUS_CODE_UNSET


async def test_nothing_of_the_text_is_exported(tmp_path: Path) -> None:
    """Neither prompt nor answer, nor what was found, nor credentials, nor the path."""
    async with collector() as receiver:
        async with proxied(tmp_path, otlp_endpoint=receiver.url) as (upstream, proxy):
            upstream.says(*stream("Dearest ", "ada@exa", "mple.com."))
            await proxy.post(body=ASKED, headers={"Authorization": "Bearer s3cret"})
            upstream.says(*stream("Dearest"), status=400)
            await proxy.post(body={**ASKED, "model": "my name is Lovelace"})
        exported = b"".join(receiver.bodies)
    assert len(receiver.spans) == 2
    for private in (b"Lovelace", b"Dearest", b"ada@", b"mple.com", b"s3cret", b"127.0.0.1", b"/v1/chat"):
        assert private not in exported, private


async def test_metrics_follow_the_conventions(tmp_path: Path) -> None:
    """Tokens, durations and times to the first token, as histograms, by operation, provider and model."""
    async with collector() as receiver:
        async with proxied(tmp_path, otlp_endpoint=receiver.url) as (upstream, proxy):
            upstream.says(*stream("Hello, ", "world."))
            await proxy.post(body=ASKED)
            upstream.answers(body("Hello."))
            await proxy.post(body=ASKED)
        measured = receiver.measured
    assert {name: metric.unit for name, metric in measured.items()} == {
        "gen_ai.client.operation.duration": "s",
        "gen_ai.client.operation.time_to_first_chunk": "s",
        "gen_ai.client.token.usage": "{token}",
        "gen_ai.server.time_to_first_token": "s",
        "gen_ai.server.time_per_output_token": "s",
    }
    about = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-x",
        "gen_ai.response.model": "m-1",
    }
    tokens = {
        plain(point.attributes)["gen_ai.token.type"]: point
        for point in measured["gen_ai.client.token.usage"].histogram.data_points
    }
    assert {kind: point.sum for kind, point in tokens.items()} == {"input": 3, "output": 4}
    assert list(tokens["input"].explicit_bounds) == [4.0**n for n in range(14)]
    (duration,) = measured["gen_ai.client.operation.duration"].histogram.data_points
    assert (duration.count, plain(duration.attributes)) == (2, about)
    (ttft,) = measured["gen_ai.server.time_to_first_token"].histogram.data_points
    assert (ttft.count, plain(ttft.attributes)) == (1, about)


async def test_what_failed_says_why(tmp_path: Path) -> None:
    """An upstream that breaks off is an error with its fault; a refusal is told by its code and is the client's."""
    async with collector() as receiver:
        async with proxied(tmp_path, otlp_endpoint=receiver.url, client_max_size=1024) as (upstream, proxy):
            upstream.says(event("Hello", role="assistant"), Abort())
            await proxy.post(body=ASKED)
            await proxy.post(body={**ASKED, "user": "x" * 2000})
        broken, refused = receiver.spans
        durations = receiver.measured["gen_ai.client.operation.duration"].histogram.data_points
    assert broken.status.code == Status.STATUS_CODE_ERROR
    assert plain(broken.attributes)["error.type"].startswith("upstream_")
    assert refused.status.code == Status.STATUS_CODE_UNSET
    assert plain(refused.attributes)["error.type"] == "request_too_large"
    assert {plain(point.attributes)["error.type"] for point in durations} == {
        plain(broken.attributes)["error.type"],
        "request_too_large",
    }


async def test_a_path_that_no_convention_knows_is_named_by_its_method(tmp_path: Path) -> None:
    """A span without the attributes of a model's answer."""
    async with collector() as receiver:
        async with proxied(tmp_path, otlp_endpoint=receiver.url) as (upstream, proxy):
            upstream.answers({"data": []})
            async with proxy.session.get(proxy.at("/v1/models")) as response:
                await response.read()
        (span,) = receiver.spans
    assert span.name == "GET"
    assert not span.parent_span_id
    assert not [name for name in plain(span.attributes) if name.startswith("gen_ai.")]


async def test_each_process_names_itself_and_the_variables_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Service, version and instance; name and headers as the standard variables say."""
    async with collector() as receiver:
        for _ in range(2):
            async with proxied(tmp_path, otlp_endpoint=receiver.url + "/") as (upstream, proxy):
                upstream.says(*stream("Hello."))
                await proxy.post(body=ASKED)
            monkeypatch.setenv("OTEL_SERVICE_NAME", "chat-front")
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=k1")
        resources = receiver.resources
    assert {one["service.name"] for one in resources} == {"safeproxy", "chat-front"}
    assert {one["service.version"] for one in resources} == {__version__}
    assert len({one["service.instance.id"] for one in resources}) == 2
    assert [one.get("x-collector-key") for one in receiver.headers] == [None, None, "k1", "k1"]


async def test_without_a_collector_the_client_s_own_trace_goes_on(tmp_path: Path) -> None:
    """Its headers reach the upstream as they are."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("Hello."))
        await proxy.post(body=ASKED, headers={"traceparent": TRACEPARENT, "tracestate": "vendor=1"})
        sent = upstream.asked[0]["headers"]
    assert (sent["traceparent"], sent["tracestate"]) == (TRACEPARENT, "vendor=1")


async def test_a_broken_trace_begins_anew(tmp_path: Path) -> None:
    """What is no trace context is not sent on as one."""
    async with collector() as receiver:
        async with proxied(tmp_path, otlp_endpoint=receiver.url) as (upstream, proxy):
            upstream.says(*stream("Hello."))
            await proxy.post(body=ASKED, headers={"traceparent": "00-nonsense", "tracestate": "vendor=1"})
            sent = upstream.asked[0]["headers"]
        (span,) = receiver.spans
    assert not span.parent_span_id
    assert re.fullmatch(f"00-{span.trace_id.hex()}-{span.span_id.hex()}-0[13]", sent["traceparent"])
    assert "tracestate" not in sent


async def test_a_trace_that_is_not_sampled_is_not_exported(tmp_path: Path) -> None:
    """As the client decided, and the upstream is told the same."""
    async with collector() as receiver:
        async with proxied(tmp_path, otlp_endpoint=receiver.url) as (upstream, proxy):
            upstream.says(*stream("Hello."))
            await proxy.post(body=ASKED, headers={"traceparent": TRACEPARENT[:-1] + "0"})
            sent = upstream.asked[0]["headers"]
        assert receiver.spans == []
        assert "gen_ai.client.operation.duration" in receiver.measured
    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-00", sent["traceparent"])


async def test_a_client_that_leaves_has_its_span_too(tmp_path: Path) -> None:
    """However a request ends, its span ends."""
    async with collector() as receiver:
        async with proxied(tmp_path, otlp_endpoint=receiver.url) as (upstream, proxy):
            upstream.says(event("Hello, world. ", role="assistant"), Wait())
            async with aiohttp.ClientSession() as session, session.post(proxy.at(CHAT), json=ASKED) as response:
                await response.content.readany()
            await proxy.closed()
        (span,) = receiver.spans
    assert plain(span.attributes)["safeproxy.ended"] == "client_cancelled"


@asynccontextmanager
async def mute() -> AsyncIterator[str]:
    """A collector that takes connections and never answers."""
    connections: list[asyncio.StreamWriter] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        for writer in connections:
            writer.close()
        server.close()


@pytest.mark.parametrize("dead", [True, False])
async def test_a_collector_that_is_gone_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead: bool
) -> None:
    """Requests are answered, the queue stays short, and the process stops in time."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "2")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    monkeypatch.setattr(shell_app, "_FLUSH", 0.05)
    async with mute() as url:
        endpoint = "http://127.0.0.1:9" if dead else url
        async with proxied(tmp_path, otlp_endpoint=endpoint) as (upstream, proxy):
            upstream.says(*stream("to ada@", "example.com"))
            for _ in range(10):
                status, _, raw = await proxy.post(body=ASKED)
                assert status == 200
                assert b"[EMAIL_ADDRESS]" in raw
            await proxy.closed(10)
