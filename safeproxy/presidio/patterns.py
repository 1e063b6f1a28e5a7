"""Presidio's patterns as rules of the automaton.

Most run as they are. What the automaton does not know is rewritten without changing what is found: a back-reference to
one of a few characters is spelled out, a flag in mid-pattern moves to the flags, a look-behind that every match begins
with is asked of `regex` once the rest has matched. What cannot be rewritten exactly is bounded, and `Prepared.bounded`
says how.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import regex

from safeproxy.core.automaton import Machine
from safeproxy.core.judge import Judge
from safeproxy.core.nfa import MAX_LOOK, Classes, Nfa
from safeproxy.core.rule import Rule
from safeproxy.core.scan import REACH_BACK
from safeproxy.core.syntax import FLAGS, IGNORE_CASE, parse
from safeproxy.errors import RuleError

# One item of a pattern: an escape, a class, the opening of a group, or a character.
_ITEM = regex.compile(
    r"\\(?:[pPN]\{[^}]*\}|.)|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:[a-zA-Z]+\)|<[=!]|[=!:]|P?<\w+>)|.", regex.S
)
_GLOBAL_FLAGS = regex.compile(r"\(\?([a-zA-Z]+)\)")
# A group that holds one character out of a few that have no case.
_FEW_CHARACTERS = regex.compile(r"\[((?:[^\\\]\[^\p{L}\p{N}-]|-(?=\])|(?<=\[)-)+)\]")
_UNBOUNDED = frozenset({"*", "+"})
# Many words to choose from, each in a group of its own or not.
_MANY_WORDS = regex.compile(r"\(\?:((?:\(\?:[a-z]+\)|[a-z]+)(?:\|(?:\(\?:[a-z]+\)|[a-z]+)){30,})\)")
# A repeat with so high a bound that each place in the text keeps a search of its own under way.
_WIDE_REPEAT = regex.compile(r"\{(\d*),\d{3,}\}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A pattern that the automaton runs: its source, its flag letters, and what `regex` is asked besides."""

    source: str
    flags: str
    behind: regex.Pattern[str] | None = None
    """A look-behind that must hold at the start of the match."""
    bounded: str = ""
    """In what way it finds less, or more, than the original; empty where it finds the same."""


class BehindJudge(Judge):
    """Accepts a match where the look-behind holds; elsewhere the search goes on one character after its start."""

    def __init__(self, rule: Rule, behind: regex.Pattern[str]) -> None:
        super().__init__(rule)
        self._behind = behind
        self._score = rule.score
        self.always = False

    def score(self, before: str, span: str) -> float | None:  # noqa: ARG002 - as any judge
        """The rule's score, or None where the look-behind fails."""
        return self._score if self._behind.match(before, len(before)) else None


def prepare(source: str, flags: int) -> Prepared:
    """The pattern ``source`` under the `regex` flags ``flags``.

    Raises RuleError where it can be neither run nor rewritten.
    """
    letters = _letters(flags)
    source = _MANY_WORDS.sub(lambda words: folded(regex.findall("[a-z]+", words[1]), flags), source)
    try:
        _try(source, letters)
    except RuleError:
        return _rewritten(source, letters, flags)
    return Prepared(source, letters)


def _letters(flags: int) -> str:
    known = {letter: flag for letter, flag in FLAGS.items() if flags & flag}
    rest = flags & ~sum(known.values()) & ~int(regex.U | regex.V0)
    if rest:
        raise RuleError(f"the pattern has the flags {regex.RegexFlag(rest)!r}; expected some of I, M, S, X and A")
    return "".join(known)


def _try(source: str, letters: str) -> None:
    Nfa(parse(source, letters), Classes())
    if _WIDE_REPEAT.search(source):  # it may be too dear
        Machine([Rule(id="a pattern", entity="MATCH", pattern=source, flags=letters)], [0])


def _rewritten(source: str, letters: str, flags: int) -> Prepared:
    wide = _WIDE_REPEAT.search(source)
    if wide:
        source = _WIDE_REPEAT.sub(lambda repeat: f"{{{repeat[1] or 0},}}", source)
        _try(source, letters)
        return Prepared(source, letters, bounded=f"a repeat of {wide[0]} has no upper bound")
    items = [item[0] for item in _ITEM.finditer(source)]
    items, more = _without_global_flags(items)
    letters += "".join(letter for letter in more if letter not in letters)
    behind, items = _leading_look_behind(items)
    items = _spelled_out(items)
    bounded = ""
    if behind:
        bounded = f"the look-behind sees {REACH_BACK} characters"
    source = "".join(items)
    try:
        _try(source, letters)
    except RuleError:
        source = _with_bounded_look_ahead(items, letters)
        bounded = f"the look-ahead sees {MAX_LOOK} characters"
    return Prepared(source, letters, regex.compile(behind, flags) if behind else None, bounded)


def folded(words: Sequence[str], flags: int = 0) -> str:
    """The words as a pattern that reads common beginnings once and still prefers the word that comes first."""
    if not words:
        return ""
    if "" in words:
        place = words.index("")
        earlier, later = words[:place], [word for word in words[place + 1 :] if word]
        branches = [*([folded(earlier, flags)] if earlier else []), "", *([folded(later, flags)] if later else [])]
        return f"(?:{'|'.join(branches)})"
    rests: dict[str, list[str]] = {}
    for word in words:
        rests.setdefault(_same_letter(word[0], flags & IGNORE_CASE), []).append(word[1:])
    branches = [
        regex.escape(char, special_only=False) + ("" if rest == [""] else folded(rest, flags))
        for char, rest in rests.items()
    ]
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"


@cache
def _same_letter(char: str, ignore_case: int) -> str:
    """One letter for all that are the same to `regex`."""
    letter = char.casefold()
    same = ignore_case and len(letter) == 1 and regex.fullmatch(regex.escape(letter), char, flags=ignore_case)
    return letter if same else char


def _without_global_flags(items: list[str]) -> tuple[list[str], str]:
    """The items without flags for the whole pattern, and their letters; in version 0 they count wherever they stand."""
    found = [flags[1] for item in items if (flags := _GLOBAL_FLAGS.fullmatch(item))]
    return [item for item in items if not _GLOBAL_FLAGS.fullmatch(item)], "".join(found)


def _closing(items: list[str], opening: int) -> int:
    """The place of the bracket that closes the group opened at ``opening``."""
    depth = 0
    for place in range(opening, len(items)):
        if items[place].startswith("("):
            depth += 1
        elif items[place] == ")":
            depth -= 1
            if not depth:
                return place
    raise RuleError("the pattern has a group that is not closed")


def _leading_look_behind(items: list[str]) -> tuple[str, list[str]]:
    """The look-behind that the whole pattern begins with, if there is one, and the rest."""
    if not items or not items[0].startswith("(?<") or items[0][3:4] not in ("=", "!"):
        return "", items
    end = _closing(items, 0)
    behind, rest = "".join(items[: end + 1]), items[end + 1 :]
    depth = 0
    for item in rest:
        depth += item.startswith("(") - (item == ")")
        if item == "|" and not depth:
            return "", items
    return behind, rest


def _spelled_out(items: list[str]) -> list[str]:
    """The pattern with its back-references spelled out, one alternative for each character they can stand for."""
    references = {item for item in items if item[:1] == "\\" and item[1:].isdecimal() and item[1] != "0"}
    if len(references) != 1:
        return items
    reference = references.pop()
    opening = _group(items, int(reference[1:]))
    group = items[opening + 1 : opening + 3]
    few = _FEW_CHARACTERS.fullmatch(group[0]) if len(group) == 2 and group[1] == ")" else None
    if few is None:
        return items
    alternatives = []
    for char in few[1]:
        spelled = [*items[:opening], regex.escape(char), *items[opening + 3 :]]
        alternatives.append("".join(regex.escape(char) if item == reference else item for item in spelled))
    return ["(?:", *"|".join(alternatives), ")"]


def _group(items: list[str], number: int) -> int:
    """The place where the capturing group with this number is opened."""
    opened = [
        place for place, item in enumerate(items) if item == "(" or regex.fullmatch(r"\(\?P?<\w+>", item) is not None
    ]
    if number > len(opened):
        raise RuleError(f"the pattern refers to a group {number} that it has not")
    return opened[number - 1]


def _with_bounded_look_ahead(items: list[str], letters: str) -> str:
    """The pattern with the unbounded repeats in its look-aheads bounded as loosely as the automaton allows."""
    failure: RuleError | None = None
    for most in (MAX_LOOK - 1, MAX_LOOK - 4, MAX_LOOK // 2):
        source = "".join(_bounded(items, most))
        try:
            _try(source, letters)
        except RuleError as error:
            failure = error
        else:
            return source
    assert failure is not None
    raise failure


def _bounded(items: list[str], most: int) -> list[str]:
    bounded = list(items)
    for place, item in enumerate(items):
        if item in ("(?=", "(?!"):
            for inner in range(place, _closing(items, place)):
                if items[inner] in _UNBOUNDED:
                    bounded[inner] = f"{{{int(items[inner] == '+')},{most}}}"
    return bounded
