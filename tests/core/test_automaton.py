"""Many rules in one machine: each as if alone, one look-up a character, a bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeproxy.core import automaton
from safeproxy.core.automaton import Machine
from safeproxy.core.rule import Rule, View
from safeproxy.core.scan import PatternDetector
from safeproxy.core.threads import MAX_THREADS
from safeproxy.errors import RuleError
from tests.core.strategies import FOLDING_LETTERS, rule_lists, texts


def machine(*rules: Rule) -> Machine:
    return Machine(rules, range(len(rules)))


def rule(pattern: str, name: str = "r", **keys: object) -> Rule:
    return Rule(id=name, entity="E", pattern=pattern, **keys)  # type: ignore[arg-type]


def spans(machine: Machine, text: str) -> list[tuple[int, int, int]]:
    """Fed whole, so that most of what is remembered is met again."""
    detector = PatternDetector(machine)
    return sorted(span[:3] for span in [*detector.feed(text), *detector.finish()])


@settings(max_examples=max(10, settings.default.max_examples // 4))
@given(st.data())
def test_each_rule_finds_what_it_finds_alone(data: st.DataObject) -> None:
    """Rules in one machine do not see each other."""
    rules = data.draw(rule_lists(views=list(View)))
    together = machine(*rules)
    text = data.draw(texts(FOLDING_LETTERS))
    alone = [(start, end, number) for number, one in enumerate(rules) for start, end, _ in spans(machine(one), text)]
    assert spans(together, text) == sorted(alone)


def test_a_rules_ceiling_is_its_own() -> None:
    """Another rule's ceiling does not cut short what waits for a boundary, nor does the size of a piece."""
    line_end = rule("(?m)a$", "end", max_length=1)
    other = rule(r"\n{2,}x", "other", max_length=8)
    for text, want in (("abcdefghij", []), ("a\nbcdefghij", [(0, 1, 0)])):
        together = machine(line_end, other)
        assert spans(together, text) == spans(machine(line_end), text) == want
        detector = PatternDetector(together)
        assert sorted(span[:3] for char in text for span in detector.feed(char)) == want


def test_numbers_are_those_of_the_rule_set() -> None:
    """A machine may hold some of the rules only."""
    assert spans(Machine([rule("a"), rule("b")], [7, 3]), "ab") == [(0, 1, 7), (1, 2, 3)]


def test_a_character_met_before_costs_one_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time, no edge is looked for."""
    together = machine(rule(r"\b\w+@x"), rule(r"\d+"))
    text = "mail bob@x or 12"
    first = spans(together, text)
    monkeypatch.setattr(Machine, "edge", None)
    assert spans(together, text) == first


def test_characters_of_one_class_share_an_edge() -> None:
    """What no rule tells apart leads to the same node, and is worked out once."""
    together = machine(rule(r"\d+x"))
    assert together.start["a"] is together.start["\u4e00"]
    assert together.start["1"] is together.start["7"]
    assert together.start["a"] is not together.start["1"]


def test_a_rule_sleeps_until_a_match_may_begin() -> None:
    """A node names only the rules that have something under way."""
    together = machine(rule("ab"), rule(r"\d\d"), rule("(?<=zz)q"))
    node, _ = together.start["x"]
    assert node.active == ()
    assert [index for index, _, _ in together.start["a"][0].active] == [0]
    assert [index for index, _, _ in together.start["1"][0].active] == [1]
    assert [index for index, _, _ in together.start["z"][0].active] == [2]


def test_a_rule_wakes_by_any_part_of_a_character() -> None:
    """The second letter of a ligature begins a match."""
    assert spans(machine(rule("ib", view=View.NFKD)), "\ufb01b") == [(0, 2, 0)]


def test_views_are_read_side_by_side() -> None:
    """One character is classified once for each view that a rule uses."""
    together = machine(rule("a"), rule("a", view=View.NFKD), rule("a", view=View.SKELETON))
    assert together.views == (View.RAW, View.NFKD, View.SKELETON)
    assert [len(parts) for parts in together.folds("\u338f")] == [1, 2, 2]
    assert [len(parts) for parts in together.folds("\u200b")] == [1, 0, 0]
    assert spans(together, "a\uff41\u0430") == [(0, 1, 0), (0, 1, 1), (0, 1, 2), (1, 2, 1), (1, 2, 2), (2, 3, 2)]


@pytest.mark.parametrize("limit", ["MAX_COMBINED", "MAX_EDGES"])
def test_memory_has_a_ceiling(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it everything is dropped and found anew, and a stream goes on from where it is."""
    rules = (rule("a[ab]{4}c"), rule(r"\bb+a"))
    text = "abbabaabbcaab bba abbbac" * 4
    want = spans(machine(*rules), text)
    monkeypatch.setattr(automaton, limit, 8)
    together = machine(*rules)
    assert spans(together, text) == want
    assert len(together._nodes) <= 9
    assert together._edges <= 9


def test_threads_have_a_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rules' own states hold is counted too."""
    monkeypatch.setattr(automaton, "MAX_THREADS_KEPT", 100)
    together = machine(rule("a[ab]{30}c"))
    detector = PatternDetector(together)
    most = 0
    for at in range(2000):
        detector.feed("ab"[(at * at // 7) % 2])
        most = max(most, len(together._nodes))
    assert most <= 256


def test_the_classes_of_characters_have_a_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of ever new characters is forgotten in between."""
    monkeypatch.setattr(automaton, "MAX_CHARACTERS", 50)
    together = machine(rule(r"\d"))
    assert spans(together, "".join(map(chr, range(0x4E00, 0x4F00))) + "1") == [(256, 257, 0)]
    assert len(together._class_of) <= 51


def test_a_stream_outlives_a_forgetting() -> None:
    """A match under way is found although all was dropped in the middle of it."""
    together = machine(rule("abcd"), rule("b.d"))
    detector = PatternDetector(together)
    detector.feed("ab")
    together.forget()
    assert sorted(span[:3] for span in detector.feed("cd")) == [(0, 4, 0), (1, 4, 1)]


def test_a_rule_that_cannot_run_is_named() -> None:
    """With what is wrong with it."""
    with pytest.raises(RuleError, match=r"rule 'second': the pattern has a back-reference at column 4"):
        machine(rule("a", "first"), rule(r"(a)\1", "second"))


@pytest.mark.parametrize("pattern", [".{0,400}x", f"a[ab]{{{2 * MAX_THREADS}}}c", "[ab]{1,300}c"])
def test_a_rule_that_keeps_too_many_matches_open_is_refused(pattern: str) -> None:
    """It would stop streams on simple text, so it is not taken at all."""
    with pytest.raises(RuleError, match=f"more than {MAX_THREADS} alternatives"):
        machine(rule(pattern))


@pytest.mark.parametrize("pattern", ["x.{0,400}y", r"\bkey[:=]\S{8,200}", "key-[0-9a-f]{500}"])
def test_a_long_rule_that_begins_rarely_is_taken(pattern: str) -> None:
    """Size alone is no reason to refuse."""
    assert spans(machine(rule(pattern)), "ordinary text") == []


def test_a_fresh_state_knows_what_stood_before() -> None:
    """For a search that begins anew in the middle: the character before, and the look-behinds."""
    together = machine(rule(r"(?<=ab)\bc"), rule("^c"))
    assert together.fresh(1, "").previous is None
    assert together.fresh(1, "x").previous is not None
    assert together.fresh(0, "xab").behinds[0][1]
    assert not together.fresh(0, "xa").behinds[0][1]
