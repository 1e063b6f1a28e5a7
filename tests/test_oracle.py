"""The oracle itself, against cases worked out by hand: everything else is measured by it."""

from __future__ import annotations

import pytest

from safeproxy.core.rule import Context, Rule, View
from safeproxy.events import Action, ChannelKind, Severity
from tests.oracle import filtered, spans


def rule(pattern: str, name: str = "r", **keys: object) -> Rule:
    """A rule with this pattern."""
    return Rule(id=name, entity=name.upper(), pattern=pattern, **keys)  # type: ignore[arg-type]


def test_spans_are_those_of_finditer() -> None:
    """Leftmost, in order of preference, not overlapping, with what lies before in sight."""
    assert spans(rule("ab|abc|b"), "abc b") == [(0, 2), (4, 5)]
    assert spans(rule(r"\ba+"), "aa baa a") == [(0, 2), (7, 8)]
    assert spans(rule("(?<=a)a"), "aaa") == [(1, 2), (2, 3)]


def test_after_a_validators_no_the_search_goes_on_one_later() -> None:
    """The sixteen digits inside seventeen are found."""
    number = "4111111111111111"
    assert spans(rule(r"\d{16}", validators=("luhn",)), f"9{number}") == [(1, 17)]
    assert spans(rule(r"\d{16}"), f"9{number}") == [(0, 16)]


def test_folded_views_give_spans_of_the_original() -> None:
    """Full-width letters, letters that become two, characters that vanish."""
    assert spans(rule("ab", view=View.NFKD), "x\uff41\u200b\uff42x") == [(1, 4)]
    assert spans(rule("f", view=View.NFKD), "\ufb01f") == [(0, 1), (1, 2)]
    assert spans(rule("i", view=View.NFKD), "\ufb01\ufb01") == [(0, 1), (1, 2)]
    assert spans(rule("ss", view=View.SKELETON), "\u00dfs") == [(0, 1)]


def test_one_code_point_is_found_once_by_one_rule() -> None:
    """A ligature holds two matches of `f`; the search goes on behind it."""
    assert spans(rule("f", view=View.NFKD), "\ufb00") == [(0, 1)]


def test_words_are_whole_and_the_longest_wins() -> None:
    r"""A space in an entry is any run of white space; \w on either side is none of it."""
    words = Rule(id="w", entity="W", words=("bad", "bad word", "c++"), flags="i")
    assert spans(words, "Bad \n word, badly bad c++ xc++ bad words") == [(0, 10), (18, 21), (22, 25), (31, 34)]


def test_words_are_folded_like_the_text() -> None:
    """An entry may be written with marks and capitals."""
    words = Rule(id="w", entity="W", words=("N\u00e4me",), view=View.SKELETON)
    assert spans(words, "name n\u0430me NAME names") == [(0, 4), (5, 9), (10, 14)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("card 1234", True),
        ("CARD no. 1234", True),
        ("card a b 1234", True),
        ("card a b c 1234", False),
        ("cards 1234", False),
        ("1234 card", False),
        ("credit  -  line 1234", True),
        ("line credit 1234", False),
        ("card" + "." * 123 + " 1234", True),
        ("card" + "." * 125 + " 1234", False),
    ],
)
def test_context_looks_back_a_number_of_words(text: str, found: bool) -> None:
    """Three words, 128 code points; a word cut by that limit counts as what is left of it."""
    wanted = rule(r"\d{4}", score=0.25, context=Context(("card", "Credit line"), window=3, bonus=0.25))
    assert bool(spans(wanted, text)) is found


def test_overlapping_spans_are_united_and_the_strongest_action_wins() -> None:
    """Here a mask, a stronger redact, and a span that only touches."""
    rules = [
        rule("bcd", "mask", action=Action.MASK, severity=Severity.CRITICAL),
        rule("de", "redact"),
        rule("f", "touching"),
    ]
    text, found, halted = filtered(rules, "abcdefg")
    assert (text, halted) == ("a[REDACT][TOUCHING]g", False)
    assert [item[:4] for item in found] == [
        (1, 4, "mask", Action.REDACT),
        (3, 5, "redact", Action.REDACT),
        (5, 6, "touching", Action.REDACT),
    ]


def test_among_equal_actions_severity_decides_then_the_order_of_rules() -> None:
    """Both rules redact the same text."""
    one, two = rule("b", "one"), rule("b", "two", severity=Severity.HIGH)
    assert filtered([one, two], "abc")[0] == "a[TWO]c"
    assert filtered([one, rule("b", "three")], "abc")[0] == "a[ONE]c"


def test_a_halt_cuts_at_the_start_of_the_united_span() -> None:
    """What lies behind is neither delivered nor observed."""
    rules = [rule("bc", "redact"), rule("cd", "halt", action=Action.HALT), rule("[ae]", "see", action=Action.OBSERVE)]
    text, found, halted = filtered(rules, "abcde")
    assert (text, halted) == ("a", True)
    assert [item[:4] for item in found] == [
        (0, 1, "see", Action.OBSERVE),
        (1, 3, "redact", Action.HALT),
        (2, 4, "halt", Action.HALT),
    ]


def test_rules_that_observe_change_nothing_and_unite_nothing() -> None:
    """`bc` is seen, although only `c` is replaced."""
    rules = [rule("bc", "see", action=Action.OBSERVE), rule("c", "redact")]
    text, found, _ = filtered(rules, "abcd")
    assert text == "ab[REDACT]d"
    assert [item[:4] for item in found] == [(1, 3, "see", Action.OBSERVE), (2, 3, "redact", Action.REDACT)]


def test_rules_for_other_channels_and_for_prompts_alone_are_left_out() -> None:
    """The kind of channel decides."""
    rules = [rule("a", "audio", channels=frozenset({ChannelKind.AUDIO})), rule("b", "prompt", response=False)]
    assert filtered(rules, "ab") == ("ab", [], False)
    assert filtered(rules, "ab", kind=ChannelKind.AUDIO)[0] == "[AUDIO]b"


def test_a_match_past_its_ceiling_is_not_judged() -> None:
    """The oracle says so rather than give a wrong answer."""
    with pytest.raises(ValueError, match="passes its ceiling"):
        spans(rule("a+", max_length=3), "aaaa")
    with pytest.raises(ValueError, match="passes its ceiling"):
        filtered([rule("a{3000}b{10}", "one"), rule("b{10}c{3000}", "two")], "a" * 3000 + "b" * 10 + "c" * 3000)
