"""The audit observer: every event becomes a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from safeproxy.ledger.writer import AuditError, AuditWriter
from safeproxy.observers.audit import AuditObserver
from tests.ledger.test_record import CLOSED, FOUND, OPENED


def test_every_event_is_a_line(tmp_path: Path) -> None:
    """Opened, found, closed: three records in that order."""
    writer = AuditWriter(tmp_path)
    observer = AuditObserver(writer)
    observer.opened(OPENED)
    observer.found(FOUND)
    observer.closed(CLOSED)
    events = [json.loads(line)["event"] for line in writer.path.read_text(encoding="ascii").splitlines()]
    assert events == ["request.opened", "finding", "request.closed"]


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The audit trail is the one observer that may not fail in silence."""
    (tmp_path / "log").write_text("", encoding="ascii")
    with pytest.raises(AuditError):
        AuditObserver(AuditWriter(tmp_path / "log")).opened(OPENED)
