"""The benchmark's upstream: what it says, and what it notes of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import accumulate
from typing import Any

import pytest
from aiohttp import ClientError
from aiohttp.test_utils import TestClient, TestServer

from safeproxy.bench.prose import chunks
from safeproxy.bench.rules import HALT_SENTENCE
from safeproxy.bench.upstream import BEFORE_HALT, EARLY_FAULTS, FAULTS, SCRIPTS, Upstream, pieces
from safeproxy.demo import chat


def wish(run: str, **metadata: str) -> dict[str, Any]:
    """A request's body."""
    return {"metadata": {"run": run, "chunks": "5", "pace": "0", "script": "prose", "note": "1", **metadata}}


@asynccontextmanager
async def playing() -> AsyncIterator[tuple[Upstream, TestClient[Any, Any]]]:
    """The upstream on loopback and a client of it; all of it ends within ten seconds."""
    upstream = Upstream()
    async with asyncio.timeout(10), TestClient(TestServer(upstream.app)) as client:
        yield upstream, client


async def said(client: TestClient[Any, Any], body: dict[str, Any]) -> str:
    """The text of a whole stream."""
    reader = chat.EventReader()
    answer = await client.post(chat.PATH, json=body)
    text = "".join(map(chat.content, reader.feed(await answer.read())))
    assert reader.done
    return text


def test_the_halting_sentence_stands_in_the_midst_of_prose() -> None:
    """Cut like it, with enough before it to be delivered and as much after it as is asked for."""
    assert pieces("prose", 4) == tuple(chunks(4))
    halting = pieces("halt", 4)
    assert halting[:BEFORE_HALT] == tuple(chunks(BEFORE_HALT))
    assert "".join(halting[BEFORE_HALT:]) == HALT_SENTENCE + "".join(chunks(4))
    assert len(halting) > BEFORE_HALT + 4 + 1


@pytest.mark.e2e
@pytest.mark.enable_socket
@pytest.mark.parametrize("pace", ["0", "0.001"])
@pytest.mark.parametrize("script", list(SCRIPTS))
async def test_a_stream_says_its_pieces(script: str, pace: str) -> None:
    """Paced or not, whatever the script."""
    async with playing() as (_, client):
        assert await said(client, wish("r", script=script, pace=pace)) == "".join(pieces(script, 5))


@pytest.mark.e2e
@pytest.mark.enable_socket
@pytest.mark.parametrize("at_once", ["1", "3", "64"])
async def test_events_may_be_written_together(at_once: str) -> None:
    """The stream is the same."""
    async with playing() as (_, client):
        assert await said(client, wish("r", at_once=at_once)) == "".join(pieces("prose", 5))


@pytest.mark.e2e
@pytest.mark.enable_socket
@pytest.mark.parametrize(("fault", "status"), [("status", 500), ("html", 502)])
async def test_a_fault_in_place_of_a_stream(fault: str, status: int) -> None:
    """An error's status, as JSON or as a page."""
    async with playing() as (_, client):
        answer = await client.post(chat.PATH, json=wish("r", fault=fault))
        assert answer.status == status
        assert ("html" in answer.content_type) == (fault == "html")


@pytest.mark.e2e
@pytest.mark.enable_socket
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in EARLY_FAULTS])
async def test_a_fault_in_the_midst_of_a_stream(fault: str) -> None:
    """The beginning of the text comes, and no end that looks like one."""
    async with playing() as (_, client):
        answer = await client.post(chat.PATH, json=wish("r", fault=fault, chunks="30"))
        raw = b""
        with suppress(ClientError, TimeoutError):
            async with asyncio.timeout(0.5):
                async for data in answer.content.iter_any():
                    raw += data
        answer.close()
        assert chat.DONE not in raw
        assert b'"finish_reason":"stop"' not in raw
        reader = chat.EventReader()
        text = "".join(map(chat.content, reader.feed(raw.partition(b'data: {"choices": [')[0])))
        whole = "".join(pieces("prose", 30))
        assert text == "".join(pieces("prose", 14))
        assert whole.startswith(text)


@pytest.mark.e2e
@pytest.mark.enable_socket
async def test_sending_times_are_noted_with_the_characters_so_far() -> None:
    """Of paced streams, by name, once; they can be told to another process."""
    async with playing() as (upstream, client):
        before = time.monotonic()
        await said(client, wish("a", pace="0.001"))
        await said(client, wish("b", pace="0.001", note="0"))
        await said(client, wish("c"))
        notes = json.loads(json.dumps(upstream.take_notes()))
        after = time.monotonic()
        assert upstream.take_notes() == {}
    assert list(notes) == ["a", "c"]
    assert notes["c"] == {"sent": [], "closed": None}
    times = [moment for moment, _ in notes["a"]["sent"]]
    assert [characters for _, characters in notes["a"]["sent"]] == list(accumulate(map(len, chunks(5))))
    assert [before, *times, after] == sorted([before, *times, after])
    assert notes["a"]["closed"] is None


@pytest.mark.e2e
@pytest.mark.enable_socket
async def test_a_reader_that_leaves_is_noted() -> None:
    """It alone is told then; the notes of the others stay for later."""
    async with playing() as (upstream, client):
        await said(client, wish("whole", pace="0.001"))
        answer = await client.post(chat.PATH, json=wish("left", pace="60"))
        await answer.content.readany()
        left = time.monotonic()
        answer.close()
        while True:
            closed = upstream.take_closed()
            if closed:
                break
            await asyncio.sleep(0.001)
        assert list(closed) == ["left"]
        assert closed["left"]["closed"] >= left
        assert list(upstream.take_notes()) == ["whole"]
