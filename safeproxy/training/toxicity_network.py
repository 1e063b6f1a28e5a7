"""The toxicity network in plain numpy, with its gradients: the training side of `safeproxy.core.toxicity`.

A token is a vector: its own if the vocabulary has it, else the mean of its character n-grams'. Filters look at a
token and the ones before it; what each filter has seen most strongly in the sentence so far, a running maximum, is
judged by a small hidden layer, giving a logit for every category after every word. A text's logit is the highest
of all its words: that is what the loss is about, so the network learns to judge prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """Sizes of the network: numbers of vocabulary rows, n-gram buckets, and so on."""

    vocabulary: int
    buckets: int
    categories: int
    width: int = 64
    """Numbers in a token's vector."""
    reach: int = 4
    """Tokens that a filter sees: the current one and those before it."""
    filters: int = 128
    hidden: int = 32


@dataclass
class Batch:
    """Texts to learn from: ``sentences[i]`` belongs to the text ``owner[i]``, owners ascending without gaps."""

    sentences: Sequence[Ints]
    owner: Ints
    targets: Floats
    """Texts by categories, 0 to 1."""
    weights: Floats
    """Texts by categories, 0 where the label is unknown."""


@dataclass
class Lexicon:
    """All tokens of the training texts: row in the vocabulary (-1: none) and, for each, its n-grams' mean as a row."""

    row: Ints
    grams: sparse.csr_matrix


@dataclass
class _Pass:
    """What the way forward leaves for the way back."""

    ids: Ints
    back: Ints
    known: NDArray[np.bool_]
    vectors: Floats
    keep: Floats
    raw: Floats
    active: Floats
    place: Ints
    peak: Floats
    dropped: Floats
    logits: Floats
    chosen: tuple[Ints, Ints] = field(default_factory=lambda: (np.zeros(0, np.int64), np.zeros(0, np.int64)))


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
        """Logits after every token of every sentence: (sentences, longest, categories), -inf where there is none."""
        p, reach = self.parameters, self.shape.reach
        ids, back = np.unique(np.concatenate(sentences), return_inverse=True)
        known = self.lexicon.row[ids] >= 0
        if training:  # so that the n-grams learn to stand in for a word
            known &= self.rng.random(len(ids)) > 0.08
        table = np.zeros((len(ids) + 1, self.shape.width), np.float32)
        table[:-1][known] = p["vocabulary"][self.lexicon.row[ids[known]]]
        table[:-1][~known] = self.lexicon.grams[ids[~known]] @ p["buckets"]
        lengths = np.array([len(sentence) for sentence in sentences])
        starts = np.cumsum(lengths + reach - 1) - lengths  # every sentence behind ``reach - 1`` empty places
        packed = np.full(int(starts[-1] + lengths[-1]), len(ids), np.int64)
        inside = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        packed[inside] = back
        keep = np.ones((len(packed), 1), np.float32)
        if training:
            keep = (self.rng.random((len(packed), 1)) > 0.1).astype(np.float32)
        vectors = table[packed] * keep
        raw = np.tile(p["filter_bias"], (len(packed), 1))
        for k in range(reach):
            raw[k:] += vectors[: len(packed) - k] @ p["filters"][k]
        active = np.maximum(raw, 0)
        columns = np.arange(lengths.max())
        valid = columns < lengths[:, None]
        place = np.where(valid, starts[:, None] + columns, -1)
        peak = np.maximum.accumulate(np.where(valid[:, :, None], active[place], 0), axis=1)
        dropped = np.ones(self.shape.filters, np.float32)
        if training:
            dropped = (self.rng.random((len(sentences), 1, self.shape.filters)) > 0.3).astype(np.float32) / 0.7
            peak = peak * dropped
        hidden = np.maximum(peak @ p["hidden"] + p["hidden_bias"], 0)
        logits = hidden @ p["out"] + peak @ p["direct"] + p["out_bias"]
        logits[~valid] = -np.inf
        return _Pass(ids, packed, known, vectors, keep, raw, active, place, peak, dropped, logits)

    def text_logits(self, forward: _Pass, owner: Ints) -> tuple[Floats, Ints, Ints]:
        """Each text's highest logit by category, and its sentence and place in it: three (texts, categories)."""
        place = forward.logits.argmax(axis=1)
        best = np.take_along_axis(forward.logits, place[:, None, :], axis=1)[:, 0]
        firsts = np.flatnonzero(np.diff(owner, prepend=-1))
        highest = np.maximum.reduceat(best, firsts)
        is_highest = best == highest[owner]
        order = np.where(is_highest, np.arange(len(owner))[:, None], len(owner))
        sentence = np.minimum.reduceat(order, firsts)
        return highest, sentence, np.take_along_axis(place, sentence, axis=0)

    # Backward.

    def gradients(self, batch: Batch) -> tuple[float, dict[str, Floats], Ints]:
        """Mean weighted cross entropy, its gradients by parameter, and the vocabulary rows that have one."""
        p = self.parameters
        forward = self.forward(batch.sentences, training=True)
        logits, sentence, place = self.text_logits(forward, batch.owner)
        odds = 1 / (1 + np.exp(-logits))
        total = batch.weights.sum() + 1e-9
        entropy = np.logaddexp(0, logits) - batch.targets * logits
        loss = float((batch.weights * entropy).sum() / total)
        slope = (batch.weights * (odds - batch.targets) / total).astype(np.float32)
        spots, of = np.unique(np.stack([sentence.ravel(), place.ravel()]), axis=1, return_inverse=True)
        at = np.zeros((spots.shape[1], self.shape.categories), np.float32)
        np.add.at(at, (of, np.tile(np.arange(self.shape.categories), len(logits))), slope.ravel())
        peak = forward.peak[spots[0], spots[1]]
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
        if forward.dropped.ndim == 3:
            into_peak = into_peak * forward.dropped[spots[0], 0]
        into_raw = self._through_maximum(forward, spots, into_peak)
        rows = self._into_vectors(forward, into_raw, grads)
        return loss, grads, rows

    def _through_maximum(self, forward: _Pass, spots: Ints, into_peak: Floats) -> Floats:
        """Each peak's gradient goes to the place where its filter was strongest."""
        places = forward.place[spots[0]]
        until = np.arange(places.shape[1]) <= spots[1][:, None]
        seen = np.where(until[:, :, None], forward.active[places], -1)
        strongest = np.take_along_axis(places, seen.argmax(axis=1), axis=1)
        flat = strongest * self.shape.filters + np.arange(self.shape.filters)
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
        ids = forward.ids
        gather = sparse.csr_matrix((np.ones(n, np.float32), (forward.back, np.arange(n))), (len(ids) + 1, n))
        into_ids = (gather @ into)[:-1]
        rows = self.lexicon.row[ids[forward.known]]
        grads["vocabulary"] = into_ids[forward.known]
        grads["buckets"] = self.lexicon.grams[ids[~forward.known]].T @ into_ids[~forward.known]
        return rows

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
