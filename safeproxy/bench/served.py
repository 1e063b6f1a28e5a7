"""The proxy as its users start it, as a command with several workers. Figures of its processes come from ``/proc``."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import IO, Any

from safeproxy.bench.load import BenchError
from safeproxy.bench.process import PACKAGE_PARENT, Spawned, memory_of
from safeproxy.shell.settings import PREFIX


class Served(Spawned):
    """``safeproxy serve`` with these settings."""

    def __init__(self, **settings: str) -> None:
        super().__init__()
        self._settings = {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}

    async def _spawn(self, said: IO[bytes]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "safeproxy",
            "serve",
            env={**os.environ, f"{PREFIX}PORT": "0", **self._settings},
            stdout=said,
            stderr=said,
            cwd=PACKAGE_PARENT,
        )

    async def _origin(self) -> str:
        while self._process.returncode is None:
            found = re.search(r"listens on (http://\S+)", self._words())
            if found:
                return found[1]
            await asyncio.sleep(0.1)
        raise BenchError(f"safeproxy serve died: {self._words()[-200:]}")

    def _dismiss(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()

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


def _cpu_of(process: int) -> float:
    """Seconds of CPU time of all threads of a process (proc(5): fields 14 and 15 of ``stat``)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
