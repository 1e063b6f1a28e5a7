"""The name tier: runs, spans, filters, the frontier."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.detector import Extent, Span
from safeproxy.core.names import MAX_RUN, NameDetector, Taker, Tokens
from safeproxy.core.rule import Filters, Rule
from safeproxy.core.tagger import BEGIN, IN, LAST, OUT, UNIT, Decision, Job, Tagger
from tests.core.networks import WIDTH, tagger

DEPTH = 2


class Words:
    """A lexicon that splits at hyphens and gives each token numbers of its own."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def tokens(self, run: str) -> Tokens:
        self.asked.append(run)
        parts = re.findall(r"-|[^-]+", run)
        ends = tuple(int(end) for end in np.cumsum([len(part) for part in parts]))
        rows = [np.random.default_rng(abs(hash_of(part))).normal(size=WIDTH) for part in parts]
        array = np.array(rows, np.float32).reshape(len(parts), WIDTH)
        return Tokens(ends, array, tuple(part.isspace() for part in parts))


def hash_of(text: str) -> int:
    return sum(ord(char) * 31**place for place, char in enumerate(text)) % 2**31


class ByCase(Tagger):
    """Decides at once: a run of capitalised tokens is an entity, as soon as the token after it is there."""

    def __init__(self, lexicon: Words) -> None:
        super().__init__(tagger(0, DEPTH)._layers, tagger(0, DEPTH)._scorer, ("B-A", "I-A", "L-A", "U-A", "O"))
        self.lexicon = lexicon
        self.waiting: list[bool] = []
        self.inside = False

    def decide(self, job: Job) -> None:
        texts = [part for run in self.lexicon.asked for part in re.findall(r"-|[^-]+", run)]
        self.lexicon.asked.clear()
        self.waiting += [text[0].isupper() for text in texts]
        while len(self.waiting) > (0 if job.ended else 1):
            name, follows = self.waiting.pop(0), bool(self.waiting) and self.waiting[0]
            kind = OUT
            if name:
                kind = (IN if follows else LAST) if self.inside else (BEGIN if follows else UNIT)
            self.inside = name and follows
            job.decided.append(Decision(kind, "A" if name else "", 0.75 if kind in (BEGIN, UNIT) else 1.0))


def by_case(*takers: Taker) -> NameDetector:
    lexicon = Words()
    network = ByCase(lexicon)
    return NameDetector(network, lexicon, {"A": list(takers)}, network.decide)


def alone(network: Tagger) -> Callable[[Job], None]:
    return lambda job: network.advance([job])


def taker(number: int = 0, threshold: float = 0.0, max_length: int = 4096, filters: Filters | None = None) -> Taker:
    rule = Rule(
        id="a", entity="A", detector="ner", threshold=threshold, max_length=max_length, filters=filters or Filters()
    )
    return Taker.of(number, rule)


def found(detector: NameDetector, pieces: Sequence[str]) -> list[Span]:
    spans: list[Span] = []
    for piece in pieces:
        spans += detector.feed(piece)
    return [*spans, *detector.finish()]


def at(text: str, *parts: str) -> list[tuple[int, int]]:
    return [(text.index(part), text.index(part) + len(part)) for part in parts]


def test_an_entity_ends_with_its_last_token() -> None:
    """The space after it is not part of it, the space within is."""
    text = "tell Ada Lovelace that  Bob-Ray left"
    assert [span[:2] for span in found(by_case(taker()), [text])] == at(text, "Ada Lovelace", "Bob", "Ray")


def test_every_rule_of_a_label_is_told() -> None:
    """Two rules may want the same entities."""
    spans = found(by_case(taker(3), taker(5)), ["Ada"])
    assert spans == [Span(0, 3, 3, 0.75), Span(0, 3, 5, 0.75)]


def test_filters_choose_among_the_entities() -> None:
    """Length, full names, names that may be said, probability."""
    text = "see Al and Ada Lovelace and Bob here"

    def names(filters: Filters, threshold: float = 0.0) -> list[str]:
        detector = by_case(taker(filters=filters, threshold=threshold))
        return [text[start:end] for start, end, *_ in found(detector, [text])]

    assert names(Filters()) == ["Al", "Ada Lovelace", "Bob"]
    assert names(Filters(min_length=3)) == ["Ada Lovelace", "Bob"]
    assert names(Filters(full_name=True)) == ["Ada Lovelace"]
    assert names(Filters(allow=("ada  LOVELACE", "al"))) == ["Bob"]
    assert names(Filters(), threshold=0.8) == []


def test_a_run_is_handed_on_when_it_has_ended() -> None:
    """Half a word is not asked for; the plain space after a word belongs to it, further white space is a run."""
    lexicon = Words()
    detector = NameDetector(tagger(0, DEPTH), lexicon, {}, alone(tagger(0, DEPTH)))
    for piece in ("ab", "c de", "f ", " \n", "g"):
        detector.feed(piece)
    assert lexicon.asked == ["abc", "def", " \n"]
    detector.finish()
    assert lexicon.asked[-1] == "g"


def test_a_very_long_run_is_cut() -> None:
    """What is held has a bound, and the cut depends on the position alone."""
    lexicon = Words()
    detector = NameDetector(tagger(0, DEPTH), lexicon, {}, alone(tagger(0, DEPTH)))
    for _ in range(3 * MAX_RUN):
        detector.feed("x")
    assert lexicon.asked == ["x" * MAX_RUN] * 3
    assert 3 * MAX_RUN - detector.frontier <= (DEPTH + 1) * MAX_RUN


def test_a_long_piece_is_taken_in_parts() -> None:
    """The rows of a whole book would need gigabytes; what is found is the same."""
    jobs: list[int] = []
    network = tagger(3, DEPTH)

    def advance(job: Job) -> None:
        jobs.append(len(job.rows))
        network.advance([job])

    takers = {label: [taker(number)] for number, label in enumerate(network.labels)}
    text = "Ab cd\n" * 2000
    spans = found(NameDetector(network, Words(), takers, advance), [text])
    assert max(jobs) < 3000
    assert len(jobs) > 5
    pieces = [text[at : at + 100] for at in range(0, len(text), 100)]
    assert spans == found(NameDetector(network, Words(), takers, alone(network)), pieces)
    assert len(spans) > 100


def test_an_entity_longer_than_a_span_may_be_is_told_before_it_ends() -> None:
    """Its stand-in can leave, and what follows belongs to it until it ends."""
    text = "Aa " * 10 + "end of it"
    spans = found(by_case(taker(max_length=12)), list(text))
    assert [span.extent for span in spans] == [Extent.OPEN, Extent.CLOSING]
    assert spans[0].start == 0
    assert spans[0].end == spans[1].start > 12
    assert spans[1].end == len("Aa " * 10) - 1


@given(st.text(alphabet="Ab -\n", max_size=60), st.lists(st.integers(0, 60), max_size=8), st.integers(0, 30))
def test_any_cutting_finds_the_same(text: str, cuts: list[int], seed: int) -> None:
    """The spans of a random network are those of the text told at once, and none begins before the frontier."""

    def fresh() -> NameDetector:
        network = tagger(seed, DEPTH)
        takers = {label: [taker(number)] for number, label in enumerate(network.labels)}
        return NameDetector(network, Words(), takers, alone(network))

    whole = sorted(found(fresh(), [text]))
    detector = fresh()
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    spans: list[Span] = []
    for start, end in pairwise(borders):
        before = detector.frontier
        new = detector.feed(text[start:end])
        assert all(span.start >= before for span in new)
        spans += new
    before = detector.frontier
    last = detector.finish()
    assert all(span.start >= before for span in last)
    assert sorted([*spans, *last]) == whole
    assert detector.frontier == len(text)
