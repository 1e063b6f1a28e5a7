"""Several processes on one port: a small one that starts the others, replaces those that die and ends with them.

Each worker listens on its own socket of the same address (SO_REUSEPORT), among which the kernel spreads connections
evenly; where all accept from one socket, one of them takes most of a burst. A worker is a fresh interpreter: it
inherits no threads and no locks. It is told the settings through its standard input, so that no secret stands on a
command line, and ends when that is closed: it cannot outlive this process for longer than its answers last.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from safeproxy.errors import ConfigError
from safeproxy.observers.log import operational_logger
from safeproxy.shell.settings import Settings

#: Where workers keep what they measure, so that each can tell the sum of all.
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
#: Seconds that a worker must have lasted for the next to be started at once.
_LASTING = 30.0
#: Seconds to wait before a worker that did not last is replaced; doubled for each further one, up to the last.
_FIRST_DELAY, _LAST_DELAY = 0.5, 30.0
#: Seconds beyond `shutdown_grace` that workers get to end before they are killed.
_MARGIN = 10.0


def supervise(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run ``settings.workers`` workers until SIGINT or SIGTERM; SIGHUP is passed on to them.

    ``announce`` is called with the address once all accept connections. Raises ConfigError when the address cannot be
    used, or a worker cannot start while none runs.
    """
    with tempfile.TemporaryDirectory(prefix="safeproxy-metrics-") as folder:
        asyncio.run(_Supervisor(settings, Path(folder)).run(announce))


class _Supervisor:
    """The workers and what becomes of them."""

    def __init__(self, settings: Settings, metrics: Path) -> None:
        self._settings = settings
        self._metrics = metrics
        self._log = operational_logger()
        self._serving: dict[int, asyncio.subprocess.Process] = {}
        """The workers that accept connections, by process id."""
        self._living: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()
        self._told = b""

    async def run(self, announce: Callable[[str], None]) -> None:
        """Start the workers, keep them, end them."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._pass_on, signal.SIGHUP)
        settings, reserved = _with_ports(self._settings)
        self._told = dump(settings) + b"\n"
        addresses: asyncio.Queue[str] = asyncio.Queue()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(settings.workers):
                    group.create_task(self._keep(addresses))
                group.create_task(self._announce(addresses, announce))
        except* ConfigError as errors:
            raise errors.exceptions[0] from None
        finally:
            self._stop()
            await self._ended()
            for one in reserved:
                one.close()

    async def _announce(self, addresses: asyncio.Queue[str], announce: Callable[[str], None]) -> None:
        """Say that all accept; wait for the order to stop."""
        stopped = asyncio.create_task(self._stopping.wait())
        for _ in range(self._settings.workers):
            address = asyncio.create_task(addresses.get())
            await asyncio.wait({address, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                address.cancel()
                return
        announce(address.result())
        await stopped

    async def _keep(self, addresses: asyncio.Queue[str]) -> None:
        """One place among the workers: whenever its worker has died there is another. Raises ConfigError."""
        delay = _FIRST_DELAY
        while not self._stopping.is_set():
            begun = time.monotonic()
            process = await self._start()
            self._living.add(process)
            fault = await self._life_of(process, addresses)
            self._living.discard(process)
            self._forget(process.pid)
            if self._stopping.is_set():
                return
            if fault is not None and not self._serving:
                raise ConfigError(fault)
            self._log.error("worker", pid=process.pid, ended=process.returncode, fault=fault)
            delay = _FIRST_DELAY if time.monotonic() - begun > _LASTING else min(2 * delay, _LAST_DELAY)
            if fault is not None or delay > _FIRST_DELAY:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), delay)

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "safeproxy.shell.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        """Workers import what this process can import."""
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        return {**os.environ, "PYTHONPATH": paths, METRICS_FOLDER: str(self._metrics)}

    async def _life_of(self, process: asyncio.subprocess.Process, addresses: asyncio.Queue[str]) -> str | None:
        """From a worker's start to its end; why it could not start, if so."""
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(ConnectionError):  # it has ended at once; the next lines find out
            process.stdin.write(self._told)
            await process.stdin.drain()
        line = await process.stdout.readline()
        said: dict[str, str] = json.loads(line) if line else {}
        address = said.get("listens")
        if address is not None:
            self._serving[process.pid] = process
            if self._stopping.is_set():
                process.terminate()
            addresses.put_nowait(address)
        code = await process.wait()
        if address is not None:
            return None
        return said.get("failed") or f"a worker process ended before it could listen (exit code {code})"

    def _forget(self, pid: int) -> None:
        """A worker is no more: what it gauged last no longer holds."""
        self._serving.pop(pid, None)
        with suppress(ImportError):
            from prometheus_client import multiprocess

            multiprocess.mark_process_dead(pid, str(self._metrics))  # type: ignore[no-untyped-call, unused-ignore]

    def _stop(self) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            for process in tuple(self._living):
                _signal(process, signal.SIGTERM)

    def _pass_on(self, number: signal.Signals) -> None:
        """Only to those who accept: one that still starts would die of it, and reads the rules as they are anyway."""
        for process in tuple(self._serving.values()):
            _signal(process, number)

    async def _ended(self) -> None:
        """Wait for the last worker; kill those that take too long."""
        waits = [asyncio.create_task(process.wait()) for process in self._living]
        if waits:
            _, late = await asyncio.wait(waits, timeout=self._settings.shutdown_grace + _MARGIN)
            for process in tuple(self._living) if late else ():
                _signal(process, signal.SIGKILL)
            await asyncio.gather(*waits)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def _with_ports(settings: Settings) -> tuple[Settings, list[socket.socket]]:
    """The settings with real ports, a seal key that all workers share, and sockets that keep the ports for them.

    Raises ConfigError when an address cannot be used.
    """
    shared: dict[str, Any] = {}
    if settings.seal_key is None:  # each process would make one of its own, and not read what another has sealed
        shared["seal_key"] = SecretStr(secrets.token_hex(32))
    reserved: list[socket.socket] = []
    wanted = [("host", "port", settings.host, settings.port)]
    if settings.admin_port is not None:
        wanted.append(("admin_host", "admin_port", settings.admin_host, settings.admin_port))
    for host_name, port_name, host, port in wanted:
        try:
            one = reserve(host, port)
        except OSError as error:
            for other in reserved:
                other.close()
            raise ConfigError(
                f"settings {host_name!r} and {port_name!r}: cannot listen on {host} port {port}: "
                f"{error.strerror or error}; choose a free port"
            ) from None
        shared[port_name] = one.getsockname()[1]
        reserved.append(one)
    return settings.model_copy(update=shared), reserved


def reserve(host: str, port: int) -> socket.socket:
    """A socket that does not listen, and keeps the port for others of this user that share it. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # First without sharing: else a second proxy on the same port would go unnoticed and take half of the requests.
    with socket.socket(family, kind, protocol) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(address)
        address = alone.getsockname()
    kept = socket.socket(family, kind, protocol)
    try:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(address)
    except OSError:
        kept.close()
        raise
    return kept


def dump(settings: Settings) -> bytes:
    """The settings as one line of JSON, secrets included: for a worker's eyes only."""
    return json.dumps(settings.model_dump(mode="python"), default=_plain).encode()


def load(line: bytes) -> Settings:
    """The settings that `dump` wrote, whatever this process's environment says."""
    return Settings(**json.loads(line))


def _plain(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a setting holds a {type(value).__name__}")
