"""A moderation endpoint and a guard model, with a stand-in server: `safeproxy.plugins.http`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from safeproxy import suspend
from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import DetectorError
from safeproxy.events import Action
from safeproxy.models import registry
from safeproxy.plugins.http import HttpModel, load
from tests.e2e.harness import Abort, Proxy, Upstream, proxied, stream, text

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
KEY = "k-5f2d"
TEXT = "All is well. I will hurt you! Good night."


@asynccontextmanager
async def model_of(handler: Handler, folder: Path, **settings: Any) -> AsyncIterator[HttpModel]:
    """A model that asks the handler."""
    app = web.Application()
    app.router.add_post("/v1/{tail:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/moderations"
    file = folder / "moderation.json"
    defaults = {"kind": "moderation", "url": url, "labels": ["violence", "hate"], "deadline": 1.0, "faults": 1000}
    file.write_text(json.dumps(defaults | settings))
    model = load(str(file))
    try:
        yield model
    finally:
        await asyncio.to_thread(model.close)
        await runner.cleanup()


def rules_for(model: HttpModel, *labels: str, threshold: float = 0.5) -> RuleSet:
    rule = Rule(id="r", entity="VIOLENCE", detector="http", labels=labels or ("violence",), threshold=threshold)
    return RuleSet([rule], {("http", ""): model})


async def filtered(rules: RuleSet, text: str) -> str:
    stream = StreamFilter(rules)
    return await suspend.run(stream.feed, text) + await suspend.run(stream.finish)


def verdict(text: str) -> dict[str, Any]:
    """What the stand-in thinks."""
    violent = "hurt" in text
    return {
        "id": "modr-1",
        "model": "stand-in",
        "results": [
            {
                "flagged": violent,
                "categories": {"violence": violent, "hate": False, "other": True},
                "category_scores": {"violence": 0.42 if violent else 0.01, "hate": 0.2, "other": 1.0},
            }
        ],
    }


async def moderate(request: web.Request) -> web.Response:
    return web.json_response(verdict((await request.json())["input"]))


def answering(body: Any, **how: Any) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(text=text, content_type="application/json", **how)

    return handler


async def test_a_flagged_sentence_is_redacted(tmp_path: Path) -> None:
    """The sentence that the endpoint flags goes, its neighbours stay; each sentence is asked about by itself."""
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return await moderate(request)

    async with model_of(handler, tmp_path, model="omni") as model:
        assert await filtered(rules_for(model), TEXT) == "All is well. [VIOLENCE] Good night."
    assert sorted(entry["input"] for entry in asked) == ["All is well.", "Good night.", "I will hurt you!"]
    assert {entry["model"] for entry in asked} == {"omni"}


async def test_every_cutting_is_filtered_alike(tmp_path: Path) -> None:
    """Character by character, or at once: the same text leaves."""
    async with model_of(moderate, tmp_path) as model:
        stream = StreamFilter(rules_for(model))
        out = "".join([await suspend.run(stream.feed, char) for char in TEXT])
        assert out + await suspend.run(stream.finish) == "All is well. [VIOLENCE] Good night."


async def test_a_halt_lets_nothing_of_the_sentence_out(tmp_path: Path) -> None:
    """A halting rule stops before the flagged sentence."""
    async with model_of(moderate, tmp_path) as model:
        rule = Rule(id="r", entity="V", detector="http", labels=("violence",), action=Action.HALT)
        stream = StreamFilter(RuleSet([rule], {("http", ""): model}))
        assert await suspend.run(stream.feed, TEXT) == "All is well. "
        assert stream.halted


async def test_rules_can_judge_the_scores_themselves(tmp_path: Path) -> None:
    """By scores the rule's threshold decides, by flags the endpoint."""
    async with model_of(moderate, tmp_path, judge_by="scores") as model:
        assert await filtered(rules_for(model, threshold=0.4), TEXT) == "All is well. [VIOLENCE] Good night."
        assert await filtered(rules_for(model, threshold=0.5), TEXT) == TEXT


async def test_scores_are_the_highest_of_any_sentence(tmp_path: Path) -> None:
    """The whole text's score, as the evaluation asks for it from a plain function."""
    async with model_of(moderate, tmp_path) as model:
        assert await asyncio.to_thread(model.scores, TEXT) == {"violence": 0.42, "hate": 0.2}


async def test_without_an_event_loop_it_blocks(tmp_path: Path) -> None:
    """The command line filters in a plain call."""
    async with model_of(moderate, tmp_path) as model:
        stream = StreamFilter(rules_for(model))
        assert await asyncio.to_thread(stream.feed, TEXT) == "All is well. [VIOLENCE] "


async def test_a_guard_model_names_the_hazards(tmp_path: Path) -> None:
    """A chat completion that says "unsafe" and why, or "safe"."""

    async def guard(request: web.Request) -> web.Response:
        asked = await request.json()
        assert asked["temperature"] == 0
        said = "\n\nunsafe\nS1, S9" if "hurt" in asked["messages"][0]["content"] else "\n\nsafe"
        return web.json_response({"choices": [{"message": {"role": "assistant", "content": said}}]})

    async with model_of(guard, tmp_path, kind="guard", labels=[]) as model:
        for label in ("unsafe", "S1", "S9"):
            assert await filtered(rules_for(model, label), TEXT) == "All is well. [VIOLENCE] Good night."
        assert await filtered(rules_for(model, "S2"), TEXT) == TEXT


async def test_the_credential_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers hold what the named variables hold."""
    monkeypatch.setenv("MODERATION_KEY", KEY)
    monkeypatch.setenv("TEAM", "blue")
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.headers["Authorization"], request.headers["X-Team"]))
        return await moderate(request)

    async with model_of(handler, tmp_path, bearer="MODERATION_KEY", headers={"x-team": "TEAM"}) as model:
        await filtered(rules_for(model), "Fine.")
    assert seen == [(f"Bearer {KEY}", "blue")]


async def slow(request: web.Request) -> web.Response:
    await asyncio.sleep(30)
    raise AssertionError


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.02)


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def resetting(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


FLAGS = {"violence": True, "hate": False}
SCORES = {"violence": 0.5, "hate": 0.5}


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        (slow, "late"),
        (dripping, "late"),
        (endless, "too_large"),
        (resetting, "unreachable"),
        (answering("{}", status=500), r"status: .*\(500\)"),
        (answering("{}", status=429), r"status: .*\(429\)"),
        (answering("", status=302, headers={"Location": "http://127.0.0.1:1/"}), r"status: .*\(302\)"),
        (answering("no JSON"), "malformed"),
        (answering("[" * 50_000), "malformed"),
        (answering([]), "malformed"),
        (answering({"results": []}), "malformed"),
        (answering({"results": [{"categories": FLAGS, "category_scores": SCORES}] * 2}), "malformed"),
        (answering({"results": [{"categories": {"violence": True}, "category_scores": SCORES}]}), "malformed"),
        (answering({"results": [{"categories": FLAGS, "category_scores": {"violence": 1}}]}), "malformed"),
        (answering({"results": [{"categories": {"violence": 1, "hate": 0}}]}), "malformed"),
        (answering({"results": [{"categories": FLAGS, "category_scores": SCORES | {"hate": 7}}]}), "malformed"),
        (answering('{"results": [{"categories": {"violence": true, "hate": NaN}}]}'), "malformed"),
    ],
)
async def test_bad_answers_fail_closed(tmp_path: Path, handler: Handler, code: str) -> None:
    """Whatever the server does, in the end there is a DetectorError that names the detector, and holds no text."""
    async with model_of(handler, tmp_path, deadline=0.5) as model:
        with pytest.raises(
            DetectorError, match=rf"the detector 'http \(.*moderation.json\)' could not judge: {code}"
        ) as caught:
            await filtered(rules_for(model), TEXT)
        assert "well" not in str(caught.value)
        assert sum(model.faults.values()) >= 1


@pytest.mark.parametrize("said", ["", "maybe", "Unsafe: S1", None, 7])
async def test_a_guard_that_rambles_fails_closed(tmp_path: Path, said: object) -> None:
    """Neither "safe" nor "unsafe" is no verdict."""
    handler = answering({"choices": [{"message": {"content": said}}]})
    async with model_of(handler, tmp_path, kind="guard", labels=[]) as model:
        with pytest.raises(DetectorError, match="malformed"):
            await filtered(rules_for(model, "unsafe"), TEXT)


async def test_nobody_there_fails_closed(tmp_path: Path) -> None:
    """A server that is down."""
    async with model_of(moderate, tmp_path, url="http://127.0.0.1:1/v1/moderations") as model:
        with pytest.raises(DetectorError, match="unreachable"):
            await filtered(rules_for(model), TEXT)


async def test_a_broken_connection_is_tried_once_more(tmp_path: Path) -> None:
    """A connection that was kept open may have been closed: the question is asked again, once."""
    calls = []

    async def handler(request: web.Request) -> web.Response:
        calls.append(1)
        return await (resetting(request) if len(calls) == 1 else moderate(request))

    async with model_of(handler, tmp_path) as model:
        assert await filtered(rules_for(model), "I will hurt you!") == "[VIOLENCE]"
    assert len(calls) == 2


async def test_the_breaker_spares_a_server_that_fails(tmp_path: Path) -> None:
    """After failures in a row the server is not asked; after the rest it is, and a good answer counts."""
    status = [500]
    calls = []

    async def handler(request: web.Request) -> web.Response:
        calls.append(1)
        return await moderate(request) if status[0] == 200 else web.Response(status=status[0])

    async with model_of(handler, tmp_path, faults=2, rest=0.3, concurrency=1) as model:
        rules = rules_for(model)
        for _ in range(2):
            with pytest.raises(DetectorError, match="status"):
                await filtered(rules, "One.")
        with pytest.raises(DetectorError, match="resting"):
            await filtered(rules, "One.")
        assert len(calls) == 2
        status[0] = 200
        await asyncio.sleep(0.35)
        assert await filtered(rules, TEXT) == "All is well. [VIOLENCE] Good night."
        assert model.faults == {"status": 2, "resting": 1}


async def test_no_more_requests_at_a_time_than_allowed(tmp_path: Path) -> None:
    """Streams share the limit; what may not even wait is refused."""
    now, most = [0], [0]

    async def handler(request: web.Request) -> web.Response:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await asyncio.sleep(0.05)
        now[0] -= 1
        return await moderate(request)

    async with model_of(handler, tmp_path, concurrency=2, waiting=2) as model:
        rules = rules_for(model)
        outcomes = await asyncio.gather(*(filtered(rules, f"Text {n}.") for n in range(6)), return_exceptions=True)
        assert most[0] == 2
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["PluginError"] * 2 + ["str"] * 4
        assert model.faults == {"busy": 2}


async def test_a_stream_that_goes_away_ends_its_request(tmp_path: Path) -> None:
    """A cancelled stream closes the connection, so that the server need not go on."""
    ended = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()
        return web.Response()

    async with model_of(handler, tmp_path, deadline=20) as model:
        running = asyncio.create_task(filtered(rules_for(model), TEXT))
        await asyncio.sleep(0.2)
        started = time.monotonic()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.wait_for(ended.wait(), 5)
        assert time.monotonic() - started < 5


RULES = """
- id: moderated
  title: A sentence that the endpoint flags
  entity: VIOLENCE
  category: toxicity
  detector: http
  model: {file}
  labels: [violence]
"""


@asynccontextmanager
async def moderated(
    handler: Handler, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[tuple[Upstream, Proxy]]:
    """The proxy with one rule that asks the handler."""
    monkeypatch.setitem(registry.OWN, "http", load)
    async with model_of(handler, folder):
        file = folder / "moderation.json"
        try:
            async with proxied(folder, RULES.format(file=file), **settings) as both:
                yield both
        finally:
            await asyncio.to_thread(cast("HttpModel", registry.load("http", str(file))).close)


async def test_the_proxy_asks_about_each_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule file names the endpoint's settings; the flagged sentence never leaves; the record names the model."""
    async with moderated(moderate, tmp_path, monkeypatch) as (upstream, proxy):
        upstream.says(*stream("All is", " well. I will ", "hurt you", "! Good", " night."))
        _, _, raw = await proxy.post()
        assert text(raw) == "All is well. [VIOLENCE] Good night."
        closed = await proxy.closed()
        assert closed["findings"] == {"redact": 1}
        assert closed["faults"] == []


async def test_an_endpoint_that_fails_halts_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was judged before has left, nothing after it does; the record says why."""
    calls = []

    async def handler(request: web.Request) -> web.Response:
        calls.append(1)
        return await moderate(request) if len(calls) == 1 else web.Response(status=503)

    async with moderated(handler, tmp_path, monkeypatch) as (upstream, proxy):
        upstream.says(*stream("All is", " well. I", " am fine", ". Good", " night."))
        _, _, raw = await proxy.post()
        assert text(raw) == "All is well. "
        assert "fine" not in raw.decode()
        closed = await proxy.closed()
        assert closed["faults"] == ["detector_error"]
        assert "503" not in raw.decode()


async def test_an_endpoint_that_fails_can_be_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the operator's setting the text passes unjudged, and the record says so."""
    failing = answering("{}", status=503)
    async with moderated(failing, tmp_path, monkeypatch, on_detector_error="pass") as (upstream, proxy):
        upstream.says(*stream("All is", " well. I", " am fine."))
        _, _, raw = await proxy.post()
        assert text(raw) == "All is well. I am fine."
        assert (await proxy.closed())["faults"] == ["detector_passed"]


async def test_a_slow_endpoint_holds_up_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While answers are waited for the proxy goes on, also at the end of streams that break off."""

    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return await moderate(request)

    async def longest_turn() -> float:
        longest, last = 0.0, time.monotonic()
        while True:
            try:
                await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                return longest
            now = time.monotonic()
            longest, last = max(longest, now - last), now

    async with moderated(handler, tmp_path, monkeypatch) as (upstream, proxy):
        watching = asyncio.create_task(longest_turn())
        upstream.says(*stream("All is well. I am", finish=None, done=False), Abort())
        await asyncio.gather(*(proxy.post() for _ in range(4)))
        watching.cancel()
        assert await watching < 0.25
