"""Strategies for rules, texts and cuttings: small alphabets, so that patterns and texts meet."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

import regex
from hypothesis import strategies as st

from safeproxy.core.rule import Rule, View
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import RuleError
from safeproxy.events import Action, Severity

LETTERS = "aab1 -@\n"
#: Letters that the views fold: invisible, look-alike, composed, of several characters.
FOLDING_LETTERS = LETTERS + "\u200b\u0430\u00e9\u0301\ufb01\uff21\u338f\u00bd"

_LITERALS = [regex.escape(letter) for letter in "aab1-@ "]
_CLASSES = [r"\d", r"\w", r"\s", "[ab]", "[^a]", ".", "[a1]", r"[^\s@]", r"\W", "[b-]", r"\p{L}"]
_ANCHORS = [r"\b", r"\B", "^", "$", r"\Z", r"\A", "(?m:^)", "(?m:$)"]
_BEHIND = ["a", r"\d", r"\w", "ab", "[ab]1", r"\s", "a|b", "ab|1b"]
_QUANTIFIERS = ["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "{1,2}", "*?", "+?", "??", "{1,3}?", "{0,2}?"]


def patterns() -> st.SearchStrategy[str]:
    """Patterns over the small alphabet, some of which the automaton refuses."""
    takes = st.sampled_from(_LITERALS + _CLASSES)
    asserts = st.sampled_from(_ANCHORS) | st.builds(
        lambda sign, body: f"(?{sign}{body})", st.sampled_from(["<=", "<!"]), st.sampled_from(_BEHIND)
    )

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        sequence = st.lists(inner, min_size=1, max_size=4).map("".join)
        alternation = st.lists(sequence, min_size=1, max_size=3).map("|".join)
        group = alternation.map(lambda body: f"(?:{body})")
        repeated = st.builds(lambda body, sign: body + sign, takes | group, st.sampled_from(_QUANTIFIERS))
        ahead = st.builds(lambda sign, body: f"(?{sign}{body})", st.sampled_from("=!"), alternation)
        return sequence | group | repeated | ahead

    return st.recursive(takes | takes | asserts, larger, max_leaves=8)


def usable(rule: Rule) -> bool:
    """Whether the automaton takes the rule."""
    try:
        RuleSet([rule])
    except RuleError:
        return False
    return True


@st.composite
def rules(
    draw: st.DrawFn,
    number: int = 0,
    views: Iterable[View] = (View.RAW,),
    actions: Iterable[Action] = (Action.REDACT,),
    validators: Iterable[str] = (),
) -> Rule:
    """One rule that the automaton takes: as drawn, or with a plain beginning where the drawn one is refused."""
    drawn, plain = draw(patterns()), draw(st.sampled_from(_LITERALS))
    rule = Rule(
        id=f"rule{number}",
        entity=f"E{number}",
        pattern=drawn,
        flags=draw(st.sampled_from(["", "", "i", "s", "m"])),
        view=draw(st.sampled_from(list(views))),
        action=draw(st.sampled_from(list(actions))),
        severity=draw(st.sampled_from(list(Severity))),
        validators=tuple(draw(st.lists(st.sampled_from(list(validators)), max_size=1)) if validators else ()),
        mask_keep=1,
    )
    candidates = (replace(rule, pattern=pattern) for pattern in (drawn, f"{plain}(?:{drawn})", plain))
    return next(candidate for candidate in candidates if usable(candidate))


@st.composite
def rule_lists(draw: st.DrawFn, **options: object) -> list[Rule]:
    """One to four rules."""
    count = draw(st.integers(1, 4))
    return [draw(rules(number=number, **options)) for number in range(count)]  # type: ignore[arg-type]


def texts(letters: str = LETTERS, most: int = 30) -> st.SearchStrategy[str]:
    return st.text(st.sampled_from(letters), max_size=most)


@st.composite
def cuttings(draw: st.DrawFn, text: str) -> list[str]:
    """The text in pieces of random lengths, some of them empty."""
    longest = draw(st.sampled_from([1, 2, 4, 8, 40]))
    return cut(text, longest, draw(st.integers(0, 2**16)))


def cut(text: str, longest: int, seed: int) -> list[str]:
    """Pieces of up to ``longest`` characters, their lengths drawn by ``seed``."""
    chance = random.Random(seed)
    pieces = []
    at = 0
    while at < len(text):
        length = chance.randint(0, longest)
        pieces.append(text[at : at + length])
        at += length
    return pieces


def fed(feed: Callable[[str], str], finish: Callable[[], str], pieces: Iterable[str]) -> str:
    """What leaves a filter that is fed these pieces."""
    return "".join([*(feed(piece) for piece in pieces), finish()])
