"""Rules are run over texts as over answers; cutting a text changes nothing, and is noticed if it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.detector import Span
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import DetectorError
from safeproxy.evaluation import observing
from safeproxy.evaluation.observing import Found, entities_in_force, observe, pieces, scorers_of
from safeproxy.evaluation.reading import Record
from safeproxy.rulesets import SHIPPED, load_with_sources
from tests.evaluation.invented import RULES, Words, observed


def record(text: str, line: int = 1) -> Record:
    """A text without labels."""
    return Record(line, text, (), None)


def test_every_rule_finds_whatever_its_action() -> None:
    """A halt does not end the text, a hash needs no key; what is not for answers' text finds nothing."""
    (one,) = observe([record("Oldtown nitwit Anna B-1234 ignore")], RULES)
    assert one.found == (
        Found(0, 7, "TOWN", 1.0),
        Found(8, 14, "INSULT", 1.0),
        Found(20, 26, "BADGE", 1.0),
        Found(20, 26, "BADGE", 0.6),
    )
    assert entities_in_force(RULES) == {"BADGE", "STREET", "TOWN", "INSULT"}


def test_what_a_line_was_labelled_with_is_kept() -> None:
    """With its number of words and the scores of the models."""
    first, *_, fool, nothing = observed([Words()])
    assert (first.line, first.words, len(first.spans or ()), first.labels) == (1, 8, 4, {"insult": 0.0})
    assert (fool.spans, fool.scores, nothing.labels) == (None, {"insult": 0.7}, {})


def test_models_that_score_are_asked() -> None:
    """A rule set without any has none."""
    assert scorers_of(RULES) == []


@pytest.mark.parametrize("score", [float("nan"), 1.01, -1.0])
def test_a_score_that_is_no_probability_is_an_error(score: float) -> None:
    """It would be ranked somewhere, and nobody would notice."""

    class Wrong:
        def scores(self, text: str) -> Mapping[str, float]:
            return {"insult": score}

    with pytest.raises(DetectorError, match=r"^line 3: .*'insult' is not a number from 0 to 1"):
        list(observe([record("a", 3)], RULES, [Wrong()]))


@given(st.text(), st.integers(0, 2**32), st.integers(1, 1000))
def test_pieces_are_the_text(text: str, seed: int, line: int) -> None:
    """None is empty, and the same seed cuts in the same places."""
    cut = pieces(text, seed, line)
    assert "".join(cut) == text
    assert text == "" or all(cut)
    assert cut == pieces(text, seed, line)


def test_pieces_are_of_many_lengths() -> None:
    """Single characters, tokens, and longer ones, each in a share of the texts."""
    counts = [len(pieces("x" * 200, 0, line)) for line in range(60)]
    assert max(counts) == 200
    assert min(counts) < 20
    assert any(30 < count < 80 for count in counts)


PARTS = st.sampled_from(["a B-1234", "B1234B-567", "Mill Lane", "she lives in", "nitwit", "Oldtown", "\n", "\u00e9"])


@given(st.lists(PARTS, max_size=6), st.integers(0, 99))
def test_pieces_give_what_the_whole_gives(parts: Sequence[str], seed: int) -> None:
    """Whatever the text is made of."""
    texts = [record(" ".join(parts), 1), record("".join(parts), 2)]
    whole = list(observe(texts, RULES))
    assert list(observe(texts, RULES, cut_seed=seed)) == whole
    assert not any(one.differs for one in whole)


def test_pieces_of_the_shipped_rules_samples_give_what_the_whole_gives() -> None:
    """One sample of every other rule, each with the next."""
    loaded = load_with_sources([SHIPPED])
    samples = [source.tests.match[0].text for source in loaded.sources[::2]]
    texts = [record(f"{one} {other}", line) for line, (one, other) in enumerate(pairwise(samples), 1)]
    cut = list(observe(texts, loaded.ruleset, cut_seed=1))
    assert sum(len(one.found) for one in cut) > len(samples)
    assert not any(one.differs for one in cut)


class _Cuttable:
    """A detector that breaks the promise: it finds every piece that is one character long."""

    def __init__(self) -> None:
        self.frontier = 0

    def feed(self, text: str) -> Sequence[Span]:
        start, self.frontier = self.frontier, self.frontier + len(text)
        return [Span(start, self.frontier, 0, 1.0)] if len(text) == 1 else []

    def finish(self) -> Sequence[Span]:
        return []


def test_a_rule_that_depends_on_cutting_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is kept is what the pieces gave."""
    monkeypatch.setattr(RuleSet, "acting_detectors", lambda *_: (_Cuttable(),))
    rules = RuleSet([Rule(id="x", entity="X", pattern="x")])
    texts = [record("abcdef", line) for line in range(1, 30)]
    differing = [one for one in observe(texts, rules, cut_seed=0) if one.differs]
    assert differing
    assert all(one.found for one in differing)
    assert not any(one.differs or one.found for one in observe(texts, rules))


def test_a_detector_that_breaks_is_an_error_with_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be said of a text that could not be looked at; the text is not shown."""

    def broken(_: str) -> bool:
        raise RuntimeError("secret")

    monkeypatch.setattr("safeproxy.core.judge.VALIDATORS", {"luhn": broken})
    rules = RuleSet([Rule(id="card", entity="CARD", pattern=r"\d{4}", validators=("luhn",))])
    with pytest.raises(DetectorError, match=r"^line 2: ") as caught:
        list(observing.observe([record("a"), record("secret 1234", 2)], rules))
    assert "secret" not in str(caught.value)
