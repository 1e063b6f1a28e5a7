"""Rules that name recognizers, under one model and in a filter."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache

import pytest

from safeproxy.core.detector import Extent
from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Filters, Overflow, Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import DetectorError, RuleError
from safeproxy.events import Action
from safeproxy.presidio import PresidioModel, load, load_all
from safeproxy.presidio.compare import Found

BADGES = "tests.presidio.custom:Badges"


def rule(reference: str, **settings: object) -> Rule:
    base = Rule(id=f"my.{reference.lower()}", entity="FOUND", detector="presidio", model=reference)
    return replace(base, **settings)  # type: ignore[arg-type]


@cache
def loaded(references: tuple[str, ...]) -> PresidioModel:
    return load_all(references)


def filtered(rules: list[Rule], text: str, size: int = 3) -> str:
    model = loaded(tuple(rule.model for rule in rules))
    stream = StreamFilter(RuleSet(rules, {("presidio", rule.model): model for rule in rules}))
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    return "".join(map(stream.feed, pieces)) + stream.finish()


def spans(one: Rule, text: str) -> list[Found]:
    detector = load(one.model).detector([(0, one)])
    return sorted(Found("", s.start, s.end, s.score) for s in [*detector.feed(text), *detector.finish()])


def test_rules_in_a_filter() -> None:
    """Each rule has its action; what overlaps is united as with any rules."""
    rules = [
        rule("CREDIT_CARD", entity="CREDIT_CARD"),
        rule("UsSsnRecognizer", entity="US_SSN", action=Action.MASK),
        rule("EMAIL_ADDRESS", entity="EMAIL_ADDRESS", threshold=1.0),
    ]
    text = "Card 4111 1111 1111 1111, ssn 219-09-9999, mail ada@example.com."
    assert filtered(rules, text) == "Card [CREDIT_CARD], ssn XXXXXXX9999, mail [EMAIL_ADDRESS]."


def test_the_same_for_every_cutting() -> None:
    """And the same as at once: spans that overlap, that are decided late, that are never found."""
    rules = [
        rule("US_SSN", entity="US_SSN"),
        rule("PHONE_NUMBER", entity="PHONE_NUMBER", threshold=0.4),
        rule("UrlRecognizer", entity="URL"),
        rule("EmailRecognizer", entity="EMAIL_ADDRESS", action=Action.MASK),
    ]
    text = "Social security: 219-09-9999, or 219-09-999; see 'x.community' or a.b@c.org, (212) 555-5555."
    outs = {filtered(rules, text, size) for size in (1, 2, 3, 5, 8, 13, len(text))}
    # The host of the address is a URL to Presidio, and `redact` is stronger than `mask`.
    assert outs == {"Social security: [US_SSN], or 219-09-999; see [URL] or [URL], [PHONE_NUMBER]."}


def test_a_validator_may_say_yes_no_or_nothing() -> None:
    """Yes makes the score 1, no drops the result, nothing leaves the pattern's score."""
    assert spans(rule(BADGES, threshold=0.1), "B1234 B1111 B1235") == [Found("", 0, 5, 1.0), Found("", 12, 17, 0.3)]


def test_what_is_covered_with_at_least_its_score_is_dropped() -> None:
    """Here the longer match has the lower score, so both stay."""
    assert spans(rule(BADGES, threshold=0.1), "B1235-6") == [Found("", 0, 5, 0.3), Found("", 0, 7, 0.2)]


def test_a_deny_list_may_have_thousands_of_words() -> None:
    """They are read together."""
    one = rule("tests.presidio.custom:many_words")
    assert spans(one, "a word1999 b, word19990, WORD7.") == [Found("", 2, 10, 1.0), Found("", 25, 30, 1.0)]


def test_context_raises_the_score() -> None:
    """By the enhancer's factor, for a word before the match."""
    assert spans(rule(BADGES), "your badge is B1235.") == [Found("", 14, 19, 0.3 + 0.35)]
    assert spans(rule(BADGES), "your ticket is B1235.") == []


def test_a_validator_that_breaks_fails_closed() -> None:
    """Its message, which quotes the text, is not told."""
    with pytest.raises(DetectorError, match=r"the recognizer Badges broke: ValueError$"):
        spans(rule(BADGES), "badge B9999 ")


def test_filters_and_labels() -> None:
    """An allow-list works as Presidio's; labels narrow a reference to some of its entities."""
    allowing = rule(BADGES, filters=Filters(allow=("b1234",)))
    assert spans(allowing, "badge B1234, badge B1235") == [Found("", 19, 24, 0.6499999999999999)]
    with pytest.raises(RuleError, match="does not find CARD; it finds BADGE"):
        load(BADGES).detector([(0, rule(BADGES, labels=("CARD",)))])


def test_a_threshold_that_is_never_reached_is_refused() -> None:
    """Such a rule would look as if it protected something."""
    with pytest.raises(RuleError, match=r"US_BANK_NUMBER never scores more than 0\.4, so the threshold 0\.5 is never"):
        load("US_BANK_NUMBER").detector([(0, rule("US_BANK_NUMBER"))])


def test_what_was_not_loaded_is_refused() -> None:
    """A model serves the references it was made for."""
    with pytest.raises(RuleError, match="'US_SSN' was not loaded"):
        load("CREDIT_CARD").detector([(0, rule("US_SSN"))])


def test_rules_that_name_the_same_recognizer_share_it() -> None:
    """Under two names it is one in the automaton; each rule has its own threshold."""
    model = load_all(["CREDIT_CARD", "CreditCardRecognizer"])
    detector = model.detector([(3, rule("CREDIT_CARD")), (5, rule("CreditCardRecognizer", threshold=1.0))])
    found = [*detector.feed("4111111111111111 4111111111111112 "), *detector.finish()]
    assert sorted((span.rule, span.start) for span in found) == [(3, 0), (5, 0)]
    assert len(model._program([(0, rule("CREDIT_CARD")), (1, rule("CreditCardRecognizer"))]).patterns) == 1


def test_the_digest_tells_what_is_found() -> None:
    """Equal for equal references, another for others."""
    assert load("CREDIT_CARD").digest == load("CREDIT_CARD").digest != load("CREDIT_CARD@es").digest
    assert load("CREDIT_CARD").version.startswith("2.")


def test_a_match_that_reaches_its_ceiling_is_swallowed() -> None:
    """Two patterns of one rule may do so at once: it is told as one span, which ends when both do."""
    one = rule("UrlRecognizer", max_length=64)
    text = "see http://example.com/" + "a" * 300 + " end."
    detector = load(one.model).detector([(0, one)])
    found = [span for char in text for span in detector.feed(char)] + [*detector.finish()]
    assert [span.extent for span in found if span.extent is not Extent.WHOLE] == [Extent.OPEN, Extent.CLOSING]
    assert filtered([one], text) == "see [FOUND] end."


def test_a_match_beyond_its_ceiling_may_be_let_go() -> None:
    """Where the rule says so."""
    one = rule("EmailRecognizer", max_length=20, overflow=Overflow.RELEASE)
    assert filtered([one], "a.long.name.indeed@example.com x@y.com") == "a.long.name.indeed@example.com [FOUND]"


def test_what_a_stream_keeps_is_bounded() -> None:
    """Prose of any length leaves a few thousand characters behind."""
    model = load_all(["CREDIT_CARD", "PHONE_NUMBER", "US_BANK_NUMBER"])
    names = ("CREDIT_CARD", "PHONE_NUMBER", "US_BANK_NUMBER")
    detector = model.detector([(i, rule(name, threshold=0.05)) for i, name in enumerate(names)])
    for number in range(300):
        detector.feed(f"In {number} the account was {number * 7919}; call 212 555 {number:04}. ")
    assert len(detector._buffer.text) < 5000  # type: ignore[attr-defined]
    assert len(detector._results) < 10  # type: ignore[attr-defined]


def test_clean_text_is_not_held() -> None:
    """A word is held while it may become an address; numbers are held until they end."""
    model = load_all(["CREDIT_CARD", "US_SSN"])
    detector = model.detector([(0, rule("CREDIT_CARD")), (1, rule("US_SSN"))])
    detector.feed("Plain words leave at once, ")
    assert detector.frontier == 27
    detector.feed("but 4111 11")
    assert detector.frontier == 31


def test_presidio_is_imported_only_when_a_rule_names_it() -> None:
    """It takes a second and 80 MB."""
    code = "import sys, safeproxy.presidio; assert not {'presidio_analyzer', 'spacy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
