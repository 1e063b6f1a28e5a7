"""The observer that keeps the audit trail."""

from __future__ import annotations

from safeproxy.ledger.record import FindingMade, RequestClosed, RequestOpened
from safeproxy.ledger.writer import AuditWriter


class AuditObserver:
    """Writes every record it is told; raises AuditError when it cannot."""

    def __init__(self, writer: AuditWriter) -> None:
        self._writer = writer

    def opened(self, record: RequestOpened) -> None:
        """Write the record."""
        self._writer.write(record)

    def found(self, record: FindingMade) -> None:
        """Write the record."""
        self._writer.write(record)

    def closed(self, record: RequestClosed) -> None:
        """Write the record."""
        self._writer.write(record)
