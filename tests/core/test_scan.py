"""The pattern tier against `regex.finditer` on the whole text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core import automaton
from safeproxy.core.automaton import Machine
from safeproxy.core.detector import Extent, Span
from safeproxy.core.judge import VALIDATORS
from safeproxy.core.rule import Overflow, Rule, View
from safeproxy.core.scan import PatternDetector
from safeproxy.errors import DetectorError
from tests import oracle
from tests.core.strategies import FOLDING_LETTERS, LETTERS, cuttings, rule_lists, texts


def machine(rules: list[Rule]) -> Machine:
    return Machine(rules, range(len(rules)))


def detected(machine: Machine, pieces: Iterable[str]) -> list[Span]:
    """The spans found in the pieces; none begins before a frontier that was given out."""
    detector = PatternDetector(machine)
    found: list[Span] = []
    frontier = 0
    for take in [*(partial(detector.feed, piece) for piece in pieces), detector.finish]:
        spans = take()
        assert all(span.start >= frontier for span in spans if span.extent is not Extent.CLOSING)
        assert detector.frontier >= frontier
        frontier = detector.frontier
        found += spans
    return sorted(found)


def expected(rules: list[Rule], text: str) -> list[tuple[int, int, int]]:
    return sorted((start, end, n) for n, rule in enumerate(rules) for start, end in oracle.spans(rule, text))


@given(st.data())
def test_any_cutting_finds_what_finditer_finds(data: st.DataObject) -> None:
    """The spans of random rules in random texts are those of a whole-text search, however the text is cut."""
    rules = data.draw(rule_lists())
    combined = machine(rules)
    for _ in range(5):
        text = data.draw(texts())
        want = expected(rules, text)
        for pieces in ([text], list(text), data.draw(cuttings(text))):
            assert [span[:3] for span in detected(combined, pieces)] == want


@given(st.data())
def test_folded_views_keep_original_positions(data: st.DataObject) -> None:
    """Rules that read a folded alphabet find the original code points that the folded match stands for."""
    rules = data.draw(rule_lists(views=list(View)))
    combined = machine(rules)
    for _ in range(5):
        text = data.draw(texts(FOLDING_LETTERS))
        want = expected(rules, text)
        for pieces in ([text], data.draw(cuttings(text))):
            assert [span[:3] for span in detected(combined, pieces)] == want


def test_a_refused_match_resumes_one_after_its_start() -> None:
    """Where a validator says no, the search goes on one character after the start."""
    rule = Rule(id="digits", entity="N", pattern=r"\d{13,16}", validators=("luhn",))
    text = "94111111111111111 and 4111111111111111"
    want = expected([rule], text)
    assert want == [(1, 17, 0), (22, 38, 0)]
    for pieces in ([text], list(text)):
        assert [span[:3] for span in detected(machine([rule]), pieces)] == want


@given(st.data())
def test_validators_resume_as_the_oracle_does(data: st.DataObject) -> None:
    """With validators that refuse much, the spans are still those of the whole-text search."""
    names = {"even": lambda text: sum(map(ord, text)) % 2 == 0, "third": lambda text: sum(map(ord, text)) % 3 == 0}
    with pytest.MonkeyPatch.context() as patch:
        known = {**VALIDATORS, **names}
        patch.setattr("safeproxy.core.judge.VALIDATORS", known)
        patch.setattr("tests.oracle.VALIDATORS", known)
        rules = data.draw(rule_lists(validators=list(names)))
        combined = machine(rules)
        for _ in range(5):
            text = data.draw(texts())
            want = expected(rules, text)
            for pieces in ([text], data.draw(cuttings(text))):
                assert [span[:3] for span in detected(combined, pieces)] == want


@given(st.data())
def test_a_full_cache_changes_nothing(data: st.DataObject) -> None:
    """A machine that must forget its states all the time finds the same."""
    rules = data.draw(rule_lists())
    text = data.draw(texts(most=60))
    want = expected(rules, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(automaton, "MAX_COMBINED", 3)
        assert [span[:3] for span in detected(machine(rules), list(text))] == want


@given(st.data())
def test_ceilings_do_not_depend_on_the_cutting(data: st.DataObject) -> None:
    """With ceilings so low that matches outgrow them, every cutting gives the same spans and holds no more."""
    ceiling = data.draw(st.sampled_from([3, 5, 8, 13]))
    overflow = data.draw(st.sampled_from(list(Overflow)))
    drawn = data.draw(rule_lists())
    rules = [replace(rule, max_length=ceiling, overflow=overflow) for rule in drawn]
    combined = machine(rules)
    text = data.draw(texts(LETTERS, most=60))
    want = detected(combined, [text])
    for pieces in (list(text), data.draw(cuttings(text))):
        assert detected(combined, pieces) == want
    detector = PatternDetector(combined)
    for taken, char in enumerate(text, 1):
        detector.feed(char)
        assert taken - detector.frontier <= ceiling


def test_an_outgrown_match_is_redacted_to_its_end() -> None:
    """A match still open at its ceiling claims the text until its pattern ends, and what follows is free again."""
    rule = Rule(id="block", entity="B", pattern=r"<[^>]*>", max_length=5)
    text = "a <0123456789> b <x> c"
    spans = detected(machine([rule]), list(text))
    assert spans == [Span(2, 7, 0, 1.0, Extent.OPEN), Span(7, 14, 0, 0.0, Extent.CLOSING), Span(17, 20, 0, 1.0)]


def test_an_outgrown_match_that_fails_ends_where_it_failed() -> None:
    """If the pattern dies after the ceiling, the claim ends with the last character it took."""
    rule = Rule(id="block", entity="B", pattern=r"<\w+>", max_length=5)
    spans = detected(machine([rule]), list("<0123456789 >"))
    assert spans == [Span(0, 5, 0, 1.0, Extent.OPEN), Span(5, 11, 0, 0.0, Extent.CLOSING)]


def test_an_outgrown_match_is_let_go_if_the_rule_says_so() -> None:
    """With `overflow: release` an open match is given up, and a shorter pending one is kept."""
    block = Rule(id="block", entity="B", pattern=r"<[^>]*>", max_length=5, overflow=Overflow.RELEASE)
    assert detected(machine([block]), list("<0123456789> <x>")) == [Span(13, 16, 0, 1.0)]
    run = Rule(id="run", entity="R", pattern="a+", max_length=4, overflow=Overflow.RELEASE)
    assert [span[:2] for span in detected(machine([run]), list("aaaaaaaaaa"))] == [(0, 4), (4, 8), (8, 10)]


def test_context_decides_by_what_stands_before() -> None:
    """A score below the threshold becomes a finding only when a context word is near before it."""
    from safeproxy.core.rule import Context

    rule = Rule(id="id", entity="ID", pattern=r"\b\d{6}\b", score=0.4, context=Context(("badge number",)))
    text = "order 123456, badge number: 123456, badge. Number of a far too distant kind of thing 123456"
    want = expected([rule], text)
    assert want == [(28, 34, 0)]
    assert [span[:3] for span in detected(machine([rule]), list(text))] == want


def test_endless_refusals_fail_closed() -> None:
    """Text that makes a rule search again without end raises an error instead of stalling."""
    rule = Rule(id="greedy", entity="G", pattern=r"\w{2,}", validators=("jwt",))
    detector = PatternDetector(machine([rule]))
    with pytest.raises(DetectorError, match="'greedy'"):
        detector.feed(("ab" * 1000 + " ") * 50)


def test_prose_is_held_only_while_it_may_become_a_finding() -> None:
    """The frontier is the start of the earliest match under way."""
    detector = PatternDetector(machine([Rule(id="m", entity="M", pattern=r"\b[a-z]+@[a-z]+\.com\b")]))
    detector.feed("Write to bob")
    assert detector.frontier == 9
    detector.feed(" or al")
    assert detector.frontier == 16
    detector.feed("@x.com")
    assert detector.frontier == 16
    assert detector.feed(".") == [Span(16, 24, 0, 1.0)]
    assert detector.frontier == 25


def test_long_text_keeps_a_short_buffer() -> None:
    """What the detector remembers of clean text does not grow with the text."""
    detector = PatternDetector(machine([Rule(id="m", entity="M", pattern=r"\d+x")]))
    for _ in range(200):
        detector.feed("clean prose without numbers " * 10)
    assert len(detector._text) < 10_000


@given(st.data())
def test_nothing_released_can_still_be_found(data: st.DataObject) -> None:
    """No extension of a text makes a finding of what lies before the frontier (zero leak)."""
    rules = data.draw(rule_lists())
    combined = machine(rules)
    text = data.draw(texts(most=12))
    detector = PatternDetector(combined)
    before = list(detector.feed(text))
    frontier = detector.frontier
    known = {span[:3] for span in before}
    for _ in range(10):
        extended = text + data.draw(texts(most=6))
        want = expected(rules, extended)
        assert all(span in known for span in want if span[0] < frontier)
        assert known <= set(want)


def test_classes_mean_what_regex_says() -> None:
    """Each class is asked of `regex` itself: properties, ignore-case and Unicode digits included."""
    rule = Rule(id="c", entity="C", pattern=r"(?i)\p{Lu}STRASSE|[[:digit:]]{2}|\bK")
    text = "xstraSSe \u0661\u0662 \u212a k"
    want = [m.span() for m in regex.finditer(rule.pattern or "", text)]
    assert [span[:2] for span in detected(machine([rule]), list(text))] == want
