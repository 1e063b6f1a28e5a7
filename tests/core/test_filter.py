"""The channel filter: uniting findings, carrying out actions, holding and releasing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core import filter as filtering
from safeproxy.core.detector import Extent, Span
from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import After, Rule, View
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import ConfigError
from safeproxy.events import Action, ChannelKind, Finding, Severity
from tests import oracle
from tests.core.strategies import FOLDING_LETTERS, cuttings, fed, rule_lists, texts

KEY = b"a key for tests"
MAIL = Rule(id="mail", entity="EMAIL", pattern=r"\b[a-z]+@[a-z]+\.com\b")
SECRET = Rule(id="secret", entity="SECRET", pattern=r"sk-\w{4,9}", action=Action.HALT)


def run(rules: list[Rule] | RuleSet, pieces: list[str]) -> tuple[str, list[Finding], StreamFilter]:
    """Text that leaves, findings in order of position, and the filter."""
    stream = StreamFilter(rules, hash_key=KEY)
    out = fed(stream.feed, stream.finish, pieces)
    return out, sorted(stream.take_findings(), key=lambda f: (f.start, f.end, f.rule)), stream


@given(st.data())
def test_any_cutting_gives_what_the_whole_text_gives(data: st.DataObject) -> None:
    """Text, findings and verdict are the oracle's, for all actions and however the text is cut."""
    rules = data.draw(rule_lists(actions=list(Action), views=list(View)))
    ruleset = RuleSet(rules)
    for _ in range(4):
        text = data.draw(texts(FOLDING_LETTERS))
        want, found, halted = oracle.filtered(rules, text, KEY)
        for pieces in ([text], list(text), data.draw(cuttings(text))):
            out, findings, stream = run(ruleset, pieces)
            assert (out, stream.halted) == (want, halted)
            assert [(f.start, f.end, f.rule, f.applied, f.score) for f in findings] == [tuple(f) for f in found]


@given(st.data())
def test_what_has_left_never_has_to_be_taken_back(data: st.DataObject) -> None:
    """At every moment what was released is a beginning of what the oracle gives for any longer text."""
    rules = data.draw(rule_lists(actions=list(Action)))
    text, longer = data.draw(texts(most=15)), data.draw(texts(most=8))
    stream = StreamFilter(rules, hash_key=KEY)
    released = "".join(stream.feed(char) for char in text)
    for extension in ("", longer):
        assert oracle.filtered(rules, text + extension, KEY)[0].startswith(released)


@given(st.data())
def test_every_code_point_is_accounted_for(data: st.DataObject) -> None:
    """Scanned is what was passed on, removed or is still held, at every moment."""
    rules = data.draw(rule_lists(actions=[Action.REDACT, Action.HALT]))
    stream = StreamFilter([*rules, Rule(id="never", entity="N", pattern="\u2603")])
    text = data.draw(texts(most=40))
    passed = 0
    for char in text:
        passed += len(stream.feed(char)) - stand_ins(stream)
        assert passed + stream.removed + stream.held == stream.scanned
    passed += len(stream.finish()) - stand_ins(stream)
    assert stream.held == 0
    assert passed + stream.removed == stream.scanned


def stand_ins(stream: StreamFilter) -> int:
    """Length of the placeholders that left since the last call; every stand-in has the form [En]."""
    return 4 * len(stream.take_edits()) if not stream.halted else 4 * max(0, len(stream.take_edits()) - 1)


def test_overlapping_findings_become_one() -> None:
    """The union of overlapping spans is replaced once, by the stand-in of the strongest action."""
    rules = [
        Rule(id="a", entity="A", pattern="abcd", action=Action.MASK),
        Rule(id="b", entity="B", pattern="cdef"),
    ]
    out, findings, _ = run(rules, list("xabcdefx"))
    assert out == "x[B]x"
    assert [(f.rule, f.action, f.applied) for f in findings] == [
        ("a", Action.MASK, Action.REDACT),
        ("b", Action.REDACT, Action.REDACT),
    ]


def test_touching_findings_stay_two() -> None:
    """Spans that only touch are replaced each on its own."""
    rules = [Rule(id="a", entity="A", pattern="ab"), Rule(id="c", entity="C", pattern="cd")]
    assert run(rules, list("abcd"))[0] == "[A][C]"


def test_severity_then_order_decides_between_equal_actions() -> None:
    """Among equal actions the more severe rule names the span, then the earlier one."""
    low = Rule(id="low", entity="LOW", pattern="ab", severity=Severity.LOW)
    high = Rule(id="high", entity="HIGH", pattern="bc", severity=Severity.HIGH)
    twin = Rule(id="twin", entity="TWIN", pattern="abc", severity=Severity.HIGH)
    assert run([low, high], ["abc"])[0] == "[HIGH]"
    assert run([low, twin, high], ["abc"])[0] == "[TWIN]"


def test_a_halt_cuts_at_the_united_span() -> None:
    """Nothing of a halting span, of what it overlaps, or of what follows leaves."""
    out, findings, stream = run([MAIL, SECRET], list("to bob@x.com: sk-12345678 and more"))
    assert (out, stream.halted) == ("to [EMAIL]: ", True)
    assert [f.rule for f in findings] == ["mail", "secret"]
    assert stream.feed("more") == stream.finish() == ""


def test_observing_changes_and_holds_nothing() -> None:
    """A rule that observes does not hold text, does not extend what others redact, and is reported."""
    watch = Rule(id="watch", entity="W", pattern=r"(?:to )?bob.*", action=Action.OBSERVE)
    stream = StreamFilter([watch])
    assert stream.feed("to bo") == "to bo"
    out, findings, _ = run([MAIL, watch], list("to bob@x.com and so on"))
    assert out == "to [EMAIL] and so on"
    assert {(f.rule, f.applied) for f in findings} == {("mail", Action.REDACT), ("watch", Action.OBSERVE)}


def test_observers_do_not_see_past_a_halt() -> None:
    """What a halt withholds is not reported by observing rules either, whatever the cutting."""
    watch = Rule(id="watch", entity="W", pattern="more|sk", action=Action.OBSERVE)
    for pieces in (["sk-12345678 more"], list("sk-12345678 more")):
        assert [f.rule for f in run([SECRET, watch], pieces)[1]] == ["secret"]


class Letters:
    """A model whose rules each look for the letter that is their label."""

    name, version, digest, waits = "letters", "1", "", False

    def detector(self, rules: Sequence[tuple[int, Rule]]) -> LetterDetector:
        return LetterDetector({rule.labels[0]: number for number, rule in rules})


class LetterDetector:
    """Reports the letters it is told to look for, one character late."""

    def __init__(self, wanted: dict[str, int]) -> None:
        self.wanted, self.text, self.frontier = wanted, "", 0

    def feed(self, text: str) -> list[Span]:
        self.text += text
        return self.upto(len(self.text) - 1)

    def finish(self) -> list[Span]:
        return self.upto(len(self.text))

    def upto(self, end: int) -> list[Span]:
        begin, self.frontier = self.frontier, max(end, self.frontier)
        places = [(at, self.text[at]) for at in range(begin, self.frontier)]
        return [Span(at, at + 1, self.wanted[char], 1.0) for at, char in places if char in self.wanted]


def mixed() -> RuleSet:
    """One model that serves rules which redact, halt and observe."""
    actions = {"r": Action.REDACT, "h": Action.HALT, "o": Action.OBSERVE}
    rules = [
        Rule(id=letter, entity=letter.upper(), detector="letters", labels=(letter,), action=action)
        for letter, action in actions.items()
    ]
    return RuleSet(rules, {("letters", ""): Letters()})


@pytest.mark.parametrize("pieces", [["abo rob o"], list("abo rob o")])
def test_a_model_may_serve_rules_that_observe_and_others(pieces: list[str]) -> None:
    """The text is read once; what is only observed stays and is told."""
    stream = StreamFilter(mixed())
    out = "".join(map(stream.feed, pieces)) + stream.finish()
    assert out == "abo [R]ob o"
    assert sorted((f.start, f.entity, f.applied) for f in stream.take_findings()) == [
        (2, "O", Action.OBSERVE),
        (4, "R", Action.REDACT),
        (5, "O", Action.OBSERVE),
        (8, "O", Action.OBSERVE),
    ]


@pytest.mark.parametrize("pieces", [["o a h o"], list("o a h o")])
def test_what_a_model_observes_beyond_a_halt_is_not_told(pieces: list[str]) -> None:
    """As with detectors that only watch, for any cutting."""
    stream = StreamFilter(mixed())
    assert "".join(map(stream.feed, pieces)) + stream.finish() == "o a "
    assert [(f.start, f.entity) for f in stream.take_findings()] == [(0, "O"), (4, "H")]


NAME = Rule(id="name", entity="NAME", pattern="[A-Z][a-z]+")
STREET = Rule(id="street", entity="STREET", pattern=r"[0-9]+ [a-z]+ street", after=After(("NAME", "MAIL"), within=12))


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_finding_may_need_another_before_it(size: int) -> None:
    """Only so far away, and only before; whatever the cutting."""
    text = "5 old street, Ada at 7 new street, not so at 9 far street; 1 a street Bob 2 b street, then 3 c street"
    stream = StreamFilter([STREET, NAME])
    out = "".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size)) + stream.finish()
    expected = "5 old street, [NAME] at [STREET], not so at 9 far street; 1 a street [NAME] [STREET], then 3 c street"
    assert out == expected
    assert [f.entity for f in stream.take_findings()] == ["NAME", "STREET", "NAME", "STREET"]


def test_what_is_swallowed_past_a_ceiling_may_need_another_before_it() -> None:
    """The rest of an open span counts if its beginning did."""
    long = Rule(id="long", entity="LONG", pattern="x+", max_length=4, after=After(("NAME",), within=5))
    stream = StreamFilter([long, NAME])
    text = "xxxxxxxxx Ada xxxxxxxxx"
    assert "".join(map(stream.feed, text)) + stream.finish() == "xxxxxxxxx [NAME] [LONG]"


@given(st.text(alphabet="Aa 1bx", max_size=40), st.lists(st.integers(1, 8), min_size=1, max_size=20))
def test_what_comes_before_does_not_depend_on_the_cutting(text: str, sizes: list[int]) -> None:
    """Overlaps, chains and conditions on each other."""
    rules = [
        Rule(id="n", entity="NAME", pattern="A[a ]*b?"),
        Rule(id="s", entity="STREET", pattern="1 ?[ab]+", after=After(("NAME",), within=3)),
        Rule(id="t", entity="TOWN", pattern="[bx]{2,}", after=After(("STREET",), within=2)),
    ]
    whole = StreamFilter(rules)
    expected = whole.feed(text) + whole.finish()
    stream = StreamFilter(rules)
    out, at = "", 0
    for size in sizes:
        out += stream.feed(text[at : at + size])
        at += size
    out += stream.feed(text[at:]) + stream.finish()
    assert (out, stream.take_findings()) == (expected, whole.take_findings())


def test_a_long_chain_is_decided_at_its_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of overlapping findings is decided at the ceiling, the same for every cutting, and goes on silently."""
    monkeypatch.setattr(filtering, "CHAIN_CEILING", 10)
    rules = [
        Rule(id="pair", entity="P", pattern="ab+"),
        Rule(id="back", entity="Q", pattern="b+a", severity=Severity.LOW),
        Rule(id="stop", entity="S", pattern="!", action=Action.HALT),
    ]
    text = "x " + "abb" * 20 + " y"
    for pieces in ([text], list(text), [text[:31], text[31:]]):
        out, findings, stream = run(rules, pieces)
        assert out == "x [P] y"
        assert len(findings) == 39
    out, _, stream = run([*rules, Rule(id="end", entity="E", pattern="b+ y", action=Action.HALT)], list(text))
    assert (out, stream.halted) == ("x [P]", True)


def test_a_span_past_its_ceiling_is_swallowed_to_its_end() -> None:
    """An overflowing match leaves one stand-in at once; the rest of it is dropped and reported as one finding."""
    block = Rule(id="block", entity="B", pattern=r"<[^>]*>", max_length=8)
    text = "a <" + "x" * 30 + "> b <y> c"
    for pieces in ([text], list(text), [text[:15], text[15:]]):
        out, findings, _ = run([block], pieces)
        assert out == "a [B] b [B] c"
        assert [(f.start, f.end) for f in findings] == [(2, 34), (37, 40)]
    stream = StreamFilter([block])
    assert stream.feed("a <" + "x" * 30) == "a [B]"
    assert stream.held == 0


def test_masking_and_hashing() -> None:
    """`mask` keeps the declared end, `hash` gives the same name to the same value."""
    card = Rule(id="card", entity="CARD", pattern=r"\b\d{16}\b", action=Action.MASK, mask_keep=4)
    assert run([card], list("4111111111111111."))[0] == "XXXXXXXXXXXX1111."
    name = Rule(id="name", entity="NAME", pattern=r"\bbob\b", action=Action.HASH)
    out = run([name], list("bob, bob"))[0]
    first, second = out.split(", ")
    assert first == second != "bob"
    assert first.startswith("[NAME:")


def test_hashing_needs_a_key() -> None:
    """A rule that hashes is refused where no key is configured, before any text is seen."""
    with pytest.raises(ConfigError, match="hash key"):
        StreamFilter([Rule(id="name", entity="NAME", pattern="bob", action=Action.HASH)])


def test_a_rule_applies_to_its_channels() -> None:
    """A rule for some kinds of channel does not look at the others."""
    rule = Rule(id="r", entity="R", pattern="x", channels=frozenset({ChannelKind.REASONING}))
    stream = StreamFilter([rule])
    assert stream.feed("x") == "x"
    stream = StreamFilter([rule], kind=ChannelKind.REASONING, channel="choice.0.reasoning")
    assert stream.feed("x") + stream.finish() == "[R]"
    assert stream.take_findings()[0].channel == "choice.0.reasoning"


def test_without_rules_everything_passes_at_once() -> None:
    """An empty rule set holds nothing."""
    stream = StreamFilter([])
    assert stream.feed("any text") == "any text"
    assert stream.finish() == ""


def test_spans_sort_by_position() -> None:
    """The resolver relies on spans being ordered by start, then end."""
    assert min(Span(2, 3, 0, 1.0), Span(1, 9, 1, 1.0, Extent.OPEN), Span(1, 4, 2, 0.5)) == Span(1, 4, 2, 0.5)
