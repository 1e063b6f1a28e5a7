"""What the benchmark asks of a proxy, in the proxy's own process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from safeproxy.bench.proxying import commands, without_observers
from safeproxy.shell.service import SERVICE
from tests.e2e.harness import RULES, proxied, stream, text, until

pytestmark = [pytest.mark.e2e, pytest.mark.enable_socket]


async def test_without_observers_there_is_a_proxy_and_no_trail(tmp_path: Path) -> None:
    """It filters as ever and tells nobody."""
    async with proxied(tmp_path) as (upstream, proxy):
        without_observers(proxy.app)
        upstream.says(*stream("to ada@", "example.com"))
        _, _, answer = await proxy.post()
        assert text(answer) == "to [EMAIL_ADDRESS]"
        await until(lambda: not proxy.app[SERVICE].running)
        assert proxy.records() == []


async def test_state_tells_of_open_files_tasks_and_requests(tmp_path: Path) -> None:
    """More of each while a request is served."""
    async with proxied(tmp_path) as (upstream, proxy):
        state = commands(proxy.app)["state"]
        before, going_on = state(), asyncio.Event()
        upstream.says(*stream("Hello", finish=None, done=False), going_on)
        asking = asyncio.create_task(proxy.post())
        await upstream.heard.wait()
        during = state()
        going_on.set()
        await asking
        assert (before["running"], during["running"]) == (0, 1)
        assert during["files"] >= before["files"] + 2
        assert during["tasks"] > before["tasks"]


async def test_reload_puts_changed_rules_in_force_and_counts(tmp_path: Path) -> None:
    """As SIGHUP does; a broken file leaves the old rules and is told."""
    async with proxied(tmp_path) as (upstream, proxy):
        asked = commands(proxy.app)
        upstream.says(*stream("to ada@example.com"))
        file = tmp_path / "rules.yaml"
        file.write_text(RULES.replace("EMAIL_ADDRESS", "MAIL"), encoding="utf-8")
        assert asked["reload"]() == {}
        await until(lambda: asked["state"]()["reloads"] == 1)
        _, _, answer = await proxy.post()
        assert text(answer) == "to [MAIL]"
        assert asked["state"]()["rules_fault"] is None
        file.write_text("- nonsense", encoding="utf-8")
        asked["reload"]()
        await until(lambda: asked["state"]()["rules_fault"] is not None)
        assert "rules.yaml" in asked["state"]()["rules_fault"]
        assert asked["state"]()["reloads"] == 1


async def test_rules_that_say_the_same_are_no_others(tmp_path: Path) -> None:
    """A comment more is loaded, and puts nothing else in force."""
    async with proxied(tmp_path) as (_, proxy):
        asked = commands(proxy.app)
        file = tmp_path / "rules.yaml"
        file.write_text("- nonsense", encoding="utf-8")
        asked["reload"]()
        await until(lambda: asked["state"]()["rules_fault"] is not None)
        file.write_text(f"# the same\n{RULES}", encoding="utf-8")
        asked["reload"]()
        await until(lambda: asked["state"]()["rules_fault"] is None)
        assert asked["state"]()["reloads"] == 0


async def test_stop_breaks_off_what_lasts_too_long(tmp_path: Path) -> None:
    """The answer ends without a finish, and nothing new is begun."""
    async with proxied(tmp_path, shutdown_grace=0) as (upstream, proxy):
        upstream.says(*stream("Hello ", finish=None, done=False), 30.0)
        asking = asyncio.create_task(proxy.post())
        await upstream.heard.wait()
        commands(proxy.app)["stop"]()
        await asking
        await upstream.left.wait()
        status, _, _ = await proxy.post()
        assert status == 503
