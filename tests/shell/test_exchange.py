"""The account of one request: ids, sums, clock readings, and failures of the audit."""

from __future__ import annotations

import dataclasses

import pytest

from safeproxy.events import Action
from safeproxy.ledger.record import FindingMade, RequestClosed, RequestOpened
from safeproxy.ledger.writer import AuditError
from safeproxy.observers.base import Observers
from safeproxy.shell.exchange import Exchange, Pace
from tests.ledger.test_record import FOUND
from tests.observers.test_base import Notes


def exchange(audit: Notes) -> Exchange:
    """An account told to ``audit``."""
    return Exchange(
        observers=Observers(audit), rules="ab" * 32, client="127.0.0.1", method="POST", path="/v1/chat/completions"
    )


def test_ids_are_random() -> None:
    """No two requests share an id, and none can be guessed from another."""
    ids = {exchange(Notes()).id for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(one) for one in ids} == {32}


def test_a_request_is_opened_found_and_closed() -> None:
    """Three events in order, about the same request."""
    audit = Notes()
    account = exchange(audit)
    account.open()
    account.found([FOUND.finding])
    account.ended = "stop"
    account.close()
    opened, found, closed = audit.told
    assert isinstance(opened, RequestOpened)
    assert isinstance(found, FindingMade)
    assert isinstance(closed, RequestClosed)
    assert opened.request_id == found.request_id == closed.opened.request_id == account.id
    assert (closed.ended, closed.findings) == ("stop", {"halt": 1})
    assert closed.timing.duration_ms >= 0


def test_what_was_never_opened_is_opened_when_it_is_closed() -> None:
    """A request refused before its body was read has both records."""
    audit = Notes()
    exchange(audit).close()
    assert [type(record) for record in audit.told] == [RequestOpened, RequestClosed]


def test_an_end_nobody_named_is_recorded_as_other() -> None:
    """There is always an ending."""
    audit = Notes()
    exchange(audit).close()
    closed = audit.told[-1]
    assert isinstance(closed, RequestClosed)
    assert closed.ended == "other"


def test_every_finding_is_counted_even_if_the_audit_fails() -> None:
    """One failure does not hide the others; it is raised when all were tried."""
    audit = Notes(AuditError("full"))
    account = exchange(audit)
    masked = dataclasses.replace(FOUND.finding, applied=Action.MASK)
    with pytest.raises(AuditError):
        account.found([FOUND.finding, masked, masked], side="request")
    assert account.applied == {"halt": 1, "mask": 2}
    assert len(audit.told) == 3


def test_pace_is_measured_from_the_first_to_the_last() -> None:
    """TTFT counts from the request's start, TPOT is the mean distance between events."""
    pace = Pace()
    assert (pace.ttft_ms(1.0), pace.tpot_ms(5)) == (None, None)
    for now in (1.5, 1.6, 2.5):
        pace.at(now)
    assert pace.ttft_ms(1.0) == 500
    assert pace.tpot_ms(5) == 250
    assert pace.tpot_ms(1) is None


def test_who_was_told_of_the_beginning_is_told_of_the_end() -> None:
    """Even where the audit trail fails at both, and the request was never opened before."""
    audit, other = Notes(AuditError("full")), Notes()
    account = Exchange(observers=Observers(audit, [other]), rules="ab" * 32, client=None, method="POST", path="/v1")
    with pytest.raises(AuditError):
        account.close()
    assert [type(record) for record in other.told] == [RequestOpened, RequestClosed]


def test_what_only_observers_are_told() -> None:
    """The API, the trace, the time in the filter, the most that was held, the code of a refusal."""
    audit = Notes()
    account = exchange(audit)
    account.api, account.trace, account.refusal = "openai_chat", {"traceparent": "00-a"}, "overloaded"
    account.filtered, account.held_max = 0.002, 7
    account.close()
    closed = audit.told[-1]
    assert isinstance(closed, RequestClosed)
    assert (closed.opened.api, closed.opened.trace) == ("openai_chat", {"traceparent": "00-a"})
    assert (closed.timing.filter_ms, closed.held_max, closed.refusal) == (2, 7, "overloaded")
