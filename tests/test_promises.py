"""The promises of the filter, over the shipped rules' own samples: random text does not find these bugs."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import DetectorError
from safeproxy.events import Action
from safeproxy.rulesets import SHIPPED, LoadedRules, load_with_sources
from tests import oracle
from tests.core.strategies import cut, cuttings, fed

KEY = b"a key for tests"


@cache
def shipped() -> LoadedRules:
    return load_with_sources([SHIPPED])


@cache
def samples() -> list[tuple[str, str]]:
    """Every matching sample with its rule's id."""
    return [(source.rule.id, sample.text) for source in shipped().sources for sample in source.tests.match]


@cache
def judged(text: str) -> tuple[str, bool]:
    """What the whole-text oracle lets out of ``text`` under all shipped rules, and whether it halts."""
    out, _, halted = oracle.filtered(shipped().ruleset.rules, text, KEY)
    return out, halted


def steps(text: str, pieces: list[str]) -> None:
    """Feed the pieces; at every moment what has left begins the oracle's answer, and at the end it is all of it."""
    want, halted = judged(text)
    stream = StreamFilter(shipped().ruleset, hash_key=KEY)
    released = ""
    for piece in pieces:
        released += stream.feed(piece)
        assert want.startswith(released)
    released += stream.finish()
    assert (released, stream.halted) == (want, halted)


def test_every_sample_cut_at_every_position() -> None:
    """P1, P2: each sample in two pieces, cut at each position, and one character at a time."""
    for _, text in samples():
        steps(text, list(text))
        for at in range(len(text) + 1):
            steps(text, [text[:at], text[at:]])


def test_every_sample_within_prose() -> None:
    """P1, P2: a sample of each rule with ordinary words around it, in random pieces."""
    for number, sample in enumerate(dict(reversed(samples())).values()):
        text = f"As I said before, {sample} is what it was. And so it went on."
        steps(text, cut(text, 9, seed=number))


@given(st.data())
def test_samples_that_touch_and_overlap(data: st.DataObject) -> None:
    """P1, P2: samples of different rules joined, pushed into each other, or one inside the other."""
    _, first = data.draw(st.sampled_from(samples()))
    _, second = data.draw(st.sampled_from(samples()))
    how = data.draw(st.sampled_from(["touch", "space", "overlap", "inside"]))
    if how == "overlap":
        at = data.draw(st.integers(0, len(first)))
        text = first[:at] + second
    elif how == "inside":
        at = data.draw(st.integers(0, len(first)))
        text = first[:at] + second + first[at:]
    else:
        text = first + (" " if how == "space" else "") + second
    steps(text, data.draw(cuttings(text)))


def test_the_hold_is_shortest_on_prose() -> None:
    """P3: with the shipped rules, prose in pieces of four characters is held for a few characters only."""
    text = (
        "The river had risen in the night and the lower fields were under water. Nobody was surprised; it had rained "
        "for nine days. In the kitchen they talked about seed, about fences, and about the price of diesel. "
    ) * 5
    stream = StreamFilter(shipped().ruleset, hash_key=KEY)
    held = []
    for at in range(0, len(text), 4):
        stream.feed(text[at : at + 4])
        held.append(stream.held)
    assert sum(held) / len(held) <= 6
    assert max(held) <= 24


def test_what_is_held_can_still_change() -> None:
    """P3: the first held character can become part of a finding; the one before it no longer can."""
    rule = Rule(id="mail", entity="EMAIL", pattern=r"(?<![\w.+-])[\w.+-]{1,64}@\w+\.com\b")
    stream = StreamFilter([rule])
    for char in "Ask ada.l":
        stream.feed(char)
    assert stream.held == len("ada.l")
    assert stream.feed("ove@x.com ") == "[EMAIL] "


def test_clean_text_is_untouched() -> None:
    """P4: text in which nothing is found comes out as it went in."""
    text = "Clean: caf\u00e9, na\u00efve, \u65e5\u672c\u8a9e, \U0001f600, e\u0301, a\u200bb, tab\t, NUL\x00, "
    text += "\u2028 and \ud800."
    stream = StreamFilter(shipped().ruleset, hash_key=KEY)
    assert fed(stream.feed, stream.finish, list(text)) == text


def test_the_hold_has_a_ceiling() -> None:
    """P6: text that goes on and on within a pattern is not held beyond the ceiling."""
    ceiling = max(rule.max_length for rule in shipped().ruleset.rules)
    for endless in ("a", "1", "1 ", "-----BEGIN PRIVATE KEY-----\n" + "A" * 64, "a.b@", "eyJ" + "a" * 30, "://x:"):
        stream = StreamFilter(shipped().ruleset, hash_key=KEY)
        piece = endless * (1 + 64 // len(endless))
        for _ in range(200):
            stream.feed(piece)
            assert stream.held <= 2 * ceiling + len(piece)


def test_a_detector_that_breaks_raises() -> None:
    """P7: the filter says so when a validator breaks, and lets nothing of the text go."""

    def breaks(_text: str) -> bool:
        raise ValueError("secret text")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("safeproxy.core.judge.VALIDATORS", {"breaks": breaks})
        rules = RuleSet([Rule(id="r", entity="R", pattern=r"\d+", validators=("breaks",))])
    stream = StreamFilter(rules)
    assert stream.feed("abc 12") == "abc "
    with pytest.raises(DetectorError) as caught:
        stream.feed("3 ")
    assert "secret" not in str(caught.value)
    assert "'r'" in str(caught.value)


def test_findings_never_hold_the_text() -> None:
    """P8: no field of a finding shows what was matched."""
    for rule, text in samples():
        stream = StreamFilter(shipped().ruleset, hash_key=KEY)
        fed(stream.feed, stream.finish, [text])
        findings = stream.take_findings()
        assert findings, rule
        for finding in findings:
            assert finding.applied in Action
            matched = text[finding.start : finding.end]
            assert len(matched) < 4 or matched not in repr(finding)
