"""Presidio's findings in one channel, told its text piece by piece.

The steps are those of `AnalyzerEngine.analyze`: each pattern by itself (`finditer`), its validator, duplicates within
the recognizer, context, threshold, duplicates within the entity. A result is dropped as a duplicate if another of
at least its score covers it. Whatever covers it starts no later, so it is decided once nothing that starts at its
place or before can be found any more, and once the word in which it starts is known.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from safeproxy.core.automaton import Machine
from safeproxy.core.detector import Extent, Span
from safeproxy.core.names import Taker
from safeproxy.core.rule import Overflow, Rule
from safeproxy.core.scan import PatternDetector
from safeproxy.errors import RuleError
from safeproxy.presidio.buffer import Buffer
from safeproxy.presidio.patterns import BehindJudge
from safeproxy.presidio.phones import Number, PhoneFinder, PhoneMachine, Region
from safeproxy.presidio.sources import PatternSource, Raw, Source
from safeproxy.presidio.words import Tokenizer, Words

#: The buffer is cut once it has this much to spare, in code points.
_SLACK = 2048
#: Text kept before the frontier: what a check or a telephone number looks at before its match.
_KEPT = 1


class Enhancement(NamedTuple):
    """What a context word near a result does to its score (Presidio's `LemmaContextAwareEnhancer`)."""

    factor: float
    """Added to the score."""
    least: float
    """The score is at least this."""
    words: int
    """Words looked at backwards, with that in which the result starts."""

    def raised(self, score: float) -> float:
        """The score where there is a context word."""
        return min(max(score + self.factor, self.least), 1.0)


@dataclass(frozen=True, slots=True)
class Taken:
    """A recognizer with the rules that take it."""

    source: Source
    takers: tuple[Taker, ...]

    @property
    def threshold(self) -> float:
        """The lowest of theirs."""
        return min(taker.threshold for taker in self.takers)


class Program:
    """The rules of one kind of channel, compiled; shared by all streams.

    Raises RuleError when a pattern cannot run.
    """

    def __init__(
        self,
        rules: Sequence[tuple[int, Rule, Sequence[Source]]],
        tokenizers: dict[str, Tokenizer],
        phones: PhoneMachine,
        enhancement: Enhancement,
    ) -> None:
        self.enhancement = enhancement
        self.taken = _taken(rules)
        self.tokenizers = {t.source.language: tokenizers[t.source.language] for t in self.taken if t.source.context}
        self.phones = phones
        #: By region, the indexes of the recognizers that want its telephone numbers.
        self.regions: dict[Region, list[int]] = {}
        #: By the pattern's index in the machine, the recognizer's index and the pattern.
        self.patterns: list[tuple[int, PatternSource]] = []
        for index, taken in enumerate(self.taken):
            if self.may_take(index, taken.source.number_score):
                for region in taken.source.regions:
                    self.regions.setdefault(region, []).append(index)
            # A pattern that nobody may take is left out: it could only cover others that nobody may take either.
            patterns = taken.source.patterns
            self.patterns += [(index, pattern) for pattern in patterns if self.may_take(index, pattern.most)]
        self.machine = _machine([pattern for _, pattern in self.patterns], [rule for _, rule, _ in rules])
        for number, rule, sources in rules:
            self._refuse_if_idle(number, rule, sources)

    def may_take(self, index: int, score: float) -> list[int]:
        """The rules that may take a result of a recognizer with this score, or with what context makes of it."""
        taken = self.taken[index]
        best = self.enhancement.raised(score) if taken.source.context else score
        return [taker.number for taker in taken.takers if score > 0 and best >= taker.threshold]

    def _refuse_if_idle(self, number: int, rule: Rule, sources: Sequence[Source]) -> None:
        if not any(number in self.may_take(i, t.source.most) for i, t in enumerate(self.taken) if t.source in sources):
            best = max(self.enhancement.raised(s.most) if s.context else s.most for s in sources)
            raise RuleError(
                f"rule {rule.id!r}: {rule.model} never scores more than {best:g}, so the threshold {rule.threshold:g} "
                "is never reached; lower it"
            )


def _taken(rules: Iterable[tuple[int, Rule, Sequence[Source]]]) -> list[Taken]:
    takers: dict[Source, list[Taker]] = {}
    for number, rule, sources in rules:
        for source in sources:
            takers.setdefault(source, []).append(Taker.of(number, rule))
    return [Taken(source, tuple(those)) for source, those in takers.items()]


def _machine(patterns: Sequence[PatternSource], rules: Sequence[Rule]) -> Machine | None:
    """All patterns in one automaton, with the loosest ceiling that a rule sets."""
    if not patterns:
        return None
    max_length = max(rule.max_length for rule in rules)
    lets_go = all(rule.overflow is Overflow.RELEASE for rule in rules)
    overflow = Overflow.RELEASE if lets_go else Overflow.REDACT
    compiled = [pattern.rule(max_length, overflow) for pattern in patterns]
    try:
        machine = Machine(compiled, range(len(compiled)))
    except RuleError as error:
        raise RuleError(f"a pattern of Presidio cannot run: {error}") from None
    for pattern, ready in zip(patterns, machine.patterns, strict=True):
        if pattern.prepared.behind is not None:
            ready.judge = BehindJudge(ready.rule, pattern.prepared.behind)
    return machine


class _Result(NamedTuple):
    """A result under way, in the order in which Presidio looks at duplicates of one entity."""

    start: int
    length: int
    """Negative, so that the longer comes first."""
    score: float
    """Negative, so that the higher comes first."""
    taken: int
    """Index of its recognizer."""

    @property
    def end(self) -> int:
        return self.start - self.length


class _Covers:
    """The results kept so far that may cover later ones, by whose they are."""

    def __init__(self) -> None:
        self._kept: dict[object, list[_Result]] = {}

    def keeps(self, whose: object, result: _Result) -> bool:
        """Whether no result kept before covers this one; it is kept from now on."""
        kept = self._kept.setdefault(whose, [])
        if any(other.end >= result.end and other.score <= result.score for other in kept):
            return False
        kept.append(result)
        return True

    def forget_before(self, position: int) -> None:
        """What ends there or before covers nothing that is still to come."""
        self._kept = {
            whose: left for whose, kept in self._kept.items() if (left := [r for r in kept if r.end > position])
        }


class PresidioDetector:
    """Finds what Presidio's recognizers find in one text, told piece by piece. A `Detector`."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._buffer = Buffer()
        self._scan = PatternDetector(program.machine) if program.machine is not None else None
        self._phones = PhoneFinder(program.phones, list(program.regions), self._buffer) if program.regions else None
        count = program.enhancement.words
        self._words = {lang: Words(tok, self._buffer, count) for lang, tok in program.tokenizers.items()}
        self._results: list[_Result] = []  # a heap
        self._own = _Covers()  # within a recognizer, before context
        self._all = _Covers()  # within a rule and entity, after it
        self._open: dict[int, tuple[set[int], int]] = {}  # by rule: patterns beyond their ceiling, end reported
        self.frontier = 0

    def feed(self, text: str) -> Sequence[Span]:
        """Take the next piece; give the spans that are now final.

        Raises DetectorError when a validator breaks or the text makes a pattern too dear.
        """
        buffer = self._buffer
        buffer.text += text
        matches = self._scan.feed(text) if self._scan is not None else ()
        numbers = self._phones.feed(text) if self._phones is not None else {}
        spans: Sequence[Span] = ()
        if matches or numbers or self._results:
            spans = self._advance(matches, numbers)
        else:  # the common case: nothing is under way here
            self.frontier = self._found_up_to()
        if self.frontier - buffer.offset > _SLACK:
            self._cut()
        return spans

    def finish(self) -> Sequence[Span]:
        """The text has ended; give what was still open."""
        self._buffer.ended = True
        matches = self._scan.finish() if self._scan is not None else ()
        numbers = self._phones.finish() if self._phones is not None else {}
        return self._advance(matches, numbers)

    def _found_up_to(self) -> int:
        """No match and no number found later starts before this position."""
        if self._scan is None:
            return self._buffer.end if self._phones is None else self._phones.frontier
        return self._scan.frontier if self._phones is None else min(self._scan.frontier, self._phones.frontier)

    def _advance(self, matches: Iterable[Span], numbers: Mapping[Region, Sequence[Number]]) -> list[Span]:
        spans: list[Span] = []
        self._hear(matches, spans)
        self._hear_numbers(numbers)
        self._settle(spans)
        return spans

    def _cut(self) -> None:
        keep = self.frontier - _KEPT
        starts = [words.trim(keep) for words in self._words.values()]
        self._buffer.drop_before(min(starts, default=keep))

    # What the patterns and the numbers report.

    def _hear(self, spans: Iterable[Span], out: list[Span]) -> None:
        for span in spans:
            index, pattern = self._program.patterns[span.rule]
            if span.extent is Extent.WHOLE:
                for raw in pattern.check(self._buffer, span.start, span.end):
                    self._note(index, raw)
            else:
                out += self._outgrown(span, index, pattern)

    def _hear_numbers(self, found: Mapping[Region, Sequence[Number]]) -> None:
        for region, numbers in found.items():
            for index in self._program.regions[region]:
                source = self._program.taken[index].source
                for number in filter(source.is_number, numbers):
                    self._note(index, Raw(number.start, number.end, source.number_score))

    def _note(self, index: int, raw: Raw) -> None:
        heapq.heappush(self._results, _Result(raw.start, raw.start - raw.end, -raw.score, index))

    def _outgrown(self, span: Span, index: int, pattern: PatternSource) -> list[Span]:
        """A match that reached its ceiling, or the rest of one, for each rule; a rule has one such span at a time.

        Nobody can say yet whether it is valid, so it counts where it may be.
        """
        told = []
        for number in self._program.may_take(index, pattern.most):
            if span.extent is Extent.OPEN:
                if number in self._open:
                    self._open[number][0].add(span.rule)
                else:
                    self._open[number] = ({span.rule}, span.end)
                    told.append(span._replace(rule=number))
            elif span.rule in self._open[number][0]:
                patterns, reported = self._open[number]
                patterns.remove(span.rule)
                if not patterns:
                    del self._open[number]
                    told.append(Span(reported, max(span.end, reported), number, 0.0, Extent.CLOSING))
        return told

    # Deciding.

    def _settle(self, out: list[Span]) -> None:
        """Decide all results that start before the frontier of what finds them, as far as the words are known."""
        found = self._found_up_to()
        results = self._results
        while results and results[0].start < found:
            supported = self._supported(results[0].start)
            if supported is None:
                break
            out += self._decided(self._take(results[0].start), supported)
        self.frontier = min(found, results[0].start) if results else found
        self._own.forget_before(self.frontier)
        self._all.forget_before(self.frontier)

    def _take(self, start: int) -> Iterator[_Result]:
        """The results that start at this place, in order; they are under way no more."""
        while self._results and self._results[0].start == start:
            yield heapq.heappop(self._results)

    def _supported(self, start: int) -> set[int] | None:
        """The recognizers whose results at this place have a context word near them; None if it is not known yet."""
        supported = set()
        for result in self._results:
            if result.start == start and self._depends_on_context(result):
                has_word = self._has_context(self._program.taken[result.taken].source, start)
                if has_word is None:
                    return None
                if has_word:
                    supported.add(result.taken)
        return supported

    def _has_context(self, source: Source, start: int) -> bool | None:
        words = self._words[source.language]
        before = words.before(start)
        if before is None:
            return None
        if any(context in word for context in source.context for word in before):
            return True
        after = words.after(start)
        return None if after is None else any(context in after for context in source.context)

    def _depends_on_context(self, result: _Result) -> bool:
        taken = self._program.taken[result.taken]
        score = -result.score
        raised = self._program.enhancement.raised(score)
        return bool(taken.source.context) and raised != score and raised >= taken.threshold

    def _decided(self, results: Iterable[_Result], supported: set[int]) -> list[Span]:
        """The findings among all results that start at one place, which come in order."""
        scored = []
        for result in results:
            if self._own.keeps(result.taken, result):
                raised = result.taken in supported and self._depends_on_context(result)
                score = self._program.enhancement.raised(-result.score) if raised else -result.score
                scored.append(result._replace(score=-score))
        spans: list[Span] = []
        for result in sorted(scored):
            taken = self._program.taken[result.taken]
            text = self._buffer.slice(result.start, result.end)
            spans += [
                Span(result.start, result.end, taker.number, -result.score)
                for taker in taken.takers
                if -result.score >= taker.threshold
                and self._all.keeps((taker.number, taken.source.entity), result)
                and taker.takes(text, -result.score)
            ]
        return spans
