"""What requests share: what happens when the audit trail fails, and what is said of our own errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from safeproxy.ledger.record import RequestClosed
from safeproxy.ledger.writer import AuditError, AuditWriter
from safeproxy.observers.base import Observers
from safeproxy.pipeline import Policy, Report
from safeproxy.shell.callers import Callers
from safeproxy.shell.exchange import Exchange
from safeproxy.shell.limits import Limits
from safeproxy.shell.paths import PassPaths
from safeproxy.shell.refusal import Refusal
from safeproxy.shell.scrub import Scrubber
from safeproxy.shell.service import Service
from safeproxy.shell.settings import Settings
from safeproxy.shell.upstreams import Upstreams
from tests.ledger.test_record import FOUND
from tests.observers.test_base import Notes
from tests.shell.test_scrub import RULES


class Log:
    """Takes what is said; a broken one raises as well."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self._failure = failure

    def critical(self, event: str, **facts: Any) -> None:
        """Note it."""
        self.said.append((event, facts))
        if self._failure is not None:
            raise self._failure


def service(folder: Path, log: Log, on_audit_error: str = "halt") -> Service:
    """A service that has not been started."""
    settings = Settings.model_validate(
        {"upstream": "http://upstream", "audit": folder, "on_audit_error": on_audit_error}
    )
    policy = Policy(RULES)
    return Service(
        settings=settings,
        policy=policy,
        upstreams=Upstreams(settings, lambda *_: None),
        callers=Callers(settings),
        limits=Limits(settings),
        passing=PassPaths.parse(()),
        writer=AuditWriter(folder),
        observers=Observers(Notes()),
        log=cast("structlog.typing.FilteringBoundLogger", log),
        scrub=Scrubber(policy),
        scans_prompts=False,
    )


def exchange(audit: Notes) -> Exchange:
    """A request that is recorded in ``audit``."""
    return Exchange(observers=Observers(audit), rules="ab" * 32, client=None, method="POST", path="/v1")


@pytest.mark.parametrize(
    ("failed", "on_audit_error", "unrecorded"),
    [(True, "halt", True), (True, "pass", False), (False, "halt", False)],
)
def test_answers_stop_only_if_they_must_be_recorded_and_cannot(
    tmp_path: Path, failed: bool, on_audit_error: str, unrecorded: bool
) -> None:
    """As the setting says."""
    made = service(tmp_path, Log(), on_audit_error)
    made.writer.failed = failed
    assert made.unrecorded is unrecorded


def test_a_request_that_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    """For now: clients may try again; the operator is told why."""
    log = Log()
    with pytest.raises(Refusal) as caught:
        service(tmp_path, log).open(exchange(Notes(AuditError("full"))))
    refusal = caught.value
    assert (refusal.status, refusal.code, refusal.ended) == (503, "audit_unavailable", "audit_error")
    assert refusal.retry
    assert log.said == [("audit", {"fault": "full"})]


def test_who_chose_to_carry_on_is_told_and_served(tmp_path: Path) -> None:
    """Nothing is raised, whichever record it is that fails."""
    log = Log()
    made, account = service(tmp_path, log, "pass"), exchange(Notes(AuditError("full")))
    made.open(account)
    made.found(account, [FOUND.finding])
    made.close(account)
    ours = {"fault": "full", "request_id": account.id}
    assert log.said == [("audit", {"fault": "full"}), ("audit", ours), ("audit", ours)]


def test_a_failure_in_mid_answer_is_not_raised(tmp_path: Path) -> None:
    """Where it must halt, too: `unrecorded` tells, so that the answer can be ended in order."""
    log = Log()
    made, account = service(tmp_path, log), exchange(Notes(AuditError("full")))
    made.found(account, [FOUND.finding])
    made.close(account)
    assert len(log.said) == 2


@pytest.mark.parametrize(("served", "recorded"), [("m-1", "m-1"), ("ada@example.com", "[EMAIL_ADDRESS]"), (None, None)])
def test_the_model_that_served_is_scrubbed(tmp_path: Path, served: str | None, recorded: str | None) -> None:
    """An upstream may repeat there what a client wrote."""
    audit = Notes()
    account = exchange(audit)
    account.report = Report()
    account.report.model = served
    service(tmp_path, Log()).close(account)
    closed = audit.told[-1]
    assert isinstance(closed, RequestClosed)
    assert closed.model_served == recorded


def test_a_bug_is_logged_by_kind_and_place_and_never_by_its_words(tmp_path: Path) -> None:
    """The innermost place; an error that was never raised has none."""
    log, account = Log(), exchange(Notes())
    made = service(tmp_path, log)
    with pytest.raises(ValueError, match="Unterminated") as caught:
        json.loads('"ada')
    made.log_bug(caught.value, account)
    made.log_bug(KeyError("ada@example.com"), account)
    assert log.said == [
        (
            "bug",
            {
                "kind": "JSONDecodeError",
                "place": [f"decoder.py:{caught.traceback[-1].lineno + 1}"],
                "request_id": account.id,
            },
        ),
        ("bug", {"kind": "KeyError", "place": [], "request_id": account.id}),
    ]


def test_a_broken_log_makes_nothing_worse(tmp_path: Path) -> None:
    """The refusal is raised all the same, and not the log's error."""
    log = Log(RuntimeError("broken"))
    with pytest.raises(Refusal):
        service(tmp_path, log).open(exchange(Notes(AuditError("full"))))
    assert len(log.said) == 1
