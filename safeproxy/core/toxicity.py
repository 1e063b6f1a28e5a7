"""The toxicity tier: judges every sentence word by word, and never reads a word twice.

The model (`Weights`) is a small convolutional network with nothing but the past in view. A token's vector goes into
`filters` that see it and the ``reach - 1`` tokens before it; each filter's running maximum over the sentence so far
is judged by one hidden layer, which gives a logit for every category. For each word that is one look-up, one sum and
two small products, whatever the sentence's length:

    m[t] = max(m[t-1], bias + sum over k of F[k] v[t-k]),    logits[t] = O relu(U m[t] + c) + D m[t] + o

(max-over-time pooling as in Kim 2014, "Convolutional Neural Networks for Sentence Classification", but causal). The
F[k] v of a word are kept in a bounded cache, so that a common word costs a look-up. A probability is the logit
through its category's Platt scaling, ``1 / (1 + exp(-(a logit + b)))``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import ge

import numpy as np
from numpy.typing import NDArray

from safeproxy.core.detector import Extent, Span
from safeproxy.core.rule import Rule
from safeproxy.core.sentences import Break, SentenceSplitter, Word
from safeproxy.core.tokens import Spelled, grams, key, tokens
from safeproxy.errors import RuleError
from safeproxy.events import Action

Floats = NDArray[np.float32]

#: Tokens whose sums are kept; the cache is dropped when full. Each takes reach x filters numbers of four bytes.
CACHED_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Weights:
    """The model's numbers, by V words, B n-gram buckets, d width, r reach, f filters, h hidden, c categories."""

    categories: tuple[str, ...]
    keys: NDArray[np.uint32]
    """(V) `tokens.key` of the words with a vector of their own, ascending."""
    vocabulary: NDArray[np.int8]
    """(V, d), each row to be multiplied by its scale, as below."""
    vocabulary_scale: Floats
    buckets: NDArray[np.int8]
    bucket_scale: Floats
    filters: Floats
    """(r, d, f): ``filters[k]`` is for the token k places back."""
    filter_bias: Floats
    hidden: Floats
    """(f, h)"""
    hidden_bias: Floats
    out: Floats
    """(h, c)"""
    direct: Floats
    """(f, c)"""
    out_bias: Floats
    calibration: NDArray[np.float64]
    """(c, 2): slope and intercept of the Platt scaling of each category."""


class ToxicityModel:
    """A loaded model, shared by all streams. A `Model`: its name, version and digest go into the audit trail."""

    name = "toxicity"
    waits = False

    def __init__(self, weights: Weights, *, version: str, digest: str) -> None:
        self.version = version
        self.digest = digest
        self.labels = weights.categories
        self._weights = weights
        reach, width, filters = weights.filters.shape
        self._filters = np.ascontiguousarray(weights.filters.transpose(1, 0, 2).reshape(width, reach * filters))
        self._cache: dict[str, tuple[Floats, ...]] = {}
        self._cached = 0
        # One product gives the hidden layer and the direct way; the last row of each is the bias, for an input of 1.
        self._judge = np.vstack(
            [np.hstack([weights.hidden, weights.direct]), np.hstack([weights.hidden_bias, weights.out_bias])]
        ).astype(np.float32)
        hidden, categories = weights.out.shape
        self._least = np.concatenate([np.zeros(hidden), np.full(categories, -np.inf)]).astype(np.float32)
        self._out = np.vstack([weights.out, np.eye(categories)]).astype(np.float32)

    def detector(self, rules: Sequence[tuple[int, Rule]]) -> ToxicityDetector:
        """A detector for one channel. Raises RuleError for a label that the model does not have."""
        return ToxicityDetector(self, rules)

    def scores(self, text: str) -> dict[str, float]:
        """For each category the highest probability that any beginning of a sentence of the text has."""
        state = SentenceState(self)
        splitter = SentenceSplitter()
        highest = np.full(len(self.labels), -np.inf, np.float32)
        for part in (*splitter.feed(text), *splitter.finish()):
            if isinstance(part, Word):
                if part.first:
                    state.clear()
                np.maximum(highest, state.judge(part.text), out=highest)
        return {name: self.probability(number, float(highest[number])) for number, name in enumerate(self.labels)}

    def probability(self, category: int, logit: float) -> float:
        """The probability that a logit of the category (by number) stands for; 0 for minus infinity."""
        if logit == -math.inf:
            return 0.0
        slope, intercept = self._weights.calibration[category]
        return 1 / (1 + math.exp(min(700.0, -(slope * logit + intercept))))

    def logit(self, category: int, probability: float) -> float:
        """The logit that stands for a probability between 0 and 1; these two give minus and plus infinity."""
        if not 0 < probability < 1:
            return -math.inf if probability <= 0 else math.inf
        slope, intercept = self._weights.calibration[category]
        return float((math.log(probability / (1 - probability)) - intercept) / slope)

    def __contains__(self, token: object) -> bool:
        return isinstance(token, str) and self._row(token) >= 0

    def sums(self, word: str) -> tuple[Floats, ...]:
        """What each token of the word adds to the filters, now and for the tokens to come: (reach, filters) each."""
        found = self._cache.get(word)
        if found is None:
            found = tuple(self._sum(token) for token in tokens(word, self))
            if self._cached + len(found) > CACHED_TOKENS or len(self._cache) >= CACHED_TOKENS:
                self._cache.clear()
                self._cached = 0
            self._cache[word] = found
            self._cached += len(found)
        return found

    def _sum(self, token: str) -> Floats:
        return (self.vector(token) @ self._filters).reshape(-1, len(self._weights.filter_bias))

    def vector(self, token: str) -> Floats:
        """The token's own vector, or the mean of its n-grams' if it has none."""
        weights = self._weights
        row = self._row(token)
        if row >= 0:
            return np.asarray(weights.vocabulary[row] * weights.vocabulary_scale[row], np.float32)
        rows = grams(token, len(weights.buckets))
        scaled = weights.buckets[rows].astype(np.float32) * weights.bucket_scale[rows, None]
        return np.asarray(scaled.mean(axis=0), np.float32)

    def _row(self, token: str) -> int:
        wanted = key(token)
        keys = self._weights.keys
        row = int(keys.searchsorted(np.uint32(wanted)))
        return row if row < len(keys) and keys[row] == wanted else -1


class SentenceState:
    """What is known of the sentence so far: the running maxima, and what its last tokens add to the next ones."""

    __slots__ = ("_ahead", "_bias", "_into", "_logits", "_model", "_peak", "_seen", "_spelled", "_sum")

    def __init__(self, model: ToxicityModel) -> None:
        weights = model._weights
        reach, _, filters = weights.filters.shape
        self._model = model
        self._bias = weights.filter_bias
        self._ahead = np.empty((reach, filters), np.float32)
        self._sum = np.empty((reach, filters), np.float32)
        self._seen = np.empty(filters + 1, np.float32)
        self._peak = self._seen[:-1]
        self._into = np.empty(len(model._least), np.float32)
        self._logits = np.empty(len(model.labels), np.float32)
        self.clear()

    def clear(self) -> None:
        """A new sentence begins."""
        self._ahead[:] = self._bias
        self._seen[:-1] = 0
        self._seen[-1] = 1
        self._spelled = Spelled()

    def judge(self, word: str) -> Floats:
        """Take the sentence's next word; give the logits of its words so far. Overwritten by the next call."""
        model, total, ahead = self._model, self._sum, self._ahead
        added = model.sums(word)
        joined = self._spelled.join(word, model)
        if joined:
            added += model.sums(joined)
        for sums in added:
            np.add(ahead, sums, out=total)
            np.maximum(self._peak, total[0], out=self._peak)
            ahead[:-1] = total[1:]
        into = np.dot(self._seen, model._judge, out=self._into)
        np.maximum(into, model._least, out=into)
        return np.dot(into, model._out, out=self._logits)


class _Watch:
    """One rule: from which logits it counts, and the finding under way."""

    __slots__ = ("cuts", "number", "observes", "reported", "score", "start", "strict")

    def __init__(self, model: ToxicityModel, number: int, rule: Rule) -> None:
        unknown = [label for label in rule.labels if label not in model.labels]
        if unknown:
            raise RuleError(
                f"rule {rule.id!r}: the toxicity model has no label {unknown[0]!r}; it has: {', '.join(model.labels)}"
            )
        self.number = number
        self.strict = rule.strict
        self.observes = rule.action is Action.OBSERVE
        """Whether nothing waits for its findings: they are then reported whole, once the sentence has ended."""
        self.start = -1
        """Where the open finding begins; -1: there is none."""
        self.reported = -1
        """Where its reported part ends."""
        self.score = 0.0
        self.cuts = np.array(
            [
                model.logit(category, rule.threshold) if not rule.labels or name in rule.labels else math.inf
                for category, name in enumerate(model.labels)
            ],
            np.float32,
        )


class ToxicityDetector:
    """Finds toxic sentences in one channel. A `Detector`.

    A rule's finding begins with the first word that brings its sentence's probability to the threshold (with
    ``strict``: with the sentence) and goes to the end of the sentence's last word. It is reported as open at once;
    that of a rule which only observes is reported whole, once the sentence has ended, whatever the frontier.
    Nothing is held but the unfinished word; with a strict rule the sentence, at most about 700 code points.
    """

    def __init__(self, model: ToxicityModel, rules: Sequence[tuple[int, Rule]]) -> None:
        self._model = model
        self._watches = [_Watch(model, number, rule) for number, rule in rules]
        cuts = [watch.cuts for watch in self._watches]
        self._lowest = np.min(cuts, axis=0, initial=np.inf).tolist()
        self._strict = any(watch.strict and not watch.observes for watch in self._watches)
        self._splitter = SentenceSplitter()
        self._state = SentenceState(model)
        self._sentence: tuple[int, int] | None = None  # start, and end of its last word so far
        self._found = False  # whether a rule has a finding in this sentence
        self._any_open = False  # whether one was reported as open
        self.frontier = 0

    def feed(self, text: str) -> Sequence[Span]:
        """Take the next piece; give the spans that are now known."""
        parts = self._splitter.feed(text)
        if not parts:
            self._settle()
            return ()
        spans: list[Span] = []
        for part in parts:
            if isinstance(part, Break):
                self._end_sentence(spans)
            else:
                self._take(part, spans)
        self._settle()
        return spans

    def finish(self) -> Sequence[Span]:
        """The text has ended; give what was still open."""
        spans: list[Span] = []
        for word in self._splitter.finish():
            self._take(word, spans)
        self._end_sentence(spans)
        self.frontier = self._splitter.position
        return spans

    def _settle(self) -> None:
        self.frontier = self._splitter.frontier
        if self._sentence is not None:
            if self._any_open:  # whether the white space after its last word belongs to it is not known yet
                self.frontier = self._sentence[1]
            if self._strict:
                self.frontier = self._sentence[0]

    def _take(self, word: Word, spans: list[Span]) -> None:
        if word.first:
            self._end_sentence(spans)
            self._state.clear()
        start = word.start if self._sentence is None else self._sentence[0]
        self._sentence = start, word.end
        logits = self._state.judge(word.text)
        if any(map(ge, logits.tolist(), self._lowest)):
            self._report(word, start, logits, spans)
        if word.last:
            self._end_sentence(spans)

    def _report(self, word: Word, sentence_start: int, logits: Floats, spans: list[Span]) -> None:
        """Open a finding for each rule whose threshold is reached and that has none open."""
        for watch in self._watches:
            reached = np.flatnonzero(logits >= watch.cuts)
            if watch.start >= 0 or not len(reached):
                continue
            score = max(self._model.probability(int(category), float(logits[category])) for category in reached)
            watch.start = sentence_start if watch.strict else word.start
            watch.reported = word.end
            watch.score = round(score, 4)
            self._found = True
            if not watch.observes:
                spans.append(Span(watch.start, word.end, watch.number, watch.score, Extent.OPEN))
                self._any_open = True

    def _end_sentence(self, spans: list[Span]) -> None:
        """Close the open findings, at the end of the sentence's last word."""
        if self._sentence is None:
            return
        _, end = self._sentence
        self._sentence = None
        if not self._found:
            return
        for watch in self._watches:
            if watch.start >= 0:
                if watch.observes:
                    spans.append(Span(watch.start, end, watch.number, watch.score))
                else:
                    spans.append(Span(watch.reported, end, watch.number, 0.0, Extent.CLOSING))
                watch.start = -1
        self._found = self._any_open = False
