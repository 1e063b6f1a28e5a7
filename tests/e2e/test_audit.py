"""The audit trail of real requests: its schema, its truth, and what happens when it cannot be written."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.e2e.harness import CHAT, Abort, Wait, body, error_of, event, events, proxied, stream, text

SCHEMA = Path(__file__).parents[2] / "audit" / "schema.json"
SECRET = "ada@example.com"


def spoil(audit: Path) -> None:
    """Nothing can be written any more: where the folder was there is a file."""
    shutil.rmtree(audit)
    audit.write_text("", encoding="ascii")


async def test_real_records_follow_the_schema(tmp_path: Path) -> None:
    """Every way a request can go leaves records that the published schema accepts."""
    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    async with proxied(tmp_path, unknown_paths="refuse") as (upstream, proxy):
        upstream.says(*stream("to ", SECRET, " watched ", "forbidden"))
        await proxy.post()
        upstream.answers(body(f"to {SECRET}"))
        await proxy.post()
        upstream.answers({"error": {"message": "No."}}, 401)
        await proxy.post()
        upstream.says(event("Hi", role="assistant"), 0.1, Abort())
        await proxy.post()
        upstream.says(b"page", status=500, Content_Type="text/html")
        await proxy.post()
        upstream.says(status=204)
        await proxy.post()
        upstream.answers({})
        await proxy.post("/v1/embeddings")
        await proxy.post("/v1/unknown\n%00" + "x" * 600)
        closed = await proxy.closed(8)
        assert closed["status"] == 501
        records = proxy.records()
    for record in records:
        validator.validate(record)
    opened = [record["request_id"] for record in records if record["event"] == "request.opened"]
    ended = [record["request_id"] for record in records if record["event"] == "request.closed"]
    assert sorted(opened) == sorted(set(opened)) == sorted(ended)
    assert {record["rule"] for record in records if record["event"] == "finding"} == {"email", "watched", "forbidden"}


async def test_no_text_is_recorded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither prompt, answer, matched text, credential nor query is in the audit trail or the log."""
    private = ["ada@", "wonderland", "rabbit", "sk-secret", "querykey"]
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("In wonderland: ", SECRET, "."))
        await proxy.post(
            f"{CHAT}?key=querykey",
            body={"model": SECRET, "messages": [{"role": "user", "content": "rabbit"}]},
            headers={"Authorization": "Bearer sk-secret"},
        )
        upstream.answers({**body("In wonderland."), "model": SECRET})
        await proxy.post()
        await proxy.post(f"/v1/files/{SECRET}/content")
        closed = await proxy.closed(3)
        assert closed["path"] == "/v1/files/[EMAIL_ADDRESS]/content"
        written = "".join(file.read_text(encoding="ascii") for file in proxy.audit.iterdir())
    out, err = capfd.readouterr()
    for word in private:
        assert word not in written
        assert word not in out + err


async def test_the_request_is_recorded_before_the_upstream_hears_of_it(tmp_path: Path) -> None:
    """However it ends, a request cannot escape the trail."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.mute = True
        waiting = asyncio.ensure_future(proxy.post(body={"model": "asked"}))
        await upstream.heard.wait()
        (opened,) = proxy.records()
        assert (opened["event"], opened["model"], opened["path"]) == ("request.opened", "asked", CHAT)
        waiting.cancel()
        await proxy.closed()


async def test_times_are_those_of_the_request(tmp_path: Path) -> None:
    """First token and pace are measured on both sides, and the client's are never before the upstream's."""
    async with proxied(tmp_path) as (upstream, proxy):
        pieces = [step for piece in ("one", "two", "three") for step in (event(f"{piece} "), 0.05)]
        upstream.says(0.05, event("", role="assistant"), *pieces, event(finish="stop"), b"data: [DONE]\n\n")
        await proxy.post()
        timing = (await proxy.closed())["timing"]
        assert 50 <= timing["upstream"]["ttft_ms"] <= timing["delivered"]["ttft_ms"] <= timing["duration_ms"]
        assert timing["upstream"]["tpot_ms"] > 0
        assert timing["delivered"]["tpot_ms"] > 0
        assert timing["held_mean_ms"] >= 0


async def test_new_requests_are_refused_while_nothing_can_be_recorded(tmp_path: Path) -> None:
    """503 in the API's shape, the upstream hears nothing, readiness says so; and all recovers."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("Hi"))
        spoil(proxy.audit)
        status, _, raw = await proxy.post()
        assert (status, error_of(raw)["code"]) == (503, "audit_unavailable")
        assert (await proxy.post("/v1/embeddings"))[0] == 503
        assert upstream.asked == []
        async with proxy.session.get(proxy.url + "/-/ready") as response:
            assert response.status == 503
            assert (await response.json())["audit"] == {"writable": False}
        proxy.audit.unlink()
        async with proxy.session.get(proxy.url + "/-/ready") as response:
            assert response.status == 200
        assert (await proxy.post())[0] == 200
        await proxy.closed()


async def test_running_answers_halt_when_nothing_can_be_recorded(tmp_path: Path) -> None:
    """A stream that is already on its way ends with the API's error event, and the upstream is closed."""
    async with proxied(tmp_path) as (upstream, proxy):
        endless = [step for _ in range(500) for step in (event("word "), 0.02)]
        upstream.says(event("", role="assistant"), *endless, Wait())
        async with proxy.session.post(proxy.url + CHAT, json={}) as response:
            await response.content.readany()
            spoil(proxy.audit)
            assert (await proxy.post())[0] == 503
            raw = await response.read()
        assert "error" in [one for one in events(raw) if one != "[DONE]"][-1]
        await upstream.left.wait()


async def test_an_answer_with_an_unrecorded_finding_is_withheld(tmp_path: Path) -> None:
    """If the finding cannot be written, a whole answer becomes a 503."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(0.3, json.dumps(body(f"to {SECRET}")).encode(), Content_Type="application/json")
        asking = asyncio.ensure_future(proxy.post())
        await upstream.heard.wait()
        spoil(proxy.audit)
        status, _, raw = await asking
        assert (status, error_of(raw)["code"]) == (503, "audit_unavailable")


async def test_the_operator_may_choose_to_carry_on(tmp_path: Path) -> None:
    """With on_audit_error=pass answers go on, filtered, without a record."""
    async with proxied(tmp_path, on_audit_error="pass") as (upstream, proxy):
        upstream.says(*stream("to ", SECRET, "."))
        spoil(proxy.audit)
        status, _, raw = await proxy.post()
        assert (status, text(raw)) == (200, "to [EMAIL_ADDRESS].")
        async with proxy.session.get(proxy.url + "/-/ready") as response:
            assert response.status == 200
