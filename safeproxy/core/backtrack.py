"""Patterns outside the regular part: run by `regex` itself, beside the automaton.

A backtracking engine cannot say soundly whether more text would change its mind. So a start is decided only
once as much text follows it as a match may be long, or the text has ended, and the engine is shown no more
than that. What is found therefore depends on the text alone. The price is the hold: from a place where the
pattern's first characters occur, as many code points as the rule's `max_length`.
"""

from __future__ import annotations

from collections.abc import Sequence

import regex

from safeproxy.core.detector import Span
from safeproxy.core.judge import Judge
from safeproxy.core.rule import Rule, View
from safeproxy.core.scan import REACH_BACK
from safeproxy.core.syntax import ASCII, FLAGS, Char, compiled, leading_characters
from safeproxy.errors import DetectorError, RuleError

#: Longest match of such a rule, in code points: the text is held for that long.
MAX_LENGTH = 1024
#: Seconds of CPU one attempt may take. What depends on time must not decide what is released: it halts.
TIME_LIMIT = 0.01

# What would look at text that is no longer there, or belongs to another start.
_LOOK_BEHIND = regex.compile(r"\(\?<[=!]")
_PLAIN_LOOK_BEHIND = regex.compile(
    r"\(\?<[=!](?:[^\\()\[\]{}*+?^$]|\\[^\W\d_AZGKbBXR]|\\[^\w\s]|\[\^?\]?(?:[^\]\\\[]|\\.)+\]){1,64}\)", regex.S
)
_OUTSIDE_WINDOW = {"\\K": "\\K", "\\G": "\\G", "(?#": "a comment"}


class BacktrackPattern:
    """A rule with `engine: regex`, made ready. Raises RuleError where the rule does not fit this engine."""

    def __init__(self, rule: Rule, number: int) -> None:
        if rule.pattern is None:
            raise RuleError(f"rule {rule.id!r}: `engine: regex` needs a pattern; word lists run in the automaton")
        if rule.max_length > MAX_LENGTH:
            raise RuleError(f"rule {rule.id!r}: `engine: regex` needs a max_length of at most {MAX_LENGTH}")
        if rule.view is not View.RAW:
            raise RuleError(f"rule {rule.id!r}: `engine: regex` reads the raw text; remove the view")
        try:
            _refuse_outside_window(rule.pattern)
            self.pattern = compiled(rule.pattern, rule.flags)
            characters = leading_characters(rule.pattern, rule.flags)
        except RuleError as error:
            raise RuleError(f"rule {rule.id!r}: {error}") from None
        if not characters:
            raise RuleError(
                f"rule {rule.id!r}: with `engine: regex` the pattern must begin with a character or a class that "
                "every match begins with; otherwise all text would be held"
            )
        self.opening = _run_of(characters)
        self.rule = rule
        self.number = number
        self.judge = Judge(rule)


def _refuse_outside_window(pattern: str) -> None:
    """Raise RuleError for what an attempt at one start, with a bounded view, cannot judge."""
    for sign, construct in _OUTSIDE_WINDOW.items():
        if sign in pattern:
            raise RuleError(f"the pattern has {construct}, which `engine: regex` does not allow; write it without")
    if len(_LOOK_BEHIND.findall(pattern)) != len(_PLAIN_LOOK_BEHIND.findall(pattern)):
        raise RuleError(
            "the pattern looks behind by more than characters and classes; `engine: regex` allows no groups, repeats "
            "or anchors there"
        )


def _run_of(characters: list[Char]) -> regex.Pattern[str]:
    """A plain run of classes. Of such a run, partial matching tells the truth: more text cannot change a verdict."""
    parts = [f"(?{_letters(char.flags)}:{char.source})" for char in characters]
    return regex.compile("".join(parts), ASCII if any(char.flags & ASCII for char in characters) else 0)


def _letters(flags: int) -> str:
    return "".join(letter for letter in "is" if flags & FLAGS[letter])


class BacktrackDetector:
    """Finds one such rule's spans in one text, told piece by piece. A `Detector`."""

    def __init__(self, pattern: BacktrackPattern) -> None:
        self._pattern = pattern
        self._text = ""
        self._offset = 0
        self.frontier = 0

    def feed(self, text: str) -> Sequence[Span]:
        """Take the next piece. Raises DetectorError when an attempt takes too long or a validator breaks."""
        self._text += text
        spans = self._advance(self._pattern.rule.max_length)
        keep = self.frontier - REACH_BACK
        if keep > self._offset:
            self._text = self._text[keep - self._offset :]
            self._offset = keep
        return spans

    def finish(self) -> Sequence[Span]:
        """The text has ended; decide what was open."""
        return self._advance(0)

    def _advance(self, needed: int) -> list[Span]:
        """Decide every start that has ``needed`` code points after it."""
        pattern, text = self._pattern, self._text
        spans: list[Span] = []
        at = self.frontier - self._offset
        while at < len(text):
            opening = pattern.opening.search(text, at, partial=True)
            at = len(text) if opening is None else opening.start()
            if at == len(text) or len(text) - at < needed:
                break
            end = self._attempt(at)
            score = None if end is None else pattern.judge.score(text[max(0, at - REACH_BACK) : at], text[at:end])
            if end is None or score is None:
                at += 1
                continue
            spans.append(Span(at + self._offset, end + self._offset, pattern.number, score))
            at = end
        self.frontier = at + self._offset
        return spans

    def _attempt(self, at: int) -> int | None:
        """End of the match that starts at ``at``, seen through a window of the greatest length."""
        rule = self._pattern.rule
        try:
            found = self._pattern.pattern.match(self._text, at, at + rule.max_length, timeout=TIME_LIMIT)
        except TimeoutError:
            raise DetectorError(
                f"rule {rule.id!r} took too long on this text; its pattern backtracks too much"
            ) from None
        return found.end() if found is not None and found.end() > at else None
