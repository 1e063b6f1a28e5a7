r"""One rule's search through a text: threads of its automaton in order of preference, determinised lazily.

A state is an ordered list of threads, as in Pike's simulation: the first is the one a backtracking engine
would try first. Threads are grouped by where their match starts; earlier starts come first (leftmost), and
among those of one start the order is the pattern's preference. When a thread matches, all behind it are
cut; the match is *pending* while threads before it live, and *settled* when none does. So a rule finds what
`regex.finditer` finds on the whole text, while it sees one character at a time.

`\b`, `$` and look-ahead need what comes next: such threads wait in the state. A look-ahead that is under
way is a *duty* of its thread: a set of nodes that must, or must not, reach a match. Look-behinds are run
all along as small automata of their own.

Steps depend on the state and on the classes of the character, so they are remembered; the cost of a
character that was met in this state before is one look-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from operator import itemgetter
from typing import Final, Literal, NamedTuple

from safeproxy.core.nfa import (
    AFTER,
    AHEAD,
    BEFORE,
    BEHIND,
    CHAR,
    MATCH,
    SPLIT,
    TEXT_END,
    TEXT_START,
    WAITS_FOR_NEXT,
    Nfa,
)
from safeproxy.errors import DetectorError

#: The group of threads that start at the character of this step.
NEW: Final = -1
#: Most threads one rule may have at once; beyond that the rule is too dear to run.
MAX_THREADS = 128
#: Most nodes the look-aheads under way may have reached together.
MAX_DUTIES = 1536
#: Longest run of invisible characters behind a match that is still told from the match.
MAX_LAG = 64

#: For each class number, whether a character is in it.
Bits = bytes | dict[int, bool]
#: Membership of the previous character in the classes that matter; None at the start of the text.
Previous = Bits | None
#: Look-aheads under way: whether each is wanted, and the nodes it has reached.
Duties = frozenset[tuple[bool, frozenset[int]]]
NO_DUTIES: Duties = frozenset()


class Unknown(IntEnum):
    """What is known of the next character when it is not known itself."""

    YET = 0
    NONE = 1  # the text has ended


Next = Bits | Unknown


class Thread(NamedTuple):
    """``group`` numbers the match's start; ``lag`` counts invisible characters since the thread began to wait."""

    group: int
    node: int
    duties: Duties
    lag: int


class Kind(IntEnum):
    """What a step can report."""

    FOUND = 0  # a match is pending
    SETTLED = 1  # the pending match is final
    RESUMED = 2  # the same, and the search went on at this character within the step


class Event(NamedTuple):
    """``group`` is the match's start; its end is ``offset`` after this character's position."""

    kind: Kind
    group: int = NEW
    offset: int = 0


_SETTLED = Event(Kind.SETTLED)
_RESUMED = Event(Kind.RESUMED)

#: A look-behind's automaton: the nodes it has reached, and whether it matches here.
Behind = tuple[frozenset[int], bool]


class State:
    """The threads of one rule between two characters."""

    __slots__ = ("behinds", "ending", "groups", "has_ending", "idle", "moves", "pending", "previous", "threads")

    def __init__(
        self, previous: dict[int, bool] | None, threads: tuple[Thread, ...], pending: bool, behinds: tuple[Behind, ...]
    ) -> None:
        self.previous = previous
        self.threads = threads
        self.pending = pending
        self.behinds = behinds
        self.groups = 1 + max((thread.group for thread in threads), default=-1)
        self.idle = not threads and not pending and not any(nodes or hit for nodes, hit in behinds)
        self.moves: dict[object, Move] = {}
        self.has_ending = False
        self.ending: Event | None = None
        """What the end of the text brings out, once somebody asked."""


class Move(NamedTuple):
    """Where a character leads: ``kept`` gives, for each group of the next state, its group before."""

    state: State
    kept: tuple[int, ...]
    events: tuple[Event, ...]


class Search:
    """Runs one rule's automaton; shared by all streams, which keep a `State` each."""

    def __init__(self, nfa: Nfa) -> None:
        self._nfa = nfa
        self._op = nfa.op
        self._arg = nfa.arg
        self._then = nfa.then
        self.classes_read = nfa.classes_read()
        self.behind_classes = nfa.classes_behind()
        self._decisive = itemgetter(*self.classes_read)
        self.sees_text_start = nfa.sees_text_start()
        self.first_classes = nfa.first_classes()
        self.has_behinds = bool(nfa.behinds)
        self._states: dict[tuple[object, ...], State] = {}
        self.threads_made = 0

    def forget(self) -> None:
        """Drop the remembered states; streams keep the ones they are in."""
        for state in self._states.values():
            state.moves.clear()
        self._states.clear()
        self.threads_made = 0

    def fresh(self, previous: Previous, behinds: tuple[Behind, ...] | None = None) -> State:
        """No match begun; ``previous`` are the bits of the character before, None at the start of the text."""
        if behinds is None:
            behinds = tuple((frozenset[int](), False) for _ in self._nfa.behinds)
        return self._state(previous, [], False, behinds)[0]

    def move(self, state: State, folds: tuple[Bits, ...]) -> Move:
        """One original character, given as the bits of the characters its view has for it."""
        return self.keyed_move(state, self.key(folds), folds)

    def key(self, folds: tuple[Bits, ...]) -> object:
        """What of the bits decides a step: characters with the same key lead to the same states."""
        return tuple(self._decisive(bits) for bits in folds)

    def keyed_move(self, state: State, key: object, folds: tuple[Bits, ...]) -> Move:
        """As `move`, for a caller that keeps the keys."""
        move = state.moves.get(key)
        if move is None:
            move = state.moves[key] = self._move(state, folds)
            self.threads_made += 1 + len(move.state.threads)
        return move

    def _move(self, state: State, folds: tuple[Bits, ...]) -> Move:
        if not folds:
            return self._unseen(state)
        move = self._step(state, folds[0], first=True, may_start=True)
        for bits in folds[1:]:
            # After a match that ends within this character, the search goes on at the next one.
            settled_here = _settles_within(move.events)
            later = self._step(move.state, bits, first=False, may_start=not settled_here)
            events = tuple(_regroup(event, move.kept) for event in later.events)
            kept = tuple(NEW if group == NEW else move.kept[group] for group in later.kept)
            move = Move(later.state, kept, move.events + events)
        return move

    def _unseen(self, state: State) -> Move:
        """A character that is invisible in the rule's view: only the lag of waiting threads grows."""
        if all(self._op[thread.node] == CHAR for thread in state.threads):
            return Move(state, tuple(range(state.groups)), ())
        threads = [
            thread if self._op[thread.node] == CHAR else thread._replace(lag=min(thread.lag + 1, MAX_LAG))
            for thread in state.threads
        ]
        return Move(*self._state(state.previous, threads, state.pending, state.behinds), ())

    def _state(
        self, previous: Previous, threads: list[Thread], pending: bool, behinds: tuple[Behind, ...]
    ) -> tuple[State, tuple[int, ...]]:
        """The state of these threads, groups renumbered in order, and the old number of each."""
        if len(threads) > MAX_THREADS or sum(len(nodes) for t in threads for _, nodes in t.duties) > MAX_DUTIES:
            raise DetectorError(
                f"a rule has more than {MAX_THREADS} alternatives, or too wide a look-ahead, open at once"
            )
        seen: dict[int, int] = {}
        renumbered = tuple(t._replace(group=seen.setdefault(t.group, len(seen))) for t in threads)
        known: dict[int, bool] | None = {}
        if self.sees_text_start:
            known = None if previous is None else {number: bool(previous[number]) for number in self.behind_classes}
        key = (None if known is None else tuple(known.values()), renumbered, pending, behinds)
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = State(known, renumbered, pending, behinds)
        return state, tuple(seen)

    # The step itself.

    def _step(self, state: State, bits: Bits, *, first: bool, may_start: bool) -> Move:
        """One character of the view. ``first``: it is the first that its original character stands for."""
        step = _Step(self, state, bits, first)
        ended_here = step.let_pass() and first
        while True:
            if not step.pending and may_start:
                step.start_new()
            survivors, matched_now = step.take()
            if not (step.pending and not survivors and ended_here and not matched_now):
                break
            step.events.append(_RESUMED)
            step.pending = ended_here = False
        pending = step.pending
        if pending and not survivors:
            step.events.append(_SETTLED)
            pending = False
        next_state, kept = self._state(bits, survivors, pending, step.behinds)
        return Move(next_state, kept, tuple(step.events))

    def at_end(self, state: State) -> Event | None:
        """The match that the end of the text brings out of the threads, if any."""
        if not state.has_ending:
            state.ending = self._at_end(state)
            state.has_ending = True
        return state.ending

    def _at_end(self, state: State) -> Event | None:
        hits = tuple(hit for _, hit in state.behinds)
        seen: set[tuple[int, Duties]] = set()
        for thread in state.threads:
            duties = self.look_on(thread.duties, state.previous, hits, Unknown.NONE)
            if duties is None or self._op[thread.node] == CHAR:
                continue
            found: list[Thread] = []
            start = thread._replace(duties=duties)
            if self.close(start, state.previous, hits, Unknown.NONE, found, seen):
                return Event(Kind.FOUND, thread.group, -thread.lag)
        return None

    def outgrown(self, state: State, group: int, excess: int) -> bool:
        """Whether any match of the group that may still come is longer than the text so far less ``excess``."""
        return any(thread.group == group and thread.lag < excess for thread in state.threads)

    def without(self, state: State, group: int, excess: int) -> tuple[State, tuple[int, ...], bool]:
        """The state without the group's outgrown threads; the groups kept; whether a pending match is now settled."""
        threads = [thread for thread in state.threads if thread.group != group or thread.lag >= excess]
        settled = state.pending and not threads
        return *self._state(state.previous, threads, state.pending and not settled, state.behinds), settled

    def only(self, state: State, group: int) -> State:
        """The state with one group's threads alone."""
        threads = [thread for thread in state.threads if thread.group == group]
        return self._state(state.previous, threads, False, state.behinds)[0]

    # Following nodes that take no character.

    def close(  # noqa: C901 - one branch for each kind of node, told apart in the order of their frequency
        self,
        thread: Thread,
        previous: Previous,
        hits: tuple[bool, ...],
        following: Next,
        out: list[Thread],
        seen: set[tuple[int, Duties]],
    ) -> bool:
        """Append the threads reached from ``thread``, in order; true when one matched and cuts the rest."""
        op, arg, then = self._op, self._arg, self._then
        stack = [(thread.node, thread.duties)]
        while stack:
            node, duties = stack.pop()
            if (node, duties) in seen:
                continue
            seen.add((node, duties))
            kind = op[node]
            if kind == CHAR:
                out.append(Thread(thread.group, node, duties, 0))
            elif kind == SPLIT:
                stack.extend((branch, duties) for branch in reversed(arg[node]))
            elif kind == MATCH:
                if not duties:
                    return True
                out.append(Thread(thread.group, node, duties, thread.lag))
            elif kind == AHEAD:
                added = self._begin_look(node, previous, hits, following)
                if added is not None:
                    stack.append((then[node], duties | added))
            elif kind in WAITS_FOR_NEXT and following is Unknown.YET:
                out.append(Thread(thread.group, node, duties, thread.lag))
            elif self._holds(node, previous, hits, following):
                stack.append((then[node], duties))
        return False

    def _holds(self, node: int, previous: Previous, hits: tuple[bool, ...], following: Next) -> bool:
        """Whether an assertion holds at a border whose two sides are known."""
        kind = self._op[node]
        if kind == TEXT_START:
            return previous is None
        if kind == TEXT_END:
            return following is Unknown.NONE
        if kind == BEHIND:
            number, wanted = self._arg[node]
            return bool(hits[number] == wanted)
        if kind == BEFORE:
            number, wanted, at_start = self._arg[node]
            return bool(at_start if previous is None else previous[number] == wanted)
        if kind == AFTER:
            number, wanted, at_end = self._arg[node]
            return bool(at_end if isinstance(following, Unknown) else following[number] == wanted)
        number, wanted = self._arg[node]
        before = previous is not None and previous[number]
        after = not isinstance(following, Unknown) and following[number]
        return bool((before != after) == wanted)

    def _begin_look(self, node: int, previous: Previous, hits: tuple[bool, ...], following: Next) -> Duties | None:
        """The duties a look-ahead adds; None when it fails here."""
        wanted, entry = self._arg[node]
        reached = self._reach([entry], previous, hits, following)
        return _duty(wanted, reached)

    def _reach(
        self, nodes: Sequence[int], previous: Previous, hits: tuple[bool, ...], following: Next
    ) -> frozenset[int] | Literal[True]:
        """The nodes of a look-around reached from ``nodes``, in no order; True when it has matched."""
        op, arg, then = self._op, self._arg, self._then
        seen: set[int] = set()
        waiting: set[int] = set()
        stack = list(nodes)
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            kind = op[node]
            if kind == MATCH:
                return True
            if kind == CHAR:
                waiting.add(node)
            elif kind == SPLIT:
                stack.extend(arg[node])
            elif kind in WAITS_FOR_NEXT and following is Unknown.YET:
                waiting.add(node)
            elif self._holds(node, previous, hits, following):
                stack.append(then[node])
        return frozenset() if following is Unknown.NONE else frozenset(waiting)

    def look_on(self, duties: Duties, previous: Previous, hits: tuple[bool, ...], following: Next) -> Duties | None:
        """The duties once the next character, or the end, is known; None when one is violated."""
        kept: Duties = NO_DUTIES
        for wanted, nodes in duties:
            more = _duty(wanted, self._reach(tuple(nodes), previous, hits, following))
            if more is None:
                return None
            kept |= more
        return kept

    def look_past(self, duties: Duties, bits: Bits, hits: tuple[bool, ...]) -> Duties | None:
        """The duties after a character was taken; None when one is violated."""
        kept: Duties = NO_DUTIES
        for wanted, nodes in duties:
            more = _duty(wanted, self._reach(self._taken(nodes, bits), bits, hits, Unknown.YET))
            if more is None:
                return None
            kept |= more
        return kept

    def _taken(self, nodes: frozenset[int], bits: Bits) -> list[int]:
        return [self._then[node] for node in nodes if self._op[node] == CHAR and bits[self._arg[node]]]

    def look_back(self, behinds: tuple[Behind, ...], bits: Bits) -> tuple[Behind, ...]:
        """The look-behinds after one more character; each may begin anywhere."""
        return tuple(
            self._behind_step(nodes | self._behind_start(entry), bits)
            for (nodes, _), entry in zip(behinds, self._nfa.behinds, strict=True)
        )

    def _behind_start(self, entry: int) -> frozenset[int]:
        reached = self._reach([entry], None, (), Unknown.YET)
        assert reached is not True  # an empty look-behind was refused
        return reached

    def _behind_step(self, nodes: frozenset[int], bits: Bits) -> Behind:
        seen: set[int] = set()
        reached: set[int] = set()
        hit = False
        stack = self._taken(nodes, bits)
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if self._op[node] == MATCH:
                hit = True
            elif self._op[node] == SPLIT:
                stack.extend(self._arg[node])
            else:
                reached.add(node)
        return frozenset(reached), hit


class _Step:
    """The working state of one step: threads before the character, then after it."""

    def __init__(self, search: Search, state: State, bits: Bits, first: bool) -> None:
        self._search = search
        self._here = 0 if first else 1  # offset of the border before this character, in original characters
        self._state = state
        self._bits = bits
        self._hits = tuple(hit for _, hit in state.behinds)
        self.behinds = search.look_back(state.behinds, bits) if state.behinds else ()
        self.pending = state.pending
        self.events: list[Event] = []
        self._threads: list[Thread] = []
        self._seen: set[tuple[int, Duties]] = set()

    def let_pass(self) -> bool:
        """Let waiting threads pass, now that the next character is known; true when a match ends right here."""
        search, state = self._search, self._state
        op = search._op
        for waiting in state.threads:
            thread = waiting
            if thread.duties:
                duties = search.look_on(thread.duties, state.previous, self._hits, self._bits)
                if duties is None:
                    continue
                thread = thread._replace(duties=duties)
            if op[thread.node] == CHAR:
                if (thread.node, thread.duties) not in self._seen:
                    self._seen.add((thread.node, thread.duties))
                    self._threads.append(thread)
            elif op[thread.node] == MATCH and thread.duties:
                self._threads.append(thread)
            elif search.close(thread, state.previous, self._hits, self._bits, self._threads, self._seen):
                self.events.append(Event(Kind.FOUND, thread.group, self._here - thread.lag))
                self.pending = True
                return thread.lag == 0
        return False

    def start_new(self) -> None:
        """A match may begin at this character; it is the least preferred."""
        search = self._search
        thread = Thread(NEW, search._nfa.start, NO_DUTIES, 0)
        matched = search.close(thread, self._state.previous, self._hits, self._bits, self._threads, self._seen)
        assert not matched  # patterns that match the empty string were refused

    def take(self) -> tuple[list[Thread], bool]:
        """The threads that take the character, and whether one matched by it."""
        search, bits = self._search, self._bits
        hits = tuple(hit for _, hit in self.behinds)
        survivors: list[Thread] = []
        seen: set[tuple[int, Duties]] = set()
        threads, self._threads, self._seen = self._threads, [], set()
        for thread in threads:
            duties: Duties | None = thread.duties
            if thread.duties:
                duties = search.look_past(thread.duties, bits, hits)
                if duties is None:
                    continue
            assert duties is not None
            if search._op[thread.node] == MATCH:
                # It has matched before this character and only its look-ahead was still under way.
                if not duties:
                    self.events.append(Event(Kind.FOUND, thread.group, self._here - thread.lag))
                    self.pending = True
                    return survivors, True
                lag = thread.lag + 1 if self._here == 0 else thread.lag
                survivors.append(Thread(thread.group, thread.node, duties, lag))
                continue
            if not bits[search._arg[thread.node]]:
                continue
            moved = Thread(thread.group, search._then[thread.node], duties, 0)
            if search.close(moved, bits, hits, Unknown.YET, survivors, seen):
                self.events.append(Event(Kind.FOUND, thread.group, 1))
                self.pending = True
                return survivors, True
        return survivors, False


def _duty(wanted: bool, reached: frozenset[int] | Literal[True]) -> Duties | None:
    """What is left of a look-ahead: nothing when it is fulfilled, None when it is violated."""
    if reached is True:
        return NO_DUTIES if wanted else None
    if not reached:
        return None if wanted else NO_DUTIES
    return frozenset(((wanted, reached),))


def _settles_within(events: tuple[Event, ...]) -> bool:
    """Whether a match that ends inside the character, not before it, was settled."""
    offset = 0
    settled = False
    for event in events:
        if event.kind is Kind.FOUND:
            offset = event.offset
        elif offset == 1:
            settled = True
    return settled


def _regroup(event: Event, kept: tuple[int, ...]) -> Event:
    if event.kind is not Kind.FOUND or event.group == NEW:
        return event
    return event._replace(group=kept[event.group])
