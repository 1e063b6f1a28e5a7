"""The audit records, first form: what they hold, and how they turn into one JSON object each.

The format is described for readers in ``audit/README.md`` and fixed by ``audit/schema.json``. A record
never holds matched text, prompts, answers or credentials. Strings that come from outside (client, upstream)
are length-limited and stripped of control characters, so that no one can forge or break a line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from safeproxy.events import Finding, ModelFacts

#: Version of the record format; raised when a field changes its meaning or goes away.
SCHEMA = 1
#: Longest path and model name in a record, in code points.
MAX_PATH = 512
MAX_MODEL = 200
#: Longest position name of a channel in a record, in code points.
MAX_CHANNEL = 200
#: Most figures taken over from an upstream's usage report.
MAX_USAGE = 32

#: Every way a request can end. What is not in this list is recorded as ``other``.
ENDED = frozenset(
    {
        "stop",
        "length",
        "tool_calls",
        "function_call",
        "content_filter",
        "client_cancelled",
        "upstream_error",
        "upstream_incomplete",
        "detector_error",
        "audit_error",
        "internal_error",
        "shutdown",
        "refused",
        "prompt_blocked",
        "passed_unfiltered",
        "no_content",
        "other",
    }
)

_CODE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.IGNORECASE)

JsonObject = dict[str, object]


def utc(seconds: float) -> str:
    """``seconds`` since 1970 as an ISO 8601 time in UTC with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def clean(text: str, limit: int) -> str:
    """``text`` with everything unprintable written as an escape, cut to ``limit`` code points."""
    text = text[: limit + 1]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def code(text: str) -> str:
    """``text`` if it is a short code such as ``content_filter``; ``other`` if it could be anything else."""
    return text if _CODE.fullmatch(text) else "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, as far as it is known: none of it is a credential."""

    address: str | None = None
    key: str | None = None
    """Id of the virtual key."""
    name: str | None = None
    """Name that the operator gave it."""
    tenant: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """What a record says of it, besides the address."""
        named = {"key": self.key, "key_name": self.name, "tenant": self.tenant, "tags": dict(self.tags)}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a request cost, by the operator's price list."""

    amount: float
    currency: str

    def to_json(self) -> JsonObject:
        """As it stands in a record."""
        return {"amount": round(self.amount, 9), "currency": self.currency}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOpened:
    """A request has arrived; written before the upstream hears of it."""

    request_id: str
    time: float
    """Seconds since 1970."""
    client: str | None
    method: str
    path: str
    """Without the query: a query may carry a key."""
    model: str | None
    rules: str
    """Digest of the rule set in force."""
    detectors: Sequence[ModelFacts] = ()
    """The models that its rules ask."""
    caller: Caller = Caller()
    api: str | None = None
    """Name of the dialect that the path speaks, None if it is not known."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """The client's ``traceparent`` and ``tracestate``, for who traces; they are not recorded."""

    def to_json(self) -> JsonObject:
        """The record as it is written."""
        record: JsonObject = {
            "schema": SCHEMA,
            "event": "request.opened",
            "request_id": self.request_id,
            "time": utc(self.time),
            "client": self.client,
            "method": clean(self.method, 32),
            "path": clean(self.path, MAX_PATH),
            "model": None if self.model is None else clean(self.model, MAX_MODEL),
            "rules": self.rules,
            **({} if self.api is None else {"api": self.api}),
            **self.caller.to_json(),
        }
        if self.detectors:
            record["detectors"] = [_detector(facts) for facts in self.detectors]
        return record


def _detector(facts: ModelFacts) -> JsonObject:
    return {"name": clean(facts.name, MAX_MODEL), "version": clean(facts.version, MAX_MODEL), "digest": facts.digest}


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingMade:
    """A rule has found something in the prompt (``side`` request) or the answer (``side`` response)."""

    request_id: str
    time: float
    side: str
    finding: Finding

    def to_json(self) -> JsonObject:
        """The record as it is written."""
        found = self.finding
        return {
            "schema": SCHEMA,
            "event": "finding",
            "request_id": self.request_id,
            "time": utc(self.time),
            "side": self.side,
            "rule": found.rule,
            "entity": found.entity,
            "category": found.category,
            "severity": found.severity.name.lower(),
            "action": found.action.value,
            "applied": found.applied.value,
            "channel": clean(found.channel, MAX_CHANNEL),
            "position": found.start,
            "length": found.end - found.start,
            "score": round(found.score, 4),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Characters:
    """Code points of the answer: ``scanned == passed + removed + held``; delivered are ``passed + placeholders``."""

    scanned: int = 0
    passed: int = 0
    removed: int = 0
    held: int = 0
    """Still held back when the request ended, hence never sent."""
    placeholders: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations in milliseconds, None where there was nothing to measure."""

    duration_ms: float
    upstream_ttft_ms: float | None = None
    delivered_ttft_ms: float | None = None
    upstream_tpot_ms: float | None = None
    delivered_tpot_ms: float | None = None
    held_mean_ms: float | None = None
    """Mean time a character of the answer waited for its verdict."""
    filter_ms: float | None = None
    """Time in the filter, prompt and answer, waiting for models that are asked elsewhere included; not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    """Body bytes, as they crossed the sockets after decompression."""

    request: int = 0
    upstream: int = 0
    delivered: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClosed:
    """A request is over; the sum of what happened."""

    opened: RequestOpened
    time: float
    ended: str
    status: int | None
    """What the client was told, None if it was gone before it could be told anything."""
    upstream_status: int | None
    stream: bool
    model_served: str | None
    findings: Mapping[str, int]
    """Number of findings by the action that was applied."""
    characters: Characters
    upstream_finish: Mapping[int, str] = field(default_factory=dict)
    delivered_finish: Mapping[int, str] = field(default_factory=dict)
    timing: Timing
    usage: Mapping[str, int] | None
    bytes: Bytes
    faults: tuple[str, ...] = ()
    upstream: str | None = None
    """Name of the upstream asked last, None if none was."""
    attempts: int = 0
    """How often an upstream was asked."""
    cost: Cost | None = None
    """None where there are no prices, or the upstream did not say how much was used."""
    refusal: str | None = None
    """Code of the answer that the proxy gave in its own name."""
    held_max: int = 0
    """Most characters that a stream held at once, between two chunks; not recorded."""

    def to_json(self) -> JsonObject:
        """The record as it is written."""
        opened = self.opened.to_json()
        return {
            "schema": SCHEMA,
            "event": "request.closed",
            "request_id": self.opened.request_id,
            "opened": opened["time"],
            "time": utc(self.time),
            "client": opened["client"],
            "method": opened["method"],
            "path": opened["path"],
            "model": opened["model"],
            "model_served": None if self.model_served is None else clean(self.model_served, MAX_MODEL),
            "rules": opened["rules"],
            "ended": self.ended if self.ended in ENDED else "other",
            "status": self.status,
            "upstream_status": self.upstream_status,
            "stream": self.stream,
            "findings": dict(self.findings),
            "characters": {
                "scanned": self.characters.scanned,
                "passed": self.characters.passed,
                "removed": self.characters.removed,
                "held": self.characters.held,
                "placeholders": self.characters.placeholders,
            },
            "finish": {"upstream": _finish(self.upstream_finish), "delivered": _finish(self.delivered_finish)},
            "timing": _timing(self.timing),
            "usage": None if self.usage is None else _usage(self.usage),
            "bytes": {
                "request": self.bytes.request,
                "upstream": self.bytes.upstream,
                "delivered": self.bytes.delivered,
            },
            "faults": sorted({code(fault) for fault in self.faults}),
            **({} if self.opened.api is None else {"api": self.opened.api}),
            **self.opened.caller.to_json(),
            **({} if self.upstream is None else {"upstream": self.upstream, "attempts": self.attempts}),
            **({} if self.refusal is None else {"refusal": code(self.refusal)}),
            **({} if self.cost is None else {"cost": self.cost.to_json()}),
        }


Record = RequestOpened | FindingMade | RequestClosed


def _finish(reasons: Mapping[int, str]) -> dict[str, str]:
    return {str(choice): code(reason) for choice, reason in sorted(reasons.items())}


def _usage(usage: Mapping[str, int]) -> dict[str, int]:
    named = [(name, number) for name, number in usage.items() if _CODE.fullmatch(name)]
    return dict(named[:MAX_USAGE])


def _timing(timing: Timing) -> dict[str, object]:
    def milliseconds(value: float | None) -> float | None:
        return None if value is None else round(value, 3)

    return {
        "duration_ms": milliseconds(timing.duration_ms),
        "upstream": {
            "ttft_ms": milliseconds(timing.upstream_ttft_ms),
            "tpot_ms": milliseconds(timing.upstream_tpot_ms),
        },
        "delivered": {
            "ttft_ms": milliseconds(timing.delivered_ttft_ms),
            "tpot_ms": milliseconds(timing.delivered_tpot_ms),
        },
        "held_mean_ms": milliseconds(timing.held_mean_ms),
    }
