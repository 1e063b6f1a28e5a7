"""The benchmark's processes: what they use, what they are asked, how they end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NoReturn

import aiohttp
import pytest

from safeproxy.bench import process
from safeproxy.bench.load import BenchError
from safeproxy.bench.process import Child


def spend() -> int:
    """Some processor time."""
    return sum(n * n for n in range(2_000_000))


def test_usage_is_told_in_seconds_and_bytes() -> None:
    """What is spent and held in between is seen."""
    before = process.usage()
    assert spend() > 0
    held = bytearray(b"x" * 64 * 2**20)
    after = process.usage()
    assert 0 < after["cpu"] - before["cpu"] < 60
    assert after["peak"] >= after["memory"] >= len(held)
    assert after["peak"] - before["memory"] >= len(held) / 2
    assert after["peak"] < 2**40


def test_usage_is_told_where_the_system_has_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the peak stands for the memory held now."""

    def missing(*_: object, **__: object) -> NoReturn:
        raise FileNotFoundError

    told = process.usage()["peak"]
    monkeypatch.setattr(Path, "read_text", missing)
    without = process.usage()
    assert without["memory"] == without["peak"]
    assert told / 4 < without["peak"] < told * 4


@pytest.mark.e2e
@pytest.mark.enable_socket
async def test_a_child_answers_what_it_is_asked_until_it_ends() -> None:
    """Its role's own commands and those of all; with its context its port is closed."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        async with Child("upstream") as child:
            assert await child.ask("notes") == {}
            first, second = await child.ask("usage"), await child.ask("usage")
            assert 0 < first["cpu"] <= second["cpu"]
            async with session.get(child.base) as answer:
                assert answer.status == 404
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(child.base)


@pytest.mark.e2e
@pytest.mark.enable_socket
async def test_a_child_that_is_asked_for_what_it_cannot_dies_and_says_why() -> None:
    """The parent gets an error instead of waiting for ever, and is rid of it all the same."""
    async with asyncio.timeout(60), Child("relay", upstream="http://127.0.0.1:9") as child:
        with pytest.raises(BenchError, match="the relay process died: KeyError: 'notes'"):
            await child.ask("notes")
