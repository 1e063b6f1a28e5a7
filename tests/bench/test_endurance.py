"""Minutes of load made seconds: what is judged how, and that a soak finds what it looks for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from safeproxy import rulesets
from safeproxy.bench import endurance
from safeproxy.bench.endurance import Disturbance, Tally
from safeproxy.bench.load import Seen, Wish
from safeproxy.bench.process import Child
from safeproxy.bench.production import add_key
from safeproxy.bench.rules import ADDRESS, FINDING_SENTENCE, HALT_RULE, write
from safeproxy.bench.streams import Target

RULES = """\
- id: mail
  title: An address
  entity: MAIL
  category: personal
  pattern: '[a-z]+\\.[a-z]+@[a-z-]+\\.com'
"""
KEY = "sp-111111111111-good"


def seen(text: str, finish: str | None = "stop", **facts: Any) -> Seen:
    """A stream with this text."""
    return Seen("r", 0.0, text=[text], finish=finish, **facts)


@pytest.mark.parametrize(
    ("noted", "outcome", "right"),
    [
        (seen("abc"), "whole", True),
        (seen("ab"), "whole", False),
        (seen("abc", None), "whole", False),
        (seen("ab", None, left=1.0), "left", True),
        (seen("b", None, left=1.0), "left", False),
    ],
)
def test_a_stream_that_nothing_disturbs(noted: Seen, outcome: str, right: bool) -> None:
    """It is whole, or a beginning where the client left."""
    tally = Tally()
    endurance.judge(tally, noted, "abc")
    assert (tally.ended[outcome], tally.ended["lost"]) == (1, not right)
    assert bool(tally.faults) == (not right)


@pytest.mark.parametrize(
    ("noted", "wish", "halted", "outcome", "right"),
    [
        (seen("abc"), Wish(1, 0, key=KEY), False, "whole", True),
        (seen("ab"), Wish(1, 0, key=KEY), False, "whole", False),
        (seen("abc", "content_filter"), Wish(1, 0, key=KEY), True, "halted", True),
        (seen("abc"), Wish(1, 0, key=KEY), True, "halted", False),
        (seen("ab", None, left=1.0), Wish(1, 0, key=KEY), False, "left", True),
        (seen("x"), Wish(1, 0, key=KEY), False, "any", False),
        (seen("ab", None), Wish(1, 0, fault="reset", key=KEY), False, "reset", True),
        (seen("", None, status=500), Wish(1, 0, fault="status", key=KEY), False, "status", True),
        (seen("ab"), Wish(1, 0, fault="reset", key=KEY), False, "reset", False),
        (seen("ab", "length"), Wish(1, 0, fault="reset", key=KEY), False, "reset", False),
        (seen("abc", "content_filter"), Wish(1, 0, fault="reset", key=KEY), True, "reset", True),
        (seen("abc", "stop"), Wish(1, 0, fault="reset", key=KEY), True, "reset", False),
        (seen("b", None), Wish(1, 0, fault="reset", key=KEY), False, "reset", False),
        (seen("", None, status=401), Wish(1, 0, key=endurance.WRONG_KEY), False, "unknown key", True),
        (seen("abc"), Wish(1, 0, key=endurance.WRONG_KEY), False, "unknown key", False),
    ],
)
def test_a_stream_among_disturbances(noted: Seen, wish: Wish, halted: bool, outcome: str, right: bool) -> None:
    """A beginning of the filtered text and no normal end where something failed; all of it where nothing did."""
    tally = Tally()
    endurance.judge_disturbed(tally, noted, wish, "abc", halted)
    assert (tally.ended[outcome], tally.ended["lost"], tally.leaked) == (1, not right, 0)


def test_what_must_not_be_seen_is_a_leak() -> None:
    """Even the first half of the address."""
    tally = Tally()
    text = FINDING_SENTENCE.replace(ADDRESS, ADDRESS.partition("@")[0])
    endurance.judge_disturbed(tally, seen(text), Wish(1, 0, key=KEY), text, halted=False)
    assert tally.leaked == 1


def test_few_faults_are_told_and_all_are_counted() -> None:
    """Ten are enough to know what is wrong."""
    tally = Tally()
    for _ in range(30):
        tally.note("whole", "not the whole text")
    assert (tally.ended, len(tally.faults)) == ({"whole": 30, "lost": 30}, 10)


def test_growth_is_a_share_of_what_a_warm_process_holds() -> None:
    """The last quarter against the second; what came before is the warm-up."""
    samples = [10.0, 50.0, 100.0, 100.0, 103.0, 104.0, 105.0, 105.0]
    assert endurance.memory(samples) == {
        "memory": 100.0,
        "peak": 105.0,
        "growth": pytest.approx(0.05),
        "samples": samples,
    }


def test_each_request_is_looked_for_in_the_trail(tmp_path: Path) -> None:
    """One that was never closed, one that is not there at all, and text that must not be in it."""
    opened = [{"event": "request.opened", "request_id": str(n)} for n in range(3)]
    closed = [{"event": "request.closed", "request_id": str(n), "ended": "stop"} for n in range(3)]
    file = tmp_path / "1.jsonl"

    def found(*records: dict[str, str], requests: int) -> tuple[int, int]:
        file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="ascii")
        told = endurance.records(tmp_path, requests)
        return told["unrecorded"], told["told"]

    assert found(*opened, *closed, requests=3) == (0, 0)
    assert found(*opened, *closed, requests=4) == (1, 0)
    assert found(*opened, *closed[:2], requests=2) == (1, 0)
    assert found(*opened, *closed, {"event": "finding", "text": ADDRESS}, requests=3) == (0, 1)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short streams, and little waiting."""
    monkeypatch.setattr(endurance, "LENGTHS", (30, 60))
    monkeypatch.setattr(endurance, "SETTLE", 3.0)
    monkeypatch.setattr(endurance, "LOOK", 0.2)


@pytest.mark.e2e
@pytest.mark.enable_socket
@pytest.mark.usefixtures("brief")
async def test_long_through_the_relay() -> None:
    """Streams arrive whole, some clients leave, and the upstream sees it."""
    async with asyncio.timeout(60), Child("upstream") as upstream, Child("relay", upstream=upstream.base) as child:
        target = Target("relay", child.base, child)
        found = await endurance.measure_long(upstream, target, streams=8, seconds=2, pace=0.01)
    assert found["ended"]["whole"] > 5
    assert found["ended"]["left"] == found["closing"]["count"] > 0
    assert found["ended"]["lost"] == 0
    assert found["memory"] > 0


async def soaked(folder: Path, *, bare: bool) -> dict[str, Any]:
    """A soak of seconds, of the proxy or of one that tells nobody anything."""
    (folder / "audit").mkdir()
    rules, halting = folder / "rules.yaml", folder / "halt.yaml"
    rules.write_text(RULES, encoding="utf-8")
    write([HALT_RULE], halting)
    keys, prices = folder / "keys.yaml", folder / "prices.yaml"
    key = add_key(keys)
    prices.write_text(endurance.prices(0), encoding="utf-8")
    disturbance = Disturbance(
        rules=halting,
        ruleset=rulesets.load([rules, halting]),
        key=key,
        add_key=lambda: add_key(keys),
        prices=prices,
        audit=folder / "audit",
        every=0.5,
    )
    settings: dict[str, Any] = {
        "rules": [str(rules), str(halting)],
        "audit": str(folder / "audit"),
        "client_keys": str(keys),
        "prices": str(prices),
        "idle_timeout": 0.5,
        "pool_keep_alive": 0.2,
        "retry_attempts": 0,
    }
    async with (
        asyncio.timeout(60),
        Child("upstream") as upstream,
        Child("proxy", upstream=upstream.base, bare=bare, **settings) as child,
    ):
        target = Target("proxy", child.base, child)
        return await endurance.measure_soak(upstream, target, disturbance, streams=10, seconds=4, pace=0.01)


@pytest.mark.e2e
@pytest.mark.enable_socket
@pytest.mark.usefixtures("brief")
async def test_a_soak_of_the_proxy(tmp_path: Path) -> None:
    """Every kind of end is met, files change, and nothing is lost, leaked, left over or unrecorded."""
    found = await soaked(tmp_path, bare=False)
    assert found["faults"] == []
    assert set(found["ended"]) > {"whole", "left", "halted"}
    assert (found["leaked"], found["told"], found["unrecorded"], found["unseen"]) == (0, 0, 0, 0)
    assert found["left_over"]["running"] == 0
    assert max(found["left_over"].values()) <= 0
    assert found["reloads"] > 1
    assert found["rules_fault"] is None


@pytest.mark.e2e
@pytest.mark.enable_socket
@pytest.mark.usefixtures("brief")
async def test_a_soak_finds_requests_without_records(tmp_path: Path) -> None:
    """As where nobody is told anything."""
    found = await soaked(tmp_path, bare=True)
    assert found["unrecorded"] == found["requests"] > 20
