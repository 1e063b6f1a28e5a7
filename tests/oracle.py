"""The whole-text oracle: what rules find and what is delivered, judged on the complete text at once.

It is the meaning of a rule set, written as plainly as it can be, and the automaton is tested against it.
It therefore shares nothing with the automaton: patterns run in ``regex`` itself, on the whole text. It does
share the leaves whose own meaning is tested elsewhere: the folding of one code point, the validators, the
stand-ins.

What it leaves out: span ceilings. A match or a chain of overlapping findings longer than its ceiling raises
ValueError; a pattern that stays open past its ceiling without ever matching goes unnoticed here, so keep such
texts away from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import regex

from safeproxy.core.actions import stand_in
from safeproxy.core.rule import DEFAULT_MAX_LENGTH, Context, Rule, View
from safeproxy.core.validators import VALIDATORS
from safeproxy.core.views import FOLDS
from safeproxy.events import Action, ChannelKind

#: How far back context words are looked for, in code points.
CONTEXT_REACH = 128

_FLAGS = {"i": regex.I, "m": regex.M, "s": regex.S, "x": regex.X, "a": regex.A}


class Found(NamedTuple):
    """One finding: its span in code points, the rule's id, the action carried out, the score."""

    start: int
    end: int
    rule: str
    applied: Action
    score: float


def spans(rule: Rule, text: str) -> list[tuple[int, int]]:
    """The spans ``rule`` alone finds in ``text``, in order; half open, in code points of ``text``.

    Leftmost first, as ``finditer``. The search goes on at the span's end, or one code point after its start
    if a validator or the threshold refused it.
    """
    return [(start, end) for start, end, _ in _scored(rule, text)]


def filtered(
    rules: Iterable[Rule],
    text: str,
    hash_key: bytes | None = None,
    kind: ChannelKind = ChannelKind.CONTENT,
) -> tuple[str, list[Found], bool]:
    """What leaves of ``text`` on a response channel of ``kind``, what was found, and whether it was halted.

    Spans of acting rules that overlap (touching is not overlapping) are united; the strongest action wins, then
    the higher severity, then the earlier rule. A halt cuts at the united span's start, and rules that observe
    see nothing from there on. Findings are sorted by span and rule id.
    """
    ordered = [rule for rule in rules if rule.response and kind in rule.channels]
    acting = [rule for rule in ordered if rule.action is not Action.OBSERVE]
    out: list[str] = []
    found: list[Found] = []
    done = 0
    halted = False
    for start, end, members in _united(acting, text):
        winner = max(
            (acting[index] for _, _, _, index in members),
            key=lambda rule: (rule.action.strength, rule.severity, -acting.index(rule)),
        )
        out.append(text[done:start])
        found += [Found(s, e, acting[index].id, winner.action, score) for s, e, score, index in members]
        done = end
        if winner.action is Action.HALT:
            halted = True
            text = text[:start]
            break
        out.append(stand_in(winner, winner.action, text[start:end], hash_key))
    if not halted:
        out.append(text[done:])
    for rule in ordered:
        if rule.action is Action.OBSERVE:
            found += [Found(s, e, rule.id, Action.OBSERVE, score) for s, e, score in _scored(rule, text)]
    return "".join(out), sorted(found), halted


def _united(rules: Sequence[Rule], text: str) -> Iterator[tuple[int, int, list[tuple[int, int, float, int]]]]:
    """Every run of overlapping spans as (start, end, its members as (start, end, score, rule's index))."""
    everything = sorted(
        (start, end, score, index) for index, rule in enumerate(rules) for start, end, score in _scored(rule, text)
    )
    members: list[tuple[int, int, float, int]] = []
    upto = 0
    for member in everything:
        if members and member[0] >= upto:
            yield members[0][0], upto, members
            members = []
        upto = max(upto, member[1]) if members else member[1]
        members.append(member)
        if upto - members[0][0] > DEFAULT_MAX_LENGTH:
            raise ValueError("a chain of findings passes its ceiling, which this oracle does not judge")
    if members:
        yield members[0][0], upto, members


def _scored(rule: Rule, text: str) -> Iterator[tuple[int, int, float]]:
    """Every finding of the rule alone as (start, end, score)."""
    folded, origin = _folded(text, rule.view)
    pattern = _compiled(rule)
    position = 0  # in the original text
    while match := pattern.search(folded, _first_at(origin, position)):
        if match.start() == match.end():
            raise ValueError(f"rule {rule.id!r} matches the empty string")
        start, end = origin[match.start()], origin[match.end() - 1] + 1
        if end - start > rule.max_length:
            raise ValueError(f"a match of rule {rule.id!r} passes its ceiling, which this oracle does not judge")
        score = rule.score
        if rule.context is not None and _near(rule.context, text, start):
            # Rounded, so that 0.7 and a bonus of 0.1 do reach 0.8.
            score = min(1.0, round(score + rule.context.bonus, 6))
        if score >= rule.threshold and _valid(rule, text[start:end]):
            yield start, end, score
            position = end
        else:
            position = start + 1


def _valid(rule: Rule, span: str) -> bool:
    """Whether all validators accept the span as the rule's view shows it."""
    shown, _ = _folded(span, rule.view)
    return all(VALIDATORS[name](shown) for name in rule.validators)


def _folded(text: str, view: View) -> tuple[str, list[int]]:
    """The text as the view shows it, and for each of its code points the index of the original one."""
    fold = FOLDS.get(view)
    if fold is None:
        return text, list(range(len(text)))
    pieces = [fold(character) for character in text]
    return "".join(pieces), [index for index, piece in enumerate(pieces) for _ in piece]


def _first_at(origin: Sequence[int], position: int) -> int:
    """Where in the folded text the original text from ``position`` on begins."""
    low = min(position, len(origin))  # usually near, but folding may grow or shrink
    while low > 0 and origin[low - 1] >= position:
        low -= 1
    while low < len(origin) and origin[low] < position:
        low += 1
    return low


@cache
def _compiled(rule: Rule) -> regex.Pattern[str]:
    flags = regex.V0
    for letter in rule.flags:
        flags |= _FLAGS[letter]
    return regex.compile(rule.pattern if rule.pattern is not None else _any_of(rule), flags)


def _any_of(rule: Rule) -> str:
    """A pattern for the rule's words: whole words, the longest first, spaces as runs of white space."""
    entries = {" ".join(_folded(word, rule.view)[0].split()) for word in rule.words} - {""}
    longest_first = sorted(entries, key=lambda entry: (-len(entry), entry))
    forms = (r"\s+".join(regex.escape(part) for part in entry.split(" ")) for entry in longest_first)
    return rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)"


def _near(context: Context, text: str, start: int) -> bool:
    """Whether a context word stands in the window before ``start``."""
    before = _tokens(text[max(0, start - CONTEXT_REACH) : start])[-context.window :]
    window = f" {' '.join(before)} "
    return any(f" {' '.join(_tokens(word))} " in window for word in context.words)


def _tokens(text: str) -> list[str]:
    """The words of a text, casefolded."""
    return [token.casefold() for token in regex.findall(r"\w+", text)]
