"""The proxy as its users start it, as a command with several workers. Figures of its processes come from ``/proc``."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from safeproxy.bench.load import BenchError
from safeproxy.bench.process import PACKAGE_PARENT, memory_of
from safeproxy.shell.settings import PREFIX

_START_SECONDS = 120.0
_END_SECONDS = 30.0


class Served:
    """``safeproxy serve`` with these settings; a context manager that ends it."""

    def __init__(self, **settings: str) -> None:
        self._settings = {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}
        self.base = ""

    async def __aenter__(self) -> Self:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "safeproxy",
            "serve",
            env={**os.environ, f"{PREFIX}PORT": "0", **self._settings},
            stdout=self._said,
            stderr=self._said,
            cwd=PACKAGE_PARENT,
        )
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not self.base:
                    await self._look()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _look(self) -> None:
        """Whether it says by now where it listens. Raises BenchError if it has died."""
        await asyncio.sleep(0.1)
        said = os.pread(self._said.fileno(), 2**16, 0).decode(errors="replace")
        found = re.search(r"listens on (http://\S+)", said)
        if found:
            self.base = found[1]
        elif self._process.returncode is not None:
            raise BenchError(f"safeproxy serve died: {said.strip()[-200:] or 'it said nothing'}")

    def usage(self) -> dict[str, Any]:
        """CPU seconds and memory (bytes) of its workers, or of itself if it has none."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        working = [int(child) for child in children] or [pid]
        memory = [memory_of(process) for process in working]
        return {
            "cpu": sum(_cpu_of(process) for process in working),
            "memory": sum(one[0] for one in memory if one is not None),
        }

    async def _end(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._said.close()


def _cpu_of(process: int) -> float:
    """Seconds of CPU time of all threads of a process (proc(5): fields 14 and 15 of ``stat``)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
