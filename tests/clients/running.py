"""Runs a client's script against the upstream and against the proxy before it, and reads what its user saw."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from safeproxy.shell.app import create_app
from safeproxy.shell.serve import running
from safeproxy.shell.settings import Settings
from tests.clients.scenarios import IDLE_RULES, RULES, SCENARIOS
from tests.clients.upstream import upstream

HERE = Path(__file__).parent
#: Where setup.sh has put the environments.
PLACE = Path(os.environ.get("SAFEPROXY_CLIENTS") or HERE.parent.parent / ".clients").absolute()
#: No client may take longer for all of its answers, in seconds.
LIMIT = 100.0
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")


@dataclass(frozen=True)
class Mode:
    """One way to use a client, and what a halt looks like in it."""

    name: str
    halted: str
    """The finish reason, or ``!`` and the type of the exception."""
    kinds: str = "text think tool"
    """Kinds of scenarios that it can do."""
    streamed: bool = False
    blocked: str = ""
    """What a blocked prompt looks like, written as ``halted`` is."""
    others: tuple[tuple[str, str], ...] = ()
    """Scenarios whose halt looks otherwise in it, and how."""

    def halt(self, scenario: str) -> str:
        """What the halt of this scenario looks like."""
        return dict(self.others).get(scenario, self.halted)

    @property
    def scenarios(self) -> list[str]:
        """The names of its scenarios."""
        kinds = [*self.kinds.split(), "refused", "prompt", *(("error", "cut") if self.streamed else ())]
        return [name for name in SCENARIOS if name.partition("-")[0] in kinds]

    @property
    def with_findings(self) -> list[str]:
        """Those in whose answers the rules find something."""
        return [name for name in self.scenarios if "-" in name and not name.endswith("clean")]


@dataclass(frozen=True)
class Client:
    """A script and the environment it runs in."""

    script: str
    environment: str
    modes: tuple[Mode, ...]

    @property
    def name(self) -> str:
        """Its name in test ids."""
        return f"{'node' if self.environment == 'node' else 'py'}-{self.script.removesuffix('_sdk')}"


@dataclass(frozen=True)
class Seen:
    """What a user saw; the fields are those of the scripts' outcomes."""

    text: str
    final: str | None
    reasoning: str
    tools: list[list[Any]]
    finish: str | None
    parsed: Any
    usage: int | None
    error: str | None
    whole: Any
    scenario: str
    raw: list[str] = field(compare=False)

    @property
    def verdict(self) -> str:
        """How it ended: the finish reason, or ``!`` and the exception's type."""
        return f"!{self.error.partition(' ')[0]}" if self.error else str(self.finish)


Outcomes = dict[str, Seen]


@dataclass(frozen=True)
class Runs:
    """What a client's user saw in its three runs, and by scenario how often it asked."""

    direct: Outcomes
    filtered: Outcomes
    unfiltered: Outcomes
    asked_direct: Counter[str]
    asked_filtered: Counter[str]


@cache
def outcomes(client: Client) -> Runs:
    """What it sees directly, through the proxy, and through a proxy whose rules find nothing; all run at once."""
    command = _command(client)
    return asyncio.run(_outcomes(client, command))


async def _outcomes(client: Client, command: list[str]) -> Runs:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if client.environment == "node":
            command = [*command, _beside_packages(folder, client.script)]
        async with (
            upstream() as straight,
            upstream() as behind,
            proxied(behind.url, folder, RULES) as filtering,
            upstream() as behind_idle,
            proxied(behind_idle.url, folder, IDLE_RULES) as idle,
        ):
            every = {mode.name: mode.scenarios for mode in client.modes}
            found = {mode.name: mode.with_findings for mode in client.modes}
            direct, filtered, unfiltered = await asyncio.gather(
                _run(command, straight.url, every), _run(command, filtering, every), _run(command, idle, found)
            )
    return Runs(direct, filtered, unfiltered, straight.asked, behind.asked)


def _beside_packages(folder: Path, script: str) -> str:
    """The path of a Node script in a folder with packages: Node looks for them beside the script."""
    (folder / "node_modules").symlink_to(PLACE / "node" / "node_modules")
    for file in (HERE / "node").glob("*.mjs"):
        shutil.copy(file, folder)
    return str(folder / f"{script}.mjs")


@asynccontextmanager
async def proxied(upstream_url: str, folder: Path, rules: str) -> AsyncIterator[str]:
    """The address of a proxy before the upstream."""
    place = Path(tempfile.mkdtemp(dir=folder))
    file = place / "rules.yaml"
    file.write_text(rules, encoding="utf-8")
    settings = Settings(upstream=upstream_url, rules=(file,), audit=place / "audit", shutdown_grace=0.1)
    async with running(create_app(settings), "127.0.0.1", 0) as url:
        yield url


def _command(client: Client) -> list[str]:
    """What runs the client; skips the test if that is not installed."""
    how = f"run tests/clients/setup.sh {PLACE}"
    if client.environment == "node":
        if not shutil.which("node"):
            pytest.skip("node is not installed")
        if not (PLACE / "node" / "node_modules" / "openai").is_dir():
            pytest.skip(f"the Node clients are not installed: {how}")
        return ["node"]
    python = PLACE / client.environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f"the Python clients are not installed: {how}")
    return [str(python), str(HERE / "py" / f"{client.script}.py")]


async def _run(command: list[str], base: str, asked: dict[str, list[str]]) -> Outcomes:
    """Run the script with every client's base URL set to ``base``."""
    process = await asyncio.create_subprocess_exec(
        *command,
        base,
        json.dumps(asked),
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _variables(base),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LIMIT):
            out, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, errors.decode(errors="replace")[-4000:]
    return {name: Seen(**seen) for name, seen in json.loads(out.splitlines()[-1]).items()}


def _variables(base: str) -> dict[str, str]:
    """Where clients find the API and, so that they leave the network alone, what keeps them from calling home."""
    keys = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "CO_API_KEY")
    return {
        **dict.fromkeys(keys, "k"),
        "OPENAI_BASE_URL": f"{base}/v1",
        "ANTHROPIC_BASE_URL": base,
        "GOOGLE_GEMINI_BASE_URL": base,
        "OLLAMA_HOST": base,
        "CO_API_URL": base,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "LANGSMITH_TRACING": "false",
        "HF_HUB_OFFLINE": "1",
        "NO_PROXY": "*",
    }
