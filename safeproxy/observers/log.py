"""The observer that keeps the operational log: one line per finished request, for operators.

No paths with queries, no headers, no text: a request is named by its id, the rest is in the audit trail.
"""

from __future__ import annotations

import sys
from typing import TextIO

import structlog

from safeproxy.ledger.record import FindingMade, RequestClosed, RequestOpened

#: Ends that an operator should look into.
_TROUBLE = frozenset({"upstream_error", "upstream_incomplete", "detector_error", "audit_error", "internal_error"})


def operational_logger(stream: TextIO | None = None) -> structlog.typing.FilteringBoundLogger:
    """A structlog logger that writes one JSON object a line to ``stream`` (default: standard error)."""
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr if stream is None else stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        cache_logger_on_first_use=True,
    )
    return logger


class LogObserver:
    """Logs how each request ended."""

    def __init__(self, logger: structlog.typing.FilteringBoundLogger) -> None:
        self._logger = logger

    def opened(self, record: RequestOpened) -> None:
        """Nothing is logged: the audit trail has it."""

    def found(self, record: FindingMade) -> None:
        """Nothing is logged: the audit trail has it."""

    def closed(self, record: RequestClosed) -> None:
        """Log one line; a warning if an operator should look into it."""
        log = self._logger.warning if record.ended in _TROUBLE else self._logger.info
        log(
            "request",
            request_id=record.opened.request_id,
            ended=record.ended,
            status=record.status,
            stream=record.stream,
            findings=sum(record.findings.values()),
            duration_ms=round(record.timing.duration_ms, 3),
            faults=list(record.faults),
        )
