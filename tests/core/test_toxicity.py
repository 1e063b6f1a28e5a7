"""The toxicity tier, on a model with weights drawn by chance."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core import toxicity
from safeproxy.core.detector import Extent, Model, Scorer, Span
from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.core.sentences import sentences
from safeproxy.core.tokens import Spelled, tokens
from safeproxy.core.toxicity import SentenceState, ToxicityModel, Weights
from safeproxy.errors import RuleError
from safeproxy.events import Action
from tests.core.toy_toxicity import CATEGORIES, texts, toy_model, toy_weights

MODEL = toy_model()


def rule(
    action: Action = Action.REDACT, threshold: float = 0.5, *, strict: bool = False, labels: tuple[str, ...] = ()
) -> Rule:
    return Rule(
        id=f"toxicity.{action}.{threshold}.{strict}", entity="TOXIC", action=action, detector="toxicity", threshold=threshold,
        strict=strict, labels=labels,
    )  # fmt: skip


RULES = [
    rule(),
    rule(threshold=0.7, strict=True),
    rule(Action.OBSERVE, 0.4, labels=("threat",)),
    rule(Action.HALT, 0.8),
]


def run(pieces: list[str], rules: list[Rule] = RULES, model: ToxicityModel = MODEL) -> list[Span]:
    """The spans found in the pieces, with each open span's closing taken together."""
    detector = model.detector(list(enumerate(rules)))
    spans: list[Span] = []
    for part in [*(detector.feed(piece) for piece in pieces), detector.finish()]:
        for span in part:
            if span.extent is Extent.CLOSING:
                at = next(n for n, other in enumerate(spans) if other.rule == span.rule and other.extent is Extent.OPEN)
                assert spans[at].end == span.start
                spans[at] = spans[at]._replace(end=span.end, extent=Extent.WHOLE)
            else:
                spans.append(span)
    return sorted(spans)


def slow_logits(weights: Weights, words: list[str]) -> np.ndarray:
    """The logits of a sentence's words from scratch, straight from the formula."""
    model = ToxicityModel(weights, version="", digest="")
    spelled, read = Spelled(), []
    for word in words:
        read += tokens(word, model)
        joined = spelled.join(word, model)
        read += [joined] if joined else []
    vectors = [model.vector(token).astype(float) for token in read]
    peak = np.zeros(len(weights.filter_bias))
    for at in range(len(vectors)):
        seen = weights.filter_bias.astype(float)
        for k in range(min(len(weights.filters), at + 1)):
            seen = seen + vectors[at - k] @ weights.filters[k]
        peak = np.maximum(peak, seen)
    hidden = np.maximum(peak @ weights.hidden + weights.hidden_bias, 0)
    return hidden @ weights.out + peak @ weights.direct + weights.out_bias


def slow_spans(text: str, rules: list[Rule]) -> list[Span]:
    """What the detector must find, from scratch for every beginning of every sentence."""
    spans = []
    for sentence in sentences(text):
        words = [word.text for word in sentence]
        for number, one in enumerate(rules):
            for count in range(1, len(words) + 1):
                logits = slow_logits(toy_weights(), words[:count])
                odds = {name: MODEL.probability(n, logits[n]) for n, name in enumerate(CATEGORIES)}
                score = max(odds[name] for name in (one.labels or CATEGORIES))
                if score >= one.threshold:
                    start = sentence[0 if one.strict else count - 1].start
                    spans.append(Span(start, sentence[-1].end, number, round(score, 4)))
                    break
    return sorted(spans)


@given(texts())
def test_spans_equal_the_slow_oracle(text: str) -> None:
    """Carried along word by word, the scores are those computed from scratch for every beginning of a sentence."""
    expected, found = slow_spans(text, RULES), run([text])
    assert [span[:3] for span in found] == [span[:3] for span in expected]
    assert [span.score for span in found] == pytest.approx([span.score for span in expected], abs=2e-4)


@given(texts(), st.data())
def test_any_cutting_gives_the_same_spans(text: str, data: st.DataObject) -> None:
    """The spans, scores included, depend on the text alone."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]
    assert run(pieces) == run([text]) == run(list(text))


@given(texts(), st.booleans())
def test_nothing_of_a_span_is_released_before_it(text: str, strict: bool) -> None:
    """The frontier never passes the start of a span that is reported later, nor goes back."""
    detector = MODEL.detector([(0, rule(strict=strict))])
    before = 0
    for char in text:
        spans = [span for span in detector.feed(char) if span.extent is not Extent.CLOSING]
        assert all(span.start >= before for span in spans)
        assert detector.frontier >= before
        before = detector.frontier
    assert all(span.start >= before for span in detector.finish() if span.extent is not Extent.CLOSING)
    assert detector.frontier == len(text)


@given(texts(), st.sampled_from([Action.REDACT, Action.HALT, Action.OBSERVE]), st.booleans())
def test_the_filter_keeps_its_promises(text: str, action: Action, strict: bool) -> None:
    """Through the filter: the same text out however it is cut, nothing of a redacted or halted span, all of the rest."""
    rules = RuleSet([rule(action, strict=strict)], {("toxicity", ""): MODEL})

    def filtered(pieces: list[str]) -> str:
        stream = StreamFilter(rules)
        return "".join([*map(stream.feed, pieces), stream.finish()])

    spans = run([text], [rule(action, strict=strict)])
    expected, at = "", 0
    for span in spans if action is not Action.OBSERVE else []:
        expected += text[at : span.start]
        if action is Action.HALT:
            break
        expected, at = expected + "[TOXIC]", span.end
    else:
        expected += text[at:]
    assert filtered([text]) == filtered(list(text)) == expected


def test_without_strict_only_the_unfinished_word_is_held() -> None:
    """Clean text flows: the frontier is the start of the word that has no end yet."""
    detector = MODEL.detector([(0, rule(threshold=1.0))])
    detector.feed("one two thr")
    assert detector.frontier == len("one two ")


def test_strict_holds_the_sentence() -> None:
    """A sentence that has not ended stays; once it has, it leaves."""
    detector = MODEL.detector([(0, rule(threshold=1.0, strict=True))])
    detector.feed("First one. Then anoth")
    assert detector.frontier == len("First one. ")
    detector.feed("er. ")
    assert detector.frontier == len("First one. Then another. ")


def test_an_observing_rule_is_told_the_whole_span() -> None:
    """What is only observed is reported once, when the sentence has ended, and holds nothing."""
    text = "you fool, you are. fool"
    detector = MODEL.detector([(0, rule(Action.OBSERVE, 0.0, strict=True))])
    spans = [span for char in text for span in detector.feed(char)]
    assert spans == [Span(0, text.index(" fool", 5), 0, spans[0].score)]
    assert detector.frontier == text.rindex("fool")


def test_scores_are_the_highest_of_all_beginnings() -> None:
    """The score of a text is the highest probability of any beginning of any of its sentences."""
    text = "you are a fool. kill the process not you"
    expected = [
        max(
            MODEL.probability(category, slow_logits(toy_weights(), [word.text for word in sentence[:count]])[category])
            for sentence in sentences(text)
            for count in range(1, len(sentence) + 1)
        )
        for category in range(len(CATEGORIES))
    ]
    assert list(MODEL.scores(text).values()) == pytest.approx(expected, abs=1e-5)
    assert MODEL.scores("") == dict.fromkeys(CATEGORIES, 0.0)


def test_logit_is_the_inverse_of_probability() -> None:
    """Thresholds are compared as logits."""
    assert MODEL.probability(1, MODEL.logit(1, 0.73)) == pytest.approx(0.73)
    assert MODEL.logit(0, 0) == -math.inf
    assert MODEL.logit(0, 1) == math.inf


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many words there are, the cache holds so many tokens at most, and the scores stay the same."""
    monkeypatch.setattr(toxicity, "CACHED_TOKENS", 16)
    model = toy_model()
    text = " ".join(f"word{number} a.b.c" for number in range(200))
    assert run([text], model=model) == run([text])
    assert sum(map(len, model._cache.values())) <= 16
    assert len(model._cache) <= 16


def test_streams_do_not_disturb_each_other() -> None:
    """Two sentences judged in turns give the same as one after the other."""
    first, second = SentenceState(MODEL), SentenceState(MODEL)
    alone = SentenceState(MODEL)
    expected = [alone.judge(word).copy() for word in ("you", "are", "fool")]
    for word, logits in zip(("you", "are", "fool"), expected, strict=True):
        second.judge("hate")
        assert np.array_equal(first.judge(word), logits)


def test_an_unknown_label_is_refused() -> None:
    """The error names the rule, the label, and those that there are."""
    with pytest.raises(RuleError, match=r"toxicity\.redact.*'rude'.*toxicity, threat"):
        MODEL.detector([(0, rule(labels=("rude",)))])


def test_it_is_a_model_with_scores() -> None:
    """The rule set and the evaluation can use it."""
    model: Model = MODEL
    assert isinstance(model, Scorer)
    assert model.name == "toxicity"
