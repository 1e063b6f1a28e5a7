"""Observers: all are told, and only the audit's failure is heard."""

from __future__ import annotations

import pytest

from safeproxy.ledger.record import FindingMade, RequestClosed, RequestOpened
from safeproxy.ledger.writer import AuditError
from safeproxy.observers.base import Observers
from tests.ledger.test_record import CLOSED, FOUND, OPENED


class Notes:
    """An observer that writes down what it is told, and may fail afterwards."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.told: list[object] = []
        self._failure = failure

    def _note(self, record: object) -> None:
        self.told.append(record)
        if self._failure is not None:
            raise self._failure

    def opened(self, record: RequestOpened) -> None:
        """Note it."""
        self._note(record)

    def found(self, record: FindingMade) -> None:
        """Note it."""
        self._note(record)

    def closed(self, record: RequestClosed) -> None:
        """Note it."""
        self._note(record)


def tell(observers: Observers) -> None:
    """All three events."""
    observers.opened(OPENED)
    observers.found(FOUND)
    observers.closed(CLOSED)


def test_all_are_told_everything() -> None:
    """Each observer hears each event in order."""
    audit, other = Notes(), Notes()
    tell(Observers(audit, [other]))
    assert audit.told == other.told == [OPENED, FOUND, CLOSED]


def test_a_broken_observer_disturbs_nobody() -> None:
    """What another observer raises reaches neither the caller nor the audit."""
    audit = Notes()
    tell(Observers(audit, [Notes(RuntimeError("broken"))]))
    assert audit.told == [OPENED, FOUND, CLOSED]


@pytest.mark.parametrize("event", ["opened", "found", "closed"])
def test_the_audits_failure_is_heard_and_the_others_are_told_all_the_same(event: str) -> None:
    """AuditError reaches the caller, after everybody else was told."""
    other = Notes()
    observers = Observers(Notes(AuditError("full")), [other])
    record = {"opened": OPENED, "found": FOUND, "closed": CLOSED}[event]
    with pytest.raises(AuditError, match="full"):
        getattr(observers, event)(record)
    assert other.told == [record]
