"""The toxicity network in plain numpy, with its gradients: the training side of `safeproxy.core.toxicity`.

A token is a vector: its own if the vocabulary has it, else the mean of its character n-grams'. Filters look at a
token and the ones before it; what each filter has seen most strongly in the sentence so far, a running maximum, is
judged by a small hidden layer, giving a logit for every category after every word. A text's logit is the highest
of all its words: that is what the loss is about, so the network learns to judge prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

#: While learning, the share of tokens that are left out, of filters that are left out of a sentence, and of words that
#: are read by their n-grams although they have a vector.
TOKEN_DROPOUT = 0.1
FILTER_DROPOUT = 0.4
STOOD_IN = 0.08


@dataclass(frozen=True)
class Shape:
    """Sizes of the network: numbers of vocabulary rows, n-gram buckets, and so on."""

    vocabulary: int
    buckets: int
    categories: int
    width: int
    """Numbers in a token's vector."""
    reach: int
    """Tokens that a filter sees: the current one and those before it."""
    filters: int
    hidden: int


@dataclass
class Batch:
    """Texts to learn from: ``sentences[i]`` belongs to the text ``owner[i]``, owners ascending without gaps."""

    sentences: Sequence[Ints]
    owner: Ints
    targets: Floats
    """Texts by categories, 0 to 1."""
    weights: Floats
    """Texts by categories, 0 where the label is unknown."""


class GramTable:
    """The n-gram buckets of many words, for means over them."""

    def __init__(self, words: Sequence[Sequence[int]]) -> None:
        self._counts = np.array([len(word) for word in words], np.int64)
        self._columns = np.fromiter((bucket for word in words for bucket in word), np.int64, self._counts.sum())
        self._starts = np.cumsum(self._counts) - self._counts

    def _entries(self, rows: Ints) -> tuple[Ints, Ints]:
        """The buckets of these words one after the other, and where each word's begin."""
        counts = self._counts[rows]
        firsts = np.cumsum(counts) - counts
        places = np.arange(counts.sum()) + np.repeat(self._starts[rows] - firsts, counts)
        return self._columns[places], firsts

    def means(self, rows: Ints, buckets: Floats) -> Floats:
        """The mean of each word's buckets: (rows, width)."""
        if not len(rows):
            return np.zeros((0, buckets.shape[1]), np.float32)
        columns, firsts = self._entries(rows)
        return np.asarray(np.add.reduceat(buckets[columns], firsts, axis=0) / self._counts[rows, None], np.float32)

    def spread(self, rows: Ints, values: Floats, buckets: int) -> Floats:
        """The transpose of `means`: each word's value, divided by its number of buckets, added to each of them."""
        into = np.zeros((buckets, values.shape[1]), np.float32)
        if len(rows):
            columns, _ = self._entries(rows)
            order = np.argsort(columns, kind="stable")
            begins = np.flatnonzero(np.diff(columns[order], prepend=-1))
            shares = (values / self._counts[rows, None]).astype(np.float32)
            word = np.repeat(np.arange(len(rows)), self._counts[rows])
            into[columns[order][begins]] = np.add.reduceat(shares[word[order]], begins, axis=0)
        return into


@dataclass
class Lexicon:
    """All tokens of the training texts: row in the vocabulary (-1: none), and n-grams."""

    row: Ints
    grams: GramTable


@dataclass
class _Pass:
    """What the way forward leaves for the way back. Tokens of all sentences lie one after the other."""

    ids: Ints
    """The distinct tokens."""
    packed: Ints
    """For every place its token as an index into ``ids``; places between sentences have ``len(ids)``."""
    inside: Ints
    """The places that are tokens."""
    known: NDArray[np.bool_]
    keep: Floats
    vectors: Floats
    raw: Floats
    peak: Floats
    """(tokens, filters): the running maxima."""
    strongest: Ints
    """(tokens, filters): at which token (counted over all sentences) each was reached."""
    dropped: Floats
    firsts: Ints
    """The first token of every sentence."""
    logits: Floats


class Network:
    """Parameters by name, the way forward, the gradients, and the optimiser (Adam; AdaGrad by row for vectors)."""

    def __init__(self, shape: Shape, lexicon: Lexicon, seed: int) -> None:
        self.shape = shape
        self.lexicon = lexicon
        self.rng = np.random.default_rng(seed)

        def normal(*size: int, scale: float) -> Floats:
            return (self.rng.standard_normal(size) * scale).astype(np.float32)

        s = shape
        self.parameters: dict[str, Floats] = {
            "vocabulary": normal(s.vocabulary, s.width, scale=0.1),
            "buckets": normal(s.buckets, s.width, scale=0.1),
            "filters": normal(s.reach, s.width, s.filters, scale=float(np.sqrt(2 / (s.reach * s.width)))),
            "filter_bias": np.zeros(s.filters, np.float32),
            "hidden": normal(s.filters, s.hidden, scale=float(np.sqrt(2 / s.filters))),
            "hidden_bias": np.zeros(s.hidden, np.float32),
            "out": normal(s.hidden, s.categories, scale=0.1),
            "direct": np.zeros((s.filters, s.categories), np.float32),
            "out_bias": np.full(s.categories, -2, np.float32),
        }
        self._moments: dict[str, list[Floats]] = {}
        self._steps = 0

    # Forward.

    def forward(self, sentences: Sequence[Ints], *, training: bool = False) -> _Pass:
        """Logits after every token, (tokens, categories), the sentences one after the other."""
        p, reach = self.parameters, self.shape.reach
        ids, back = np.unique(np.concatenate(sentences), return_inverse=True)
        known = self.lexicon.row[ids] >= 0
        if training:  # so that the n-grams learn to stand in for a word
            known &= self.rng.random(len(ids)) > STOOD_IN
        table = np.zeros((len(ids) + 1, self.shape.width), np.float32)
        table[:-1][known] = p["vocabulary"][self.lexicon.row[ids[known]]]
        table[:-1][~known] = self.lexicon.grams.means(ids[~known], p["buckets"])
        lengths = np.array([len(sentence) for sentence in sentences])
        firsts = np.cumsum(lengths) - lengths
        within = np.arange(lengths.sum()) - np.repeat(firsts, lengths)
        # Every sentence stands behind ``reach - 1`` empty places.
        inside = np.arange(lengths.sum()) + np.repeat(np.arange(1, len(lengths) + 1) * (reach - 1), lengths)
        packed = np.full(int(inside[-1]) + 1, len(ids), np.int64)
        packed[inside] = back
        keep = np.ones((len(packed), 1), np.float32)
        if training:
            keep = (self.rng.random((len(packed), 1)) > TOKEN_DROPOUT).astype(np.float32)
        vectors = table[packed] * keep
        raw = np.tile(p["filter_bias"], (len(packed), 1))
        for k in range(reach):
            raw[k:] += vectors[: len(packed) - k] @ p["filters"][k]
        peak, strongest = running_maximum(np.maximum(raw[inside], 0), within)
        dropped = np.ones((1, 1), np.float32)
        if training:
            kept = self.rng.random((len(sentences), self.shape.filters)) > FILTER_DROPOUT
            dropped = np.repeat(kept.astype(np.float32) / (1 - FILTER_DROPOUT), lengths, axis=0)
            peak = peak * dropped
        hidden = np.maximum(peak @ p["hidden"] + p["hidden_bias"], 0)
        logits = hidden @ p["out"] + peak @ p["direct"] + p["out_bias"]
        return _Pass(ids, packed, inside, known, keep, vectors, raw, peak, strongest, dropped, firsts, logits)

    def text_logits(self, forward: _Pass, owner: Ints) -> tuple[Floats, Ints]:
        """Each text's highest logit by category, and at which token it is: both (texts, categories)."""
        begins = forward.firsts[np.flatnonzero(np.diff(owner, prepend=-1))]
        highest = np.maximum.reduceat(forward.logits, begins)
        count = len(forward.logits)
        repeated = np.repeat(highest, np.diff(begins, append=count), axis=0)
        order = np.where(forward.logits == repeated, np.arange(count)[:, None], count)
        return highest, np.minimum.reduceat(order, begins)

    # Backward.

    def gradients(self, batch: Batch) -> tuple[float, dict[str, Floats], Ints]:
        """Mean weighted cross entropy, its gradients by parameter, and the vocabulary rows that have one."""
        p = self.parameters
        forward = self.forward(batch.sentences, training=True)
        logits, token = self.text_logits(forward, batch.owner)
        odds = 1 / (1 + np.exp(-logits))
        total = batch.weights.sum() + 1e-9
        entropy = np.logaddexp(0, logits) - batch.targets * logits
        loss = float((batch.weights * entropy).sum() / total)
        slope = (batch.weights * (odds - batch.targets) / total).astype(np.float32)
        spots, of = np.unique(token, return_inverse=True)
        at = np.zeros((len(spots), self.shape.categories), np.float32)
        np.add.at(at, (of.ravel(), np.tile(np.arange(self.shape.categories), len(logits))), slope.ravel())
        peak = forward.peak[spots]
        before = peak @ p["hidden"] + p["hidden_bias"]
        hidden = np.maximum(before, 0)
        into_hidden = (at @ p["out"].T) * (before > 0)
        into_peak = into_hidden @ p["hidden"].T + at @ p["direct"].T
        grads = {
            "out": hidden.T @ at,
            "direct": peak.T @ at,
            "out_bias": at.sum(axis=0),
            "hidden": peak.T @ into_hidden,
            "hidden_bias": into_hidden.sum(axis=0),
        }
        if len(forward.dropped) > 1:
            into_peak = into_peak * forward.dropped[spots]
        into_raw = self._through_maximum(forward, spots, into_peak)
        rows = self._into_vectors(forward, into_raw, grads)
        return loss, grads, rows

    def _through_maximum(self, forward: _Pass, spots: Ints, into_peak: Floats) -> Floats:
        """Each peak's gradient goes to the place where its filter was strongest."""
        places = forward.inside[forward.strongest[spots]]
        flat = places * self.shape.filters + np.arange(self.shape.filters)
        into = np.bincount(flat.ravel(), into_peak.ravel(), minlength=forward.raw.size)
        return (into.reshape(forward.raw.shape) * (forward.raw > 0)).astype(np.float32)

    def _into_vectors(self, forward: _Pass, into_raw: Floats, grads: dict[str, Floats]) -> Ints:
        p, n = self.parameters, len(into_raw)
        grads["filter_bias"] = into_raw.sum(axis=0)
        grads["filters"] = np.stack([forward.vectors[: n - k].T @ into_raw[k:] for k in range(self.shape.reach)])
        into = np.zeros_like(forward.vectors)
        for k in range(self.shape.reach):
            into[: n - k] += into_raw[k:] @ p["filters"][k].T
        into *= forward.keep
        order = forward.inside[np.argsort(forward.packed[forward.inside], kind="stable")]
        begins = np.flatnonzero(np.diff(forward.packed[order], prepend=-1))
        into_ids = np.add.reduceat(into[order], begins, axis=0)
        known, ids = forward.known, forward.ids
        grads["vocabulary"] = into_ids[known]
        grads["buckets"] = self.lexicon.grams.spread(ids[~known], into_ids[~known], self.shape.buckets)
        return self.lexicon.row[ids[known]]

    def step(self, batch: Batch, rate: float, vector_rate: float) -> float:
        """One step of learning; gives the loss."""
        loss, grads, rows = self.gradients(batch)
        self._steps += 1
        for name, grad in grads.items():
            if name == "vocabulary":
                self._adagrad(name, rows, grad, vector_rate)
            elif name == "buckets":
                touched = np.flatnonzero(grad.any(axis=1))
                self._adagrad(name, touched, grad[touched], vector_rate)
            else:
                self._adam(name, grad, rate)
        return loss

    def _adam(self, name: str, grad: Floats, rate: float) -> None:
        first, second = self._moments.setdefault(name, [np.zeros_like(grad), np.zeros_like(grad)])
        first += 0.1 * (grad - first)
        second += 0.001 * (grad * grad - second)
        fast = first / (1 - 0.9**self._steps)
        slow = second / (1 - 0.999**self._steps)
        value = self.parameters[name]
        decay = 1e-4 * value if value.ndim > 1 else 0
        value -= rate * (fast / (np.sqrt(slow) + 1e-8) + decay)

    def _adagrad(self, name: str, rows: Ints, grad: Floats, rate: float) -> None:
        (sums,) = self._moments.setdefault(name, [np.full((len(self.parameters[name]), 1), 1e-8, np.float32)])
        sums[rows] += (grad * grad).mean(axis=1, keepdims=True)
        self.parameters[name][rows] -= rate * grad / np.sqrt(sums[rows])


def running_maximum(values: Floats, within: Ints) -> tuple[Floats, Ints]:
    """The maximum of each column since the sentence's start, and the first row that has it: both like ``values``.

    ``within`` is each row's place in its sentence. By doubling the stretch that is looked back over.
    """
    peak = values.copy()
    strongest = np.broadcast_to(np.arange(len(values))[:, None], values.shape).copy()
    stretch = 1
    while stretch <= within.max():
        rows = np.flatnonzero(within >= stretch)
        earlier, now = peak[rows - stretch], peak[rows]
        better = earlier >= now
        strongest[rows] = np.where(better, strongest[rows - stretch], strongest[rows])
        peak[rows] = np.where(better, earlier, now)
        stretch *= 2
    return peak, strongest
