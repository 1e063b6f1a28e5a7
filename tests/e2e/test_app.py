"""The application as a whole: health, mounting, starting and failing to start."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from safeproxy.errors import ConfigError, RuleError
from safeproxy.events import Finding
from safeproxy.ledger.record import RequestClosed
from safeproxy.pipeline import StreamPipeline
from safeproxy.shell import asked
from safeproxy.shell.app import create_app
from safeproxy.shell.serve import running
from safeproxy.shell.service import SERVICE
from safeproxy.shell.settings import Settings
from tests.e2e.harness import CHAT, LIMIT, RULES, Wait, error_of, event, proxied, stream, text, upstream


async def test_health_and_readiness(tmp_path: Path) -> None:
    """Alive, and ready with these rules."""
    async with proxied(tmp_path) as (_, proxy):
        async with proxy.session.get(proxy.url + "/-/health") as response:
            assert (response.status, await response.json()) == (200, {"status": "ok"})
        async with proxy.session.get(proxy.url + "/-/ready") as response:
            state = await response.json()
        assert (response.status, state["ready"], state["rules"]["count"]) == (200, True, 3)
        assert state["rules"]["digest"] == proxy.app[SERVICE].policy.rules.digest
        assert proxy.records() == []


async def test_it_can_be_mounted(tmp_path: Path) -> None:
    """Inside another server paths are read below the mount point; a client that leaves is noticed all the same."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES, encoding="utf-8")
    async with asyncio.timeout(LIMIT), upstream() as played:
        parent = web.Application()
        settings = Settings(upstream=played.url, rules=(rules,), audit=tmp_path / "audit")
        parent.add_subapp("/llm", create_app(settings))
        runner = web.AppRunner(parent)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/llm"
        try:
            async with aiohttp.ClientSession() as session:
                played.says(*stream("to ada@", "example.com"))
                async with session.post(
                    URL(f"{url}{CHAT}?a=%2F", encoded=True), data=io.BytesIO(b"x" * 2_000_000)
                ) as response:
                    assert text(await response.read()) == "to [EMAIL_ADDRESS]"
                assert played.asked[0]["target"] == CHAT + "?a=%2F"
                async with session.get(url + "/-/ready") as response:
                    assert response.status == 200
                played.says(event("Hello, world. ", role="assistant"), Wait())
                response = await session.post(url + CHAT, json={})
                await response.content.readany()
                response.close()
                await played.left.wait()
        finally:
            await runner.cleanup()


async def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    """The message names the settings and the remedy."""
    async with proxied(tmp_path) as (_, proxy):
        port = int(proxy.url.rsplit(":", 1)[1])
        app = create_app(
            Settings(upstream="http://127.0.0.1:9", audit=tmp_path / "audit", rules=(tmp_path / "rules.yaml",))
        )
        with pytest.raises(ConfigError, match=f"'port'.*{port}"):
            async with running(app, "127.0.0.1", port):
                pass


def test_rules_are_read_before_anything_starts(tmp_path: Path) -> None:
    """A broken rule file is an error of create_app, with its place."""
    file = tmp_path / "broken.yaml"
    file.write_text("- id: [\n", encoding="utf-8")
    with pytest.raises(RuleError, match=r"broken\.yaml"):
        create_app(Settings(upstream="http://127.0.0.1:9", rules=(file,), audit=tmp_path))


def test_a_missing_key_is_noticed_before_anything_starts(tmp_path: Path) -> None:
    """A rule that hashes needs a key."""
    file = tmp_path / "rules.yaml"
    file.write_text(RULES.replace("action: observe", "action: hash"), encoding="utf-8")
    with pytest.raises(ConfigError, match="hash_key"):
        create_app(Settings(upstream="http://127.0.0.1:9", rules=(file,), audit=tmp_path))


def test_an_audit_folder_that_cannot_be_is_noticed_before_anything_starts(tmp_path: Path) -> None:
    """The message names the setting; who chose to carry on without records may start."""
    file = tmp_path / "rules.yaml"
    file.write_text(RULES, encoding="utf-8")
    settings = {"upstream": "http://127.0.0.1:9", "rules": (file,), "audit": file / "log"}
    with pytest.raises(ConfigError, match="'audit'"):
        create_app(Settings(**settings))
    assert create_app(Settings(on_audit_error="pass", **settings))


async def test_a_bug_in_mid_stream_ends_in_an_error_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of our own is told in the API's way, recorded, and hurts no other request."""

    class Broken(StreamPipeline):
        """Breaks at its second piece, and again when it is asked to end."""

        calls = 0

        def feed(self, data: bytes) -> bytes:
            self.calls += 1
            if self.calls > 1:
                raise RuntimeError("ada@example.com")
            return super().feed(data)

        def fail(self, fault: str) -> bytes:
            raise RuntimeError(fault)

    async with proxied(tmp_path) as (upstream, proxy):
        with monkeypatch.context() as patched:
            patched.setattr(asked, "StreamPipeline", Broken)
            upstream.says(event("Hello, world. ", role="assistant"), 0.1, event("more"), Wait())
            _, _, raw = await proxy.post()
        assert error_of(raw)["code"] == "internal_error"
        closed = await proxy.closed()
        assert (closed["ended"], closed["faults"]) == ("internal_error", ["internal_error"])
        upstream.says(*stream("Fine."))
        assert text((await proxy.post())[2]) == "Fine."


async def test_a_broken_log_changes_nothing(tmp_path: Path) -> None:
    """An observer that raises on every event does not touch the answer or the trail."""

    class Broken:
        """Raises whatever it is told."""

        def opened(self, record: object) -> None:
            raise RuntimeError

        def found(self, record: Finding) -> None:
            raise RuntimeError

        def closed(self, record: RequestClosed) -> None:
            raise RuntimeError

    async with proxied(tmp_path) as (upstream, proxy):
        proxy.app[SERVICE].observers._others = (Broken(),)  # type: ignore[assignment]
        upstream.says(*stream("to ada@", "example.com"))
        assert text((await proxy.post())[2]) == "to [EMAIL_ADDRESS]"
        assert (await proxy.closed())["findings"] == {"redact": 1}


def test_tracing_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a collector and has no OpenTelemetry is told what to install."""
    monkeypatch.delitem(sys.modules, "safeproxy.observers.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    settings = Settings(upstream="http://upstream", audit=tmp_path / "audit", otlp_endpoint="http://127.0.0.1:4318")
    with pytest.raises(ConfigError, match=r"otlp_endpoint.*pip install 'safeproxy\[otel\]'"):
        create_app(settings)
