"""What the filter costs by itself, without a network: time per chunk, hold on clean prose, a megabyte at once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safeproxy.bench import prose
from safeproxy.bench.load import BenchError
from safeproxy.bench.measure import summary
from safeproxy.bench.process import PACKAGE_PARENT
from safeproxy.core.filter import StreamFilter
from safeproxy.core.ruleset import RuleSet

#: Characters of the text for `scan`.
SCAN_SIZE = 1_000_000


def chunk_seconds(rules: RuleSet, pieces: Sequence[str], passes: int) -> float:
    """Seconds of CPU per piece, warm: the best of several passes, each with a fresh filter over all the pieces."""
    best = float("inf")
    for _ in range(passes + 1):  # the first pass warms up, and is never the best
        stream = StreamFilter(rules)
        feed = stream.feed
        start = time.process_time()
        for piece in pieces:
            feed(piece)
        best = min(best, time.process_time() - start)
    return best / len(pieces)


def holds(rules: RuleSet, pieces: Sequence[str]) -> list[int]:
    """The characters held after each piece. BenchError if the prose turns out not to be clean under these rules."""
    stream = StreamFilter(rules)
    held = []
    for piece in pieces:
        stream.feed(piece)
        held.append(stream.held)
    stream.finish()
    if found := stream.take_findings():
        raise BenchError(f"rule {found[0].rule} finds something in the prose at {found[0].start}: it is not clean")
    return held


def scan_seconds() -> float:
    """Seconds the whole command ``safeproxy scan`` takes for a megabyte of clean prose, start of Python included."""
    text = (prose.PROSE * (SCAN_SIZE // len(prose.PROSE) + 1))[:SCAN_SIZE]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prose.txt"
        file.write_text(text, encoding="utf-8")
        start = time.perf_counter()
        command = [sys.executable, "-m", "safeproxy", "scan", str(file)]
        done = subprocess.run(command, capture_output=True, check=False, cwd=PACKAGE_PARENT)  # noqa: S603 - our own
        seconds = time.perf_counter() - start
    if done.returncode or done.stdout.decode() != text:
        raise BenchError(f"scan failed or changed clean prose: {done.stderr.decode(errors='replace')[-200:]}")
    return seconds


def filter_seconds(rules: RuleSet) -> float:
    """Seconds the filter alone takes for a megabyte of clean prose fed at once."""
    text = (prose.PROSE * (SCAN_SIZE // len(prose.PROSE) + 1))[:SCAN_SIZE]
    stream = StreamFilter(rules)
    start = time.perf_counter()
    stream.feed(text)
    stream.finish()
    return time.perf_counter() - start


def measure(sets: Mapping[str, RuleSet], *, passes: int) -> dict[str, Any]:
    """All of this module's figures; ``sets`` must have the keys of the report's rule sets, ``shipped`` among them."""
    pieces = prose.fixed(prose.PROSE)
    per_chunk = {}
    for name, rules in sets.items():
        holds(rules, pieces)
        per_chunk[name] = chunk_seconds(rules, pieces, passes)
    cuts = {"4 characters": pieces, "token-like": prose.tokens(prose.PROSE)}
    return {
        "chunk_seconds": per_chunk,
        "hold": {cut: asdict(summary(holds(sets["shipped"], cut_pieces))) for cut, cut_pieces in cuts.items()},
        "filter_megabyte_seconds": filter_seconds(sets["shipped"]),
        "scan_megabyte_seconds": scan_seconds(),
    }
