"""Records: what they say, in which form, and what cannot get into them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from safeproxy.events import Action, Finding, Severity
from safeproxy.ledger import record
from safeproxy.ledger.record import Bytes, Caller, Characters, Cost, FindingMade, RequestClosed, RequestOpened, Timing

SCHEMA = json.loads((Path(__file__).parents[2] / "audit" / "schema.json").read_text(encoding="utf-8"))

OPENED = RequestOpened(
    request_id="0123456789abcdef" * 2,
    time=1795342500.25,
    client="127.0.0.1",
    method="POST",
    path="/v1/chat/completions",
    model="gpt-x",
    rules="ab" * 32,
)
FOUND = FindingMade(
    request_id=OPENED.request_id,
    time=1795342501.0,
    side="response",
    finding=Finding(
        "email", "EMAIL_ADDRESS", "personal", Severity.MEDIUM, Action.REDACT, Action.HALT, "content", 5, 20, 1.0
    ),
)
CLOSED = RequestClosed(
    opened=OPENED,
    time=1795342502.0,
    ended="stop",
    status=200,
    upstream_status=200,
    stream=True,
    model_served="gpt-x-2026",
    findings={"redact": 1},
    characters=Characters(scanned=30, passed=15, removed=15, placeholders=15),
    upstream_finish={1: "stop", 0: "length"},
    delivered_finish={0: "stop"},
    timing=Timing(duration_ms=12.34567, upstream_ttft_ms=1, delivered_tpot_ms=0.5),
    usage={"prompt_tokens": 3},
    bytes=Bytes(request=10, upstream=20, delivered=30),
    faults=("duplicate_finish", "duplicate_finish"),
)


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    """The published schema."""
    Draft202012Validator.check_schema(SCHEMA)
    return Draft202012Validator(SCHEMA)


@pytest.mark.parametrize("one", [OPENED, FOUND, CLOSED], ids=lambda one: type(one).__name__)
def test_records_follow_the_schema(validator: Draft202012Validator, one: record.Record) -> None:
    """Every kind of record is exactly one of the schema's kinds."""
    validator.validate(one.to_json())


def test_an_unknown_field_breaks_the_schema(validator: Draft202012Validator) -> None:
    """The schema is closed: a field nobody documented is an error."""
    assert not validator.is_valid({**OPENED.to_json(), "note": "x"})
    assert not validator.is_valid({**CLOSED.to_json(), "text": "x"})


def test_the_schema_lists_every_ending() -> None:
    """The words of the schema and of the code are the same."""
    assert set(SCHEMA["$defs"]["closed"]["properties"]["ended"]["enum"]) == record.ENDED


def test_times_are_utc_with_microseconds() -> None:
    """Times sort as text and have no offset to think about."""
    assert record.utc(1795342500.25) == "2026-11-22T10:15:00.250000Z"
    assert record.utc(0) == "1970-01-01T00:00:00.000000Z"


def test_a_finding_tells_what_and_where_but_not_the_text() -> None:
    """Rule, action asked for, action applied, position and length; nothing else."""
    found = FOUND.to_json()
    assert (found["rule"], found["entity"], found["severity"]) == ("email", "EMAIL_ADDRESS", "medium")
    assert (found["action"], found["applied"], found["position"], found["length"]) == ("redact", "halt", 5, 15)


def test_a_closed_record_repeats_who_asked() -> None:
    """One line is enough to answer who, what, when and how it ended."""
    closed = CLOSED.to_json()
    assert closed["opened"] == OPENED.to_json()["time"]
    for name in ("client", "method", "path", "model", "rules", "request_id"):
        assert closed[name] == OPENED.to_json()[name]
    assert closed["finish"] == {"upstream": {"0": "length", "1": "stop"}, "delivered": {"0": "stop"}}
    assert closed["faults"] == ["duplicate_finish"]
    assert closed["timing"] == {
        "duration_ms": 12.346,
        "upstream": {"ttft_ms": 1, "tpot_ms": None},
        "delivered": {"ttft_ms": None, "tpot_ms": 0.5},
        "held_mean_ms": None,
    }


def test_both_records_tell_who_asked_and_what_it_cost(validator: Draft202012Validator) -> None:
    """Key, tenant and tags, the upstream asked last, the attempts and the cost; nothing where nothing is known."""
    caller = Caller(address="192.0.2.7", key="k1", name="alice", tenant="acme", tags={"x-team": "blue"})
    opened = dataclasses.replace(OPENED, caller=caller)
    cost = Cost(amount=0.0012345678912, currency="USD")
    closed = dataclasses.replace(CLOSED, opened=opened, upstream="first", attempts=3, cost=cost)
    known = {"key": "k1", "key_name": "alice", "tenant": "acme", "tags": {"x-team": "blue"}}
    for record_ in (opened.to_json(), closed.to_json()):
        validator.validate(record_)
        assert known.items() <= record_.items()
    paid = {"upstream": "first", "attempts": 3, "cost": {"amount": 0.001234568, "currency": "USD"}}
    assert paid.items() <= closed.to_json().items()
    assert not (known.keys() | paid.keys()) & CLOSED.to_json().keys()


def test_records_tell_the_api_and_why_the_proxy_refused(validator: Draft202012Validator) -> None:
    """The API as soon as it is known, the refusal at the end; neither where there is none, and the trace never."""
    opened = dataclasses.replace(OPENED, api="openai_chat", trace={"traceparent": "00-abc"})
    closed = dataclasses.replace(CLOSED, opened=opened, refusal="request_too_large", held_max=7)
    for one in (opened.to_json(), closed.to_json()):
        validator.validate(one)
        assert one["api"] == "openai_chat"
        assert "00-abc" not in json.dumps(one)
    assert closed.to_json()["refusal"] == "request_too_large"
    assert dataclasses.replace(CLOSED, refusal="ada@example.com").to_json()["refusal"] == "other"
    assert not {"api", "refusal"} & CLOSED.to_json().keys()


@pytest.mark.parametrize("event", ["opened", "finding", "closed"])
def test_every_field_is_explained(event: str) -> None:
    """What the schema allows, the page for readers explains."""
    page = (Path(__file__).parents[2] / "audit" / "README.md").read_text(encoding="utf-8")
    for name in SCHEMA["$defs"][event]["properties"]:
        assert f"`{name}`" in page, name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\nb\r\0", "a\\nb\\r\\x00"),
        ("a\u2028b\u202e\x85", "a\\u2028b\\u202e\\x85"),
        ("\ud800", "\\ud800"),
        ("ü€😀", "ü€😀"),
        ("x" * 20, "x" * 20),
        ("x" * 21, "x" * 19 + "…"),
        ("\n" * 15, ("\\n" * 15)[:19] + "…"),
    ],
)
def test_strings_from_outside_are_harmless(text: str, expected: str) -> None:
    """No control character, no lone surrogate, no endless string gets into a record."""
    assert record.clean(text, 20) == expected
    expected.encode()


def test_every_outside_string_of_a_record_is_limited(validator: Draft202012Validator) -> None:
    """Path, model, method and channel keep their limits whatever comes."""
    long = "/\n" * 5000
    opened = dataclasses.replace(OPENED, path=long, model=long, method="X" * 99)
    validator.validate(opened.to_json())
    validator.validate(dataclasses.replace(CLOSED, opened=opened, model_served=long).to_json())
    finding = dataclasses.replace(FOUND.finding, channel=long)
    validator.validate(dataclasses.replace(FOUND, finding=finding).to_json())


@pytest.mark.parametrize("reason", ["ada@example.com", "a b", "", "x" * 65, "stop\n"])
def test_codes_from_outside_cannot_be_text(validator: Draft202012Validator, reason: str) -> None:
    """A finish reason, usage figure or fault that is not a short code is not repeated."""
    closed = dataclasses.replace(
        CLOSED, upstream_finish={0: reason}, usage={reason: 1, "ok": 2}, faults=(reason,), ended=reason
    ).to_json()
    validator.validate(closed)
    assert closed["finish"] == {"upstream": {"0": "other"}, "delivered": {"0": "stop"}}
    assert closed["usage"] == {"ok": 2}
    assert closed["faults"] == ["other"]
    assert closed["ended"] == "other"


def test_usage_is_bounded() -> None:
    """An upstream cannot fill the log with figures."""
    closed = dataclasses.replace(CLOSED, usage={f"n{i}": i for i in range(100)}).to_json()
    usage = closed["usage"]
    assert isinstance(usage, dict)
    assert len(usage) == record.MAX_USAGE


def test_the_guide_explains_every_field_and_ending() -> None:
    """Compliance officers find each word of a record in the guide."""
    guide = (Path(__file__).parents[2] / "audit" / "README.md").read_text(encoding="utf-8")
    fields = {name for one in (OPENED, FOUND, CLOSED) for name in one.to_json()}
    for word in fields | record.ENDED:
        assert f"`{word}`" in guide, word
