"""What a scrape says after real requests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from safeproxy.ledger.writer import AuditError
from safeproxy.observers.audit import AuditObserver
from safeproxy.shell.service import SERVICE
from tests.e2e.harness import CHAT, Abort, Proxy, Wait, body, event, proxied, stream

ASKED = {"model": "gpt-x", "stream": True, "messages": []}
Scrape = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(proxy: Proxy) -> Scrape:
    """Every sample by its name, without the prefix, and its labels."""
    async with proxy.session.get(proxy.at("/-/metrics")) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await response.text()
    families = text_string_to_metric_families(text)
    return {
        (sample.name.removeprefix("safeproxy_"), frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def at(scraped: Scrape, name: str, **labels: str) -> float:
    """The sum of the samples of this name that have these labels."""
    return sum(value for (one, its), value in scraped.items() if one == name and labels.items() <= dict(its).items())


async def test_a_stream_with_findings(tmp_path: Path) -> None:
    """Times, characters, findings and reasons of one answer that was held for a while."""
    async with proxied(tmp_path) as (upstream, proxy):
        rest = asyncio.Event()
        upstream.says(event("Dear ", role="assistant"), event("ada@exa"), rest, *stream("mple.com, watched "))
        async with proxy.session.post(proxy.at(CHAT), json=ASKED) as response:
            assert b"Dear" in await response.content.readany()
            assert at(await scrape(proxy), "requests_running") == 1
            rest.set()
            await response.read()
        await proxy.closed()
        scraped = await scrape(proxy)
    assert at(scraped, "requests_running") == 0
    assert at(scraped, "requests_total", api="openai_chat", status="2xx", ended="stop", stream="true") == 1
    assert at(scraped, "findings_total", rule="email", action="redact", side="response") == 1
    assert at(scraped, "findings_total", rule="watched", action="observe") == 1
    assert at(scraped, "halts_total") == 0
    for name in ("upstream_ttft", "delivered_ttft", "upstream_tpot", "delivered_tpot"):
        assert at(scraped, f"{name}_seconds_count", model="gpt-x") == 1
    assert at(scraped, "delivered_ttft_seconds_sum") >= at(scraped, "upstream_ttft_seconds_sum") > 0
    assert at(scraped, "held_seconds_sum") > 0
    assert at(scraped, "held_characters_sum") == len("ada@exa")
    assert at(scraped, "filter_seconds_sum") > 0
    scanned = len("Dear ada@example.com, watched ")
    assert at(scraped, "scanned_characters_total") == scanned
    assert at(scraped, "characters_total", fate="removed") == len("ada@example.com")
    assert at(scraped, "characters_total", fate="passed") == scanned - len("ada@example.com")
    assert at(scraped, "finish_reasons_total", stage="delivered", reason="stop") == 1
    assert at(scraped, "body_bytes_total", stage="delivered") > 0


async def test_a_halt_and_its_tokens(tmp_path: Path) -> None:
    """An answer that is not streamed, with its usage, ended by a rule."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.answers(body("This is forbidden."))
        await proxy.post(body=ASKED)
        scraped = await scrape(proxy)
    assert at(scraped, "requests_total", ended="content_filter", stream="false") == 1
    assert at(scraped, "halts_total", rule="forbidden", side="response") == 1
    assert at(scraped, "finish_reasons_total", stage="upstream", reason="stop") == 1
    assert at(scraped, "finish_reasons_total", stage="delivered", reason="content_filter") == 1
    assert at(scraped, "tokens_total", model="gpt-x", tenant="none", kind="input") == 3
    assert at(scraped, "tokens_total", model="gpt-x", tenant="none", kind="output") == 4
    assert at(scraped, "upstream_ttft_seconds_count") == 0
    assert at(scraped, "filter_seconds_count") == 1


async def test_a_client_that_leaves(tmp_path: Path) -> None:
    """It is a cancellation, in the middle of the answer."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(event("Hello, world. ", role="assistant"), Wait())
        async with aiohttp.ClientSession() as session, session.post(proxy.at(CHAT), json=ASKED) as response:
            await response.content.readany()
        await proxy.closed()
        scraped = await scrape(proxy)
    assert at(scraped, "cancellations_total", when="during") == 1
    assert at(scraped, "requests_total", ended="client_cancelled") == 1


async def test_an_upstream_that_breaks_off(tmp_path: Path) -> None:
    """The fault is counted by its code."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(event("Hello", role="assistant"), Abort())
        await proxy.post(body=ASKED)
        scraped = await scrape(proxy)
    assert at(scraped, "requests_total", ended="upstream_error") == 1
    assert at(scraped, "faults_total") >= 1


async def test_what_the_proxy_refuses_itself(tmp_path: Path) -> None:
    """By code and status; what the client calls its model is not told."""
    async with proxied(tmp_path, client_max_size=1024) as (_, proxy):
        status, *_ = await proxy.post(body={**ASKED, "user": "x" * 2000})
        assert status == 413
        scraped = await scrape(proxy)
    assert at(scraped, "refusals_total", code="request_too_large", status="413") == 1
    assert at(scraped, "requests_total", status="4xx", ended="refused", upstream="none") == 1
    assert not any("gpt-x" in dict(labels).values() for _, labels in scraped)


async def test_what_passes_unfiltered_has_no_api(tmp_path: Path) -> None:
    """It is counted, and nothing of it was scanned."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.answers({"data": []})
        async with proxy.session.get(proxy.at("/v1/models")) as response:
            await response.read()
        await proxy.closed()
        scraped = await scrape(proxy)
    assert at(scraped, "requests_total", api="none", ended="passed_unfiltered") == 1
    assert at(scraped, "scanned_characters_total") == 0


async def test_a_request_that_cannot_be_recorded_runs_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the audit trail fails, what began has ended."""

    def fail(*_: object) -> None:
        raise AuditError("full")

    async with proxied(tmp_path) as (_, proxy):
        monkeypatch.setattr(AuditObserver, "opened", fail)
        status, *_ = await proxy.post(body=ASKED)
        assert status == 503
        async with proxy.session.get(proxy.at("/v1/models"), headers={"Upgrade": "websocket"}) as response:
            assert response.status == 403  # refused before it would have been recorded
        scraped = await scrape(proxy)
    assert at(scraped, "requests_running") == 0
    assert at(scraped, "requests_total") == 2
    assert at(scraped, "refusals_total", code="audit_unavailable") == 1


async def test_scrapes_are_no_requests(tmp_path: Path) -> None:
    """They count nowhere and leave no record; each application has numbers of its own."""
    async with proxied(tmp_path) as (_, proxy):
        await scrape(proxy)
        scraped = await scrape(proxy)
        assert proxy.records() == []
        digest = proxy.app[SERVICE].policy.rules.digest
    assert at(scraped, "requests_total") == 0
    assert at(scraped, "rules", digest=digest) == 3
    assert at(scraped, "resident_memory_bytes") > 0
