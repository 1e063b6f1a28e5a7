"""The pattern tier on one channel: runs the machine over the text and turns its reports into spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from safeproxy.core.automaton import BEGIN, CLEAR, Active, Machine
from safeproxy.core.detector import Extent, Span
from safeproxy.core.judge import CONTEXT_REACH
from safeproxy.core.nfa import MAX_LOOK
from safeproxy.core.rule import Overflow
from safeproxy.core.threads import NEW, Event, Kind, State
from safeproxy.errors import DetectorError

#: Text kept before the frontier: for context words, and for what precedes a search that begins anew.
REACH_BACK = max(CONTEXT_REACH, 2 * MAX_LOOK) + 32
#: The buffer is cut once it has this much to spare, so that cutting costs little per character.
_SLACK = 2048
#: A longer piece is taken in parts, so that a ceiling is watched closely only where a match comes near it.
_PIECE = 256
#: Steps that searching anew may take: so many at once, and so many for each character of the text.
RERUNS_AT_ONCE = 100_000
RERUNS_PER_CHARACTER = 100


@dataclass(slots=True)
class _Overflow:
    """A match that reached its ceiling: the text belongs to it until its pattern ends."""

    state: State
    reported: int
    """End of the span reported so far."""


class PatternDetector:
    """Finds the spans of all patterns of a machine in one text, told piece by piece. A `Detector`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._patterns = machine.patterns
        self._node = machine.start
        self._starts: list[int] = []  # the registers: starts of the matches under way, ascending
        self._position = 0
        self._text = ""  # what may still be asked for: from REACH_BACK before the frontier on
        self._offset = 0  # position of its first code point
        self._found: dict[int, tuple[int, int]] = {}  # pending matches by pattern
        self._spans: list[Span] = []
        self._overflows: dict[int, _Overflow] = {}
        self._ceiling = machine.ceiling
        self._reruns = 0
        self.frontier = 0

    def feed(self, text: str) -> Sequence[Span]:
        """Take the next piece; give the spans that are now final.

        Raises DetectorError when a validator breaks or the text makes a rule too dear.
        """
        self._text += text
        if len(text) <= _PIECE:
            self._take(text)
        else:
            for at in range(0, len(text), _PIECE):
                self._take(text[at : at + _PIECE])
        starts = self._starts
        self.frontier = frontier = starts[0] if starts else self._position
        if frontier - self._offset > _SLACK:
            self._cut()
        if not self._spans:
            return ()
        spans, self._spans = self._spans, []
        return spans

    def _take(self, text: str) -> None:
        oldest = self._starts[0] if self._starts else self._position
        if self._position + len(text) - oldest > self._ceiling or self._overflows:
            for char in text:
                self._careful_step(char)
        else:
            self._run(text)

    def _run(self, text: str) -> None:
        """The hot loop: one look-up a character, and the registers where a match begins or ends."""
        node = self._node
        starts = self._starts
        position = self._position
        for char in text:
            node, effect = node[char]
            if effect is not None:
                if effect is CLEAR:
                    starts = []
                elif effect is BEGIN:
                    starts = [position]
                else:
                    before = starts
                    starts = [before[register] for register in effect.kept]
                    if effect.begins:
                        starts.append(position)
                    if effect.reports:
                        self._node, self._starts, self._position = node, starts, position
                        self._hear(effect.reports, before)
                        node, starts = self._node, self._starts
            position += 1
        self._node, self._starts, self._position = node, starts, position

    def _cut(self) -> None:
        keep = self.frontier - REACH_BACK
        self._text = self._text[keep - self._offset :]
        self._offset = keep

    def _slice(self, start: int, end: int) -> str:
        return self._text[max(0, start - self._offset) : end - self._offset]

    def _before(self, position: int) -> str:
        return self._slice(max(0, position - REACH_BACK), position)

    # What the rules report.

    def _hear(self, reports: Sequence[tuple[int, tuple[Event, ...]]], starts: Sequence[int]) -> None:
        """Reports at the current character, which has been taken; ``starts`` are the registers before it."""
        for index, events in reports:
            resume = self._hear_pattern(index, events, starts, self._position)
            if resume is not None:
                self._search_again(index, resume, self._position + 1)

    def _hear_pattern(self, index: int, events: tuple[Event, ...], starts: Sequence[int], position: int) -> int | None:
        """One pattern's events; the position from which it has to search again, if it has to."""
        for kind, group, offset in events:
            if kind is Kind.FOUND:
                self._note(index, position if group == NEW else starts[group], position + offset)
                continue
            start, end = self._found.pop(index)
            if not self._accept(index, start, end):
                return start + 1
            if kind is Kind.SETTLED and end <= position:
                return end
        return None

    def _note(self, index: int, start: int, end: int) -> None:
        """A match is pending; one that is too long and would be let go does not take a shorter one's place."""
        shorter = index in self._found and self._found[index][0] == start
        if not (shorter and self._is_let_go(index, start, end)):
            self._found[index] = (start, end)

    def _is_let_go(self, index: int, start: int, end: int) -> bool:
        """Whether a match is longer than its rule wants to have it."""
        rule = self._patterns[index].rule
        return end - start > rule.max_length and rule.overflow is Overflow.RELEASE

    def _accept(self, index: int, start: int, end: int) -> bool:
        """Whether the match is a finding; if so it is one from now on."""
        pattern = self._patterns[index]
        judge = pattern.judge
        if self._is_let_go(index, start, end):
            return False
        score: float | None = pattern.rule.score
        if not judge.always:
            score = judge.score(self._before(start), self._slice(start, end))
        if score is None:
            return False
        self._spans.append(Span(start, end, pattern.number, score))
        return True

    def _search_again(self, index: int, start: int, upto: int) -> None:
        """Run one pattern anew over the text from ``start`` on, then put it back into the combined state."""
        machine = self._machine
        pattern = self._patterns[index]
        while True:
            state = machine.fresh(index, self._before(start))
            registers: list[int] = []
            resume: int | None = None
            self._spend(pattern.rule.id, upto - start)
            for position, char in enumerate(self._slice(start, upto), start):
                move = machine.move(index, state, char)
                before, state = registers, move.state
                registers = [position if group == NEW else before[group] for group in move.kept]
                resume = self._hear_pattern(index, move.events, before, position)
                if resume is not None:
                    break
            if resume is None:
                break
            start = resume
        self._put_back(index, state, registers)

    def _spend(self, rule: str, steps: int) -> None:
        self._reruns += steps
        if self._reruns > RERUNS_AT_ONCE + RERUNS_PER_CHARACTER * self._position:
            raise DetectorError(f"rule {rule!r} searches this text again and again; bound its repeats")

    def _put_back(self, index: int, state: State | None, registers: Sequence[int]) -> None:
        """Replace one pattern's part of the combined state; None takes it out."""
        parts: list[tuple[int, State, tuple[int, ...]]] = [
            (other, other_state, tuple(self._starts[register] for register in other_registers))
            for other, other_state, other_registers in self._node.active
            if other != index
        ]
        if state is not None and not state.idle:
            parts.append((index, state, tuple(registers)))
        parts.sort(key=lambda part: part[0])
        self._starts = sorted({start for _, _, starts in parts for start in starts})
        place = {start: register for register, start in enumerate(self._starts)}
        active: tuple[Active, ...] = tuple(
            (other, other_state, tuple(place[start] for start in starts)) for other, other_state, starts in parts
        )
        self._node = self._machine.node(self._node.context, active)

    # Matches that reach their ceiling.

    def _careful_step(self, char: str) -> None:
        """One character, with an eye on the ceilings."""
        position = self._position
        self._run(char)
        for index in list(self._overflows):
            self._follow(index, char, position)
        while (outgrown := self._outgrown()) is not None:
            self._overflow(*outgrown)

    def _outgrown(self) -> tuple[int, int, int] | None:
        """A pattern, a group of its threads that took more than the ceiling allows, and by how much they did."""
        for index, state, registers in self._node.active:
            pattern = self._patterns[index]
            if not pattern.may_overflow:
                continue
            for group, register in enumerate(registers):
                excess = self._position - self._starts[register] - pattern.rule.max_length
                if excess > 0 and pattern.search.outgrown(state, group, excess):
                    return index, group, excess
        return None

    def _overflow(self, index: int, group: int, excess: int) -> None:
        state, registers = next((s, r) for other, s, r in self._node.active if other == index)
        pattern = self._patterns[index]
        starts = [self._starts[register] for register in registers]
        if index in self._overflows:
            self._put_back(index, None, ())  # it woke inside its own match
            return
        score = pattern.judge.context_score(self._before(starts[group]))
        if pattern.rule.overflow is Overflow.REDACT and score is not None:
            end = starts[group] + pattern.rule.max_length
            self._spans.append(Span(starts[group], end, pattern.number, score, Extent.OPEN))
            self._overflows[index] = _Overflow(pattern.search.only(state, group), end)
            self._found.pop(index, None)
            self._put_back(index, None, ())
            return
        rest, kept, settled = pattern.search.without(state, group, excess)
        self._put_back(index, rest, [starts[old] for old in kept])
        if settled:
            start, end = self._found.pop(index)
            resume = end if self._accept(index, start, end) else start + 1
            self._search_again(index, resume, self._position)

    def _follow(self, index: int, char: str, position: int) -> None:
        """Let an overflowed match take one more character; close it when its pattern ends."""
        overflow = self._overflows[index]
        pattern = self._patterns[index]
        if any(other == index for other, _, _ in self._node.active):
            self._put_back(index, None, ())
        self._found.pop(index, None)
        move = self._machine.move(index, overflow.state, char)
        if 0 in move.kept:
            overflow.state = pattern.search.only(move.state, move.kept.index(0))
            return
        matched = any(e.kind is Kind.FOUND and e.group == 0 and e.offset == 1 for e in move.events)
        end = position + 1 if matched else position
        self._close(index, end)
        self._search_again(index, end, position + 1)

    def _close(self, index: int, end: int) -> None:
        reported = self._overflows.pop(index).reported
        self._spans.append(Span(reported, end, self._patterns[index].number, 0.0, Extent.CLOSING))

    def finish(self) -> Sequence[Span]:
        """The text has ended; give what was still open."""
        for index in list(self._overflows):
            self._close(index, self._position)
        for index, state, _ in self._node.active:
            if index in self._found or self._patterns[index].search.at_end(state) is not None:
                self._finish_pattern(index)
        self._node, self._starts, self.frontier = self._machine.start, [], self._position
        spans, self._spans = self._spans, []
        return spans

    def _finish_pattern(self, index: int) -> None:
        while True:
            for other, state, registers in self._node.active:
                if other == index and (event := self._patterns[index].search.at_end(state)):
                    self._found[index] = (self._starts[registers[event.group]], self._position + event.offset)
            if index not in self._found:
                return
            start, end = self._found.pop(index)
            resume = end if self._accept(index, start, end) else start + 1
            if resume >= self._position:
                return
            self._search_again(index, resume, self._position)
