"""Rewritten patterns find what the originals find."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from safeproxy.core.automaton import Machine
from safeproxy.core.rule import Rule
from safeproxy.core.scan import PatternDetector
from safeproxy.errors import RuleError
from safeproxy.presidio.patterns import BehindJudge, Prepared, folded, prepare

FLAGS = int(regex.I | regex.M | regex.S)


def spans(prepared: Prepared, text: str) -> list[tuple[int, int]]:
    rule = Rule(id="r", entity="E", pattern=prepared.source, flags=prepared.flags, threshold=0.0)
    machine = Machine([rule], [0])
    if prepared.behind is not None:
        machine.patterns[0].judge = BehindJudge(rule, prepared.behind)
    detector = PatternDetector(machine)
    return [span[:2] for span in [*detector.feed(text), *detector.finish()]]


def assert_same(pattern: str, text: str) -> None:
    assert spans(prepare(pattern, FLAGS), text) == [m.span() for m in regex.finditer(pattern, text, flags=FLAGS)]


def test_an_ordinary_pattern_stays_as_it_is() -> None:
    """With the flags as letters."""
    assert prepare(r"\b\d{3}-\d{4}\b", FLAGS) == Prepared(r"\b\d{3}-\d{4}\b", "ims")


@settings(deadline=None)
@given(st.text("0123456789- :", max_size=60))
def test_back_references_are_spelled_out(text: str) -> None:
    """For a group that holds one of a few characters."""
    assert_same(r"\b[1-79]\d{2}([- ])\d{3}\1\d{3}\b", text + " 123 456 789 123-456 789 712-345-678")
    assert_same(r"\b\d{2}([:-])(?:\d{2}\1){2}\d\b", text + "11:22:33:4 11-22-33-4 11:22-33:4")


@settings(deadline=None)
@given(st.text("no. 0123:", max_size=40))
def test_a_look_behind_at_the_start_is_asked_afterwards(text: str) -> None:
    """Where it fails the search goes on after the start, as it would have."""
    pattern = r"(?<=\bno(?:\.\s*:?\s*|\s+))(?:0-?)?\d{3,5}\b"
    assert_same(pattern, f"no. 0123 {text} no.   123 no 0000 ano 123")


def test_flags_in_the_middle_count_for_all() -> None:
    """As they do in version 0 of `regex`."""
    with_flags = r"\b(?i)(ab\d|c{2})"
    assert_same(with_flags, "AB1 cC ab2")
    assert prepare(with_flags, 0).flags == "i"


@settings(deadline=None)
@given(
    st.lists(st.text("aAb.ſS", min_size=1, max_size=4), min_size=1, max_size=9),
    st.text("aAb.sſSxy", max_size=30),
    st.sampled_from([0, int(regex.I)]),
)
def test_folded_words_prefer_the_same(words: list[str], text: str, flags: int) -> None:
    """The earliest word of the list, also where what follows decides."""
    for rest in ("", "(?:x|(?=y))"):
        pattern = f"(?:{'|'.join(map(regex.escape, words))}){rest}"
        expected = [m.span() for m in regex.finditer(pattern, text, flags=flags)]
        assert [m.span() for m in regex.finditer(folded(words, flags) + rest, text, flags=flags)] == expected


def test_what_is_bounded_says_so() -> None:
    """A look-ahead to the end of the text, a look-behind over any space, a very long repeat."""
    assert prepare(r"\b(?=.*?\d)\w{10}\b", FLAGS).bounded == "the look-ahead sees 64 characters"
    assert prepare(r"(?<=no\s+)\d+", FLAGS).bounded == "the look-behind sees 160 characters"
    assert prepare(r"[a-z]{1,253}[.](?:com|org)", FLAGS).bounded == "a repeat of {1,253} has no upper bound"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(\w+) \1", "back-reference"),
        (r"a(?<=b\s*)c", "looks around further than 64"),
        (r"a*", "empty string"),
    ],
)
def test_what_cannot_be_rewritten_is_refused(pattern: str, message: str) -> None:
    """With the construct that is in the way."""
    with pytest.raises(RuleError, match=message):
        prepare(pattern, FLAGS)


def test_other_flags_are_refused() -> None:
    """Those that change what a match is."""
    with pytest.raises(RuleError, match=r"the flags regex\.B;"):
        prepare("a", FLAGS | int(regex.BESTMATCH))
