"""The bench's servers as processes of their own, so that each one's CPU and memory can be told apart.

A child listens on a free loopback port and answers one-word commands, a line each way over its standard input and
output. It ends when its input is closed, so it cannot outlive its parent.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Self

from aiohttp import web

import safeproxy
from safeproxy.bench.load import BenchError
from safeproxy.system import allow_many_files, calculate_on_one_core

#: Longest line between parent and child: the notes of some hundred streams.
_LINE_LIMIT = 256 * 2**20
#: Where ``python -m safeproxy...`` finds the package, installed or in a checkout.
PACKAGE_PARENT = Path(safeproxy.__file__).resolve().parent.parent
_START_SECONDS = 120.0
_END_SECONDS = 15.0
#: So much of what a process said last is kept in mind, in bytes.
_WORDS = 2**16


class Spawned(ABC):
    """The parent's handle on a server in a process of its own; a context manager that ends the process."""

    def __init__(self) -> None:
        self.base = ""
        """The origin it serves, once it runs."""

    async def __aenter__(self) -> Self:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = await self._spawn(self._said)
        try:
            async with asyncio.timeout(_START_SECONDS):
                self.base = await self._origin()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    @abstractmethod
    async def _spawn(self, said: IO[bytes]) -> asyncio.subprocess.Process:
        """Start the process, from `PACKAGE_PARENT`; what it complains of goes to ``said``."""

    @abstractmethod
    async def _origin(self) -> str:
        """The origin, once it serves. Raises BenchError if it dies."""

    @abstractmethod
    def _dismiss(self) -> None:
        """Let the process know that it is to end."""

    def _words(self) -> str:
        """What it has complained of so far, or that it has not."""
        said = os.pread(self._said.fileno(), _WORDS, max(0, os.fstat(self._said.fileno()).st_size - _WORDS))
        return said.decode(errors="replace").strip() or "it said nothing"

    async def _end(self) -> None:
        process = self._process
        self._dismiss()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        self._said.close()


class Child(Spawned):
    """A server of the bench's own, by its role."""

    def __init__(self, role: str, **settings: Any) -> None:
        super().__init__()
        self.role = role
        self._settings = settings
        self._asking = asyncio.Lock()

    async def _spawn(self, said: IO[bytes]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "safeproxy.bench.process",
            self.role,
            json.dumps(self._settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            cwd=PACKAGE_PARENT,
            limit=_LINE_LIMIT,
        )

    async def _origin(self) -> str:
        origin: str = (await self._read())["origin"]
        return origin

    def _dismiss(self) -> None:
        self._pipes[0].close()

    @property
    def _pipes(self) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
        """To the child and from it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    async def ask(self, command: str) -> dict[str, Any]:
        """Send a command and give the answer; BenchError if the child has died."""
        async with self._asking:
            self._pipes[0].write(command.encode() + b"\n")
            return await self._read()

    async def _read(self) -> dict[str, Any]:
        line = await self._pipes[1].readline()
        if not line:
            raise BenchError(f"the {self.role} process died: {self._words().splitlines()[-1]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def usage() -> dict[str, float]:
    """The CPU time of this process in seconds, and its memory now and at its peak in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    now, highest = memory_of("self") or (peak, peak)
    return {"cpu": time.process_time(), "memory": now, "peak": highest}


def memory_of(process: int | str) -> tuple[int, int] | None:
    """Bytes of memory held now and at the peak, or None where the system does not say so in ``/proc``.

    On Linux the peak that getrusage gives is no use here: it starts from that of the process one was forked from.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return None
    sizes = {
        name: int(value.split()[0])
        for name, _, value in (line.partition(":") for line in status.splitlines())
        if name in ("VmRSS", "VmHWM")
    }
    return sizes["VmRSS"] * 1024, sizes["VmHWM"] * 1024


Commands = dict[str, Callable[[], dict[str, Any]]]
Role = Callable[..., tuple[AbstractAsyncContextManager[str], Commands]]
"""Given its settings: the server, whose context gives its origin, and the commands it answers."""


@asynccontextmanager
async def _plain(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def _upstream() -> tuple[AbstractAsyncContextManager[str], Commands]:
    from safeproxy.bench.upstream import Upstream

    upstream = Upstream()
    return _plain(upstream.app), {"notes": upstream.take_notes, "closed": upstream.take_closed}


def _relay(upstream: str) -> tuple[AbstractAsyncContextManager[str], Commands]:
    from safeproxy.bench.relay import create_relay

    return _plain(create_relay(upstream)), {}


def _proxy(*, bare: bool = False, **settings: Any) -> tuple[AbstractAsyncContextManager[str], Commands]:
    """As `safeproxy serve` does it; ``bare`` leaves nothing of it but the relay and the filter."""
    from safeproxy.bench.proxying import commands, without_observers
    from safeproxy.shell.app import create_app
    from safeproxy.shell.serve import running, settle_memory
    from safeproxy.shell.settings import Settings

    app = create_app(Settings(**settings))
    if bare:
        without_observers(app)
    settle_memory()
    return running(app, "127.0.0.1", 0), commands(app)


_ROLES: dict[str, Role] = {"upstream": _upstream, "relay": _relay, "proxy": _proxy}


async def _serve(role: str, settings: dict[str, Any], answers: BinaryIO) -> None:
    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value).encode() + b"\n")
        answers.flush()

    server, commands = _ROLES[role](**settings)
    commands["usage"] = usage
    async with server as origin:
        answer({"origin": origin})
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            answer(commands[line.decode().strip()]())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """As `safeproxy serve` chooses, but without importing the proxy, whose memory is not the relay's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def main() -> None:
    """Run one server: the role and its settings (JSON) are the arguments."""
    # Whatever the server's libraries print goes to standard error: standard output is the line to the parent.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    calculate_on_one_core()
    allow_many_files()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(sys.argv[1], json.loads(sys.argv[2]), answers))


if __name__ == "__main__":
    main()
