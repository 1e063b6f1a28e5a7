"""The measurements of many streams and several processes, as small as they get; figures are not judged here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from safeproxy.bench import load, scale
from safeproxy.bench.load import BenchError, Seen, Wish
from safeproxy.bench.process import Child
from safeproxy.bench.streams import Target

pytestmark = [pytest.mark.e2e, pytest.mark.enable_socket]


async def test_capacity_counts_what_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that do not arrive whole, or not at all, are lost; the others are not."""
    numbers = iter(range(100))
    real = load.stream

    async def some_fail(*given: Any, **options: Any) -> Seen:
        number = next(numbers)
        if number == 0:
            raise BenchError("503")
        seen = await real(*given, **options)
        return Seen(seen.run, seen.asked, text=["else"], finish=seen.finish) if number == 1 else seen

    async with Child("upstream") as upstream, Child("relay", upstream=upstream.base) as child:
        target = Target("relay", child.base, child)
        whole = await scale.measure_capacity(target, streams=4, seconds=2)
        monkeypatch.setattr(load, "many", lambda *_: asyncio.sleep(0))
        monkeypatch.setattr(load, "stream", some_fail)
        broken = await scale.measure_capacity(target, streams=4, seconds=2)
    assert (whole["lost"], broken["lost"]) == (0, 2)
    assert 0 < whole["cpu_share"] < 2
    assert whole["peak"] >= whole["idle"] > 0


async def test_overhead_is_a_ratio_to_the_bare_target_of_the_same_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each target takes its turn in each round; the first round does not count; the key is presented."""
    cpu = {scale.BARE: [9.0, 1.0, 2.0, 4.0], "more": [9.0, 1.5, 3.0, 4.0]}
    turns: list[str] = []

    class Told:
        """A process whose use is told."""

        def __init__(self, name: str) -> None:
            self.name, self.spent, self.asked = name, 0.0, 0

        async def ask(self, command: str) -> dict[str, Any]:
            """Before and after each turn."""
            assert command == "usage"
            if self.asked % 2:
                self.spent += cpu[self.name].pop(0)
            self.asked += 1
            return {"cpu": self.spent}

    async def many(base: str, wish: Wish, streams: int) -> None:
        assert (wish.key, wish.chunks, streams) == ("mine", 10, 5)
        turns.append(base)

    monkeypatch.setattr(load, "many", many)
    targets: list[Any] = [Target(name, name, Told(name)) for name in cpu]  # type: ignore[arg-type]
    found = await scale.measure_overhead(targets, streams=5, chunks=10, rounds=3, key="mine")
    assert found["more"]["to_bare"] == pytest.approx(1.5)
    assert found["more"]["cpu_per_chunk"] == pytest.approx(3.0 / 50)
    assert found[scale.BARE]["to_bare"] == 1
    assert turns == ["more", scale.BARE, scale.BARE, "more"] * 2


async def test_throughput_is_told_by_number_of_workers() -> None:
    """With the CPU time of all who take part; clients that fail make it an error."""
    async with Child("upstream") as upstream, Child("relay", upstream=upstream.base) as child:
        spent = iter(range(100))

        def usage() -> dict[str, Any]:
            return {"cpu": float(next(spent))}

        served = {1: (child.base, usage), 2: (child.base, usage)}
        found = await scale.measure_workers(upstream, served, clients=3, seconds=0.4, rounds=1)
        assert set(found) == {"1", "2"}
        for one in found.values():
            assert one["bytes"] > 10_000
            assert one["proxy_cpu"] == pytest.approx(1 / 0.4, rel=0.5)
            assert one["upstream_cpu"] > 0
        with pytest.raises(BenchError, match="404"):
            await scale.measure_workers(upstream, {1: (child.base + "/nowhere", usage)}, clients=1, seconds=5, rounds=1)
