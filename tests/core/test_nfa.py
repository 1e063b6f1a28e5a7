"""The automaton of one pattern: its limits, and what it says of itself."""

from __future__ import annotations

import pytest
import regex

from safeproxy.core.nfa import MAX_LOOK, MAX_NODES, MAX_TRIE_NODES, Classes, Nfa
from safeproxy.core.syntax import parse, word_list
from safeproxy.errors import RuleError


def nfa(pattern: str, flags: str = "") -> Nfa:
    return Nfa(parse(pattern, flags), Classes())


def sources(automaton_classes: Classes, pattern: str) -> set[str]:
    """The characters of a small alphabet that a match can begin with."""
    built = Nfa(parse(pattern), automaton_classes)
    return {char for char in "ab1 \n" for number in built.first_classes() if automaton_classes.members(char)[number]}


@pytest.mark.parametrize("pattern", ["", "a*", "a?|b", r"\b", "(?=a)", "^$", "a{0}", "(?:)"])
def test_what_can_match_nothing_is_refused(pattern: str) -> None:
    """An empty match can neither be redacted nor passed over."""
    with pytest.raises(RuleError, match="can match the empty string; make it take at least one character"):
        nfa(pattern)


@pytest.mark.parametrize("pattern", ["a{20001}", "(?:a{200}){200}", "(?:abc|de){1,9000}", "a{0,30000}b"])
def test_too_many_nodes_are_refused(pattern: str) -> None:
    """Counters are spelled out, so large ones are dear."""
    with pytest.raises(RuleError, match=f"more than {MAX_NODES} nodes; shorten its repeats or split it"):
        nfa(pattern)


def test_the_largest_pattern_is_built() -> None:
    """The limit itself is allowed: every character is a node, and the match is one."""
    assert len(nfa(f"a{{{MAX_NODES - 1}}}").op) == MAX_NODES


def test_word_lists_may_have_more_nodes() -> None:
    """A list of twelve thousand different words fits the limit of tries and not that of patterns."""
    tree = word_list(f"{number:05}{number * 7919 % 100_003:06}" for number in range(6000))
    assert MAX_NODES < len(Nfa(tree, Classes(), MAX_TRIE_NODES).op) < MAX_TRIE_NODES
    with pytest.raises(RuleError, match="nodes"):
        Nfa(tree, Classes())


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (f"a(?=.{{{MAX_LOOK + 1}}})", f"further than {MAX_LOOK} characters; bound its repeats"),
        ("a(?!b+c)", f"further than {MAX_LOOK} characters"),
        (f"(?<=b{{{MAX_LOOK + 1}}})a", f"further than {MAX_LOOK} characters"),
        ("(?<!b*c)a", f"further than {MAX_LOOK} characters"),
        ("a(?=b(?=cd)e)", "look-around inside look-around; write the inner one as part of the outer"),
        ("a(?!b(?<=cd)e)", "look-around inside look-around"),
        ("(?<=c(?=ab))a", "look-around inside look-around"),
        ("(?<=a?)b", "a look-behind that can be empty; make it take at least one character"),
        (r"(?<=\bab)c", "an assertion inside a look-behind; put it beside the look-behind"),
        (r"(?<=^ab)c", "an assertion inside a look-behind"),
        ("a(?=b$|cd)", r"\$ inside a look-around; write \\Z or \(\?m:\$\)"),
    ],
)
def test_look_around_has_its_limits(pattern: str, message: str) -> None:
    """It is bounded, not nested, and a look-behind is plain."""
    with pytest.raises(RuleError, match=message):
        nfa(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        f"a(?=.{{{MAX_LOOK}}})",
        f"(?<=b{{{MAX_LOOK}}})a",
        r"a(?=b\b(?!c)\Z|(?m:$))",
        "a(?=)",
        "a$(?!b)",
        r"(?<=ab|c)(?<!dd)\Ba",
    ],
)
def test_look_around_within_its_limits_is_built(pattern: str) -> None:
    """The widest allowed, and one-character looks inside a longer look-ahead."""
    assert nfa(pattern).start > 0


def test_look_behinds_are_numbered_and_measured() -> None:
    """One character to look at needs no automaton of its own; longer ones have one each."""
    built = nfa("(?<=a)(?<!bcd)(?<=ef)g")
    assert len(built.behinds) == 2
    assert built.behind_width == 3


def test_what_a_match_can_begin_with() -> None:
    """Assertions are looked through, alternatives and what may be left out are all counted."""
    classes = Classes()
    assert sources(classes, "a|b") == {"a", "b"}
    assert sources(classes, r"\b1?a") == {"1", "a"}
    assert sources(classes, r"(?=a).\d") == set("ab1 ")
    assert sources(classes, "(?s).") == set("ab1 \n")


def test_what_decides_a_step() -> None:
    """Only a pattern that looks at what precedes asks for the class of the last character."""
    assert nfa("ab(?=c)").classes_behind() == []
    assert not nfa("ab(?=c)$").sees_text_start()
    assert len(nfa(r"(?<!x)\bab").classes_behind()) == 2
    assert nfa(r"\Aab").sees_text_start()
    assert nfa(r"\Aab").classes_behind() == []
    assert len(nfa(r"aa(?!b)\b").classes_read()) == 3


def test_a_class_is_numbered_once_for_its_meaning() -> None:
    """Equal source and flags share a number; other flags make another class."""
    classes = Classes()
    first = classes.number("[ab]", 0)
    assert classes.number("[ab]", 0) == first
    assert classes.number("[ab]", regex.I) != first
    assert list(classes.members("B")) == [False, True]


@pytest.mark.parametrize("char", ["\0", "\ud800", "\U0010ffff", "\n", "\u0301", "]", "\\", " ", "#"])
def test_any_character_can_be_a_class_of_its_own(char: str) -> None:
    """Control characters, lone surrogates and what is special in patterns stand for themselves."""
    for flags in ("", "x"):
        tree = parse(regex.escape(char, special_only=False), flags)
        classes = Classes()
        built = Nfa(tree, classes)
        assert [list(classes.members(other)) for other in (char, "a")] == [[True], [False]]
        assert len(built.op) == 2
