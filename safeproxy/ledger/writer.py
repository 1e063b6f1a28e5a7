"""Writes audit records: one JSON object a line, one file per process start, appended and never rewritten.

A line is handed to the operating system in one write before the call returns, so a crash of the process
loses nothing that was written; a power cut may lose what the system had not yet put on disk.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import structlog

from safeproxy.errors import SafeproxyError
from safeproxy.ledger.record import Record

#: What `AuditWriter.probe` writes to learn whether there is room, in bytes: one page.
_PROBE = bytes(4096)


class AuditError(SafeproxyError):
    """The audit trail cannot be written; the message names the place and the reason."""

    status_hint = 503


def _refuse(value: object) -> NoReturn:
    # Never fall back on repr(): it could put into the log what must not be there.
    raise TypeError(f"a record holds a {type(value).__name__}")


_ENCODER = json.JSONEncoder(default=_refuse, ensure_ascii=True, separators=(",", ":"))


class _Line:
    """What structlog calls a logger: takes each rendered line and appends it."""

    def __init__(self, append: Callable[[bytes], None]) -> None:
        self._append = append

    def record(self, line: str) -> None:
        self._append(line.encode("ascii") + b"\n")


class AuditWriter:
    """The audit file of one process.

    ``directory`` is made if it is missing. The file's name has the start, the machine and the process: several machines
    may share the folder, and in containers every process is number 1. The file is opened at the first record and opened
    anew when it was deleted or a write failed. Not for use from several threads at once.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        name = time.strftime("audit-%Y%m%dT%H%M%SZ", time.gmtime(clock()))
        self.path = directory / f"{name}-{_machine()}-{os.getpid()}.jsonl"
        self.failed = False
        """Whether the last attempt to write failed; the next that succeeds clears it."""
        self._descriptor: int | None = None
        renderer = structlog.processors.JSONRenderer(serializer=lambda fields, **_: _ENCODER.encode(fields))
        self._log = structlog.wrap_logger(_Line(self._append), [renderer], structlog.BoundLogger)

    def write(self, record: Record) -> None:
        """Append one record. Raises AuditError, after which the file ends in a whole line."""
        self._log.record(**record.to_json())

    def probe(self) -> bool:
        """Whether a record could be written now; costs a small file, so not for every request."""
        trial = self.path.with_suffix(".probe")
        try:
            self._open()
            trial.write_bytes(_PROBE)
        except OSError:
            self.failed = True
        else:
            self.failed = False
        finally:
            with suppress(OSError):
                trial.unlink(missing_ok=True)
        return not self.failed

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, line: bytes) -> None:
        try:
            descriptor = self._open()
            _write_whole(descriptor, line)
        except OSError as error:
            self.failed = True
            self.close()
            raise AuditError(
                f"the audit file {self.path} cannot be written: {error.strerror}; make room or mend its permissions"
            ) from error
        self.failed = False

    def _open(self) -> int:
        if self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0:
            self.close()  # deleted under our hands: what is appended to it would vanish
        if self._descriptor is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o600)
        return self._descriptor


def _machine() -> str:
    """The machine's name, as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", platform.node())[:64] or "unnamed"


def _write_whole(descriptor: int, line: bytes) -> None:
    """Append ``line`` or nothing: half a line would spoil the next one."""
    before = os.fstat(descriptor).st_size
    written = 0
    try:
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        if written:
            os.ftruncate(descriptor, before)
        raise
