"""Patterns that `regex` runs beside the automaton: found as by the engine itself, whatever the cutting."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core import backtrack
from safeproxy.core.backtrack import MAX_LENGTH, BacktrackDetector, BacktrackPattern
from safeproxy.core.rule import Context, Engine, Rule, View
from safeproxy.errors import DetectorError, RuleError
from tests.core.strategies import cuttings, texts


def rule(pattern: str | None, **keys: object) -> Rule:
    options: dict[str, object] = {"engine": Engine.REGEX, "max_length": 16, **keys}
    return Rule(id="side", entity="E", pattern=pattern, **options)  # type: ignore[arg-type]


def detected(one: Rule, pieces: Iterable[str]) -> list[tuple[int, int]]:
    """The spans found; none begins before a frontier that was given out."""
    detector = BacktrackDetector(BacktrackPattern(one, 3))
    found = []
    for piece in pieces:
        frontier = detector.frontier
        spans = detector.feed(piece)
        assert all(span.start >= frontier and span.rule == 3 for span in spans)
        assert detector.frontier >= frontier
        found += spans
    return [span[:2] for span in [*found, *detector.finish()]]


def expected(one: Rule, text: str) -> list[tuple[int, int]]:
    """Every start tried in turn, the engine shown no more than a match may be long."""
    assert one.pattern is not None
    flags = {"": 0, "i": regex.I, "s": regex.S, "a": regex.A}[one.flags]
    compiled = regex.compile(one.pattern, flags)
    found = []
    at = 0
    while at < len(text):
        match = compiled.match(text, at, at + one.max_length)
        if match is not None and match.end() > at:
            found.append(match.span())
            at = match.end()
        else:
            at += 1
    return found


#: Each begins with what can be told; back-references, atomic groups, possessive and conditional parts follow.
_PATTERNS = [
    r"(a|b)\1",
    r"a(\w)-?\1",
    r"a(?>a|ab)b",
    r"\d++-\d",
    r"[ab](1)?(?(1)a|b)",
    r"a(?=(b+))\1",
    r"\b\w(a|1)\1\b",
    r"(?<=a)b(-|@)a\1",
    r"(?i)A(b)\1",
    r"-(?:a(?R)?b)?-",
    r"a(?:(?=b)b|(?!1)1)*\Z",
]


def usable(pattern: str) -> bool:
    try:
        BacktrackPattern(rule(pattern), 0)
    except RuleError:
        return False
    return True


@given(st.data())
def test_any_cutting_finds_what_the_engine_finds(data: st.DataObject) -> None:
    """Start by start, with the window that the rule's ceiling allows."""
    one = rule(data.draw(st.sampled_from([pattern for pattern in _PATTERNS if usable(pattern)])), max_length=6)
    text = data.draw(texts(most=60))
    want = expected(one, text)
    for pieces in ([text], list(text), data.draw(cuttings(text))):
        assert detected(one, pieces) == want


def test_most_of_the_patterns_above_can_be_used() -> None:
    """So the property says something."""
    assert sum(map(usable, _PATTERNS)) >= 9


@pytest.mark.parametrize(
    ("pattern", "text", "spans"),
    [
        (r"<(b|i)>[^<]*</\1>", "x <b>bold</b> <i>no</b>", [(2, 13)]),
        (r"key=(['\"])\w+\1", "key='a' key='b\" key=\"c\"", [(0, 7), (16, 23)]),
        (r"a(?>b|bc)d", "abcd abd", [(5, 8)]),
    ],
)
def test_what_no_automaton_can_do(pattern: str, text: str, spans: list[tuple[int, int]]) -> None:
    """Back-references and atomic groups."""
    assert detected(rule(pattern), list(text)) == spans


def test_flags_are_those_of_the_rule() -> None:
    """Ignored case also for what a match begins with."""
    assert detected(rule(r"key(\d)\1", flags="i"), list("KEY11 key22 kEy12")) == [(0, 5), (6, 11)]
    assert detected(rule(r"\d(x)\1", flags="a"), list("\u0661xx 1xx")) == [(4, 7)]


@pytest.mark.parametrize(("pattern", "flags", "text"), [(r".(a)\1", "s", "\naa"), (r".\W(x)\1", "a", "q\u00e9xx")])
def test_flags_reach_the_beginning_of_a_pattern_that_starts_with_a_dot(pattern: str, flags: str, text: str) -> None:
    """What a dot or a class takes there depends on the flags as well."""
    assert detected(rule(pattern, flags=flags), list(text)) == [(0, len(text))]


@pytest.mark.parametrize(
    ("pattern", "flags", "text", "spans"),
    [
        ("a(b)\\1 # (\n | c(d)\\2 # )", "x", "abb cdd", [(0, 3), (4, 7)]),
        (r"a(?#[)(x)\1|b(?#])", "", "axx b", [(0, 3), (4, 5)]),
    ],
)
def test_alternatives_behind_a_comment_are_not_overlooked(
    pattern: str, flags: str, text: str, spans: list[tuple[int, int]]
) -> None:
    """Such a pattern finds both branches, or is refused."""
    one = rule(pattern, flags=flags)
    try:
        found = detected(one, list(text))
    except RuleError:
        return
    assert found == spans


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(?<=K.{200})a(b)\1", "K" + "x" * 200 + "abb" + " " * 20),
        (r"(?<=^.{0,300})a(b)\1", "x" * 400 + "abb" + " " * 20),
    ],
)
def test_a_look_behind_does_not_see_the_cutting(pattern: str, text: str) -> None:
    """However far it looks: the same spans however the text arrives, or the rule is refused."""
    try:
        found = detected(rule(pattern), list(text))
    except RuleError:
        return
    assert found == detected(rule(pattern), [text])
    assert found == [match.span() for match in regex.finditer(pattern, text)]


def test_text_is_held_only_where_a_match_may_begin() -> None:
    """From there on as many code points as a match may be long."""
    detector = BacktrackDetector(BacktrackPattern(rule(r"ab(?:c|d)(e)\1"), 0))
    detector.feed("xxxx")
    assert detector.frontier == 4
    detector.feed("a")
    assert detector.frontier == 4
    detector.feed("x")
    assert detector.frontier == 6
    detector.feed("ab" + "-" * 13)
    assert detector.frontier == 6
    detector.feed("-")
    assert detector.frontier == 22


def test_what_is_remembered_of_clean_text_is_bounded() -> None:
    """However long the text."""
    detector = BacktrackDetector(BacktrackPattern(rule(r"ab(c)\1"), 0))
    for _ in range(100):
        detector.feed("clean prose about abbots " * 10)
    assert len(detector._text) < 1000


def test_context_and_validators_decide_here_too() -> None:
    """As they do in the automaton."""
    one = rule(r"\b\d(\d)\1\d+\b", validators=("luhn",), max_length=32)
    assert detected(one, list("9 4111111111111111 ")) == [(2, 18)]
    assert detected(one, list("4111111111111113")) == []
    near = rule(r"\d(\d)\1", score=0.3, context=Context(("pin",)))
    assert detected(near, list("122 pin 344")) == [(8, 11)]


def test_an_attempt_that_takes_too_long_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time must not decide what is released, so it is an error; it names the rule, not the text."""
    monkeypatch.setattr(backtrack, "TIME_LIMIT", 0.01)
    one = rule(r"a(?:a|aa)+(b)\1", max_length=200)
    with pytest.raises(DetectorError) as caught:
        detected(one, ["a" * 200])
    assert str(caught.value) == "rule 'side' took too long on this text; its pattern backtracks too much"


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (rule(None, words=("a",)), "needs a pattern; word lists run in the automaton"),
        (rule("a", max_length=MAX_LENGTH + 1), f"needs a max_length of at most {MAX_LENGTH}"),
        (rule("a", view=View.NFKD), "reads the raw text; remove the view"),
        (rule("(a"), r"missing \)"),
        (rule(r"(a)?b\1"), "must begin with a character or a class"),
        (rule(r"a(b)\1|c"), "must begin with a character or a class"),
        (rule("(?:a|bc)d"), "must begin with a character or a class"),
        (rule("a", validators=("nonsense",)), "there is no validator 'nonsense'"),
    ],
)
def test_what_does_not_fit_is_refused(one: Rule, message: str) -> None:
    """The message says what to change."""
    with pytest.raises(RuleError, match=message):
        BacktrackPattern(one, 0)


def test_a_refusal_names_the_rule() -> None:
    """So that it is found among many."""
    with pytest.raises(RuleError, match="rule 'side': `engine: regex`"):
        BacktrackPattern(rule(None, words=("a",)), 0)
