"""Minutes of load: what grows, what is left open, what is lost, and whether anything leaks while much goes wrong."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession

from safeproxy.bench import load
from safeproxy.bench.load import BenchError, Seen, Wish
from safeproxy.bench.measure import growth, summary
from safeproxy.bench.process import Child
from safeproxy.bench.rules import ADDRESS
from safeproxy.bench.streams import Target
from safeproxy.bench.upstream import FAULTS, SCRIPTS
from safeproxy.core.filter import StreamFilter
from safeproxy.core.ruleset import RuleSet

#: Seconds between two looks at the proxy's process.
LOOK = 2.0
#: Seconds that a proxy gets to close what its last clients left open: longer than it keeps idle connections.
SETTLE = 10.0
#: What is found, or a part of it: not even that may be seen.
_NEVER = ADDRESS.partition("@")[0]
#: Has the form of a client key and is none.
WRONG_KEY = "sp-000000000000-" + "x" * 43
#: Lengths of the streams, in pieces. Few: the upstream keeps the events of each.
LENGTHS = (60, 250, 750)


@dataclass(slots=True)
class Tally:
    """What became of all streams."""

    ended: Counter[str] = field(default_factory=Counter)
    left: dict[str, float] = field(default_factory=dict)
    """When the clients left that did, by the streams' names."""
    closed: dict[str, float] = field(default_factory=dict)
    """When the upstream saw streams close, by their names."""
    leaked: int = 0
    """Streams in which something was seen that must not be."""
    faults: list[str] = field(default_factory=list)
    """What was not as it must be: the first few."""

    def note(self, outcome: str, fault: str = "") -> None:
        """Count a stream; ``fault`` says how it was not what it had to be."""
        self.ended[outcome] += 1
        if fault and len(self.faults) < 10:
            self.faults.append(f"{outcome}: {fault}")
        self.ended["lost"] += bool(fault)

    @property
    def unseen(self) -> int:
        """Of the streams that were left, how many the upstream has not seen close."""
        return len(self.left.keys() - self.closed.keys())

    def form(self) -> dict[str, Any]:
        """The figures that every load has; ``closing`` from a client's leaving to the upstream's seeing it."""
        delays = [self.closed[run] - left for run, left in self.left.items() if run in self.closed]
        return {"ended": dict(self.ended), "faults": self.faults, "closing": asdict(summary(delays))}


async def measure_long(
    upstream: Child, target: Target, *, streams: int, seconds: float, pace: float = 0.02
) -> dict[str, Any]:
    """So many streams at all times; of each five one client leaves in the midst.

    Gives how the memory grew, the streams that did not arrive whole, and the seconds until the upstream saw a client
    leave.
    """
    rng, tally = random.Random(1), Tally()  # noqa: S311 - repeatable
    until = time.monotonic() + seconds

    async def one(session: ClientSession) -> None:
        wish = Wish(rng.choice(LENGTHS), pace, note=rng.random() < 0.2)
        seen = await _stream(session, target, wish, rng, tally)
        if seen is not None:
            judge(tally, seen, wish.text)

    async with _watched(target) as samples:
        await _keep_going(upstream, streams, until, one, tally)
    if tally.unseen:
        raise BenchError(f"the upstream never saw {tally.unseen} streams close")
    return {"seconds": seconds, "streams": streams, **tally.form(), **memory(samples)}


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What the soak does to a proxy while it serves."""

    rules: Path
    """A file in force with one rule, whose title is written anew: other rules for the proxy, which find the same."""
    ruleset: RuleSet
    """All the rules in force."""
    key: str
    """A client key that is good."""
    add_key: Callable[[], object]
    """Adds a key to the file of client keys."""
    prices: Path
    """The price list in force: it is written again."""
    audit: Path
    every: float = 5.0
    """Seconds between two disturbances."""


async def measure_soak(
    upstream: Child, target: Target, disturbance: Disturbance, *, streams: int, seconds: float, pace: float = 0.04
) -> dict[str, Any]:
    """Streams with findings and halts, clients that leave, wrong keys and every fault, while files change.

    Gives how the memory grew; files, sockets and tasks left over; streams that were not what the whole text filtered
    would be, or a beginning of it where they failed; what leaked; and requests without a record.
    """
    child = target.child
    assert child is not None
    rng, tally = random.Random(2), Tally()  # noqa: S311 - repeatable
    expected = {
        (script, count): _filtered(disturbance.ruleset, script, count) for script in SCRIPTS for count in LENGTHS
    }
    await load.many(target.base, Wish(20, 0.02, key=disturbance.key, note=False), streams)
    await asyncio.sleep(SETTLE)
    before = await child.ask("state")
    until = time.monotonic() + seconds

    async def one(session: ClientSession) -> None:
        wish = _wish(rng, disturbance.key, pace)
        seen = await _stream(session, target, wish, rng, tally, may_fail=True)
        if seen is not None:
            judge_disturbed(tally, seen, wish, *expected[wish.script, wish.chunks])

    async with _beside(_disturb(child, disturbance)), _watched(target) as samples:
        await _keep_going(upstream, streams, until, one, tally)
    after = await _settled(child, before)
    requests = sum(number for outcome, number in tally.ended.items() if outcome != "lost") + streams
    return {
        "seconds": seconds,
        "streams": streams,
        **tally.form(),
        "leaked": tally.leaked,
        "unseen": tally.unseen,
        "left_over": {what: after[what] - before[what] for what in ("files", "tasks", "running")},
        "reloads": after["reloads"],
        "rules_fault": after["rules_fault"],
        **records(disturbance.audit, requests),
        **memory(samples),
    }


def _wish(rng: random.Random, key: str, pace: float) -> Wish:
    """What the next client asks for. ``note`` says that it will leave."""
    lot = rng.random()
    fault = rng.choice(FAULTS) if lot < 0.15 else ""
    return Wish(
        rng.choice(LENGTHS),
        pace,
        script=rng.choices(tuple(SCRIPTS), (5, 1, 4))[0],
        note=0.15 <= lot < 0.35,
        fault=fault,
        key=key if lot < 0.97 else WRONG_KEY,
    )


def _filtered(rules: RuleSet, script: str, count: int) -> tuple[str, bool]:
    """What a client must see of a whole text, and whether it is halted there."""
    stream = StreamFilter(rules)
    text = stream.feed(Wish(count, 0, script=script).text) + stream.finish()
    return text, stream.halted


def judge(tally: Tally, seen: Seen, text: str) -> None:
    """Judge a stream that nothing disturbs."""
    said = "".join(seen.text)
    if seen.left is not None:
        tally.note("left", "" if text.startswith(said) else "not the beginning of the text")
    else:
        tally.note("whole", "" if load.is_whole(seen, text) else "not the whole text")


def judge_disturbed(tally: Tally, seen: Seen, wish: Wish, text: str, halted: bool) -> None:
    """Judge a stream of which the whole text, filtered, is ``text``, and ends in a halt if ``halted``."""
    said = "".join(seen.text)
    tally.leaked += _NEVER in said
    if wish.key != WRONG_KEY:
        _judge_known(tally, seen, wish, text, halted)
    else:
        tally.note("unknown key", "" if seen.status == 401 and not said else f"status {seen.status}")


def _judge_known(tally: Tally, seen: Seen, wish: Wish, text: str, halted: bool) -> None:
    said = "".join(seen.text)
    if not text.startswith(said):
        tally.note(wish.fault or "any", "not the beginning of the filtered text")
    elif wish.fault:
        # A halt that comes before the fault ends the stream in order.
        natural = seen.finish == "stop" or (seen.finish is not None and not halted)
        tally.note(wish.fault, f"finished with {seen.finish}" if natural else "")
    elif seen.left is not None:
        tally.note("left")
    else:
        wanted = "content_filter" if halted else "stop"
        whole = said == text and seen.finish == wanted
        tally.note("halted" if halted else "whole", "" if whole else f"not whole, finish {seen.finish}")


async def _stream(
    session: ClientSession, target: Target, wish: Wish, rng: random.Random, tally: Tally, *, may_fail: bool = False
) -> Seen | None:
    """A stream, left in its midst if it is noted; None if there was none to judge."""
    leaves = rng.randrange(1, len(wish.text) // 2) if wish.note else None
    try:
        seen = await load.stream(session, target.base, wish, leave_after=leaves, may_fail=may_fail)
    except (BenchError, ClientError, OSError) as error:
        tally.note("broken", type(error).__name__)
        return None
    if seen.left is not None:
        tally.left[seen.run] = seen.left
    return seen


async def _keep_going(
    upstream: Child, streams: int, until: float, one: Callable[[ClientSession], Awaitable[None]], tally: Tally
) -> None:
    """Always so many streams, until it is time; the tally learns when the upstream saw streams close."""

    async def take() -> None:
        tally.closed.update({run: note["closed"] for run, note in (await upstream.ask("closed")).items()})

    async def client(session: ClientSession) -> None:
        while time.monotonic() < until:
            await one(session)

    async with load.open_session() as session:
        clients = asyncio.gather(*(client(session) for _ in range(streams)))
        while not clients.done():
            await asyncio.wait({clients}, timeout=LOOK)
            await take()
        await clients
    await asyncio.sleep(1)
    await take()


@asynccontextmanager
async def _watched(target: Target) -> AsyncIterator[list[float]]:
    """The memory of the target's process while this lasts, in bytes."""
    child = target.child
    assert child is not None
    samples: list[float] = []

    async def watch() -> None:
        while True:
            samples.append((await child.ask("usage"))["memory"])
            await asyncio.sleep(LOOK)

    async with _beside(watch()):
        yield samples


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let ``work`` go on beside the block, and end with it; what goes wrong in it goes wrong there at last."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def memory(samples: Sequence[float]) -> dict[str, Any]:
    """The growth after the first quarter, as a share of what was held in the second, and all samples."""
    quarter = max(1, len(samples) // 4)
    base = statistics.median(samples[quarter : 2 * quarter])
    return {"memory": base, "peak": max(samples), "growth": growth(samples) / base, "samples": list(samples)}


async def _disturb(child: Child, disturbance: Disturbance) -> None:
    """Change the files, and load the rules anew, over and over."""
    number, rules = 0, disturbance.rules.read_text(encoding="utf-8")
    while True:
        await asyncio.sleep(disturbance.every)
        number += 1
        disturbance.rules.write_text(rules.replace("title: ", f"title: {number} "), encoding="utf-8")
        await child.ask("reload")
        disturbance.prices.write_text(prices(number), encoding="utf-8")
        disturbance.add_key()


def prices(number: int) -> str:
    """A price list, which differs by ``number``."""
    return json.dumps({"currency": "USD", "models": {"bench-*": {"input": 1 + number % 7, "output": 2}}}) + "\n"


async def _settled(child: Child, before: dict[str, Any]) -> dict[str, Any]:
    """What is left when all clients have gone; nothing more is waited for once it is what it was before."""
    state: dict[str, Any] = {}
    for _ in range(round(SETTLE)):
        await asyncio.sleep(1)
        state = await child.ask("state")
        if all(state[what] <= before[what] for what in ("files", "tasks", "running")):
            break
    return state


def records(audit: Path, requests: int) -> dict[str, Any]:
    """Whether each request was opened and closed in the trail, and nothing in it tells what was found."""
    opened: Counter[str] = Counter()
    closed: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    told = 0
    for file in sorted(audit.glob("*.jsonl")):
        for line in file.read_text(encoding="ascii").splitlines():
            record = json.loads(line)
            told += _NEVER in line
            if record["event"] == "request.opened":
                opened[record["request_id"]] += 1
            elif record["event"] == "request.closed":
                closed[record["request_id"]] += 1
                ended[record["ended"]] += 1
    unmatched = sum((opened - closed).values()) + sum((closed - opened).values())
    return {
        "requests": requests,
        "unrecorded": abs(requests - sum(closed.values())) + unmatched,
        "told": told,
        "records": dict(ended),
    }
