"""The name tier: the entities of a tagger in one channel, told piece by piece.

A text falls into runs of white space and of anything else. A tokenizer that never looks across the border of a run can
be asked run by run, so a run is handed on as soon as it has ended, and what it becomes is remembered.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from safeproxy.core.detector import Extent, Span
from safeproxy.core.rule import Filters, Rule
from safeproxy.core.tagger import BEGIN, LAST, OUT, UNIT, Array, Decision, Job, Tagger
from safeproxy.errors import RuleError

#: Longest run handed on as one, in code points: a longer one is cut there, so that what is held has a bound.
MAX_RUN = 256
#: A longer piece of text is taken in parts, so that the rows under way need little memory and others get their turn.
_PIECE = 2048

_RUN = re.compile(r"\s+|\S+")
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a run becomes: the end of each token in it, the tokens' embeddings (n, width), which are white space."""

    ends: tuple[int, ...]
    rows: Array
    spaces: tuple[bool, ...]


class Lexicon(Protocol):
    """Tokens of runs. A run of white space that follows a word is asked for without its first plain space."""

    def tokens(self, run: str) -> Tokens:
        """What the run becomes, the same at every place of every text."""
        ...


@dataclass(frozen=True, slots=True)
class Taker:
    """A rule that takes the entities of a label."""

    number: int
    threshold: float
    max_length: int
    filters: Filters
    allowed: frozenset[str]

    @classmethod
    def of(cls, number: int, rule: Rule) -> Taker:
        """The taker of a rule, which has this number in its rule set."""
        allowed = frozenset(_plain(text) for text in rule.filters.allow)
        return cls(number, rule.threshold, rule.max_length, rule.filters, allowed)

    def takes(self, text: str, probability: float) -> bool:
        """Whether an entity with this text is a finding."""
        filters = self.filters
        return (
            probability >= self.threshold
            and len(text) >= filters.min_length
            and not (filters.full_name and len(_WORD.findall(text)) < 2)
            and not (self.allowed and _plain(text) in self.allowed)
        )


def takers_of(rules: Sequence[tuple[int, Rule]], model: str, labels: Sequence[str] | None) -> dict[str, list[Taker]]:
    """The takers of each label that the rules name, or of their entities.

    ``labels`` are all of the model, None if any may come. Raises RuleError for one that the model of this name has not.
    """
    takers: dict[str, list[Taker]] = {}
    for number, rule in rules:
        for label in rule.labels or (rule.entity,):
            if labels is not None and label not in labels:
                raise RuleError(
                    f"rule {rule.id!r}: the model {model!r} has no label {label!r}; "
                    f"expected labels of {', '.join(labels)}"
                )
            takers.setdefault(label, []).append(Taker.of(number, rule))
    return takers


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


@dataclass(slots=True)
class _Entity:
    """The open entity; ``reported`` are the takers that were told of it before its end, and up to where."""

    start: int
    label: str
    probability: float
    end: int = 0
    reported: tuple[Taker, ...] = ()
    told: int = 0


class NameDetector:
    """Finds the entities that the takers want in one text. A `Detector`.

    ``takers`` are the rules by label; ``advance`` runs the tagger, by itself or together with other streams' jobs.
    """

    def __init__(
        self,
        tagger: Tagger,
        lexicon: Lexicon,
        takers: Mapping[str, Sequence[Taker]],
        advance: Callable[[Job], None],
    ) -> None:
        self._lexicon = lexicon
        self._takers = takers
        self._advance = advance
        self._state = tagger.begin()
        self._nothing = np.zeros((0, tagger.width), np.float32)
        self._text = ""  # from the frontier on
        self._offset = 0  # position of its first code point
        self._scanned = 0  # position up to which runs were handed on
        self._after_word = False  # whether the run before was none of white space
        self._undecided: deque[tuple[int, int]] = deque()
        self._entity: _Entity | None = None
        self._ceiling = min((taker.max_length for group in takers.values() for taker in group), default=0)
        self.frontier = 0

    def feed(self, text: str) -> Sequence[Span]:
        """Take the next piece; give the entities that are now final."""
        if len(text) <= _PIECE:
            self._text += text
            return self._go_on(ended=False)
        spans: list[Span] = []
        for at in range(0, len(text), _PIECE):
            self._text += text[at : at + _PIECE]
            spans += self._go_on(ended=False)
        return spans

    def finish(self) -> Sequence[Span]:
        """The text has ended; decide what was open."""
        spans = self._go_on(ended=True)
        self.frontier = self._offset + len(self._text)
        return spans

    def _go_on(self, *, ended: bool) -> list[Span]:
        pieces = self._pieces(ended=ended)
        if not pieces and not ended:
            self._settle()
            return []
        spaces = [space for tokens in pieces for space in tokens.spaces]
        if not pieces:
            rows = self._nothing
        else:
            rows = pieces[0].rows if len(pieces) == 1 else np.concatenate([tokens.rows for tokens in pieces])
        job = Job(self._state, rows, spaces, ended)
        self._advance(job)
        spans: list[Span] = []
        for decision in job.decided:
            self._take(decision, *self._undecided.popleft(), spans)
        self._watch_ceiling(spans)
        self._settle()
        return spans

    def _pieces(self, *, ended: bool) -> list[Tokens]:
        """The tokens of the runs that have ended; they join the undecided ones."""
        text, begin = self._text, self._scanned - self._offset
        pieces = []
        while begin < len(text):
            found = _RUN.match(text, begin, begin + MAX_RUN)
            assert found is not None
            end = found.end()
            if end == len(text) and end - begin < MAX_RUN and not ended:
                break
            tokens = self._tokens(text[begin:end])
            if tokens is not None:
                pieces.append(tokens)
            begin = end
        self._scanned = begin + self._offset
        return pieces

    def _tokens(self, run: str) -> Tokens | None:
        """What the run becomes; a plain space after a word belongs to that word and is nothing by itself."""
        start = self._scanned
        self._scanned += len(run)
        word = not run[0].isspace()
        if not word and self._after_word and run[0] == " ":
            start += 1
            run = run[1:]
        self._after_word = word
        if not run:
            return None
        tokens = self._lexicon.tokens(run)
        begin = start
        for end in tokens.ends:
            self._undecided.append((begin, start + end))
            begin = start + end
        return tokens

    def _take(self, decision: Decision, start: int, end: int, spans: list[Span]) -> None:
        kind = decision.kind
        if kind == OUT:
            return
        if kind in (BEGIN, UNIT):
            self._entity = _Entity(start, decision.label, decision.probability)
        entity = self._entity
        assert entity is not None
        entity.end = end
        if kind in (LAST, UNIT):
            self._entity = None
            self._report(entity, spans)

    def _report(self, entity: _Entity, spans: list[Span]) -> None:
        """The entity has ended."""
        if entity.told:
            spans += [Span(entity.told, entity.end, taker.number, 0.0, Extent.CLOSING) for taker in entity.reported]
            return
        text = self._text[entity.start - self._offset : entity.end - self._offset]
        for taker in self._takers.get(entity.label, ()):
            if taker.takes(text, entity.probability):
                spans.append(Span(entity.start, entity.end, taker.number, entity.probability))

    def _watch_ceiling(self, spans: list[Span]) -> None:
        """An open entity that is longer than a span may be is told of before it ends."""
        entity = self._entity
        if entity is None or entity.told or entity.end - entity.start <= self._ceiling:
            return
        text = self._text[entity.start - self._offset : entity.end - self._offset]
        takers = self._takers.get(entity.label, ())
        entity.reported = tuple(taker for taker in takers if taker.takes(text, entity.probability))
        entity.told = entity.end
        start, end, probability = entity.start, entity.end, entity.probability
        spans += [Span(start, end, taker.number, probability, Extent.OPEN) for taker in entity.reported]

    def _settle(self) -> None:
        """Move the frontier; drop the text before it."""
        entity = self._entity
        if entity is not None and not entity.told and entity.label in self._takers:
            frontier = entity.start
        elif self._undecided:
            frontier = self._undecided[0][0]
        else:
            frontier = self._scanned
        self.frontier = frontier
        cut = (entity.told if entity is not None and entity.told else frontier) - self._offset
        if cut > 0:
            self._text = self._text[cut:]
            self._offset += cut
