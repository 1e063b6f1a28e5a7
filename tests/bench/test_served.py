"""The proxy as a command, with workers: what is known of its processes."""

from __future__ import annotations

import sys
from pathlib import Path

import aiohttp
import pytest

from safeproxy.bench.load import BenchError
from safeproxy.bench.served import Served

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.enable_socket,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


@pytest.fixture
def rules(tmp_path: Path) -> str:
    """One rule, so that it starts soon."""
    file = tmp_path / "rules.yaml"
    file.write_text("- {id: a, title: A, entity: A, category: other, words: [abracadabra]}\n", encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("workers", [1, 2])
async def test_it_listens_and_its_use_is_that_of_its_workers(tmp_path: Path, rules: str, workers: int) -> None:
    """Memory of as many interpreters; CPU time that only grows; nothing listens when it has ended."""
    settings = {"rules": rules, "audit": str(tmp_path / "audit"), "upstream": "http://127.0.0.1:9"}
    async with aiohttp.ClientSession() as session:
        async with Served(workers=str(workers), **settings) as served:
            before = served.usage()
            async with session.get(served.base + "/-/ready") as answer:
                assert answer.status == 200
            after = served.usage()
            assert 0 < before["cpu"] <= after["cpu"]
            assert workers * 20 * 2**20 < after["memory"] < workers * 2**30
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(served.base)


async def test_one_that_dies_says_why(rules: str) -> None:
    """What it said stands in the error."""
    with pytest.raises(BenchError, match=r"safeproxy serve died: .*upstream"):
        async with Served(rules=rules, upstream="nonsense"):
            pass
