"""All rules in one machine: the combination of the rules' states, determinised lazily once more.

A node stands for what every rule is doing; it maps each character met there to the next node and to what
that changes. So a character costs one look-up whatever the number of rules. Rules with nothing under way do
not appear in a node: a rule wakes when a character comes that its match could begin with.

The starts of all matches under way are kept by the stream in registers, in ascending order; a rule's
groups point into them. What lies before the first register is settled.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from safeproxy.core.judge import Judge
from safeproxy.core.nfa import MAX_NODES, MAX_TRIE_NODES, Classes, Nfa
from safeproxy.core.rule import Rule, View
from safeproxy.core.syntax import parse, width, word_list
from safeproxy.core.threads import MAX_THREADS, NEW, Behind, Bits, Event, Kind, Move, Search, State
from safeproxy.core.views import FOLDS, folded
from safeproxy.errors import DetectorError, RuleError

#: Most nodes, edges and threads that are remembered; beyond, all is dropped and found anew (as RE2 does).
MAX_COMBINED = 30_000
MAX_EDGES = 500_000
MAX_THREADS_KEPT = 500_000
#: A pattern that reads more classes than this tells each of the machine's classes apart.
_SHARED_KEY = 64
#: Length of the texts on which a large pattern is tried when it is loaded.
_PROBE = 200
#: Letters of other scripts to try it with.
_FOREIGN = "\u00e9\u0434\u03b4\u05d3\u062f\u0926\u0e14\u4e2d\u3042\uac00"
#: Most characters whose classes are remembered.
MAX_CHARACTERS = 70_000


class Change(NamedTuple):
    """What an edge does to the registers: which stay, whether one begins here, and what the rules report."""

    kept: tuple[int, ...]
    begins: bool
    reports: tuple[tuple[int, tuple[Event, ...]], ...]
    """Pattern index and its events, their groups given as register numbers before the character."""


#: No match is under way any more.
CLEAR: Final = Change((), begins=False, reports=())
#: The only match under way begins at this character.
BEGIN: Final = Change((), begins=True, reports=())

#: What an edge does; None where nothing changes.
Effect = Change | None

#: A pattern that has something under way: its index, its state, the register of each of its groups.
Active = tuple[int, State, tuple[int, ...]]
#: For each view, what the previous character was, as far as it matters: a number, `TEXT_START` where there is none.
Context = tuple[int, ...]
TEXT_START: Final = 0


class Pattern:
    """One rule made ready to run in a machine. Raises RuleError when the automaton cannot run it."""

    def __init__(self, rule: Rule, number: int, view: int, classes: Classes) -> None:
        if (rule.pattern is None) == (not rule.words):
            raise RuleError("give either a pattern or words")
        if rule.pattern is not None:
            tree, max_nodes = parse(rule.pattern, rule.flags), MAX_NODES
        else:
            tree, max_nodes = word_list([folded(word, rule.view) for word in rule.words], rule.flags), MAX_TRIE_NODES
        nfa = Nfa(tree, classes, max_nodes)
        widest = width(tree)[1]
        self.rule = rule
        self.number = number
        self.view = view
        self.search = Search(nfa)
        self.judge = Judge(rule)
        self.behind_width = nfa.behind_width
        if rule.pattern is not None and len(nfa.op) > MAX_THREADS:
            self._refuse_if_dear(classes)
        #: By the machine's class number, what of it decides a step. Where much does, the number itself will do.
        self.keys: dict[int, object] = {}
        #: By the number in a context, the state with nothing under way.
        self.fresh_states: dict[int, State] = {}
        self.shares_keys = len(self.search.classes_read) <= _SHARED_KEY
        #: Whether a match could outgrow the rule's ceiling. Invisible characters make any match longer.
        self.may_overflow = widest is None or widest > rule.max_length or rule.view is not View.RAW

    def _refuse_if_dear(self, classes: Classes) -> None:
        """Try the pattern on simple texts made of its own characters; some patterns begin anew all the time."""
        read = self.search.classes_read
        alphabet = dict.fromkeys([*map(chr, range(9, 127)), *_FOREIGN, *(self.rule.pattern or "")])
        known = {char: {number: classes.tests[number](char) for number in read} for char in alphabet}
        letters = [char for char, bits in known.items() if any(bits.values())]
        if not letters:
            return
        chance = random.Random(0)  # noqa: S311 - the same texts each time, so that a rule is always or never refused
        texts = [letter * _PROBE for letter in letters[:: max(1, len(letters) // 4)]]
        texts.append("".join(chance.choices(letters, k=_PROBE)))
        try:
            for text in texts:
                state = self.search.fresh(None)
                for char in text:
                    state = self.search.keyed_move(state, char, (known[char],)).state
        except DetectorError:
            raise RuleError(
                f"the pattern keeps more than {MAX_THREADS} alternatives, or too wide a look-ahead, open at once on "
                "simple text; bound its repeats more tightly, or begin it with something rarer"
            ) from None
        self.search.forget()


class Node(dict[str, "tuple[Node, Effect]"]):
    """A state of the machine. Looking up a character that was not met here yet finds its edge."""

    __slots__ = ("active", "by_class", "context", "machine", "registers")

    def __init__(self, machine: Machine, context: Context, active: tuple[Active, ...]) -> None:
        self.machine = machine
        self.context = context
        self.active = active
        self.by_class: dict[int, tuple[Node, Effect]] = {}
        self.registers = 1 + max((register for _, _, registers in active for register in registers), default=-1)

    def __missing__(self, char: str) -> tuple[Node, Effect]:
        edge = self[char] = self.machine.edge(self, char)
        return edge


class Machine:
    """The combined automaton of some rules, shared by all streams.

    ``numbers`` are the rules' indexes in their rule set. Raises RuleError, naming the rule, when one cannot run.
    """

    def __init__(self, rules: Sequence[Rule], numbers: Sequence[int]) -> None:
        self.views: tuple[View, ...] = tuple(dict.fromkeys(rule.view for rule in rules))
        self._folds = tuple(FOLDS.get(view, str) for view in self.views)
        self._classes = tuple(Classes() for _ in self.views)
        self.patterns = [self._pattern(rule, number) for rule, number in zip(rules, numbers, strict=True)]
        #: Least ceiling that a match may outgrow.
        self.ceiling = min((p.rule.max_length for p in self.patterns if p.may_overflow), default=sys.maxsize)
        self._behind_classes = tuple(
            sorted({n for p in self.patterns if p.view == view for n in p.search.behind_classes})
            for view in range(len(self.views))
        )
        self._sleepers = self._by_first_class()
        self._listeners = [index for index, pattern in enumerate(self.patterns) if pattern.search.has_behinds]
        self._class_of: dict[str, int] = {}
        self._class_numbers: dict[tuple[tuple[Bits, ...], ...], int] = {}
        self._class_bits: list[tuple[tuple[Bits, ...], ...]] = []
        self._nodes: dict[tuple[Context, tuple[Active, ...]], Node] = {}
        self._wakes: dict[tuple[Context, int], list[tuple[int, Move]]] = {}
        self._edges = 0
        self._previous: list[dict[int, bool] | None] = [None]  # by the numbers in contexts
        self._context_numbers: dict[tuple[int, tuple[bool, ...]], int] = {}
        self._contexts_after: list[tuple[int | None, ...]] = []  # by class: the context that its characters leave
        self.start = self.node((TEXT_START,) * len(self.views), ())

    def _pattern(self, rule: Rule, number: int) -> Pattern:
        view = self.views.index(rule.view)
        try:
            return Pattern(rule, number, view, self._classes[view])
        except RuleError as error:
            raise RuleError(f"rule {rule.id!r}: {error}") from None

    def _by_first_class(self) -> tuple[dict[int, list[int]], ...]:
        """For each view, the patterns by the classes that their matches can begin with."""
        sleepers: tuple[dict[int, list[int]], ...] = tuple({} for _ in self.views)
        for index, pattern in enumerate(self.patterns):
            for number in pattern.search.first_classes:
                sleepers[pattern.view].setdefault(number, []).append(index)
        return sleepers

    def folds(self, char: str) -> tuple[tuple[Bits, ...], ...]:
        """For each view, the class bits of each character that ``char`` stands for."""
        return self._class_bits[self._classify(char)]

    def _classify(self, char: str) -> int:
        number = self._class_of.get(char)
        if number is None:
            bits = tuple(
                tuple(classes.members(part) for part in fold(char))
                for fold, classes in zip(self._folds, self._classes, strict=True)
            )
            number = self._class_numbers.setdefault(bits, len(self._class_bits))
            if number == len(self._class_bits):
                self._class_bits.append(bits)
                self._contexts_after.append(tuple(self._context(view, parts) for view, parts in enumerate(bits)))
            if len(self._class_of) > MAX_CHARACTERS:
                self._class_of.clear()
            self._class_of[char] = number
        return number

    def _context(self, view: int, parts: tuple[Bits, ...]) -> int | None:
        """The number of what a character is to the next one in this view; None if it is invisible there."""
        if not parts:
            return None
        numbers = self._behind_classes[view]
        bits = tuple(bool(parts[-1][number]) for number in numbers)
        context = self._context_numbers.setdefault((view, bits), len(self._previous))
        if context == len(self._previous):
            self._previous.append(dict(zip(numbers, bits, strict=True)))
        return context

    def node(self, context: Context, active: tuple[Active, ...]) -> Node:
        """The node for this combination of states."""
        node = self._nodes.get((context, active))
        if node is None:
            if len(self._nodes) >= MAX_COMBINED or self._edges >= MAX_EDGES or self._has_too_many_threads():
                self.forget()
            node = self._nodes[(context, active)] = Node(self, context, active)
        return node

    def _has_too_many_threads(self) -> bool:
        """Looked at now and then only: it asks every pattern."""
        if len(self._nodes) % 256:
            return False
        return sum(pattern.search.threads_made for pattern in self.patterns) >= MAX_THREADS_KEPT

    def forget(self) -> None:
        """Drop what is remembered. Streams keep the node they are in and go on from it."""
        for node in self._nodes.values():
            node.clear()
            node.by_class.clear()
        self._nodes.clear()
        self._wakes.clear()
        self._edges = 0
        for pattern in self.patterns:
            pattern.search.forget()
            pattern.fresh_states.clear()

    def edge(self, node: Node, char: str) -> tuple[Node, Effect]:
        """Where ``char`` leads from ``node`` and what it changes."""
        self._edges += 1
        number = self._classify(char)
        edge = node.by_class.get(number)
        if edge is None:
            edge = node.by_class[number] = self._find_edge(node, number)
        return edge

    def _find_edge(self, node: Node, number: int) -> tuple[Node, Effect]:
        reports = []
        following: list[Active] = []
        for index, state, registers in node.active:
            move = self._moved(index, state, number)
            if move.events:
                reports.append((index, tuple(_in_registers(event, registers) for event in move.events)))
            if not move.state.idle:
                kept = tuple(NEW if group == NEW else registers[group] for group in move.kept)
                following.append((index, move.state, kept))
        busy = {index for index, _, _ in node.active}
        for index, move in self._woken(node.context, number):
            if index in busy:
                continue
            if move.events:
                reports.append((index, move.events))
            if not move.state.idle:
                following.append((index, move.state, move.kept))
        return self._connect(node, self._after(node.context, number), following, tuple(reports))

    def _connect(
        self,
        node: Node,
        context: Context,
        following: list[Active],
        reports: tuple[tuple[int, tuple[Event, ...]], ...],
    ) -> tuple[Node, Effect]:
        """The next node, its registers renumbered in order, and the change that leads to it."""
        used = {register for _, _, registers in following for register in registers}
        begins = NEW in used
        kept = tuple(sorted(used - {NEW}))
        renumbered = {register: place for place, register in enumerate(kept)}
        renumbered[NEW] = len(kept)
        active = tuple(
            (index, state, tuple(renumbered[register] for register in registers))
            for index, state, registers in sorted(following, key=lambda item: item[0])
        )
        effect: Effect = Change(kept, begins, reports)
        if not reports and not kept:
            effect = BEGIN if begins else CLEAR if node.registers else None
        elif not reports and not begins and len(kept) == node.registers:
            effect = None
        return self.node(context, active), effect

    def _after(self, context: Context, number: int) -> Context:
        """The context once a character was taken; an invisible one leaves its view's as it was."""
        after = self._contexts_after[number]
        if None not in after:
            return after  # type: ignore[return-value]
        return tuple(before if new is None else new for before, new in zip(context, after, strict=True))

    def _woken(self, context: Context, number: int) -> list[tuple[int, Move]]:
        """The sleeping patterns that a character of this class starts, with their first move."""
        woken = self._wakes.get((context, number))
        if woken is None:
            woken = self._wakes[(context, number)] = []
            for index in self._candidates(number):
                move = self._moved(index, self._fresh(index, context), number)
                if move.events or not move.state.idle:
                    woken.append((index, move))
        return woken

    def _fresh(self, index: int, context: Context) -> State:
        pattern = self.patterns[index]
        before = context[pattern.view]
        state = pattern.fresh_states.get(before)
        if state is None:
            state = pattern.fresh_states[before] = pattern.search.fresh(self._previous[before])
        return state

    def _candidates(self, number: int) -> list[int]:
        """The patterns whose match a character of this class may begin."""
        candidates = set(self._listeners)
        for parts, sleepers in zip(self._class_bits[number], self._sleepers, strict=True):
            for bits in parts:
                for class_number, indexes in sleepers.items():
                    if bits[class_number]:
                        candidates.update(indexes)
        return sorted(candidates)

    def move(self, index: int, state: State, char: str) -> Move:
        """Where ``char`` leads one pattern."""
        return self._moved(index, state, self._classify(char))

    def _moved(self, index: int, state: State, number: int) -> Move:
        pattern = self.patterns[index]
        folds = self._class_bits[number][pattern.view]
        key = pattern.keys.get(number)
        if key is None:
            key = pattern.keys[number] = pattern.search.key(folds) if pattern.shares_keys else number
        return pattern.search.keyed_move(state, key, folds)

    def fresh(self, index: int, before: str) -> State:
        """The state of a pattern that has nothing under way after the text ``before``."""
        pattern = self.patterns[index]
        wanted = max(1, pattern.behind_width)
        seen: list[Bits] = []
        for char in reversed(before):
            seen[:0] = self.folds(char)[pattern.view]
            if len(seen) >= wanted:
                break
        behinds: tuple[Behind, ...] | None = None
        if pattern.search.has_behinds:
            behinds = pattern.search.fresh(None).behinds
            for bits in seen[-wanted:]:
                behinds = pattern.search.look_back(behinds, bits)
        return pattern.search.fresh(seen[-1] if seen else None, behinds)


def _in_registers(event: Event, registers: tuple[int, ...]) -> Event:
    if event.kind is not Kind.FOUND or event.group == NEW:
        return event
    return event._replace(group=registers[event.group])
