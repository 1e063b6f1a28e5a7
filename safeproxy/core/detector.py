"""What the filter asks of anything that finds: spans, and how far its verdict is settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol, runtime_checkable

from safeproxy.core.rule import Rule


class Extent(IntEnum):
    """How a span relates to the pattern's whole match."""

    WHOLE = 0
    OPEN = 1
    """The span ceiling was reached: all text from here on belongs to the span until it is closed."""
    CLOSING = 2
    """The rest of a span that was reported as open; starts where that one ended."""


class Span(NamedTuple):
    """Half-open range of code points in the channel's original text, and the rule that claims it.

    ``rule`` is the rule's index in its rule set.
    """

    start: int
    end: int
    rule: int
    score: float
    extent: Extent = Extent.WHOLE


class Detector(Protocol):
    """Finds spans in one channel, told its text piece by piece.

    The spans must depend on the text alone, never on where it was cut.
    """

    frontier: int
    """No span reported later starts before this position, but for the closing of one that is open."""

    def feed(self, text: str) -> Sequence[Span]:
        """Take the next piece; give the spans that are now final, in any order."""
        ...

    def finish(self) -> Sequence[Span]:
        """The text has ended; give what was still open. The frontier is then the text's length."""
        ...


class Model(Protocol):
    """What finds by having learnt or by asking, loaded once and shared by all streams: names, toxicity, plug-ins."""

    name: str
    version: str
    digest: str
    """SHA-256, as hex, of all that decides what is found (weights, settings)."""
    waits: bool
    """Whether its detectors may wait, for other streams or for somebody else's answer (see `safeproxy.suspend`)."""

    def detector(self, rules: Sequence[tuple[int, Rule]]) -> Detector:
        """A fresh detector of one channel for these rules, each with its index in the rule set.

        Raises RuleError when the model cannot serve one of them; a rule set asks once before the first stream.
        """
        ...


@runtime_checkable
class Scorer(Protocol):
    """A model that gives a whole text a score in each of its categories."""

    def scores(self, text: str) -> Mapping[str, float]:
        """The probability of each category, between 0 and 1: the highest that any place in the text reaches."""
        ...
