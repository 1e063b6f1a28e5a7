"""How the proxies are set up for the sections about production."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import redis.asyncio as redis

from safeproxy.bench import endurance, production, report, scale
from safeproxy.bench.process import Child
from safeproxy.bench.production import ABOUT, Production
from safeproxy.bench.rules import HALT_RULE, write
from safeproxy.bench.run import LASTING, SECTIONS
from safeproxy.bench.streams import Target
from safeproxy.shell.client_keys import read
from safeproxy.shell.settings import Settings

UPSTREAM = "http://127.0.0.1:9"


class Started:
    """Proxies that are only asked for; their settings."""

    def __init__(self) -> None:
        self.settings: dict[str, Settings] = {}
        self.bare: list[str] = []

    @asynccontextmanager
    async def __call__(self, name: str, rules: Any, *, bare: bool = False, **given: Any) -> AsyncIterator[Target]:
        """The settings must be such as the proxy takes."""
        self.settings[name] = Settings(upstream=UPSTREAM, rules=tuple(rules), **given)
        self.bare += [name] * bare
        yield Target(name, "http://target")


def made(folder: Path, started: Started) -> Production:
    """The sections, with such proxies."""
    halting = folder / "halt.yaml"
    write([HALT_RULE], halting)
    return Production(cast("Child", None), folder, started, [halting], quick=True)


def test_every_section_says_what_it_is() -> None:
    """Those that are named, and no others."""
    assert set(ABOUT) == set(LASTING) | {"capacity", "overhead", "workers"}
    assert set(ABOUT) - set(LASTING) <= set(SECTIONS)


@pytest.mark.e2e
@pytest.mark.enable_socket
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
async def test_overhead_is_of_all_that_stands_around_the_filter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One proxy is bare; the others have keys, limits and prices, and the last a real Redis; the report knows them."""
    started = Started()

    async def measure(targets: list[Target], *, key: str, **_: Any) -> dict[str, Any]:
        around = started.settings[report.AROUND]
        assert around.client_keys is not None
        assert key.split("-")[1] in read(around.client_keys)
        url = started.settings[report.AROUND_REDIS].redis_url
        assert url is not None
        async with redis.from_url(url.get_secret_value()) as asked:
            assert await asked.ping()
        return {target.name: {"to_bare": 1.0} for target in targets}

    monkeypatch.setattr(scale, "measure_overhead", measure)
    found = await made(tmp_path, started).overhead()
    assert set(found) == {scale.BARE, report.AROUND, report.AROUND_REDIS}
    assert started.bare == [scale.BARE]
    assert not started.settings[scale.BARE].limits
    for name in (report.AROUND, report.AROUND_REDIS):
        assert started.settings[name].limits
        assert started.settings[name].prices
    judged = [row.what for row in report.rows({"overhead": found}) if row.measured == 1.0]
    assert len(judged) == 2


async def test_the_soak_changes_files_that_are_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules, the keys and the prices that its proxy reads; the trail is that which its proxy writes."""
    started = Started()

    async def measure(_: Any, target: Target, disturbance: endurance.Disturbance, **options: Any) -> dict[str, Any]:
        settings = started.settings[target.name]
        assert settings.client_keys is not None
        before = len(read(settings.client_keys))
        disturbance.add_key()
        assert len(read(settings.client_keys)) == before + 1
        assert disturbance.rules in settings.rules
        assert HALT_RULE.id in {rule.id for rule in disturbance.ruleset.rules}
        assert (disturbance.prices, disturbance.audit) == (settings.prices, settings.audit)
        return options

    monkeypatch.setattr(endurance, "measure_soak", measure)
    assert await made(tmp_path, started).soak(12) == {"streams": 100, "seconds": 12}


async def test_workers_need_a_system_that_tells_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere the error says so."""
    monkeypatch.setattr(production.sys, "platform", "win32")
    with pytest.raises(scale.BenchError, match="needs Linux"):
        await made(tmp_path, Started()).workers()
