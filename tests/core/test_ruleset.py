"""A rule set: its digest, and which detectors a channel gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import pytest

from safeproxy.core.detector import Detector, Span
from safeproxy.core.rule import After, Context, Engine, Filters, Overflow, Rule, View
from safeproxy.core.ruleset import RuleSet
from safeproxy.core.scan import PatternDetector
from safeproxy.errors import RuleError
from safeproxy.events import Action, ChannelKind, Severity

ONE = Rule(id="one", entity="ONE", pattern="a+", context=Context(("near",)), validators=("luhn",))
TWO = Rule(id="two", entity="TWO", words=("word", "phrase of words"))

CHANGES: dict[str, object] = {
    "id": "other",
    "entity": "OTHER",
    "title": "Another",
    "category": "secret",
    "severity": Severity.HIGH,
    "action": Action.MASK,
    "pattern": "b+",
    "flags": "i",
    "model": "other",
    "labels": ("NAME",),
    "strict": True,
    "filters": Filters(min_length=2),
    "engine": Engine.REGEX,
    "validators": ("imei",),
    "context": Context(("near",), window=6),
    "after": After(("NAME",)),
    "score": 0.9,
    "threshold": 0.6,
    "placeholder": "[X]",
    "mask_keep": 3,
    "view": View.NFKD,
    "max_length": 100,
    "overflow": Overflow.RELEASE,
    "channels": frozenset({ChannelKind.CONTENT}),
    "request": True,
    "response": False,
}

ECHO = Rule(id="echo", entity="X", detector="echo")


def spans(rules: RuleSet, kind: ChannelKind, text: str, *, watching: bool = False) -> list[tuple[int, int, int]]:
    detectors = rules.watching_detectors(kind) if watching else rules.acting_detectors(kind)
    return sorted(s[:3] for detector in detectors for s in [*detector.feed(text), *detector.finish()])


def test_the_digest_is_the_same_for_the_same_rules() -> None:
    """Compiled twice, or read on another day: equal rules, equal digest."""
    digest = RuleSet([ONE, TWO]).digest
    again = RuleSet([replace(ONE), replace(TWO, channels=frozenset(reversed(list(ChannelKind))))])
    assert again.digest == digest
    assert len(bytes.fromhex(digest)) == 32


def test_the_digest_of_a_known_rule_is_known() -> None:
    """Audit records name it, so a release that changes it must know that it does."""
    assert RuleSet([]).digest == "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"


@pytest.mark.parametrize("field", CHANGES)
def test_the_digest_changes_with_every_part_of_a_rule(field: str) -> None:
    """Whatever a rule says is part of it."""
    changed = replace(ONE, **{field: CHANGES[field]})  # type: ignore[arg-type]
    if changed.engine is Engine.REGEX:
        changed, base = replace(changed, max_length=10), replace(ONE, max_length=10)
    else:
        base = ONE
    assert RuleSet([changed]).digest != RuleSet([base]).digest


def test_every_part_of_a_rule_is_tried_above() -> None:
    """A new field is not forgotten."""
    assert {field.name for field in fields(Rule)} == {*CHANGES, "words", "detector"}


class Echo:
    """A model that finds every letter x."""

    name, version, waits = "echo", "1", False

    def __init__(self, digest: str = "") -> None:
        self.digest = digest

    def detector(self, rules: Sequence[tuple[int, Rule]]) -> Detector:
        return EchoDetector([number for number, _ in rules])


class EchoDetector:
    """Reports every letter x for every rule."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers, self.frontier = numbers, 0

    def feed(self, text: str) -> list[Span]:
        places = [at for at, char in enumerate(text, self.frontier) if char == "x"]
        self.frontier += len(text)
        return [Span(at, at + 1, number, 1.0) for at in places for number in self.numbers]

    def finish(self) -> list[Span]:
        return []


def test_rules_of_one_model_share_a_detector() -> None:
    """The text is read once for all of them, beside the patterns."""
    model = Echo()
    rules = [replace(ECHO, id="e1"), ONE, replace(ECHO, id="e2"), replace(ECHO, id="e3", action=Action.OBSERVE)]
    compiled = RuleSet(rules, {("echo", ""): model})
    assert spans(compiled, ChannelKind.CONTENT, "x") == [(0, 1, 0), (0, 1, 2), (0, 1, 3)]
    assert spans(compiled, ChannelKind.CONTENT, "x", watching=True) == []
    assert compiled.models == (model,)
    assert compiled.with_rules([ECHO]).models == (model,)


def test_a_model_whose_rules_only_observe_only_watches() -> None:
    """It holds nothing up."""
    compiled = RuleSet([replace(ECHO, action=Action.OBSERVE), ONE], {("echo", ""): Echo()})
    assert spans(compiled, ChannelKind.CONTENT, "x") == []
    assert spans(compiled, ChannelKind.CONTENT, "x", watching=True) == [(0, 1, 0)]


def test_nobody_is_asked_while_warming_up() -> None:
    """A detector that waits for somebody else's answer would ask about a text that nobody sent."""

    class Waiting(Echo):
        waits = True

        def detector(self, rules: Sequence[tuple[int, Rule]]) -> Detector:
            return Unasked([])

    class Unasked(EchoDetector):
        def feed(self, text: str) -> list[Span]:
            raise AssertionError("asked")

    compiled = RuleSet([ECHO, ONE], {("echo", ""): Waiting()})
    assert compiled.waits
    compiled.warm_up()
    with pytest.raises(AssertionError, match="asked"):
        spans(compiled, ChannelKind.CONTENT, "x")


def test_a_rule_whose_model_was_not_loaded_is_refused() -> None:
    """It would find nothing, and nobody would know."""
    with pytest.raises(RuleError, match="no model was loaded for the detector 'echo'"):
        RuleSet([ECHO])


def test_a_rule_that_only_observes_waits_for_nothing() -> None:
    """What comes before is known only where findings are put in order."""
    with pytest.raises(RuleError, match="'one': `after` needs an action"):
        RuleSet([replace(ONE, after=After(("NAME",)), action=Action.OBSERVE)])


def test_the_digest_changes_with_the_models() -> None:
    """Other weights find something else."""
    one, other = (RuleSet([ECHO], {("echo", ""): Echo(digest)}) for digest in ("a", "b"))
    assert one.digest != other.digest
    assert RuleSet([ECHO], {("echo", ""): Echo("a")}).digest == one.digest


def test_the_digest_changes_with_the_words() -> None:
    """A rule has words or a pattern, so they are tried apart."""
    assert RuleSet([replace(TWO, words=("word",))]).digest != RuleSet([TWO]).digest


def test_the_digest_changes_with_the_order_of_rules() -> None:
    """The order decides ties, so it matters."""
    assert RuleSet([ONE, TWO]).digest != RuleSet([TWO, ONE]).digest


def test_a_pattern_of_any_characters_has_a_digest() -> None:
    """Lone surrogates too."""
    assert RuleSet([replace(ONE, pattern="\ud800")]).digest


def test_rules_look_at_their_own_kinds_of_channel() -> None:
    """And rules for prompts alone at none."""
    rules = RuleSet(
        [
            Rule(id="all", entity="A", pattern="a"),
            Rule(id="audio", entity="B", pattern="a", channels=frozenset({ChannelKind.AUDIO})),
            Rule(id="prompt", entity="C", pattern="a", response=False, request=True),
        ]
    )
    assert spans(rules, ChannelKind.CONTENT, "a") == [(0, 1, 0)]
    assert spans(rules, ChannelKind.AUDIO, "a") == [(0, 1, 0), (0, 1, 1)]


def test_rules_that_observe_are_kept_apart() -> None:
    """They hold nothing, so they must not share a frontier with those that act."""
    rules = RuleSet(
        [
            Rule(id="see", entity="A", pattern="a.*b", action=Action.OBSERVE),
            Rule(id="act", entity="B", pattern="b"),
        ]
    )
    assert spans(rules, ChannelKind.CONTENT, "ab") == [(1, 2, 1)]
    assert spans(rules, ChannelKind.CONTENT, "ab", watching=True) == [(0, 2, 0)]


def test_rules_of_both_engines_stand_side_by_side() -> None:
    """One machine for the automaton's, one detector for each of the others."""
    rules = RuleSet(
        [
            Rule(id="r1", entity="A", pattern=r"(a)\1", engine=Engine.REGEX, max_length=9),
            Rule(id="m1", entity="B", pattern="aa"),
            Rule(id="r2", entity="C", pattern=r"b(a)\1", engine=Engine.REGEX, max_length=9),
            Rule(id="m2", entity="D", pattern="b"),
        ]
    )
    detectors = rules.acting_detectors(ChannelKind.CONTENT)
    assert [isinstance(detector, PatternDetector) for detector in detectors] == [True, False, False]
    assert spans(rules, ChannelKind.CONTENT, "baa") == [(0, 1, 3), (0, 3, 2), (1, 3, 0), (1, 3, 1)]


def test_each_channel_gets_detectors_of_its_own() -> None:
    """They share the machine and nothing else."""
    rules = RuleSet([Rule(id="ab", entity="A", pattern="ab")])
    (first,), (second,) = (rules.acting_detectors(kind) for kind in (ChannelKind.CONTENT, ChannelKind.REASONING))
    assert not first.feed("a")
    assert not second.feed("b")
    assert [span[:2] for span in first.feed("b")] == [(0, 2)]


def test_an_empty_set_has_no_detectors() -> None:
    """Then all text passes."""
    assert RuleSet([]).acting_detectors(ChannelKind.CONTENT) == ()


def test_a_hash_key_is_needed_by_rules_that_hash() -> None:
    """Known before the first stream."""
    assert not RuleSet([ONE, TWO]).needs_hash_key
    assert RuleSet([ONE, replace(TWO, action=Action.HASH)]).needs_hash_key
    assert RuleSet([ONE, replace(TWO, action=Action.ENCRYPT)]).needs_hash_key


@pytest.mark.parametrize(
    "broken",
    [
        Rule(id="bad", entity="B", pattern=r"(a)\1"),
        Rule(id="bad", entity="B", pattern="a", engine=Engine.REGEX),
        Rule(id="bad", entity="B", words=("",)),
        Rule(id="bad", entity="B"),
        Rule(id="bad", entity="B", pattern="a", action=Action.OBSERVE, validators=("none",)),
        Rule(id="bad", entity="B", pattern="a*", channels=frozenset({ChannelKind.OTHER})),
    ],
)
def test_a_rule_that_cannot_be_used_is_named_at_once(broken: Rule) -> None:
    """Whatever kind of channel it is for, and whether it acts or observes."""
    with pytest.raises(RuleError, match="rule 'bad': "):
        RuleSet([ONE, broken])


def test_warming_up_changes_nothing_that_is_found() -> None:
    """It only meets characters before the first stream does."""
    rules = RuleSet([replace(ONE, validators=(), context=None), TWO])
    before = rules.digest
    rules.warm_up(["aaa word"])
    assert rules.digest == before
    assert spans(rules, ChannelKind.CONTENT, "aaa word") == [(0, 3, 0), (4, 8, 1)]
