"""The vocabulary every part of safeproxy shares: actions, severities, findings.

All positions and lengths are code points of the channel's original text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Action(StrEnum):
    """What a rule does with what it finds, weakest first."""

    OBSERVE = "observe"
    MASK = "mask"
    ENCRYPT = "encrypt"
    HASH = "hash"
    REDACT = "redact"
    HALT = "halt"

    @property
    def strength(self) -> int:
        """Rank among the actions; overlapping findings take the highest."""
        return _STRENGTH[self]


_STRENGTH = {action: rank for rank, action in enumerate(Action)}


class Severity(IntEnum):
    """How bad a finding is; breaks ties between overlapping findings of equal action."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class ChannelKind(StrEnum):
    """What sort of text a channel carries; a rule may apply to some kinds only."""

    CONTENT = "content"
    REFUSAL = "refusal"
    REASONING = "reasoning"
    TOOL_ARGUMENTS = "tool_arguments"
    AUDIO = "audio"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a detector found in one channel. It never holds the matched text.

    ``start`` and ``end`` delimit the span, half open. ``applied`` is the action that was
    carried out: overlapping findings are united and take the strongest action among them.
    """

    rule: str
    entity: str
    category: str
    severity: Severity
    action: Action
    applied: Action
    channel: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Which model looks for things. ``digest`` is SHA-256, as hex, of all that decides what it finds."""

    name: str
    version: str
    digest: str
