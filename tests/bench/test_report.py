"""The report of the benchmark."""

from __future__ import annotations

from typing import Any

import pytest

from safeproxy.bench.report import AROUND, Row, number, rows, table, text
from safeproxy.bench.scale import BARE

SUMMARY = {"count": 1, "mean": 4.6, "p50": 0.001, "p95": 11, "p99": 0.0125, "max": 20}
MACHINE = {"python": "3.12.1", "system": "Linux x86_64", "processors": 2, "loop": "uvloop", "rules": 70, "seconds": 9.0}


def results() -> dict[str, Any]:
    """A run with all sections."""
    cpu = {"relay": 8e-5, "30 rules": 1e-4, "shipped": 1e-4, "1000 rules": 2e-4, "all tiers": 2.4e-4}
    shape = {name: {"cpu_per_chunk": value, "word_delay_p50": 0.02} for name, value in cpu.items()}
    first = {"first_byte": SUMMARY, "first_text": SUMMARY}
    memory = {"idle": 2**26, "per_stream": 2**14, "peak": 2**27, "growth": 3 * 2**20, "cpu_per_chunk": 1e-5}
    cost = {"1": 9e-5, "50": 3e-5}
    tier = {f"{unit}_seconds": cost for unit in ("chunk", "token", "word")} | {"hold": SUMMARY | {"mean": 22.5}}
    process = {"start": 1.5, "idle": 2**27, "peak": 2**28}
    tally = {"cuttings": 12, "leaked": 0, "differing": 0}
    lasting = {"seconds": 60.0, "streams": 50, "faults": [], "closing": SUMMARY, "memory": 2**26, "peak": 2**27}
    shares = {"proxy_cpu": 1.0, "upstream_cpu": 0.03, "load_cpu": 0.05}
    return {
        "machine": MACHINE,
        "filter": {
            "chunk_seconds": {"1000 rules": 2e-6},
            "hold": {"token-like": SUMMARY | {"p99": 17}},
            "filter_megabyte_seconds": 0.2,
            "scan_megabyte_seconds": 3.0,
        },
        "models": {
            "tiers": {"ner": tier, "toxicity": tier, "all": tier},
            "process": {"shipped": process, "all tiers": process},
        },
        "streams": {"50 paced": {"direct": {}, **shape}},
        "first_token": {"relay": first, "shipped": {**first, "first_byte": SUMMARY | {"p50": 0.0012}}},
        "memory": {"shipped": memory},
        "closing": {"client left, halting": SUMMARY, "halt": SUMMARY, "shutdown": SUMMARY},
        "capacity": {
            "streams": 2000,
            "lost": 1,
            "per_stream": 51_200,
            "idle": 2**26,
            "peak": 2**27,
            "cpu_share": 0.2,
            "cpu_per_chunk": 1e-4,
        },
        "overhead": {BARE: {"cpu_per_chunk": 1e-4, "to_bare": 1}, AROUND: {"cpu_per_chunk": 1.1e-4, "to_bare": 1.1}},
        "workers": {"1": {"bytes": 1e7, **shares}, "2": {"bytes": 1.8e7, **shares}},
        "long": {**lasting, "ended": {"whole": 9, "lost": 0}, "growth": 0.02},
        "soak": {
            **lasting,
            "ended": {"whole": 9, "reset": 3, "lost": 3},
            "faults": ["reset: finished with stop"],
            "growth": -0.01,
            "leaked": 1,
            "told": 0,
            "requests": 112,
            "unrecorded": 4,
            "reloads": 7,
            "left_over": {"files": 5, "tasks": -1, "running": 0},
            "records": {"stop": 108},
        },
        "leaks": {"samples": 3, "leaked": 0, "channels": {"content": tally}, "bad_samples": []},
    }


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [(None, "-"), (0.9, "aim"), (1.0, "aim"), (1.5, "reached"), (2.0, "reached"), (2.1, "MISSED")],
)
def test_verdict(measured: float | None, verdict: str) -> None:
    """The limits themselves count as kept."""
    assert Row("x", "", 2, 1, measured).verdict == verdict


@pytest.mark.parametrize(("measured", "verdict"), [(1.6, "MISSED"), (1.7, "reached"), (1.8, "aim"), (2.0, "aim")])
def test_verdict_where_more_is_better(measured: float, verdict: str) -> None:
    """The other way round."""
    assert Row("x", "", 1.7, 1.8, measured, rising=True).verdict == verdict


def test_one_leaked_character_misses() -> None:
    """At least and aim are both none."""
    found = results()
    found["leaks"]["leaked"] = 1
    assert rows(found)[0].verdict == "MISSED"


def test_rows_are_ratios_and_differences_of_one_run() -> None:
    """Each row takes its figure from its section, in its unit."""
    measured = {row.what: row.measured for row in rows(results())}
    assert list(measured.values()) == [
        0,
        pytest.approx(1.25),
        pytest.approx(2.0),
        pytest.approx(2.0),
        4.6,
        17,
        pytest.approx(0.2),
        pytest.approx(3.0),
        pytest.approx(12.5),
        pytest.approx(12.5),
        pytest.approx(3.0),
        pytest.approx(90),
        pytest.approx(30),
        22.5,
        pytest.approx(90),
        1.5,
        256,
        3.0,
        pytest.approx(12.5),
        1,
        pytest.approx(50),
        pytest.approx(1.1),
        None,
        pytest.approx(1.8),
        0,
        pytest.approx(2),
        pytest.approx(12.5),
        3,
        1,
        4,
        5,
        pytest.approx(-1),
    ]


def test_what_was_not_run_is_not_judged() -> None:
    """With no section run every row is there, with a dash."""
    found = rows({"machine": MACHINE})
    assert len(found) == len(rows(results()))
    assert {row.verdict for row in found} == {"-"}


def test_text_has_every_section() -> None:
    """The text shows the decisive table and the details, and a missed row stands out."""
    shown = text(results())
    assert "| scan of 1 MB, the whole command" in shown
    assert "MISSED" in shown
    for part in (
        "filter alone, warm",
        "50 paced, shipped",
        "first byte p50",
        "per open stream",
        "leak test, 3 samples",
        "of one core",
        "to the filter alone",
        "proxy, of one core",
        "How they ended: lost 3, reset 3, whole 9\n- reset: finished with stop",
        "112 requests, 4 without their records; 7 times the rules were loaded anew",
        "files 5, tasks -1, running 0",
        "As recorded: stop 108",
    ):
        assert part in shown


def test_text_names_the_faulty_samples() -> None:
    """Whoever has to mend a leak is told the rule and the channel."""
    found = results()
    found["leaks"]["bad_samples"] = ["email, content"]
    assert "- email, content" in text(found)


def test_text_of_a_part() -> None:
    """Sections that were not run leave no empty tables."""
    assert len(text({"machine": MACHINE}).split("\n\n")) == 2


def test_table_is_aligned_markdown() -> None:
    """Every line has the same width; the first column is to the left, the others to the right."""
    assert table(("what", "n"), [("a", "1"), ("bcdefg", "12")]).splitlines() == [
        "| what   |  n |",
        "|--------|---:|",
        "| a      |  1 |",
        "| bcdefg | 12 |",
    ]


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "ms", "-"),
        (0, "", "0"),
        (1.23456, "us", "1.23 us"),
        (1.0, "x", "1x"),
        (1.296, "x", "1.3x"),
        (123.4, "MB", "123 MB"),
        (0.000123, "s", "0.000123 s"),
    ],
)
def test_number(value: float | None, unit: str, shown: str) -> None:
    """Three significant digits and the unit."""
    assert number(value, unit) == shown
