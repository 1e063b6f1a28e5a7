"""Dashboard and alerts are held against the metrics that there are, and against promtool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.observers.test_metrics import everything

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
ALERTS_FILE = DEPLOY / "prometheus" / "alerts.yml"
ALERTS = [
    rule for group in yaml.safe_load(ALERTS_FILE.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
#: Labels that Prometheus adds.
TARGET = {"instance", "job"}


class Query(NamedTuple):
    """An expression, and the labels that are read from its result."""

    where: str
    expression: str
    shown: set[str]


def panels() -> Iterator[dict[str, Any]]:
    """Every panel that shows something."""
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def queries() -> Iterator[Query]:
    """Every expression of dashboard and alerts."""
    for panel in panels():
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            yield Query(f"panel {panel['title']}", target["expr"], shown)
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            read = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert read is not None
            yield Query(f"variable {variable['name']}", f"{read[1]}{{{read[2]}!=''}}", set())
    for alert in ALERTS:
        shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(alert["annotations"])))
        yield Query(f"alert {alert['alert']}", alert["expr"], shown)


QUERIES = list(queries())


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """The labels of every sample that a proxy exposes, by its name, once requests of all sorts were recorded."""
    metrics = everything()
    found: dict[str, set[str]] = {"up": set()}
    for family in metrics.registry.collect():
        for sample in family.samples:
            if not sample.name.endswith("_created"):  # they are not exposed
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Each metric in an expression with the labels that it is chosen by."""
    found = re.findall(r"\b(safeproxy_\w+|up)\b(?:\{([^}]*)\})?", expression)
    return [(name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", chosen))) for name, chosen in found]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_every_metric_and_label_exists(known: dict[str, set[str]], query: Query) -> None:
    """No panel is empty, and no alert silent, because something is called otherwise."""
    named = selectors(query.expression)
    assert named
    labels: set[str] = set(TARGET)
    for name, chosen in named:
        assert name in known, name
        assert chosen <= known[name] | TARGET, (name, chosen - known[name])
        labels |= known[name]
    grouped = {
        label.strip() for group in re.findall(r"\bby \(([^)]*)\)", query.expression) for label in group.split(",")
    }
    assert grouped - {""} <= labels
    if grouped:
        assert query.shown <= grouped, "a label is shown that the sum has lost"
    assert query.shown <= labels


def test_every_metric_is_on_the_dashboard(known: dict[str, set[str]]) -> None:
    """What is measured is shown, but for the tokens of tags, which are there for who bills."""
    shown = {name for query in QUERIES for name, _ in selectors(query.expression)}
    assert {_family(name) for name in known} - {_family(name) for name in shown} == {"safeproxy_tag_tokens_total"}


def _family(name: str) -> str:
    """A histogram's name, of any of its series."""
    return re.sub(r"_(?:bucket|sum|count)$", "", name)


def test_the_dashboard_is_one_that_grafana_can_load() -> None:
    """Ids are distinct, panels do not overlap, every panel says what it shows and uses the chosen data source."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids)) > 30
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    for panel in panels():
        assert panel["description"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$(\w+)", "".join(query.expression for query in QUERIES)))
    assert used - {"__rate_interval", "__range"} == variables - {"datasource"}


def test_alerts_say_what_and_what_to_do() -> None:
    """Each has a severity, a summary and a description."""
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("warning", "critical"), alert["alert"]
        assert set(alert["annotations"]) == {"summary", "description"}, alert["alert"]
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS) > 8


def promtool(*arguments: str | Path, cwd: Path | None = None) -> None:
    """Run it; skip the test where it is not installed."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, cwd=cwd, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_alerts() -> None:
    """Syntax, templates and names, by Prometheus' own checker."""
    promtool("check", "rules", ALERTS_FILE)


def test_promtool_takes_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    """As recording rules, with Grafana's variables replaced by what they stand for."""
    rules = []
    for number, query in enumerate(QUERIES):
        expression = re.sub(r"\$__(?:rate_interval|range)", "5m", query.expression)
        rules.append({"record": f"dashboard:{number}", "expr": re.sub(r"\$\w+", ".*", expression)})
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", file)


#: Series that make an alert fire, and for how long they last before it does, by its name.
FIRES: dict[str, tuple[str, dict[str, str]]] = {
    "SafeproxyDown": ("5m", {'up{job="safeproxy"}': "0x60"}),
    "SafeproxyAuditNotWritable": ("5m", {"safeproxy_audit_writable": "1x1 0x60"}),
    "SafeproxyInternalErrors": ("5m", {'safeproxy_requests_total{ended="internal_error"}': "0+1x60"}),
    "SafeproxyErrors": (
        "30m",
        {
            'safeproxy_requests_total{status="5xx"}': "0+1x60",
            'safeproxy_requests_total{status="2xx"}': "0+9x60",
        },
    ),
    "SafeproxyAnswersBreakOff": (
        "30m",
        {
            'safeproxy_requests_total{status="2xx", ended="upstream_incomplete"}': "0+1x60",
            'safeproxy_requests_total{status="2xx", ended="stop"}': "0+9x60",
        },
    ),
    "SafeproxyDetectorsFail": ("30m", {'safeproxy_faults_total{code="detector_passed"}': "0+1x60"}),
    "SafeproxyRetries": (
        "30m",
        {"safeproxy_retries_total": "0+5x60", 'safeproxy_requests_total{status="2xx"}': "0+9x60"},
    ),
    "SafeproxyLimitsUnavailable": ("30m", {'safeproxy_faults_total{code="limits_local"}': "0+1x60"}),
    "SafeproxyEventLoopLag": (
        "30m",
        {
            'safeproxy_event_loop_lag_seconds_bucket{le="0.25"}': "0+1x60",
            'safeproxy_event_loop_lag_seconds_bucket{le="0.5"}': "0+2x60",
            'safeproxy_event_loop_lag_seconds_bucket{le="+Inf"}': "0+2x60",
        },
    ),
    "SafeproxyHolds": (
        "40m",
        {
            'safeproxy_held_seconds_bucket{le="1"}': "0+1x60",
            'safeproxy_held_seconds_bucket{le="10"}': "0+9x60",
            'safeproxy_held_seconds_bucket{le="+Inf"}': "0+9x60",
        },
    ),
    "SafeproxyMemory": ("30m", {"safeproxy_resident_memory_bytes": "3e9x60", "safeproxy_workers": "2x60"}),
}


def test_every_alert_has_its_series() -> None:
    """None is left out of the test below."""
    assert FIRES.keys() == {alert["alert"] for alert in ALERTS}


def _with(series: str, labels: str) -> str:
    name, _, rest = series.partition("{")
    return f"{name}{{{labels}{', ' + rest if rest else '}'}"


@pytest.mark.parametrize("name", FIRES)
def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path, name: str) -> None:
    """Prometheus' own test of rules, on series made for it; a proxy that is well wakes nobody."""
    when, series = FIRES[name]
    target = 'instance="a:1", upstream="first"'
    quiet = {one: re.sub(r"(\d)\+\d+x", r"\1+0x", values) for one, values in series.items()}
    quiet |= {one: "1x60" for one in quiet if one.startswith(("up", "safeproxy_audit", "safeproxy_resident"))}
    firing = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'

    def case(values: dict[str, str], *, fires: bool) -> dict[str, object]:
        expected = [{"labels": "{}", "value": 1}] if fires else []
        return {
            "interval": "1m",
            "input_series": [{"series": _with(one, target), "values": text} for one, text in values.items()],
            "promql_expr_test": [{"expr": firing, "eval_time": when, "exp_samples": expected}],
        }

    file = tmp_path / "alerts.test.yml"
    tests = [case(series, fires=True), case(quiet, fires=False)]
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS_FILE)], "tests": tests}), encoding="utf-8")
    promtool("test", "rules", file)
