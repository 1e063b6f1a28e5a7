"""The metrics observer: what is counted of a request, under which labels, and what never gets there."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Action
from safeproxy.ledger.record import Caller, Characters, Cost, RequestClosed, Timing
from safeproxy.observers.metrics import Metrics
from tests.ledger.test_record import CLOSED, FOUND, OPENED

CALLER = Caller(address="192.0.2.7", key="k1", name="alice", tenant="acme", tags={"x-team": "blue"})
#: A request of which everything is known.
FULL: RequestClosed = dataclasses.replace(
    CLOSED,
    opened=dataclasses.replace(OPENED, api="openai_chat", caller=CALLER),
    upstream="first",
    attempts=3,
    cost=Cost(amount=0.25, currency="USD"),
    usage={"prompt_tokens": 30, "completion_tokens": 4},
    held_max=24,
    characters=Characters(scanned=30, passed=12, removed=15, held=3, placeholders=15),
    timing=Timing(
        duration_ms=2000,
        upstream_ttft_ms=100,
        delivered_ttft_ms=150,
        upstream_tpot_ms=20,
        delivered_tpot_ms=25,
        held_mean_ms=40,
        filter_ms=3,
    ),
)


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of a proxy without rules."""
    return Metrics(RuleSet(()))


def told(metrics: Metrics, *closed: RequestClosed) -> None:
    """Tell of whole requests."""
    for one in closed:
        metrics.opened(one.opened)
        metrics.closed(one)


def everything() -> Metrics:
    """Metrics that have been told of something of every sort."""
    model = SimpleNamespace(name="acme", faults=Counter(late=1))
    metrics = Metrics(cast("RuleSet", SimpleNamespace(rules=(), models=(model,), digest="ab" * 32)))
    told(metrics, FULL, dataclasses.replace(FULL, ended="client_cancelled"))
    told(metrics, dataclasses.replace(FULL, refusal="rate_limit_exceeded", faults=("limit_tokens",)))
    metrics.found(dataclasses.replace(FOUND, finding=dataclasses.replace(FOUND.finding, action=Action.HALT)))
    metrics.lag.observe(0.01)
    metrics.sample()
    return metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """A sample, as it would be exposed; None if there is none."""
    return metrics.registry.get_sample_value(f"safeproxy_{name}", labels)


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """All samples of one name, by the values of their labels in order of the labels' names."""
    families = text_string_to_metric_families(metrics.exposition()[0].decode())
    found = [sample for family in families for sample in family.samples if sample.name == f"safeproxy_{name}"]
    return {tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value for sample in found}


def test_a_request_is_counted_where_it_belongs(metrics: Metrics) -> None:
    """API, upstream, class of the status, end, stream or not; and how long it took."""
    told(metrics, FULL)
    labels = {"api": "openai_chat", "upstream": "first", "stream": "true"}
    assert value(metrics, "requests_total", status="2xx", ended="stop", **labels) == 1
    assert value(metrics, "request_duration_seconds_sum", **labels) == 2
    assert value(metrics, "retries_total", upstream="first") == 2
    assert samples(metrics, "body_bytes_total") == {("request",): 10, ("upstream",): 20, ("delivered",): 30}


def test_times_of_upstream_and_delivery_are_apart(metrics: Metrics) -> None:
    """Each has a histogram of its own, in seconds, by upstream and model."""
    told(metrics, FULL)
    where = {"upstream": "first", "model": "gpt-x"}
    for name, expected in (
        ("upstream_ttft", 0.1),
        ("delivered_ttft", 0.15),
        ("upstream_tpot", 0.02),
        ("delivered_tpot", 0.025),
    ):
        assert value(metrics, f"{name}_seconds_sum", **where) == pytest.approx(expected)
        assert value(metrics, f"{name}_seconds_count", **where) == 1


def test_what_was_held_and_filtered(metrics: Metrics) -> None:
    """How long and how much was held, what became of the characters, the time in the filter."""
    told(metrics, FULL)
    assert value(metrics, "held_seconds_sum") == pytest.approx(0.04)
    assert value(metrics, "held_characters_sum") == 24
    assert value(metrics, "filter_seconds_sum") == pytest.approx(0.003)
    assert value(metrics, "scanned_characters_total") == 30
    fates = {("passed",): 12, ("removed",): 15, ("held",): 3, ("placeholder",): 15}
    assert samples(metrics, "characters_total") == fates


def test_an_answer_that_is_no_stream_has_no_first_token(metrics: Metrics) -> None:
    """Only its duration and the time in the filter are measured."""
    told(metrics, dataclasses.replace(FULL, stream=False))
    for name in ("upstream_ttft", "delivered_ttft", "upstream_tpot", "delivered_tpot"):
        assert samples(metrics, f"{name}_seconds_count") == {}
    assert value(metrics, "held_seconds_count") == 0
    assert value(metrics, "filter_seconds_count") == 1


def test_findings_and_halts_by_rule(metrics: Metrics) -> None:
    """By rule, what was done and where; a rule that halts is counted again as a halt."""
    metrics.found(FOUND)  # redacts, but was united with one that halts
    halting = dataclasses.replace(FOUND.finding, rule="forbidden", action=Action.HALT)
    metrics.found(dataclasses.replace(FOUND, side="request", finding=halting))
    assert samples(metrics, "findings_total") == {("halt", "email", "response"): 1, ("halt", "forbidden", "request"): 1}
    assert samples(metrics, "halts_total") == {("forbidden", "request"): 1}


def test_running_requests_come_and_go(metrics: Metrics) -> None:
    """One that is open counts as running until it is closed."""
    metrics.opened(OPENED)
    metrics.opened(OPENED)
    metrics.closed(CLOSED)
    assert value(metrics, "requests_running") == 1


@pytest.mark.parametrize(("ttft", "when"), [(None, "before"), (12.0, "during")])
def test_clients_that_leave(metrics: Metrics, ttft: float | None, when: str) -> None:
    """Before anything was delivered, or in the middle."""
    timing = dataclasses.replace(FULL.timing, delivered_ttft_ms=ttft)
    told(metrics, dataclasses.replace(FULL, ended="client_cancelled", status=None, timing=timing))
    assert samples(metrics, "cancellations_total") == {(when,): 1}
    assert {labels[2] for labels in samples(metrics, "requests_total")} == {"none"}


def test_refusals_limits_and_faults(metrics: Metrics) -> None:
    """The proxy's own answers by code, limits by what was limited, faults by code and each once a request."""
    limited = {"refusal": "rate_limit_exceeded", "status": 429, "ended": "refused", "upstream": None, "attempts": 0}
    told(
        metrics,
        dataclasses.replace(FULL, **cast("dict[str, Any]", limited), faults=("limit_tokens", "limit_tokens")),
        dataclasses.replace(FULL, refusal="overloaded", status=503, faults=("max_streams",)),
    )
    assert samples(metrics, "refusals_total") == {("rate_limit_exceeded", "429"): 1, ("overloaded", "503"): 1}
    assert samples(metrics, "limits_hit_total") == {("tokens",): 1, ("max_streams",): 1}
    assert samples(metrics, "faults_total") == {("limit_tokens",): 1, ("max_streams",): 1}


def test_finish_reasons_of_every_choice(metrics: Metrics) -> None:
    """As the upstream gave them, and as they were delivered."""
    told(metrics, FULL)
    expected = {("stop", "upstream"): 1, ("length", "upstream"): 1, ("stop", "delivered"): 1}
    assert samples(metrics, "finish_reasons_total") == expected


def test_tokens_and_cost_by_tenant_and_by_tag(metrics: Metrics) -> None:
    """Totals of what was used and what it cost, for who pays."""
    told(metrics, FULL, FULL)
    assert value(metrics, "tokens_total", tenant="acme", model="gpt-x", kind="input") == 60
    assert value(metrics, "tokens_total", tenant="acme", model="gpt-x", kind="output") == 8
    assert value(metrics, "cost_total", tenant="acme", model="gpt-x", currency="USD") == 0.5
    assert value(metrics, "tag_tokens_total", tag="x-team", value="blue", kind="input") == 60
    assert value(metrics, "tag_cost_total", tag="x-team", value="blue", currency="USD") == 0.5


def test_clients_cannot_make_series_of_models_and_tags_that_nobody_served(metrics: Metrics) -> None:
    """What an upstream did not answer to is not told by name."""
    invented = dataclasses.replace(
        FULL.opened, model="invented", caller=dataclasses.replace(CALLER, tags={"x-team": "z"})
    )
    told(metrics, dataclasses.replace(FULL, opened=invented, upstream_status=404))
    assert value(metrics, "tokens_total", tenant="acme", model="other", kind="input") == 30
    assert value(metrics, "tag_tokens_total", tag="x-team", value="other", kind="input") == 30
    assert b"invented" not in metrics.exposition()[0]


def test_the_number_of_series_has_an_end(metrics: Metrics) -> None:
    """However many models, tenants, tags and rules there are, each label keeps to its limit."""
    for number in range(1100):
        caller = Caller(tenant=f"t{number}", tags={f"x-{number % 50}": f"v{number}"})
        opened = dataclasses.replace(OPENED, model=f"m{number}", caller=caller)
        told(metrics, dataclasses.replace(FULL, opened=opened))
        metrics.found(dataclasses.replace(FOUND, finding=dataclasses.replace(FOUND.finding, rule=f"r{number}")))
    names: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.exposition()[0].decode()):
        for sample in family.samples:
            for label, text in sample.labels.items():
                names.setdefault(label, set()).add(text)
    assert {label: len(names[label]) for label in ("model", "tenant", "tag", "rule")} == {
        "model": 101,
        "tenant": 1001,
        "tag": 21,
        "rule": 1001,
    }
    assert len(samples(metrics, "tag_cost_total")) <= 21 * 101


def test_nothing_private_is_in_the_exposition(metrics: Metrics) -> None:
    """No path, address, id, key or text, wherever it may have come from."""
    secret = "ada lovelace <ada@example.com>"
    opened = dataclasses.replace(
        FULL.opened, model=secret, caller=dataclasses.replace(CALLER, tenant=secret, tags={secret: secret})
    )
    closed = dataclasses.replace(
        FULL,
        opened=opened,
        ended=secret,
        faults=(secret,),
        refusal=secret,
        upstream_finish={0: secret},
        delivered_finish={0: secret},
    )
    told(metrics, FULL, closed)
    metrics.found(FOUND)
    text = metrics.exposition()[0].decode()
    for private in ("ada", "192.0.2.7", "127.0.0.1", "alice", "k1", "/v1/", OPENED.request_id):
        assert private not in text, private


def test_plugins_that_fail_are_counted_by_what_went_wrong() -> None:
    """Their own counts are taken over, each failure once however often it is looked."""
    model = SimpleNamespace(name="acme", faults=Counter(late=2))
    metrics = Metrics(cast("RuleSet", SimpleNamespace(rules=(), models=(model,), digest="ab" * 32)))
    metrics.sample()
    model.faults.update(["late", "busy"])
    assert samples(metrics, "plugin_faults_total") == {("late", "acme"): 3, ("busy", "acme"): 1}
    assert samples(metrics, "plugin_faults_total") == {("late", "acme"): 3, ("busy", "acme"): 1}


def test_the_process_tells_of_itself(metrics: Metrics) -> None:
    """Memory, CPU time, version and rules are there from the first scrape."""
    text, kind = metrics.exposition()
    assert kind.startswith("text/plain; version=0.0.4")
    assert b"_created" not in text
    memory, cpu = value(metrics, "resident_memory_bytes"), value(metrics, "cpu_seconds_total")
    assert memory is not None
    assert memory > 10**6
    assert cpu is not None
    assert cpu > 0
    assert samples(metrics, "rules") == {(RuleSet(()).digest,): 0}
    assert list(samples(metrics, "build_info").values()) == [1]


def test_names_follow_the_conventions(metrics: Metrics) -> None:
    """Prefix, base units, `_total` for counters, help for each; and nothing in the library's own registry."""
    families = list(metrics.registry.collect())
    assert len(families) > 30
    for family in families:
        assert re.fullmatch(r"safeproxy_[a-z]+(?:_[a-z]+)*", family.name), family.name
        assert not re.search(r"_(?:ms|milliseconds|total)$", family.name), family.name
        assert family.documentation.endswith("."), family.name
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_characters")), family.name
    assert not any(family.name.startswith("safeproxy") for family in REGISTRY.collect())


def table() -> str:
    """The table of metrics as it ought to stand in the README."""
    rows = ["| metric | labels | meaning |", "|---|---|---|"]
    for family in everything().registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        shown = ", ".join(f"`{label}`" for label in labels) or "none"
        rows.append(f"| `{name}` ({family.type}) | {shown} | {family.documentation} |")
    return "\n" + "\n".join(rows) + "\n\n"


def test_the_readme_tells_of_every_metric() -> None:
    """Name, kind, labels and meaning; on failure, copy the table that was expected."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    _, _, rest = readme.partition("<!-- metrics -->\n")
    shown, _, _ = rest.partition("<!-- /metrics -->")
    assert shown == table()


_WORKER = """
import sys
from types import SimpleNamespace
from collections import Counter
from safeproxy.observers.metrics import Metrics
from tests.observers.test_metrics import FULL, told

model = SimpleNamespace(name="acme", faults=Counter(late=2))
metrics = Metrics(SimpleNamespace(rules=(), models=(model,), digest="ab" * 32))
told(metrics, FULL)
metrics.opened(FULL.opened)
metrics.lag.observe(0.01)
metrics.audit_writable.set(sys.argv[1] == "writable")
metrics.sample()
print("ready", flush=True)
if sys.stdin.readline() == "expose\\n":
    sys.stdout.write(metrics.exposition()[0].decode())
    sys.stdout.flush()
    sys.stdin.readline()
"""


def _value(text: str, name: str, **labels: str) -> float:
    """The only sample with this name and these labels."""
    families = text_string_to_metric_families(text)
    found = [
        s.value for family in families for s in family.samples if s.name == name and labels.items() <= s.labels.items()
    ]
    (one,) = found
    return cast("float", one)


def test_several_workers_are_exposed_as_one(tmp_path: Path) -> None:
    """Each can tell the sum over all: counters, histograms, what runs, plug-ins' faults; the worst of the audit."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, audit],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for audit in ("writable", "broken")
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        one, other = workers
        text, _ = one.communicate("expose\nend\n", timeout=30)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert _value(text, "safeproxy_requests_total", api="openai_chat") == 2
    assert _value(text, "safeproxy_requests_running") == 2
    assert _value(text, "safeproxy_workers") == 2
    assert _value(text, "safeproxy_plugin_faults_total", detector="acme", code="late") == 4
    assert _value(text, "safeproxy_event_loop_lag_seconds_count") == 2
    assert _value(text, "safeproxy_upstream_ttft_seconds_bucket", le="0.1") == 2
    assert _value(text, "safeproxy_audit_writable") == 0
    assert _value(text, "safeproxy_build_info") == 1
    assert _value(text, "safeproxy_resident_memory_bytes") > 2 * 10**6
    assert "_created" not in text
    assert "pid=" not in text
    assert other.returncode is not None


def test_a_worker_that_died_no_longer_runs_anything(tmp_path: Path) -> None:
    """Once its supervisor has said so, its gauges are gone and what it counted stays."""
    script = _WORKER.replace(
        'print("ready", flush=True)',
        'print("ready", flush=True)\n'
        "from prometheus_client.multiprocess import mark_process_dead\n"
        "for pid in map(int, sys.argv[2:]): mark_process_dead(pid)",
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}

    def run(*arguments: str) -> tuple[int, str]:
        with subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as worker:
            text, _ = worker.communicate("expose\nend\n", timeout=30)
            return worker.pid, text.removeprefix("ready\n")

    pid, _ = run("broken")
    _, text = run("writable", str(pid))
    assert _value(text, "safeproxy_requests_total", api="openai_chat") == 2
    assert _value(text, "safeproxy_workers") == 1
    assert _value(text, "safeproxy_requests_running") == 1
    assert _value(text, "safeproxy_audit_writable") == 1
