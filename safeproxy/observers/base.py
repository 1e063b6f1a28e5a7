"""Observers are told what happened to a request; they return nothing and cannot change a byte."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from safeproxy.ledger.record import FindingMade, RequestClosed, RequestOpened


class Observer(Protocol):
    """Somebody who wants to know."""

    def opened(self, record: RequestOpened) -> None:
        """A request has arrived; the upstream has not heard of it yet."""

    def found(self, record: FindingMade) -> None:
        """A rule has found something."""

    def closed(self, record: RequestClosed) -> None:
        """The request is over."""


class Observers:
    """The audit trail and everybody else who is told.

    What the audit raises (AuditError) reaches the caller, who must decide whether to go on unrecorded; what
    the others raise is dropped: a broken log must never stop or change an answer.
    """

    def __init__(self, audit: Observer, others: Sequence[Observer] = ()) -> None:
        self._audit = audit
        self._others = tuple(others)

    def opened(self, record: RequestOpened) -> None:
        """Tell all that a request has arrived. Raises AuditError."""
        for other in self._others:
            with suppress(Exception):
                other.opened(record)
        self._audit.opened(record)

    def found(self, record: FindingMade) -> None:
        """Tell all of a finding. Raises AuditError."""
        for other in self._others:
            with suppress(Exception):
                other.found(record)
        self._audit.found(record)

    def closed(self, record: RequestClosed) -> None:
        """Tell all that a request is over. Raises AuditError."""
        for other in self._others:
            with suppress(Exception):
                other.closed(record)
        self._audit.closed(record)
