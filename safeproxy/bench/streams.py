"""What the targets cost on the network: CPU per chunk, time to first token, delay of a word, memory, cancellation."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from safeproxy.bench import load, prose
from safeproxy.bench.load import BenchError, Seen, Wish
from safeproxy.bench.measure import arrival_delays, growth, summary, transit_delays
from safeproxy.bench.process import Child
from safeproxy.bench.rules import HALT_SENTENCE
from safeproxy.bench.upstream import BEFORE_HALT

#: The target without a process between client and upstream.
DIRECT = "direct"
RELAY = "relay"


@dataclass(frozen=True, slots=True)
class Target:
    """Where the load is sent: the upstream itself, the relay, or a proxy with some rule set."""

    name: str
    base: str
    child: Child | None = None
    """The process whose CPU and memory count; none for the upstream itself."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of load."""

    name: str
    streams: int
    wish: Wish
    rounds: int
    all_rules: bool = True
    """Whether all rule sets are measured, or the shipped one only."""


def shapes(counts: Sequence[int], *, quick: bool) -> list[Shape]:
    """The paced shapes, one for each count of streams, and an unpaced one.

    Up to 50 streams a chunk comes every 20 ms, as models speak; with more, slower, so that load, upstream and target
    together stay within two processors. The shape that decides, 50 streams, gets the most rounds.
    """
    found = []
    for count in counts:
        pace = 0.02 if count <= 50 else 0.0005 * count
        seconds = 1.5 if quick else 3.0 if count == 50 else 2.0 if count < 50 else 5.0
        rounds = (2 if quick else 3) if count == 50 else 1 if quick else 2
        wish = Wish(max(20, round(seconds / pace)), pace)
        found.append(Shape(f"{count} paced", count, wish, rounds, all_rules=count == 50 or not quick))
    unpaced = Wish(500 if quick else 2000, 0, note=False)
    found.append(Shape("unpaced", 10, unpaced, 1 if quick else 2, all_rules=not quick))
    return found


async def measure_shape(upstream: Child, targets: Sequence[Target], shape: Shape) -> dict[str, Any]:
    """For each target the medians over the rounds; in each round the targets take turns."""
    rounds: dict[str, list[dict[str, float]]] = {target.name: [] for target in targets}
    for _ in range(shape.rounds):
        for target in targets:
            rounds[target.name].append(await _one_round(upstream, target, shape))
    return {
        name: {key: statistics.median(one[key] for one in many) for key in many[0]} for name, many in rounds.items()
    }


async def _one_round(upstream: Child, target: Target, shape: Shape) -> dict[str, float]:
    before = await target.child.ask("usage") if target.child else {"cpu": 0.0}
    seen = await load.many(target.base, shape.wish, shape.streams)
    after = await target.child.ask("usage") if target.child else {"cpu": 0.0}
    figures: dict[str, float] = {}
    if target.child:
        figures["cpu_per_chunk"] = (after["cpu"] - before["cpu"]) / (shape.streams * shape.wish.chunks)
    if shape.wish.note:
        notes = await upstream.ask("notes")
        delays = [d for s in seen for d in arrival_delays(notes[s.run]["sent"], s.received)]
        transits = [d for s in seen for d in transit_delays(notes[s.run]["sent"], s.received)]
        for kind, values in (("word_delay", delays), ("transit", transits)):
            figures[f"{kind}_p50"], figures[f"{kind}_p99"] = summary(values).p50, summary(values).p99
    figures["first_byte"] = statistics.median(_first_byte(s) for s in seen)
    figures["first_text"] = statistics.median(s.received[0][0] - s.asked for s in seen)
    return figures


def _first_byte(seen: Seen) -> float:
    if seen.first_byte is None:
        raise BenchError("a stream came back without a body")
    return seen.first_byte - seen.asked


async def measure_first_token(targets: Sequence[Target], *, requests: int) -> dict[str, Any]:
    """Seconds to the first byte of the body, and to the first character of text, with one stream at a time.

    The targets take turns request by request. The first text includes the wait for the next piece where the first is
    held back; pieces are 20 ms apart.
    """
    wish = Wish(chunks=5, pace=0.02, note=False)
    first_bytes: dict[str, list[float]] = {target.name: [] for target in targets}
    first_texts: dict[str, list[float]] = {target.name: [] for target in targets}
    async with load.open_session() as session:
        for _ in range(requests):
            for target in targets:
                seen = await load.stream(session, target.base, wish)
                first_bytes[target.name].append(_first_byte(seen))
                first_texts[target.name].append(seen.received[0][0] - seen.asked)
    return {
        target.name: {
            "first_byte": asdict(summary(first_bytes[target.name])),
            "first_text": asdict(summary(first_texts[target.name])),
        }
        for target in targets
    }


async def measure_memory(target: Target, *, streams: int, chunks: int, open_streams: int) -> dict[str, Any]:
    """Bytes held idle, per open stream, at the peak, and what still grows while many long streams run unpaced.

    The target must be fresh: a process that has served many streams before has their memory still.
    """
    child = target.child
    assert child is not None
    await load.many(target.base, Wish(2000, 0, note=False), 2, read=False)
    idle = (await child.ask("usage"))["memory"]
    running = asyncio.create_task(load.many(target.base, Wish(20, 0.1, note=False), open_streams, read=False))
    await asyncio.sleep(1.2)
    per_stream = ((await child.ask("usage"))["memory"] - idle) / open_streams
    await running

    # The buffers of so many connections grow to their size once: that is no growth over the length of a stream.
    await load.many(target.base, Wish(chunks // 2, 0, note=False), streams, read=False)
    before = await child.ask("usage")
    running = asyncio.create_task(load.many(target.base, Wish(chunks, 0, note=False), streams, read=False))
    samples = []
    while not running.done():
        samples.append((await child.ask("usage"))["memory"])
        await asyncio.wait({running}, timeout=0.1)
    await running
    after = await child.ask("usage")
    return {
        "idle": idle,
        "per_stream": per_stream,
        "peak": after["peak"],
        "samples": samples,
        "growth": growth(samples),
        "cpu_per_chunk": (after["cpu"] - before["cpu"]) / (streams * chunks),
        "chunks": streams * chunks,
    }


async def memory_under_load(target: Target, *, streams: int, chunks: int) -> dict[str, Any]:
    """Bytes held before any stream, and at the peak of some short ones."""
    child = target.child
    assert child is not None
    idle = (await child.ask("usage"))["memory"]
    await load.many(target.base, Wish(chunks, 0.02, note=False), streams, read=False)
    return {"idle": idle, "peak": (await child.ask("usage"))["peak"]}


async def measure_closing(upstream: Child, targets: Mapping[str, Target], *, times: int) -> dict[str, Any]:
    """Seconds until the upstream sees its stream closed: after the client left, and after a halt.

    Up to 50 streams run at once. ``targets`` maps names to targets; the halt is measured where the target halts (the
    name ``halting``).
    """
    figures: dict[str, Any] = {}
    for name, target in targets.items():
        figures[f"client left, {name}"] = asdict(summary(await _leave(upstream, target, times)))
        if name == "halting":
            figures["halt"] = asdict(summary(await _halt(upstream, target, times)))
    return figures


async def _leave(upstream: Child, target: Target, times: int) -> list[float]:
    """Clients that leave in the middle of a paced stream, 50 streams at a time."""
    wish = Wish(chunks=400, pace=0.02)
    seen = await _some_at_a_time(target, wish, times, leave_after=60)
    notes = await _closed_notes(upstream, seen)
    return [notes[s.run]["closed"] - s.left for s in seen if s.left is not None]


async def _halt(upstream: Child, target: Target, times: int) -> list[float]:
    """Streams that halt: from the sending of the piece that decides the halt."""
    wish = Wish(chunks=400, pace=0.02, script="halt")
    seen = await _some_at_a_time(target, wish, times)
    if any(s.finish != "content_filter" for s in seen):
        raise BenchError("a stream that should have been halted was not")
    notes = await _closed_notes(upstream, seen)
    decided = BEFORE_HALT + len(prose.tokens(HALT_SENTENCE)) - 1
    return [notes[s.run]["closed"] - notes[s.run]["sent"][decided][0] for s in seen]


async def measure_shutdown(upstream: Child, target: Target, *, count: int) -> dict[str, Any]:
    """Seconds from the order to stop until the upstream sees its streams closed, where nothing is waited for."""
    assert target.child is not None
    wish = Wish(chunks=400, pace=0.02)
    async with load.open_session() as session:
        running = [asyncio.create_task(load.stream(session, target.base, wish)) for _ in range(count)]
        await asyncio.sleep(2)
        ordered = time.monotonic()
        await target.child.ask("stop")
        seen = await asyncio.gather(*running)
    if any(s.finish is not None for s in seen):
        raise BenchError("a stream that was broken off by a shutdown looks finished")
    notes = await _closed_notes(upstream, seen)
    return asdict(summary([notes[s.run]["closed"] - ordered for s in seen]))


async def _some_at_a_time(target: Target, wish: Wish, times: int, *, leave_after: int | None = None) -> list[Seen]:
    gate = asyncio.Semaphore(50)

    async def one(session: Any) -> Seen:
        async with gate:
            return await load.stream(session, target.base, wish, leave_after=leave_after)

    async with load.open_session() as session:
        return list(await asyncio.gather(*(one(session) for _ in range(times))))


async def _closed_notes(upstream: Child, seen: Sequence[Seen]) -> dict[str, Any]:
    """The upstream's notes once it has seen every one of these streams close; BenchError if it does not within 5 s."""
    notes: dict[str, Any] = {}
    waiting = {s.run for s in seen}
    for _ in range(100):
        for run, note in (await upstream.ask("closed")).items():
            notes[run] = note
            waiting.discard(run)
        if not waiting:
            return notes
        await asyncio.sleep(0.05)
    raise BenchError(f"the upstream never saw {len(waiting)} of {len(seen)} streams close")
