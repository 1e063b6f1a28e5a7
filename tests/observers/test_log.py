"""The log observer: one line per finished request, nothing of its content."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest

from safeproxy.observers.log import LogObserver, operational_logger
from tests.ledger.test_record import CLOSED, FOUND, OPENED


def logged(ended: str) -> dict[str, object]:
    """The only line that a request with this end leaves."""
    stream = io.StringIO()
    observer = LogObserver(operational_logger(stream))
    observer.opened(OPENED)
    observer.found(FOUND)
    observer.closed(dataclasses.replace(CLOSED, ended=ended))
    (line,) = stream.getvalue().splitlines()
    parsed: dict[str, object] = json.loads(line)
    return parsed


@pytest.mark.parametrize(
    ("ended", "level"),
    [("stop", "info"), ("content_filter", "info"), ("client_cancelled", "info"), ("upstream_error", "warning")],
)
def test_one_line_says_how_it_ended(ended: str, level: str) -> None:
    """Trouble is a warning, a halt or a client that leaves is not."""
    line = logged(ended)
    assert (line["event"], line["ended"], line["level"], line["status"]) == ("request", ended, level, 200)


def test_the_line_names_no_client_and_no_path() -> None:
    """Who asked for what is the audit trail's to say."""
    text = json.dumps(logged("stop"))
    for private in ("127.0.0.1", "/v1/chat", "gpt-x", "email"):
        assert private not in text
