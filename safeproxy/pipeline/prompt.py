"""Prompts: the rules that ask for it look at what the client sends."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import ClientError, DetectorError
from safeproxy.events import ChannelKind, Finding
from safeproxy.pipeline.policy import Policy, Report
from safeproxy.pipeline.rename import filter_alone
from safeproxy.pipeline.whole import TEXTS_LIMIT, HaltError, Scanner
from safeproxy.wire import jsontext
from safeproxy.wire.dialect import Dialect


@dataclass(frozen=True, slots=True)
class PromptVerdict:
    """What may be sent upstream in place of a request body; nothing if ``blocked``. ``scanned`` is in code points."""

    body: bytes
    findings: tuple[Finding, ...] = ()
    blocked: bool = False
    scanned: int = 0


def filter_prompt(dialect: Dialect, policy: Policy, body: bytes) -> PromptVerdict:
    """Apply the rules with ``request`` to a request body; the same bytes come back when nothing is found.

    A halt, or a detector that breaks where the policy does not let text pass, blocks the request. Raises ClientError
    when there are such rules and the body is no JSON object or array, or has too many texts.
    """
    rules = _request_rules(policy.rules)
    if not rules.rules:
        return PromptVerdict(body)
    try:
        value, certain = jsontext.parse(body)
    except ValueError:
        value, certain = None, True
    if not isinstance(value, (dict, list)):
        raise ClientError("the request body is not a JSON object")
    report = Report()
    scanner = Scanner(dataclasses.replace(policy, rules=rules), report)
    try:
        changed = _filter(dialect, scanner, value) or not certain
    except (HaltError, DetectorError):
        return PromptVerdict(b"", tuple(report.take_findings()), blocked=True, scanned=report.scanned)
    new = jsontext.dump(value, ascii_only=body.isascii()) if changed else body
    return PromptVerdict(new, tuple(report.take_findings()), scanned=report.scanned)


def _filter(dialect: Dialect, scanner: Scanner, value: Any) -> bool:
    """Filter every text in place; whether any was changed."""
    reading = dialect.read_prompt(value)
    if len(reading.slots) + len(reading.keys) > TEXTS_LIMIT:
        raise ClientError(f"the request body has more than {TEXTS_LIMIT} texts")
    return filter_alone(reading, lambda: dialect.read_prompt(value), scanner)


@lru_cache(maxsize=8)
def _request_rules(rules: RuleSet) -> RuleSet:
    """The rules for prompts, made to look at every kind of text; compiled once."""
    every = frozenset(ChannelKind)
    asked = (dataclasses.replace(rule, response=True, channels=every) for rule in rules.rules if rule.request)
    return rules.with_rules(asked)
