"""Signs of life while text is held or the upstream thinks, and an end of the hold where an API has none."""

from __future__ import annotations

import asyncio
import json
import zlib
from pathlib import Path

import pytest

from safeproxy.wire.openai_chat import OpenAIChat
from tests.e2e.harness import CHAT, DONE, Step, Wait, error_of, event, finishes, proxied, stream, text

SIGN = b": keep-alive\n\n"
#: Pieces of a word that may become an address: held until it is clear that it does not.
HELD: list[Step] = [step for i in range(12) for step in (event(f"abc{i}"), 0.1)]


@pytest.fixture
def no_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API without signs of life."""
    monkeypatch.setattr(OpenAIChat, "keep_alive", b"", raising=False)


async def test_a_client_sees_signs_of_life_while_text_is_held(tmp_path: Path) -> None:
    """Between whole frames, and none after the end; the text is what it would have been."""
    async with proxied(tmp_path, keep_alive=0.2) as (upstream, proxy):
        upstream.says(event("Hello, ", role="assistant"), *HELD, event(" and so on. "), event(finish="stop"), DONE)
        _, _, raw = await proxy.post()
        assert raw.count(SIGN) >= 3
        assert raw.endswith(DONE)
        assert all(frame.startswith((b"data: ", b": keep-alive")) for frame in raw.removesuffix(b"\n\n").split(b"\n\n"))
        assert text(raw).startswith("Hello, abc0abc1")
        closed = await proxy.closed()
        assert closed["bytes"]["delivered"] == len(raw)
        assert closed["ended"] == "stop"


async def test_a_client_sees_signs_of_life_while_the_upstream_is_silent(tmp_path: Path) -> None:
    """Before the first event too; they do not count as the first of the answer."""
    async with proxied(tmp_path, keep_alive=0.1) as (upstream, proxy):
        upstream.says(0.5, *stream("Hello."))
        _, _, raw = await proxy.post()
        assert raw.startswith(SIGN)
        assert text(raw) == "Hello."
        assert (await proxy.closed())["timing"]["delivered"]["ttft_ms"] >= 400


async def test_no_sign_of_life_is_sent_while_others_are_seen(tmp_path: Path) -> None:
    """A stream that flows needs none."""
    async with proxied(tmp_path, keep_alive=0.5) as (upstream, proxy):
        upstream.says(event("", role="assistant"), *[step for i in range(10) for step in (event(f"Word {i}. "), 0.1)])
        assert SIGN not in (await proxy.post())[2]


async def test_signs_of_life_can_be_switched_off(tmp_path: Path) -> None:
    """With 0."""
    async with proxied(tmp_path, keep_alive=0) as (upstream, proxy):
        upstream.says(0.5, *stream("Hello."))
        assert SIGN not in (await proxy.post())[2]


async def test_signs_of_life_do_not_outlast_the_upstreams_limit(tmp_path: Path) -> None:
    """An upstream that says nothing is given up as ever."""
    async with proxied(tmp_path, keep_alive=0.1, idle_timeout=0.5) as (upstream, proxy):
        upstream.says(event("Hello ", role="assistant"), Wait())
        _, _, raw = await proxy.post()
        assert SIGN in raw
        assert error_of(raw)["message"]
        assert (await proxy.closed())["faults"] == ["upstream_idle_timeout"]


async def test_signs_of_life_are_packed_like_the_rest(tmp_path: Path) -> None:
    """They can be read at once, and the file stays whole."""
    async with proxied(tmp_path, keep_alive=0.1, compress="gzip") as (upstream, proxy):
        upstream.says(0.35, *stream("Hello."))
        reader, raw, early = zlib.decompressobj(wbits=31), b"", b""
        headers = {"Accept-Encoding": "gzip"}
        async with proxy.session.post(proxy.at(CHAT), json={}, headers=headers, auto_decompress=False) as response:
            async for chunk in response.content.iter_any():
                raw += reader.decompress(chunk)
                early = early or raw
        assert reader.eof
        assert early == SIGN
        assert text(raw) == "Hello."


async def test_a_client_that_leaves_between_signs_of_life_is_noticed(tmp_path: Path) -> None:
    """Nothing is left running for it."""
    async with proxied(tmp_path, keep_alive=0.05) as (upstream, proxy):
        upstream.says(event("Hello, world. ", role="assistant"), Wait())
        response = await proxy.session.post(proxy.at(CHAT), json={})
        while SIGN not in await response.content.readany():
            pass
        response.close()
        async with asyncio.timeout(5):
            await upstream.left.wait()
        assert (await proxy.closed())["ended"] == "client_cancelled"
        await asyncio.sleep(0.1)
        assert not [task for task in asyncio.all_tasks() if "Stream._watch" in repr(task)]


async def test_a_finished_stream_leaves_no_watch_behind(tmp_path: Path) -> None:
    """However many there were."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("Hello."))
        for _ in range(5):
            await proxy.post()
        assert not [task for task in asyncio.all_tasks() if "Stream._watch" in repr(task)]


@pytest.mark.usefixtures("no_sign")
async def test_a_hold_ends_where_there_are_no_signs_of_life(tmp_path: Path) -> None:
    """With the API's error, recorded by its cause; the upstream is left, and nothing held gets out."""
    async with proxied(tmp_path, hold_timeout=0.4) as (upstream, proxy):
        upstream.says(event("Hello, ", role="assistant"), *HELD, *HELD, Wait())
        _, _, raw = await proxy.post()
        assert SIGN not in raw
        assert text(raw) == "Hello, "
        assert error_of(raw)["message"]
        async with asyncio.timeout(5):
            await upstream.left.wait()
        closed = await proxy.closed()
        assert (closed["ended"], closed["faults"]) == ("upstream_error", ["hold_timeout"])


@pytest.mark.usefixtures("no_sign")
async def test_a_held_call_ends_too_where_there_are_no_signs_of_life(tmp_path: Path) -> None:
    """A call whose arguments do not come to an end is text that is held."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "'}}
    more = {"index": 0, "function": {"arguments": "word "}}
    async with proxied(tmp_path, hold_timeout=0.4) as (upstream, proxy):
        upstream.says(
            event("", role="assistant"),
            event(tool_calls=[call]),
            *[step for _ in range(20) for step in (event(tool_calls=[more]), 0.1)],
            Wait(),
        )
        _, _, raw = await proxy.post()
        assert error_of(raw)["message"]
        assert b"word" not in raw
        assert (await proxy.closed())["faults"] == ["hold_timeout"]


@pytest.mark.usefixtures("no_sign")
async def test_a_flowing_stream_is_no_hold(tmp_path: Path) -> None:
    """However long it lasts, and whatever is held for a while."""
    async with proxied(tmp_path, hold_timeout=0.4) as (upstream, proxy):
        pieces = [step for i in range(10) for step in (event(f"Word {i} abc"), 0.1)]
        upstream.says(event("", role="assistant"), *pieces, event(finish="stop"), DONE)
        _, _, raw = await proxy.post()
        assert finishes(raw) == ["stop"]
        assert (await proxy.closed())["faults"] == []


@pytest.mark.usefixtures("no_sign")
async def test_a_silent_upstream_is_no_hold(tmp_path: Path) -> None:
    """Its silence has a limit of its own."""
    async with proxied(tmp_path, hold_timeout=0.3) as (upstream, proxy):
        upstream.says(event("Hello abc", role="assistant"), 1.0, event(" you. "), event(finish="stop"), DONE)
        _, _, raw = await proxy.post()
        assert text(raw) == "Hello abc you. "
        assert (await proxy.closed())["faults"] == []


async def test_a_hold_of_lines_ends(tmp_path: Path) -> None:
    """Lines of JSON have no room for signs of life: an API that speaks so ends with an error line of its own."""

    def line(content: str) -> bytes:
        message = {"role": "assistant", "content": content}
        return json.dumps({"model": "m", "created_at": "t", "message": message, "done": False}).encode() + b"\n"

    async with proxied(tmp_path, hold_timeout=0.4, keep_alive=0.1) as (upstream, proxy):
        held = [step for i in range(20) for step in (line(f"abc{i}"), 0.1)]
        upstream.says(line("Hello, "), *held, Wait(), Content_Type="application/x-ndjson")
        _, _, raw = await proxy.post("/api/chat")
        lines = [json.loads(one) for one in raw.splitlines()]
        assert lines[0]["message"]["content"] == "Hello, "
        assert lines[-1]["error"]
        assert b"abc" not in raw
        assert (await proxy.closed())["faults"] == ["hold_timeout"]
