"""Several processes on one port: spread, ends, replacements, other rules; all with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.harness import (
    CHAT,
    DONE,
    RULES,
    Upstream,
    Wait,
    error_of,
    event,
    finishes,
    stream,
    text,
    until,
    upstream,
)

#: No test may last longer, in seconds: each starts processes.
LIMIT = 60.0


@dataclass
class Served:
    """A proxy of several processes."""

    upstream: Upstream
    url: str
    process: asyncio.subprocess.Process
    folder: Path
    session: aiohttp.ClientSession

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        return [int(pid) for pid in children.split()]

    @property
    def trails(self) -> dict[int, list[str]]:
        """The lines of each worker's audit file, by its process id."""
        files = (self.folder / "audit").glob("*.jsonl")
        return {int(file.stem.rsplit("-", 1)[1]): file.read_text(encoding="ascii").splitlines() for file in files}

    async def ask(self) -> bytes:
        """One answer, on a connection of its own."""
        async with self.session.post(self.url + CHAT, json={}, headers={"Connection": "close"}) as response:
            assert response.status == 200
            return await response.read()

    async def ready(self) -> tuple[int, dict[str, Any]]:
        """What readiness says, on a connection of its own."""
        async with self.session.get(self.url + "/-/ready", headers={"Connection": "close"}) as response:
            return response.status, await response.json()

    async def opened_by(self, before: dict[int, int]) -> int:
        """The worker whose trail has grown."""
        while True:
            for pid, lines in self.trails.items():
                if len(lines) > before.get(pid, 0):
                    return pid
            await asyncio.sleep(0.01)

    def counts(self) -> dict[int, int]:
        """How long each trail is."""
        return {pid: len(lines) for pid, lines in self.trails.items()}


async def _start(played: Upstream, folder: Path, **settings: str) -> asyncio.subprocess.Process:
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    given = {
        "UPSTREAM": played.url,
        "RULES": str(folder / "rules.yaml"),
        "AUDIT": str(folder / "audit"),
        "PORT": "0",
        "SHUTDOWN_GRACE": "20",
        "WORKERS": "2",
        **settings,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "safeproxy",
        "serve",
        env={**os.environ, **{f"SAFEPROXY_{name}": value for name, value in given.items()}},
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )


@asynccontextmanager
async def served(folder: Path, **settings: str) -> AsyncIterator[Served]:
    """Two workers in front of a scripted upstream; none of them is left."""
    async with asyncio.timeout(LIMIT), upstream() as played, aiohttp.ClientSession() as session:
        process = await _start(played, folder, **settings)
        assert process.stderr is not None
        workers: list[int] = []
        try:
            url = (await process.stderr.readline()).decode().strip().removeprefix("safeproxy listens on ")
            one = Served(played, url, process, folder, session)
            workers = one.workers
            yield one
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()
            await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


async def test_requests_reach_both_workers_and_each_has_its_trail(tmp_path: Path) -> None:
    """Port 0 is one port for all; the trails are whole lines, and together they tell of every request once."""
    async with served(tmp_path) as proxy:
        proxy.upstream.says(*stream("to ada@", "example.com"))
        answers = await asyncio.gather(*(proxy.ask() for _ in range(30)))
        assert {text(answer) for answer in answers} == {"to [EMAIL_ADDRESS]"}
        await until(lambda: sum(proxy.counts().values()) >= 90)
        assert set(proxy.trails) == set(proxy.workers)
        assert all(len(lines) % 3 == 0 and all(line.endswith("}") for line in lines) for lines in proxy.trails.values())
        proxy.process.terminate()
        assert await proxy.process.wait() == 0


async def test_what_runs_ends_in_order_and_what_comes_too_late_is_told(tmp_path: Path) -> None:
    """After SIGTERM a stream goes on to its end; readiness is 503 at once and a new request gets a 503 to try again."""
    async with served(tmp_path) as proxy:
        more = asyncio.Event()
        proxy.upstream.says(event("Hello, world. ", role="assistant"), more, event("Bye."), event(finish="stop"), DONE)
        async with proxy.session.post(proxy.url + CHAT, json={}) as running:
            first = await running.content.readany()
            proxy.process.terminate()
            while not await _is_told_of_the_end(proxy):
                pass
            more.set()
            raw = first + await running.read()
        assert (text(raw), finishes(raw)) == ("Hello, world. Bye.", ["stop"])
        assert await proxy.process.wait() == 0


async def _is_told_of_the_end(proxy: Served) -> bool:
    """By the worker that still runs: the other may not have heard the signal yet, or may be gone."""
    try:
        if (await proxy.ready())[0] != 503:
            return False
        async with proxy.session.get(proxy.url + "/v1/models", headers={"Connection": "close"}) as late:
            if late.status == 503 and late.headers.get("Retry-After"):
                assert late.headers["Connection"] == "close"
                return True
    except aiohttp.ClientConnectionError:
        pass
    return False


async def test_a_grace_that_is_over_ends_streams_as_the_api_would(tmp_path: Path) -> None:
    """The client gets an error event, not a broken connection, whichever worker it is with."""
    async with served(tmp_path, SHUTDOWN_GRACE="0.1") as proxy:
        proxy.upstream.says(event("Hello, world. ", role="assistant"), Wait())
        async with proxy.session.post(proxy.url + CHAT, json={}) as running:
            await running.content.readany()
            proxy.process.send_signal(signal.SIGINT)
            assert error_of(await running.read())["message"]
        assert await proxy.process.wait() == 0


async def test_a_worker_that_is_killed_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    """A stream of another worker ends as it should, and there are two again."""
    async with served(tmp_path) as proxy:
        more = asyncio.Event()
        proxy.upstream.says(event("Hello, world. ", role="assistant"), more, event(finish="stop"), DONE)
        before, workers = proxy.counts(), proxy.workers
        async with proxy.session.post(proxy.url + CHAT, json={}) as running:
            await running.content.readany()
            busy = await proxy.opened_by(before)
            (idle,) = set(workers) - {busy}
            os.kill(idle, signal.SIGKILL)
            await until(lambda: len(set(proxy.workers) - {idle}) == 2)
            more.set()
            assert finishes(await running.read()) == ["stop"]
        (fresh,) = set(proxy.workers) - {busy}
        proxy.upstream.says(*stream("Fine."))
        while fresh not in proxy.trails:
            assert text(await proxy.ask()) == "Fine."
        proxy.process.terminate()
        assert await proxy.process.wait() == 0


async def test_workers_do_not_outlive_the_process_that_started_them(tmp_path: Path) -> None:
    """Even where that could not say goodbye."""
    async with served(tmp_path) as proxy:
        assert len(proxy.workers) == 2
        proxy.process.kill()


async def test_rules_are_put_in_force_while_the_proxy_runs(tmp_path: Path) -> None:
    """SIGHUP reaches every worker: what runs keeps its rules, what comes has new ones, broken ones change nothing."""
    async with served(tmp_path) as proxy:
        more = asyncio.Event()
        proxy.upstream.says(event("To ada@example.com. ", role="assistant"), more, *stream("To ada@example.com.")[1:])
        old = (await proxy.ready())[1]["rules"]
        async with proxy.session.post(proxy.url + CHAT, json={}) as running:
            first = await running.content.readany()
            await _renewed(
                proxy, RULES.replace("EMAIL_ADDRESS", "MAIL"), lambda rules: rules["digest"] != old["digest"]
            )
            more.set()
            raw = first + await running.read()
        assert text(raw) == "To [EMAIL_ADDRESS]. To [EMAIL_ADDRESS]."
        proxy.upstream.says(*stream("To ada@example.com."))
        assert {text(await proxy.ask()) for _ in range(10)} == {"To [MAIL]."}
        await _renewed(proxy, RULES.replace("entity: FORBIDDEN", "entity: 7"), lambda rules: "error" in rules)
        error = (await proxy.ready())[1]["rules"]["error"]
        assert error["place"].startswith("rules.yaml:")
        assert "FORBIDDEN" not in str(error)
        assert {text(await proxy.ask()) for _ in range(10)} == {"To [MAIL]."}
        await _renewed(proxy, RULES, lambda rules: rules["digest"] == old["digest"] and "error" not in rules)


async def _renewed(proxy: Served, rules: str, wanted: Any) -> None:
    """Other rules, and every worker has taken them in: so many connections in a row do not all miss one of two."""
    (proxy.folder / "rules.yaml").write_text(rules, encoding="utf-8")
    proxy.process.send_signal(signal.SIGHUP)
    in_a_row = 0
    while in_a_row < 20:
        in_a_row = in_a_row + 1 if wanted((await proxy.ready())[1]["rules"]) else 0


async def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    """Broken rules are the workers' error and the whole proxy's, told once; a port that is taken is told as such."""
    async with served(tmp_path) as proxy:
        port = proxy.url.rsplit(":", 1)[1]
        (tmp_path / "other").mkdir()
        second = await _start(proxy.upstream, tmp_path / "other", PORT=port)
        _, said = await second.communicate()
        assert second.returncode == 2
        assert f"port {port}" in said.decode()
        broken = await _start(proxy.upstream, tmp_path / "other", RULES=str(tmp_path / "none.yaml"))
        _, said = await broken.communicate()
        assert broken.returncode == 2
        assert said.decode().count("none.yaml") == 1
