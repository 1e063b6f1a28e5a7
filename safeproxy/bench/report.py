"""The report: what must be reached, what was measured, and the details, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: The targets of the section ``overhead``.
AROUND, AROUND_REDIS = "keys, limits, metrics, audit", "the same, limits in Redis"

Results = Mapping[str, Any]
"""The figures by section; a section that was not run is missing. Times in seconds, memory in bytes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that must be reached. ``measured`` is None where nothing was measured."""

    what: str
    unit: str
    least: float
    aim: float
    measured: float | None
    rising: bool = False
    """Whether more is better."""

    @property
    def verdict(self) -> str:
        """``aim``, ``reached``, ``MISSED``, or a dash."""
        if self.measured is None:
            return "-"
        sign = -1 if self.rising else 1
        measured, aim, least = (sign * value for value in (self.measured, self.aim, self.least))
        return "aim" if measured <= aim else "reached" if measured <= least else "MISSED"

    def form(self) -> dict[str, str | float | None]:
        """The row for machines."""
        return {**asdict(self), "verdict": self.verdict}


def _get(results: Results, *path: str) -> Any:
    """The figure at this path, or None if it was not measured."""
    value: Any = results
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _scaled(value: float | None, factor: float) -> float | None:
    return value * factor if value is not None else None


def _extra(value: float | None, base: float | None) -> float | None:
    return value - base if value is not None and base is not None else None


def _milli(value: float | None) -> float | None:
    return _scaled(value, 1e3)


def _sum(*values: float | None) -> float | None:
    """Of what has been measured; what is below nothing counts as nothing."""
    known = [max(0, value) for value in values if value is not None]
    return sum(known) if known else None


def rows(results: Results) -> list[Row]:
    """The rows of the table that decides, from the figures of one run."""
    busy = "50 paced"
    cpu = {
        name: _get(results, "streams", busy, name, "cpu_per_chunk")
        for name in ("relay", "30 rules", "shipped", "1000 rules", "all tiers")
    }
    hold = [_get(results, "filter", "hold", "token-like", key) for key in ("mean", "p99")]
    first = [_get(results, "first_token", name, "first_byte", "p50") for name in ("shipped", "relay")]
    closing = [_get(results, "closing", name, "p99") for name in ("client left, halting", "halt")]
    tiers = _get(results, "models", "tiers")
    megabytes = 2**-20
    return [
        Row("characters leaked, all cuttings of all samples", "", 0, 0, _get(results, "leaks", "leaked")),
        Row(
            "CPU per chunk against the relay, shipped rules, 50 streams",
            "x",
            2.0,
            1.3,
            _ratio(cpu["shipped"], cpu["relay"]),
        ),
        Row(
            "filter alone, 4-character chunk, 1,000 rules",
            "us",
            5,
            1.5,
            _scaled(_get(results, "filter", "chunk_seconds", "1000 rules"), 1e6),
        ),
        Row("CPU per chunk, 1,000 rules against 30", "x", 1.5, 1.1, _ratio(cpu["1000 rules"], cpu["30 rules"])),
        Row("hold on clean prose, mean", "characters", 6, 4.7, hold[0]),
        Row("hold on clean prose, p99", "characters", 24, 16, hold[1]),
        Row("first byte later than the relay's, 1 stream, p50", "ms", 2, 0.3, _scaled(_extra(first[0], first[1]), 1e3)),
        Row(
            "memory growth over many long streams",
            "MB",
            8,
            4,
            _scaled(_get(results, "memory", "shipped", "growth"), megabytes),
        ),
        Row("upstream closed after the client left, p99", "ms", 200, 20, _scaled(closing[0], 1e3)),
        Row("upstream closed after a halt, p99", "ms", 200, 20, _scaled(closing[1], 1e3)),
        Row(
            "CPU per chunk against the relay, all tiers, 50 streams",
            "x",
            4.0,
            2.0,
            _ratio(cpu["all tiers"], cpu["relay"]),
        ),
        Row("names, a token, one stream", "us", 250, 100, _scaled(_get(tiers, "ner", "token_seconds", "1"), 1e6)),
        Row(
            "names, a token, 50 streams together", "us", 60, 20, _scaled(_get(tiers, "ner", "token_seconds", "50"), 1e6)
        ),
        Row("hold with names, clean prose, mean", "characters", 30, 20, _get(tiers, "ner", "hold", "mean")),
        Row("toxicity, a word", "us", 20, 5, _scaled(_get(tiers, "toxicity", "word_seconds", "1"), 1e6)),
        Row("start with all tiers", "s", 5, 2, _get(results, "models", "process", "all tiers", "start")),
        Row(
            "memory with all tiers",
            "MB",
            400,
            250,
            _scaled(_get(results, "models", "process", "all tiers", "peak"), megabytes),
        ),
        Row("scan of 1 MB, the whole command", "s", 2, 0.3, _get(results, "filter", "scan_megabyte_seconds")),
        *_production_rows(results),
    ]


def _production_rows(results: Results) -> list[Row]:
    capacity = _get(results, "capacity")
    around = [_get(results, "overhead", name, "to_bare") for name in (AROUND, AROUND_REDIS)]
    throughput = [_get(results, "workers", count, "bytes") for count in ("2", "1")]
    long, soak = _get(results, "long"), _get(results, "soak")
    left_over = _get(soak, "left_over")
    return [
        Row(
            "upstream closed after a shutdown, p99", "ms", 200, 20, _milli(_get(results, "closing", "shutdown", "p99"))
        ),
        Row("2,000 streams at once, lost", "", 0, 0, _get(capacity, "lost")),
        Row("2,000 streams at once, memory for each", "kB", 100, 40, _scaled(_get(capacity, "per_stream"), 2**-10)),
        Row("keys, limits, metrics and audit, CPU per chunk against the filter alone", "x", 1.15, 1.05, around[0]),
        Row("the same with limits in Redis", "x", 1.15, 1.05, around[1]),
        Row("throughput of two workers against one", "x", 1.7, 1.7, _ratio(*throughput), rising=True),
        Row("50 streams for 10 minutes, lost", "", 0, 0, _get(long, "ended", "lost")),
        Row("50 streams for 10 minutes, memory growth", "%", 5, 5, _scaled(_get(long, "growth"), 100)),
        Row(
            "upstream closed after the client left, those 10 minutes, p99",
            "ms",
            200,
            20,
            _milli(_get(long, "closing", "p99")),
        ),
        Row("soak of 15 minutes: streams not as they must be", "", 0, 0, _get(soak, "ended", "lost")),
        Row(
            "soak: streams and records with what must not be seen",
            "",
            0,
            0,
            _sum(_get(soak, "leaked"), _get(soak, "told")),
        ),
        Row("soak: requests without their records", "", 0, 0, _get(soak, "unrecorded")),
        Row(
            "soak: files, sockets and tasks left over",
            "",
            0,
            0,
            _sum(*(_get(left_over, what) for what in ("files", "tasks", "running"))),
        ),
        Row("soak: memory growth", "%", 5, 5, _scaled(_get(soak, "growth"), 100)),
    ]


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[n]) for row in (header, *lines)) for n in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (width + 1) + ("-" if n == 0 else ":") for n, width in enumerate(widths)) + "|"
    return "\n".join([line(header), rule, *(line(cells) for cells in lines)])


def number(value: float | None, unit: str = "") -> str:
    """Three significant digits with the unit; a dash for None."""
    if value is None:
        return "-"
    text = f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".strip() if unit != "x" else text + "x"


def text(results: Results) -> str:
    """The whole report as Markdown."""
    machine = results["machine"]
    where = f"Python {machine['python']}, {machine['system']}, {machine['processors']} processors"
    parts = [
        f"{where}, event loop {machine['loop']}, {machine['rules']} shipped rules, {machine['seconds']:.0f} s",
        table(
            ("must reach", "at least", "aim", "measured", "verdict"),
            [
                (r.what, number(r.least, r.unit), number(r.aim, r.unit), number(r.measured, r.unit), r.verdict)
                for r in rows(results)
            ],
        ),
    ]
    for section, render in _DETAILS.items():
        if section in results:
            parts.append(render(results[section]))
    return "\n\n".join(parts) + "\n"


def _filter_details(figures: Results) -> str:
    per_chunk = [(name, number(seconds * 1e6, "us")) for name, seconds in figures["chunk_seconds"].items()]
    holds = [
        (f"pieces: {cut}", *(number(hold[key]) for key in ("mean", "p95", "p99", "max")))
        for cut, hold in figures["hold"].items()
    ]
    megabyte = f"1 MB of prose through the filter alone: {number(figures['filter_megabyte_seconds'], 's')}"
    return "\n\n".join(
        [
            table(("filter alone, warm", "per 4-character chunk"), per_chunk),
            table(("characters held on clean prose", "mean", "p95", "p99", "max"), holds),
            megabyte,
        ]
    )


def _model_details(figures: Results) -> str:
    lines = [
        (
            f"{name}, {count} together",
            *(number(one[f"{unit}_seconds"][count] * 1e6, "us") for unit in ("chunk", "token", "word")),
            *(number(one["hold"][key]) for key in ("mean", "p99")),
        )
        for name, one in figures["tiers"].items()
        for count in one["chunk_seconds"]
    ]
    processes = [
        (name, number(one["start"], "s"), number(one["idle"] / 2**20, "MB"), number(one["peak"] / 2**20, "MB"))
        for name, one in figures["process"].items()
    ]
    return "\n\n".join(
        [
            table(("tier, streams", "CPU/chunk", "token", "word", "hold mean", "p99"), lines),
            table(("process", "start", "idle", "peak"), processes),
        ]
    )


def _stream_details(figures: Results) -> str:
    lines = []
    for shape, targets in figures.items():
        base = _get(targets, "relay", "cpu_per_chunk")
        for name, one in targets.items():
            cpu = one.get("cpu_per_chunk")
            delays = (one.get(key) for key in ("word_delay_p50", "word_delay_p99", "transit_p50", "transit_p99"))
            lines.append(
                (
                    f"{shape}, {name}",
                    number(_scaled(cpu, 1e6), "us"),
                    number(_ratio(cpu, base), "x"),
                    *(number(_scaled(delay, 1e3), "ms") for delay in delays),
                )
            )
    header = ("streams, target", "CPU/chunk", "to relay", "word p50", "word p99", "way p50", "way p99")
    note = (
        "word: from a piece's sending to its last character's arrival, the wait for text that decides it included; "
        "way: without that wait."
    )
    return table(header, lines) + "\n\n" + note


def _first_token_details(figures: Results) -> str:
    lines = [
        (name, *(number(one[kind][key] * 1e3, "ms") for kind in ("first_byte", "first_text") for key in ("p50", "p95")))
        for name, one in figures.items()
    ]
    header = ("1 stream, pieces 20 ms apart", "first byte p50", "p95", "first text p50", "p95")
    return table(header, lines)


def _memory_details(figures: Results) -> str:
    lines = [
        (
            name,
            number(one["idle"] / 2**20, "MB"),
            number(one["per_stream"] / 2**10, "kB"),
            number(one["peak"] / 2**20, "MB"),
            number(one["growth"] / 2**20, "MB"),
            number(one["cpu_per_chunk"] * 1e6, "us"),
        )
        for name, one in figures.items()
    ]
    return table(("memory", "idle", "per open stream", "peak", "growth, long streams", "CPU/chunk, unpaced"), lines)


def _closing_details(figures: Results) -> str:
    lines = [(name, *(number(one[key] * 1e3, "ms") for key in ("p50", "p99", "max"))) for name, one in figures.items()]
    return table(("upstream closed after", "p50", "p99", "max"), lines)


def _capacity_details(figures: Results) -> str:
    line = (
        number(figures["streams"]),
        number(figures["lost"]),
        number(figures["per_stream"] / 2**10, "kB"),
        number(figures["idle"] / 2**20, "MB"),
        number(figures["peak"] / 2**20, "MB"),
        number(figures["cpu_share"] * 100, "%"),
        number(figures["cpu_per_chunk"] * 1e6, "us"),
    )
    header = ("streams, a piece a second", "lost", "memory each", "idle", "peak", "of one core", "CPU/chunk")
    return table(header, [line])


def _overhead_details(figures: Results) -> str:
    lines = [
        (name, number(one["cpu_per_chunk"] * 1e6, "us"), number(one["to_bare"], "x")) for name, one in figures.items()
    ]
    return table(("50 streams of 150 chunks", "CPU/chunk", "to the filter alone"), lines)


def _worker_details(figures: Results) -> str:
    lines = [
        (
            workers,
            number(one["bytes"] / 1e6, "MB/s"),
            *(number(one[f"{who}_cpu"] * 100, "%") for who in ("proxy", "upstream", "load")),
        )
        for workers, one in figures.items()
    ]
    return table(("workers", "answers", "proxy, of one core", "upstream", "clients"), lines)


def _endurance_details(figures: Results) -> str:
    closing = figures["closing"]
    line = (
        number(figures["seconds"], "s"),
        number(figures["streams"]),
        number(sum(number for outcome, number in figures["ended"].items() if outcome != "lost")),
        number(figures["memory"] / 2**20, "MB"),
        number(figures["growth"] * 100, "%"),
        *(number(closing[key] * 1e3, "ms") for key in ("p50", "p99", "max")),
    )
    header = ("lasted", "at a time", "streams", "memory", "growth", "closed p50", "p99", "max")
    ended = ", ".join(f"{outcome} {number}" for outcome, number in sorted(figures["ended"].items()))
    faults = "".join(f"\n- {fault}" for fault in figures["faults"])
    return table(header, [line]) + f"\n\nHow they ended: {ended}" + faults


def _soak_details(figures: Results) -> str:
    left = ", ".join(f"{what} {number}" for what, number in figures["left_over"].items())
    records = ", ".join(f"{ended} {number}" for ended, number in sorted(figures["records"].items()))
    return (
        _endurance_details(figures)
        + f"\n\n{figures['requests']} requests, {figures['unrecorded']} without their records; {figures['reloads']} "
        + f"times the rules were loaded anew; more than before: {left}\n\nAs recorded: {records}"
    )


def _leak_details(figures: Results) -> str:
    lines = [
        (channel, *(number(one[key]) for key in ("cuttings", "leaked", "differing")))
        for channel, one in figures["channels"].items()
    ]
    bad = "".join(f"\n- {name}" for name in figures["bad_samples"])
    return table(
        (f"leak test, {figures['samples']} samples", "cuttings", "characters leaked", "texts that differ"), lines
    ) + (f"\n\nSamples with a fault:{bad}" if bad else "")


_DETAILS = {
    "filter": _filter_details,
    "models": _model_details,
    "streams": _stream_details,
    "first_token": _first_token_details,
    "memory": _memory_details,
    "closing": _closing_details,
    "capacity": _capacity_details,
    "overhead": _overhead_details,
    "workers": _worker_details,
    "long": _endurance_details,
    "soak": _soak_details,
    "leaks": _leak_details,
}
