"""A rule's pattern as a nondeterministic automaton (Thompson's construction).

Nodes are numbers; `op`, `arg` and `then` are parallel lists. Thread order carries the preference between
alternatives, so an ordered list of threads finds what a backtracking engine finds first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import regex

from safeproxy.core.syntax import (
    ASCII,
    IGNORE_CASE,
    Alt,
    Anchor,
    Char,
    Look,
    Node,
    Place,
    Repeat,
    Seq,
    class_pattern,
    width,
)
from safeproxy.errors import RuleError

#: Most nodes a pattern may have.
MAX_NODES = 20_000
#: Most nodes a word list may have: its trie is wide, but few of its threads live at once.
MAX_TRIE_NODES = 500_000
#: Widest look-around, in characters.
MAX_LOOK = 64

# What a node does; `arg` in brackets.
CHAR: Final = 0  # takes one character [class]
SPLIT: Final = 1  # goes on as several threads [nodes in order of preference]
MATCH: Final = 2  # the pattern has matched
BEFORE: Final = 3  # the previous character must, or must not, be in a class [class, wanted, verdict at text start]
AFTER: Final = 4  # the next character must, or must not, be in a class [class, wanted, verdict at text end]
EDGE: Final = 5  # a word boundary, or none [class of word characters, wanted]
TEXT_START: Final = 6
TEXT_END: Final = 7
AHEAD: Final = 8  # look-ahead [wanted, node]
BEHIND: Final = 9  # look-behind [its number, wanted]

#: Nodes that wait for the next character, or the end of the text, before they let a thread pass.
WAITS_FOR_NEXT: Final = frozenset({AFTER, EDGE, TEXT_END})


def _is_member(pattern: regex.Pattern[str], char: str) -> bool:
    return pattern.fullmatch(char) is not None


class Classes:
    """The character classes of a rule set: each distinct one has a number and is asked of `regex` itself."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, int], int] = {}
        self._letters: dict[str, int] = {}  # classes of one character, which need not be asked
        self._asked: list[int] = []
        self.tests: list[Callable[[str], bool]] = []

    def number(self, source: str, flags: int) -> int:
        """The class's number; a class that is new gets the next one."""
        key = (source, flags)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.tests)
            letter = source[-1]
            if not flags & IGNORE_CASE and regex.escape(letter, special_only=False) == source:
                self._letters[letter] = number
                self.tests.append(letter.__eq__)
            else:
                self._asked.append(number)
                self.tests.append(partial(_is_member, class_pattern(source, flags)))
        return number

    def members(self, char: str) -> bytes:
        """For each class number, 1 if ``char`` is in it, else 0."""
        bits = bytearray(len(self.tests))
        for number in self._asked:
            bits[number] = self.tests[number](char)
        if char in self._letters:
            bits[self._letters[char]] = True
        return bytes(bits)


class Nfa:
    """The automaton of one pattern.

    Raises RuleError for what is too large or looks around too far.
    """

    def __init__(self, tree: Node, classes: Classes, max_nodes: int = MAX_NODES) -> None:
        if width(tree)[0] == 0:
            raise RuleError("the pattern can match the empty string; make it take at least one character")
        self.op: list[int] = []
        self.arg: list[Any] = []
        self.then: list[int] = []
        #: Entry node of each look-behind.
        self.behinds: list[int] = []
        #: Most characters any look-behind reads.
        self.behind_width = 0
        self._classes = classes
        self._max_nodes = max_nodes
        self._in_look = False
        self.match = self._add(MATCH)
        self.start = self._build(tree, self.match)

    def _add(self, op: int, arg: Any = None, then: int = -1) -> int:
        if len(self.op) >= self._max_nodes:
            raise RuleError(f"the pattern needs more than {self._max_nodes} nodes; shorten its repeats or split it")
        self.op.append(op)
        self.arg.append(arg)
        self.then.append(then)
        return len(self.op) - 1

    def _number(self, char: Char) -> int:
        return self._classes.number(char.source, char.flags)

    def _build(self, node: Node, then: int) -> int:
        """Nodes for ``node`` that go on to ``then``; gives the first."""
        match node:
            case Char():
                return self._add(CHAR, self._number(node), then)
            case Seq(items):
                for item in reversed(items):
                    then = self._build(item, then)
                return then
            case Alt(branches):
                return self._add(SPLIT, tuple(self._build(branch, then) for branch in branches))
            case Repeat():
                return self._repeat(node, then)
            case Look():
                return self._look(node, then)
            case Anchor():
                return self._anchor(node, then)

    def _repeat(self, node: Repeat, then: int) -> int:
        def choice(body: int) -> tuple[int, int]:
            return (body, then) if node.greedy else (then, body)

        least = node.least
        if node.most is None:
            loop = self._add(SPLIT)
            body = self._build(node.item, loop)
            self.arg[loop] = choice(body)
            first = loop
            if least:
                first, least = body, least - 1
        else:
            first = then
            for _ in range(node.most - least):
                first = self._add(SPLIT, choice(self._build(node.item, first)))
        for _ in range(least):
            first = self._build(node.item, first)
        return first

    def _look(self, look: Look, then: int) -> int:
        if isinstance(look.body, Char):
            op = AFTER if look.ahead else BEFORE
            return self._add(op, (self._number(look.body), look.wanted, not look.wanted), then)
        if self._in_look:
            raise RuleError("the pattern has look-around inside look-around; write the inner one as part of the outer")
        widest = width(look.body)[1]
        if widest is None or widest > MAX_LOOK:
            raise RuleError(f"the pattern looks around further than {MAX_LOOK} characters; bound its repeats")
        if not look.ahead and width(look.body)[0] == 0:
            raise RuleError("the pattern has a look-behind that can be empty; make it take at least one character")
        self._in_look = True
        entry = self._build(look.body, self._add(MATCH))
        self._in_look = False
        if look.ahead:
            return self._add(AHEAD, (look.wanted, entry), then)
        if any(self.op[node] not in (CHAR, SPLIT, MATCH) for node in self._reachable(entry)):
            raise RuleError("the pattern has an assertion inside a look-behind; put it beside the look-behind")
        self.behinds.append(entry)
        self.behind_width = max(self.behind_width, widest)
        return self._add(BEHIND, (len(self.behinds) - 1, look.wanted), then)

    def _reachable(self, entry: int) -> set[int]:
        seen: set[int] = set()
        stack = [entry]
        while stack:
            node = stack.pop()
            if node in seen or node < 0:
                continue
            seen.add(node)
            stack.extend(self._targets(node))
        return seen

    def _targets(self, node: int) -> Sequence[int]:
        if self.op[node] == SPLIT:
            branches: tuple[int, ...] = self.arg[node]
            return branches
        return (self.then[node],)

    def _anchor(self, anchor: Anchor, then: int) -> int:
        match anchor.place:
            case Place.TEXT_START:
                return self._add(TEXT_START, None, then)
            case Place.TEXT_END:
                return self._add(TEXT_END, None, then)
            case Place.LINE_START:
                return self._add(BEFORE, (self._newline(), True, True), then)
            case Place.LINE_END:
                return self._add(AFTER, (self._newline(), True, True), then)
            case Place.LAST_LINE_END:
                return self._last_line_end(then)
            case Place.WORD_EDGE | Place.NO_WORD_EDGE:
                word = self._classes.number(r"\w", anchor.flags & ASCII)
                return self._add(EDGE, (word, anchor.place is Place.WORD_EDGE), then)

    def _newline(self) -> int:
        return self._classes.number(r"\n", 0)

    def _last_line_end(self, then: int) -> int:
        if self._in_look:
            raise RuleError(r"the pattern has $ inside a look-around; write \Z or (?m:$)")
        end = self._add(TEXT_END, None, self._add(MATCH))
        newline = self._add(CHAR, self._newline(), end)
        return self._add(AHEAD, (True, self._add(SPLIT, (newline, end))), then)

    def classes_read(self) -> list[int]:
        """The classes that decide a step, in order."""
        numbers = {arg for op, arg in zip(self.op, self.arg, strict=True) if op == CHAR}
        numbers |= {arg[0] for op, arg in zip(self.op, self.arg, strict=True) if op in (BEFORE, AFTER, EDGE)}
        return sorted(numbers)

    def classes_behind(self) -> list[int]:
        """The classes of the previous character that decide a step, in order."""
        return sorted({arg[0] for op, arg in zip(self.op, self.arg, strict=True) if op in (BEFORE, EDGE)})

    def sees_text_start(self) -> bool:
        """Whether it matters what, if anything, precedes."""
        return any(op in (TEXT_START, BEFORE, EDGE) for op in self.op)

    def first_classes(self) -> set[int]:
        """The classes a match can begin with."""
        seen: set[int] = set()
        stack = [self.start]
        found: set[int] = set()
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if self.op[node] == CHAR:
                found.add(self.arg[node])
            elif self.op[node] == SPLIT:
                stack.extend(self.arg[node])
            elif self.op[node] != MATCH:
                stack.append(self.then[node])
        return found
