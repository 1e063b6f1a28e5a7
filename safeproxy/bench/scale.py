"""What production asks: many streams in one process, what stands around the filter, several processes."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import ClientError, ClientSession

from safeproxy.bench import load
from safeproxy.bench.load import BenchError, Wish
from safeproxy.bench.process import Child
from safeproxy.bench.streams import Target

#: Seconds between the pieces of one of many streams, so that load, upstream and target stay within two processors.
SLOW_PACE = 1.0
#: The target that does nothing but relay and filter.
BARE = "filter alone"


async def measure_capacity(target: Target, *, streams: int, seconds: float) -> dict[str, Any]:
    """So many slow streams at once: how many did not arrive whole, bytes of memory for each, CPU seconds a second.

    They are opened over half of ``seconds``, and each lasts for all of it, so that all are open for the other half.
    """
    child = target.child
    assert child is not None
    await load.many(target.base, Wish(20, 0.02, note=False), 20)
    idle = await child.ask("usage")
    wish = Wish(round(seconds / SLOW_PACE), SLOW_PACE, note=False)
    begun = time.monotonic()

    async def arrived(session: ClientSession, number: int) -> bool:
        await asyncio.sleep(seconds / 2 * number / streams)
        try:
            return load.is_whole(await load.stream(session, target.base, wish), wish.text)
        except (BenchError, ClientError, OSError):
            return False

    async with load.open_session() as session:
        running = asyncio.gather(*(arrived(session, number) for number in range(streams)))
        await asyncio.sleep(seconds * 0.75)
        opened = await child.ask("usage")
        whole = await running
    done = await child.ask("usage")
    return {
        "streams": streams,
        "lost": whole.count(False),
        "per_stream": (opened["memory"] - idle["memory"]) / streams,
        "idle": idle["memory"],
        "peak": done["peak"],
        "cpu_share": (done["cpu"] - idle["cpu"]) / (time.monotonic() - begun),
        "cpu_per_chunk": (done["cpu"] - idle["cpu"]) / (streams * wish.chunks),
    }


async def measure_overhead(
    targets: Sequence[Target], *, streams: int, chunks: int, rounds: int, key: str
) -> dict[str, Any]:
    """CPU seconds per chunk of each target, and the median over the rounds of its ratio to `BARE` in the same round."""
    wish = Wish(chunks, 0.02, note=False, key=key)
    spent: dict[str, list[float]] = {target.name: [] for target in targets}
    for turn in range(rounds + 1):
        # Each is the first in turn as often as the last: what else the machine does must not favour any.
        for target in targets if turn % 2 else reversed(targets):
            assert target.child is not None
            before = await target.child.ask("usage")
            await load.many(target.base, wish, streams)
            after = await target.child.ask("usage")
            if turn:  # the first round warms up
                spent[target.name].append((after["cpu"] - before["cpu"]) / (streams * chunks))
    return {
        name: {
            "cpu_per_chunk": statistics.median(values),
            "to_bare": statistics.median(a / b for a, b in zip(values, spent[BARE], strict=True)),
        }
        for name, values in spent.items()
    }


Usage = Callable[[], dict[str, Any]]


async def measure_workers(
    upstream: Child, served: Mapping[int, tuple[str, Usage]], *, clients: int, seconds: float, rounds: int
) -> dict[str, Any]:
    """Bytes of answers a second by number of workers, and the CPU seconds a second of all who take part.

    ``served`` gives address and usage by number of workers. Clients ask for one unpaced stream after the other, each
    on a connection of its own, so that no worker ever has nothing to do, however the kernel spreads them.
    """
    measured: dict[int, list[dict[str, float]]] = {count: [] for count in served}
    for turn in range(rounds):
        for count in sorted(served, reverse=turn % 2 == 0):
            base, usage = served[count]
            measured[count].append(await _throughput(upstream, base, usage, clients, seconds))
    return {
        str(count): {key: statistics.median(one[key] for one in many) for key in many[0]}
        for count, many in measured.items()
    }


async def _throughput(upstream: Child, base: str, usage: Usage, clients: int, seconds: float) -> dict[str, float]:
    wish = Wish(4000, 0, note=False, at_once=64)
    arrived = 0

    def count(size: int) -> None:
        nonlocal arrived
        arrived += size

    async def ask() -> None:
        while True:
            async with load.open_session() as session:
                await load.skim(session, base, wish, count)

    asking = [asyncio.create_task(ask()) for _ in range(clients)]
    try:
        await _over(asking, seconds / 4)  # until all are busy
        before = arrived, time.monotonic(), usage()["cpu"], (await upstream.ask("usage"))["cpu"], time.process_time()
        await _over(asking, seconds)
        after = arrived, time.monotonic(), usage()["cpu"], (await upstream.ask("usage"))["cpu"], time.process_time()
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    size, elapsed, proxy, played, own = (b - a for a, b in zip(before, after, strict=True))
    return {
        "bytes": size / elapsed,
        "proxy_cpu": proxy / elapsed,
        "upstream_cpu": played / elapsed,
        "load_cpu": own / elapsed,
    }


async def _over(tasks: Sequence[asyncio.Task[None]], seconds: float) -> None:
    """Let time pass; what goes wrong in the tasks goes wrong here."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()
