"""What a stream is filtered by, and what is told of it afterwards."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Finding
from safeproxy.wire.dialect import Reading

#: Fault of an answer that was ended because a text of it is longer than `Policy.max_answer_chars`.
FAULT_TOO_LONG = "answer_too_long"

#: Finish reasons of the APIs and their compatible servers. Others could be any text, so they are not recorded.
_REASON_NAMES = """
    stop length content_filter tool_calls function_call error eos eos_token stop_sequence end_turn max_tokens
    model_length insufficient_system_resource recitation safety abort cancelled timeout completed incomplete failed
    max_output_tokens tool_use pause_turn refusal model_context_window_exceeded compaction load unload
    complete max_tokens tool_call spii blocklist prohibited_content language other malformed_function_call
    image_safety unexpected_tool_call
"""
_REASONS = frozenset(_REASON_NAMES.split())
#: The words of the APIs for the same few ends, lower case.
_COMMON = {
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "completed": "stop",
    "complete": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "refusal": "content_filter",
    "safety": "content_filter",
    "spii": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "recitation": "content_filter",
    "image_safety": "content_filter",
    "failed": "upstream_error",
    "error": "upstream_error",
}
_TOKEN = re.compile(r"[A-Za-z0-9_.:/@-]{1,128}")
#: Figures of earlier events that are kept beside those of the latest.
_USAGE_LIMIT = 128


@dataclass(frozen=True, slots=True)
class Policy:
    """How answers are filtered.

    ``hash_key`` is needed by rules with the action ``hash``. ``on_detector_error`` says whether a detector that breaks
    halts the answer or lets its channel pass from there on. ``max_event_bytes`` bounds one upstream event, and all
    that is held of tool calls; more is an upstream error. ``max_channels`` bounds the channels of one answer.
    ``max_answer_chars`` ends an answer, as its API's own limit of length would, where a text of it has so many code
    points; 0 for no limit. ``seal`` encrypts a text that only this proxy can read again; without it, an answer is
    halted where a signed text would have to be changed.
    """

    rules: RuleSet
    hash_key: bytes | None = None
    on_detector_error: Literal["halt", "pass"] = "halt"
    max_event_bytes: int = 16 * 2**20
    max_channels: int = 1024
    max_answer_chars: int = 0
    seal: Callable[[str], str] | None = None

    @property
    def answer_chars(self) -> int:
        """``max_answer_chars`` as a number to compare with."""
        return self.max_answer_chars or sys.maxsize


class Counted(Protocol):
    """What a channel counts, in code points."""

    delivered: int

    @property
    def scanned(self) -> int:
        """What came in."""
        ...

    @property
    def removed(self) -> int:
        """What was replaced or cut off."""
        ...

    @property
    def held(self) -> int:
        """What is open."""
        ...


class Report:
    """What has become of an answer so far; read it after every call of a pipeline.

    Counts are code points: ``scanned == passed + removed + held``, and what was delivered is
    ``passed + placeholders``. In a channel that passes because its detector broke, text counts as scanned and passed.
    ``faults`` are short fixed codes. ``ended`` is None while the answer runs, then a finish reason of the API, or
    ``content_filter``, ``upstream_error``, ``upstream_incomplete``, ``detector_error``.
    """

    def __init__(self) -> None:
        self.model: str | None = None
        self._usage: dict[str, int] | None = None
        self._used: dict[str, int] = {}  # of answers that are over
        self.events = 0
        self.faults: list[str] = []
        self.ended: str | None = None
        self.upstream_finish: dict[int, str] = {}
        self.delivered_finish: dict[int, str] = {}
        self._live: dict[int, Counted] = {}
        self.findings: list[Finding] = []
        """What was found since the last `take_findings`, in order of position within each channel."""
        self._scanned = 0
        self._removed = 0
        self._delivered = 0
        # The same of texts that stood alone, in an event that may still not be sent.
        self._alone = (0, 0, 0)

    @property
    def usage(self) -> dict[str, int] | None:
        """The API's own figures, summed up over the answers that share the report; None while it has told none."""
        if self._usage is None:
            return dict(self._used) or None
        return {**self._used, **{name: self._used.get(name, 0) + n for name, n in self._usage.items()}}

    def next_answer(self) -> None:
        """An answer is over; what is noted from here on is another's."""
        self._used = self.usage or {}
        self._usage = None

    @property
    def scanned(self) -> int:
        """Code points read by the filters."""
        return self._scanned + self._alone[0] + sum(channel.scanned for channel in self._live.values())

    @property
    def removed(self) -> int:
        """Code points replaced or cut off."""
        return self._removed + self._alone[1] + sum(channel.removed for channel in self._live.values())

    @property
    def held(self) -> int:
        """Code points held back right now."""
        held = 0
        for channel in self._live.values():
            held += channel.held
        return held

    @property
    def passed(self) -> int:
        """Code points delivered as they came."""
        return self.scanned - self.removed - self.held

    @property
    def placeholders(self) -> int:
        """Code points delivered in place of others."""
        return (
            self._delivered + self._alone[2] + sum(channel.delivered for channel in self._live.values()) - self.passed
        )

    def take_findings(self) -> list[Finding]:
        """Take the findings out."""
        taken = self.findings[:]
        self.findings.clear()
        return taken

    def watch(self, channel: Counted) -> None:
        """Count a channel from now on."""
        self._live[id(channel)] = channel

    def settle(self, channel: Counted) -> None:
        """A channel has ended; what it still holds will never leave."""
        self._live.pop(id(channel), None)
        self._scanned += channel.scanned
        self._removed += channel.removed + channel.held
        self._delivered += channel.delivered

    def count(self, scanned: int, removed: int, delivered: int, findings: Iterable[Finding] = ()) -> None:
        """Count text that stood alone, in an event that is going to be sent; see `commit` and `withhold`."""
        before = self._alone
        self._alone = before[0] + scanned, before[1] + removed, before[2] + delivered
        self.findings += findings

    def mark(self) -> tuple[int, int, int]:
        """Where counting stands, for `commit` and `withhold`."""
        return self._alone

    def commit(self, mark: tuple[int, int, int] = (0, 0, 0)) -> None:
        """What was counted since has been sent."""
        scanned, removed, delivered = (now - then for now, then in zip(self._alone, mark, strict=True))
        self._scanned += scanned
        self._removed += removed
        self._delivered += delivered
        self._alone = mark

    def withhold(self, mark: tuple[int, int, int] = (0, 0, 0)) -> None:
        """What was counted since will not be sent: all of it counts as removed."""
        scanned = self._alone[0] - mark[0]
        self._scanned += scanned
        self._removed += scanned
        self._alone = mark

    def fault(self, code: str) -> None:
        """Record that something was amiss; each code once."""
        if code not in self.faults:
            self.faults.append(code)

    def note(self, reading: Reading) -> None:
        """Take over what the API reports of itself; never anything that may be text."""
        if reading.model and self.model is None and _TOKEN.fullmatch(reading.model):
            self.model = reading.model
        if reading.usage is not None:
            # Counts run on, and an answer's end may not repeat what its beginning said; some fill that in with 0.
            known = {} if self._usage is None or len(self._usage) > _USAGE_LIMIT else self._usage
            self._usage = {**known, **{name: n for name, n in reading.usage.items() if n or name not in known}}


def plain_reason(reason: str) -> str:
    """A finish reason as it may be recorded."""
    return reason if reason.lower() in _REASONS else "other"


def common_reason(reason: str) -> str:
    """A recorded finish reason in the one word that records have for it, whatever the API."""
    return _COMMON.get(reason.lower(), reason.lower())
