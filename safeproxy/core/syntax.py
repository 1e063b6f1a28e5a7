"""Reads a rule's pattern into a tree: the part of `regex` syntax (version 0) that an automaton can run.

A character class is kept as source: what it means is asked of `regex` itself, once per code point. What
lies outside is refused with the construct's name, its column and what to write instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NoReturn

import regex

from safeproxy.errors import RuleError

#: Deepest nesting of groups.
MAX_DEPTH = 60

#: Flag letters a rule may use, as `regex` flags.
IGNORE_CASE, LINES, DOT_ALL, VERBOSE, ASCII = (
    int(flag)
    for flag in (regex.I, regex.M, regex.S, regex.X, regex.A)  # as enumeration members they are slow
)
FLAGS = {"i": IGNORE_CASE, "m": LINES, "s": DOT_ALL, "x": VERBOSE, "a": ASCII}
_SCOPED = "imsx"


@dataclass(frozen=True, slots=True)
class Char:
    """One character out of a class; ``source`` is its `regex` source, ``flags`` what changes its meaning."""

    source: str
    flags: int


@dataclass(frozen=True, slots=True)
class Seq:
    """One item after the other."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """Branches in order of preference."""

    branches: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """``least`` to ``most`` times; None for no bound. Not ``greedy``: as few as will do."""

    item: Node
    least: int
    most: int | None
    greedy: bool


@dataclass(frozen=True, slots=True)
class Look:
    """Look-around: ``ahead`` or behind, ``wanted`` or not."""

    body: Node
    ahead: bool
    wanted: bool


class Place(Enum):
    """A position that an anchor asks for."""

    TEXT_START = "start of text"
    LINE_START = "start of line"
    TEXT_END = "end of text"
    LAST_LINE_END = "end of text or before its last newline"
    LINE_END = "end of line"
    WORD_EDGE = "word boundary"
    NO_WORD_EDGE = "no word boundary"


@dataclass(frozen=True, slots=True)
class Anchor:
    """A position asked for; ``flags`` tell which characters make a word."""

    place: Place
    flags: int


Node = Char | Seq | Alt | Repeat | Look | Anchor

EMPTY = Seq(())


def width(node: Node) -> tuple[int, int | None]:
    """Fewest and most characters the node can match; most is None where there is no bound."""
    match node:
        case Char():
            return 1, 1
        case Seq(items):
            widths = [width(item) for item in items]
            return sum(low for low, _ in widths), _sum([high for _, high in widths])
        case Alt(branches):
            widths = [width(branch) for branch in branches]
            highs = [high for _, high in widths]
            return min(low for low, _ in widths), None if None in highs else max(h for h in highs if h is not None)
        case Repeat(item, least, most, _):
            low, high = width(item)
            return low * least, None if most is None or high is None else high * most
        case _:
            return 0, 0


def _sum(highs: list[int | None]) -> int | None:
    return None if None in highs else sum(high for high in highs if high is not None)


@lru_cache(maxsize=4096)  # a pattern is read when its file is checked and when it is made ready
def parse(pattern: str, flags: str = "") -> Node:
    """The tree of ``pattern`` under the flag letters ``flags``.

    Raises RuleError for what `regex` itself refuses and for what cannot run in the automaton.
    """
    _refuse_large(pattern)
    try:
        return _Parser(pattern, _value(flags)).whole()
    except (RuleError, IndexError):
        compiled(pattern, flags)  # where `regex` refuses the pattern, too, its words are better
        raise


def compiled(pattern: str, flags: str = "") -> regex.Pattern[str]:
    """``pattern`` as `regex` compiles it, once it is known to be of a size that can be compiled.

    Raises RuleError for what is too large, nested too deeply, or refused by `regex`.
    """
    _refuse_large(pattern)
    try:
        return regex.compile(pattern, _value(flags))
    except regex.error as error:
        raise RuleError(f"the pattern is not valid: {error}; expected the syntax of the package regex") from None


def _value(flags: str) -> int:
    value = 0
    for letter in flags:
        if letter not in FLAGS:
            raise RuleError(f"there is no flag {letter!r}; there are: {', '.join(FLAGS)}")
        value |= FLAGS[letter]
    return value


#: Most characters a pattern may come to when its repeats are written out.
MAX_SIZE = 1_000_000
_PART = regex.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d*),?(\d*)\}|.", regex.S)


def _refuse_large(pattern: str) -> None:
    """Reckon what the pattern comes to with its repeats written out, before anything tries to."""
    sizes, last = [0], 0  # of the open groups, and of the part that a repeat would multiply
    for part in _PART.finditer(pattern):
        if part[0] == "(":
            sizes.append(0)
            last = 0
        elif part[0] == ")" and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
        elif part[1] or part[2]:
            digits = part[2] or part[1]
            times = int(digits) if len(digits) < 8 else 2 * MAX_SIZE
            sizes[-1] += last * max(0, times - 1)
            last *= times
        else:
            last = 1
            sizes[-1] += 1
        if len(sizes) > MAX_DEPTH:
            raise RuleError(f"the pattern has groups nested deeper than {MAX_DEPTH}; write it flatter")
        if sizes[-1] > MAX_SIZE:
            raise RuleError(f"the pattern comes to more than {MAX_SIZE} characters with its repeats; shorten them")


_QUANTIFIER = regex.compile(r"\{(\d*)(?:(,)(\d*))?\}")
_PROPERTY = regex.compile(r"\\[pP](?:\{[^}]*\}|[A-Za-z])")
_ESCAPED = regex.compile(
    r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|N\{[^}]+\}|0[0-7]{0,2}|[tnrfva]|[dDwWsS]|[^A-Za-z0-9])",
    regex.S,
)
_POSIX = regex.compile(r"\[:\^?\w+:\]")
_INLINE = regex.compile(r"\(\?([a-zA-Z]*)(?:-([a-zA-Z]+))?([:)])")
_NAMED = regex.compile(r"\(\?P?<([A-Za-z_]\w*)>")

_OUTSIDE_GROUPS = {
    "(?>": ("an atomic group", "a plain group (?:...)"),
    "(?(": ("a conditional", "two rules, or an alternation"),
    "(?P=": ("a back-reference", "the alternatives spelled out, or `engine: regex`"),
    "(?P>": ("a recursion", "the levels spelled out"),
    "(?&": ("a recursion", "the levels spelled out"),
    "(?R": ("a recursion", "the levels spelled out"),
    "(?|": ("a branch reset", "a plain group (?:...)"),
}
_ANCHORS = {"A": Place.TEXT_START, "Z": Place.TEXT_END, "b": Place.WORD_EDGE, "B": Place.NO_WORD_EDGE}


@lru_cache(maxsize=4096)
def class_pattern(source: str, flags: int) -> regex.Pattern[str]:
    """One character's class, as `regex` compiles it. Raises RuleError where `regex` refuses it."""
    try:
        return regex.compile(source, flags)
    except regex.error as error:
        raise RuleError(f"the class {source} is not valid: {error}") from None


class _Parser:
    """Recursive descent over the pattern; ``at`` is the next character's index."""

    def __init__(self, pattern: str, flags: int) -> None:
        self.pattern = pattern
        self.flags = flags
        self.at = 0
        self.depth = 0

    def whole(self) -> Node:
        self._leading_flags()
        node = self._alternation(self.flags)
        if self.at < len(self.pattern):
            self._refuse("an unmatched )", r"\)")
        return node

    def leading(self) -> list[Char]:
        """The single characters that the pattern's only branch begins with."""
        self._leading_flags()
        found: list[Char] = []
        if self.flags & VERBOSE or "(?#" in self.pattern or regex.search(r"\(\?\w*x", self.pattern) or self._branches():
            return found
        while self.at < len(self.pattern):
            try:
                node = self._quantified(self._atom(self.flags), self.flags)
            except RuleError:
                break
            if isinstance(node, Look | Anchor):
                continue
            repeated = isinstance(node, Repeat)
            if isinstance(node, Repeat) and node.least:
                node = node.item
            if not isinstance(node, Char):
                break
            found.append(node)
            if repeated:
                break
        return found

    def _branches(self) -> bool:
        """Whether there may be a | outside all groups."""
        plain = regex.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "", self.pattern, flags=regex.S)
        while (inner := regex.sub(r"\([^()]*\)", "", plain)) != plain:
            plain = inner
        return "|" in plain

    def _refuse(self, construct: str, instead: str) -> NoReturn:
        raise RuleError(
            f"the pattern has {construct} at column {self.at + 1}, which cannot run in the automaton; write {instead}"
        )

    def _leading_flags(self) -> None:
        while (found := _INLINE.match(self.pattern, self.at)) and found[3] == ")" and not found[2]:
            for letter in found[1]:
                if letter not in FLAGS:
                    self._refuse(f"the inline flag {letter!r}", "one of " + ", ".join(FLAGS))
                self.flags |= FLAGS[letter]
            self.at = found.end()

    def _peek(self, text: str) -> bool:
        return self.pattern.startswith(text, self.at)

    def _alternation(self, flags: int) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self._refuse(f"groups nested deeper than {MAX_DEPTH}", "a flatter pattern")
        branches = [self._sequence(flags)]
        while self._peek("|"):
            self.at += 1
            branches.append(self._sequence(flags))
        self.depth -= 1
        return branches[0] if len(branches) == 1 else Alt(tuple(branches))

    def _sequence(self, flags: int) -> Node:
        items: list[Node] = []
        while self.at < len(self.pattern) and not self._peek("|") and not self._peek(")"):
            if flags & VERBOSE and self._skip_verbose():
                continue
            if (comment := self._comment_end()) is not None:
                self.at = comment
                continue
            items.append(self._quantified(self._atom(flags), flags))
        return items[0] if len(items) == 1 else Seq(tuple(items))

    def _skip_verbose(self) -> bool:
        """Pass over white space and a # comment of a verbose pattern; whether there was any."""
        before = self.at
        while self.at < len(self.pattern) and self.pattern[self.at].isspace():
            self.at += 1
        if self._peek("#"):
            end = self.pattern.find("\n", self.at)
            self.at = len(self.pattern) if end < 0 else end + 1
        return self.at > before

    def _comment_end(self) -> int | None:
        if not self._peek("(?#"):
            return None
        return self.pattern.index(")", self.at) + 1

    def _quantified(self, node: Node, flags: int) -> Node:
        if flags & VERBOSE:
            while self._skip_verbose():
                pass
        bounds = self._bounds()
        if bounds is None:
            return node
        if self._peek("+"):
            self._refuse("a possessive quantifier", "the plain one")
        greedy = not self._peek("?")
        if not greedy:
            self.at += 1
        if isinstance(node, Look | Anchor):
            self._refuse("a repeated assertion", "the assertion once")
        least, most = bounds
        if width(node)[0] == 0 and most != 1:
            self._refuse("a repeat of something that can be empty", "a part that takes at least one character")
        if self._bounds() is not None:
            self._refuse("a repeat of a repeat", "a group around the inner one")
        return Repeat(node, least, most, greedy)

    def _bounds(self) -> tuple[int, int | None] | None:
        """The quantifier at this place, passed over; None if there is none."""
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._peek(sign):
                self.at += 1
                return bounds
        if not self._peek("{"):
            return None
        found = _QUANTIFIER.match(self.pattern, self.at)
        if found is None or found[0] in ("{}", "{,}"):
            self._refuse("a { that is no repeat", r"\{")
        self.at = found.end()
        least = int(found[1] or 0)
        most = least if found[2] is None else int(found[3]) if found[3] else None
        if most is not None and most < least:
            self._refuse("a repeat of more than its most times", "the smaller number first")
        return least, most

    def _atom(self, flags: int) -> Node:
        char = self.pattern[self.at]
        if char == "(":
            return self._group(flags)
        if char == "[":
            return self._class(flags)
        if char == "\\":
            return self._escape(flags)
        if char in "*+?{":
            self._refuse(f"a {char} with nothing to repeat", "\\" + char)
        self.at += 1
        if char == ".":
            return Char(".", flags & DOT_ALL)
        if char == "^":
            return Anchor(Place.LINE_START if flags & LINES else Place.TEXT_START, flags)
        if char == "$":
            return Anchor(Place.LINE_END if flags & LINES else Place.LAST_LINE_END, flags)
        return self._char(regex.escape(char, special_only=False), flags)

    def _char(self, source: str, flags: int) -> Char:
        char = Char(source, flags & (IGNORE_CASE | ASCII))
        if len(source) > 1:
            class_pattern(char.source, char.flags)
        return char

    def _group(self, flags: int) -> Node:
        for start, (construct, instead) in _OUTSIDE_GROUPS.items():
            if self._peek(start):
                self._refuse(construct, instead)
        for start, ahead, wanted in (
            ("(?=", True, True),
            ("(?!", True, False),
            ("(?<=", False, True),
            ("(?<!", False, False),
        ):
            if self._peek(start):
                return Look(self._inside(len(start), flags), ahead, wanted)
        if named := _NAMED.match(self.pattern, self.at):
            return self._inside(len(named[0]), flags)
        if not self._peek("(?"):
            return self._inside(1, flags)
        inline = _INLINE.match(self.pattern, self.at)
        if inline is None:
            self._refuse(f"the group {self.pattern[self.at : self.at + 4]!r}", "a plain group (?:...)")
        return self._inside(len(inline[0]), self._scoped(inline, flags))

    def _scoped(self, inline: regex.Match[str], flags: int) -> int:
        if inline[3] == ")":
            self._refuse("inline flags after the start", "a scoped group such as (?i:...)")
        for letter in inline[1] + (inline[2] or ""):
            if letter not in _SCOPED:
                self._refuse(f"the scoped flag {letter!r}", "one of " + ", ".join(_SCOPED))
        for letter in inline[1]:
            flags |= FLAGS[letter]
        for letter in inline[2] or "":
            flags &= ~FLAGS[letter]
        return flags

    def _inside(self, opening: int, flags: int) -> Node:
        self.at += opening
        node = self._alternation(flags)
        if not self._peek(")"):
            self._refuse("a ( that is not closed", r"\(")
        self.at += 1
        return node

    def _class(self, flags: int) -> Node:
        end = self.at + 1
        if self.pattern[end] == "^":
            end += 1
        first = end
        while self.pattern[end] != "]" or end == first:
            posix = _POSIX.match(self.pattern, end)
            end = posix.end() if posix else end + (2 if self.pattern[end] == "\\" else 1)
        source = self.pattern[self.at : end + 1]
        self.at = end + 1
        return self._char(source, flags)

    def _escape(self, flags: int) -> Node:
        letter = self.pattern[self.at + 1]
        if letter in _ANCHORS:
            self.at += 2
            return Anchor(_ANCHORS[letter], flags)
        if letter in "123456789g":
            self._refuse("a back-reference", "the alternatives spelled out, or `engine: regex`")
        found = _PROPERTY.match(self.pattern, self.at) or _ESCAPED.match(self.pattern, self.at)
        if found is None:
            instead = "the field `words`" if letter == "L" else "the characters it stands for"
            self._refuse(f"the escape \\{letter}", instead)
        self.at = found.end()
        return self._char(found[0], flags)


def leading_characters(pattern: str, flags: str = "") -> list[Char]:
    """The characters every match of ``pattern`` begins with, as far as they can be told without reading it whole.

    The pattern may go on with anything that `regex` takes. Empty where the first character cannot be told.
    """
    return _Parser(pattern, _value(flags)).leading()


#: Longest entry of a word list, in characters.
MAX_WORD = 128

_Trie = dict[str, "_Trie"]
_WORD_END = ""


def word_list(words: Iterable[str], flags: str = "") -> Node:
    """Whole words or phrases, the longest first; a space stands for any run of white space.

    Raises RuleError when there is no word, or one is empty or too long.
    """
    ignore_case = "i" in flags
    trie: _Trie = {}
    for word in words:
        plain = " ".join(word.split())
        if not 0 < len(plain) <= MAX_WORD:
            raise RuleError(f"the word list has an entry of {len(plain)} characters; 1 to {MAX_WORD} are allowed")
        node = trie
        for char in plain:
            node = node.setdefault(char.lower() if ignore_case and len(char.lower()) == 1 else char, {})
        node[_WORD_END] = {}
    if not trie:
        raise RuleError("the word list is empty; add a word, or disable the rule")
    word_char = Char(r"\w", 0)
    body = _from_trie(trie, IGNORE_CASE if ignore_case else 0)
    return Seq((Look(word_char, ahead=False, wanted=False), body, Look(word_char, ahead=True, wanted=False)))


def _from_trie(trie: _Trie, flags: int) -> Node:
    """The alternation of a trie's words; going on is preferred to ending, so the longest word wins."""
    branches: list[Node] = []
    for char, rest in trie.items():
        if char == _WORD_END:
            continue
        run = [_word_char(char, flags)]
        while len(rest) == 1 and _WORD_END not in rest:
            ((char, rest),) = rest.items()
            run.append(_word_char(char, flags))
        branches.append(Seq((*run, _from_trie(rest, flags))))
    if _WORD_END in trie:
        branches.append(EMPTY)
    return branches[0] if len(branches) == 1 else Alt(tuple(branches))


def _word_char(char: str, flags: int) -> Node:
    if char == " ":
        return Repeat(Char(r"\s", 0), 1, None, greedy=True)
    return Char(regex.escape(char, special_only=False), flags)
