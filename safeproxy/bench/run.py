"""The whole benchmark: which sections there are, in what order, with which processes."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeproxy import rulesets
from safeproxy.bench import filtering, leaks, measure, models, streams
from safeproxy.bench import rules as bench_rules
from safeproxy.bench.process import Child
from safeproxy.bench.production import ABOUT, Production
from safeproxy.bench.streams import DIRECT, RELAY, Target
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.shell.serve import loop_factory

SECTIONS = (
    "filter",
    "models",
    "streams",
    "first_token",
    "memory",
    "closing",
    "capacity",
    "overhead",
    "workers",
    "leaks",
)
#: Sections that take many minutes and are run only when they are named, and for how many minutes.
LASTING = {"long": 10.0, "soak": 15.0}
#: The rules of all tiers: the shipped ones, and those that ask models.
EVERYTHING = "all tiers"
#: Rule sets by name; the shipped rules as they are, the others made of them.
SIZES = {"30 rules": 30, "shipped": None, "200 rules": 200, "1000 rules": 1000}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run."""

    sections: Sequence[str] = SECTIONS
    streams: Sequence[int] = (1, 50, 200)
    quick: bool = False
    minutes: float | None = None
    """How long the lasting sections last, if not as long as they should."""

    def seconds(self, section: str) -> float:
        """How long a lasting section lasts."""
        return 60 * (LASTING[section] if self.minutes is None else self.minutes)


@dataclass(frozen=True, slots=True)
class _RuleFiles:
    """The rule sets as rules and as the files that the proxies load."""

    rules: dict[str, list[Rule]]
    paths: dict[str, list[Path]]
    halting: list[Path]
    """The shipped rules and the one that halts."""


def run(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the plan; give the figures by section. ``say`` is told what is going on.

    Raises RuleError when the shipped rules cannot be loaded, and BenchError when a figure would mean nothing.
    """
    started = time.monotonic()
    loaded = rulesets.load_with_sources([rulesets.SHIPPED])
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="safeproxy-bench-") as folder:
        files = _write_rules(Path(folder), loaded.ruleset.rules, quick=plan.quick)
        if "filter" in plan.sections:
            say("filter: time per chunk, hold, a megabyte")
            sets = {name: RuleSet(rules) for name, rules in files.rules.items()}
            results["filter"] = filtering.measure(sets, passes=3 if plan.quick else 10)
        if "models" in plan.sections:
            say("models: cost and hold of each tier")
            everything = rulesets.load(files.paths[EVERYTHING])
            results["models"] = {"tiers": models.measure(everything, quick=plan.quick)}
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_network(plan, files, Path(folder), results, say))
    if "leaks" in plan.sections:
        say("leaks: every cutting of the shipped rules' samples, in every channel")
        outcome = leaks.leak_test_in_processes([rulesets.SHIPPED], every=_share(plan))
        # The few samples of rules that ask models go by themselves: with them, each of the others would ask them too.
        outcome.add(leaks.leak_test_in_processes([rulesets.MODELS_FOLDER], every=max(1, _share(plan) // 4)))
        results["leaks"] = outcome.form()
    results["machine"] = {
        **measure.machine(),
        "loop": loop_factory().__module__.partition(".")[0],
        "rules": len(loaded.ruleset.rules),
        "seconds": time.monotonic() - started,
    }
    return results


def _write_rules(folder: Path, shipped: Sequence[Rule], *, quick: bool) -> _RuleFiles:
    sizes = {name: size for name, size in SIZES.items() if not (quick and size == 200)}
    sets = {name: bench_rules.of_size(shipped, size or len(shipped)) for name, size in sizes.items()}
    paths = {}
    for name, rules in sets.items():
        path = folder / f"{name.replace(' ', '-')}.yaml"
        bench_rules.write(rules, path)
        paths[name] = [path]
    paths["shipped"] = [rulesets.SHIPPED]
    with_models = folder / "models.yaml"
    bench_rules.write(bench_rules.sparing(rulesets.load([rulesets.MODELS_FOLDER]).rules), with_models)
    paths[EVERYTHING] = [rulesets.SHIPPED, with_models]
    halt = folder / "halt.yaml"
    bench_rules.write([bench_rules.HALT_RULE], halt)
    return _RuleFiles(sets, paths, [rulesets.SHIPPED, halt])


async def _network(
    plan: Plan, files: _RuleFiles, folder: Path, results: dict[str, Any], say: Callable[[str], None]
) -> None:
    """The sections that need an upstream; each proxy has an audit folder of its own."""
    quick = plan.quick
    async with Child("upstream") as upstream:

        @asynccontextmanager
        async def proxy(name: str, paths: Sequence[Path], **settings: Any) -> AsyncIterator[Target]:
            given = {
                "upstream": upstream.base,
                "rules": [str(path) for path in paths],
                "audit": tempfile.mkdtemp(dir=folder),
                "hash_key": bench_rules.HASH_KEY.decode(),
            }
            async with Child("proxy", **{**given, **settings}) as child:
                yield Target(name, child.base, child)

        @asynccontextmanager
        async def relay() -> AsyncIterator[Target]:
            async with Child("relay", upstream=upstream.base) as child:
                yield Target(RELAY, child.base, child)

        if {"streams", "first_token"} & set(plan.sections):
            async with AsyncExitStack() as stack:
                wanted = list(files.paths) if "streams" in plan.sections else ["shipped"]
                say("starting the proxies with: " + ", ".join(wanted))
                opening = [relay(), *(proxy(name, files.paths[name]) for name in wanted)]
                started = await asyncio.gather(*(stack.enter_async_context(one) for one in opening))
                await _compared(plan, upstream, [Target(DIRECT, upstream.base), *started], results, say)
        if "models" in plan.sections:
            say("models: start and memory")
            results["models"]["process"] = {
                name: await _process_figures(proxy(name, files.paths[name])) for name in ("shipped", EVERYTHING)
            }
        if "memory" in plan.sections:
            chunks = 2_000 if quick else 10_000
            say(f"memory: 50 streams of {chunks:,} chunks")
            results["memory"] = {}
            for opened in (relay(), proxy("shipped", files.paths["shipped"])):
                async with opened as target:
                    figures = await streams.measure_memory(target, streams=50, chunks=chunks, open_streams=200)
                    results["memory"][target.name] = figures
        if "closing" in plan.sections:
            say("closing: clients that leave, and halts")
            async with relay() as naive, proxy("halting", files.halting) as halting:
                both = {RELAY: naive, "halting": halting}
                results["closing"] = await streams.measure_closing(upstream, both, times=20 if quick else 100)
            async with proxy("stopping", files.halting, shutdown_grace=0) as stopping:
                results["closing"]["shutdown"] = await streams.measure_shutdown(upstream, stopping, count=50)
        await _production(plan, Production(upstream, folder, proxy, files.halting, quick=quick), results, say)


async def _compared(
    plan: Plan, upstream: Child, targets: list[Target], results: dict[str, Any], say: Callable[[str], None]
) -> None:
    """The sections in which the targets take turns."""
    few = [target for target in targets if target.name in (DIRECT, RELAY, "shipped")]
    if "first_token" in plan.sections:
        say("first token: one stream at a time")
        results["first_token"] = await streams.measure_first_token(few, requests=15 if plan.quick else 40)
    if "streams" in plan.sections:
        shapes = streams.shapes(plan.streams, quick=plan.quick)
        say("streams: " + ", ".join(shape.name for shape in shapes))
        results["streams"] = {
            shape.name: await streams.measure_shape(upstream, targets if shape.all_rules else few, shape)
            for shape in shapes
        }


async def _production(plan: Plan, production: Production, results: dict[str, Any], say: Callable[[str], None]) -> None:
    for section in ("capacity", "overhead", "workers"):
        if section in plan.sections:
            say(f"{section}: {ABOUT[section]}")
            results[section] = await getattr(production, section)()
    for section in LASTING:
        if section in plan.sections:
            seconds = plan.seconds(section)
            say(f"{section}: {ABOUT[section]}, {seconds / 60:g} minutes")
            results[section] = await getattr(production, section)(seconds)


async def _process_figures(opening: AbstractAsyncContextManager[Target]) -> dict[str, Any]:
    """Seconds from the start of a proxy until it listens, and its memory."""
    begun = time.perf_counter()
    async with opening as target:
        seconds = time.perf_counter() - begun
        return {"start": seconds, **await streams.memory_under_load(target, streams=50, chunks=100)}


def _share(plan: Plan) -> int:
    """Of how many samples the leak test takes one: all if it is all that is asked for, else it would take too long."""
    if plan.quick:
        return 40
    return 1 if set(plan.sections) == {"leaks"} else 8
