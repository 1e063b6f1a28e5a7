"""A convolutional tagger with a greedy transition system, run token by token: spaCy's CNN and its `ner`.

What is known of such a network (spaCy's ``MaxoutWindowEncoder`` with window 1 and ``TransitionBasedParser``):

- A layer's row for a token needs the rows of the layer below for the token, the one before and the one after. So with
  ``depth`` layers the top row is known once ``depth`` more tokens are there, or the end. Each layer keeps two rows.
- spaCy pads a text with ``depth`` rows of zeros on both sides and runs the layers over them as over tokens.
- The transition system is greedy. A decision reads the token, the first token of the open entity and the token before,
  and of the past only whether an entity is open and with which label.

So each token costs the same, wherever it stands, and a stream's state is 2 x depth rows and three vectors. Several
streams share one matrix product a layer. The sums are those of spaCy in the same order, but for the matrix products,
whose last bits depend on the library; a decision can differ from spaCy's only where two scores all but tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

#: What a move does to the open entity.
BEGIN, IN, LAST, UNIT, OUT = "B", "I", "L", "U", "O"
#: Added to the scores of the moves that are not allowed.
_NEVER = np.float32(-np.inf)
#: Texts with more new rows than this go alone: their rows fill the matrix products by themselves.
_FEW = 16
#: Under the root of a layer's normalisation, as in thinc.
_EPSILON = np.float32(1e-8)


@dataclass(frozen=True, slots=True)
class Layer:
    """One residual layer: ``x + norm(maxout(window(x)))``, for rows of ``width`` numbers and ``pieces`` of maxout.

    ``weights`` is (3 x width, pieces x width), piece by piece; ``bias`` (pieces x width); ``gain``, ``shift`` (width).
    """

    weights: Array
    bias: Array
    gain: Array
    shift: Array


@dataclass(frozen=True, slots=True)
class Scorer:
    """From a top row to the scores of the moves.

    ``features`` is (width, 3 x pieces x hidden): what a token adds to a state's hidden layer as the current token, as
    the open entity's first and as the one before; ``feature_bias`` fits it. ``pad`` is (3, pieces x hidden), for a
    token that is not there. ``bias`` is (pieces x hidden); ``upper`` (hidden, moves); ``upper_bias`` (moves).
    """

    features: Array
    feature_bias: Array
    pad: Array
    bias: Array
    upper: Array
    upper_bias: Array


class Decision(NamedTuple):
    """What was decided of a token: the move's kind, its label (empty for OUT), and the share of the scores it got."""

    kind: str
    label: str
    probability: float


@dataclass(slots=True)
class State:
    """One text on its way through the network."""

    rows: Array
    """(depth, 2 x width): the last two rows that entered each layer."""
    context: Array
    """(2, pieces x hidden): what the open entity's first token and the token before add to the next decision."""
    padding: int
    """Top rows still to come that belong to the padding in front."""
    begun: bool = False
    spaces: list[bool] = field(default_factory=list)
    """Whether each undecided token is white space."""
    label: str = ""
    """The open entity's; empty if none is open."""


@dataclass(frozen=True, slots=True)
class Job:
    """New tokens of one text: their embeddings (n, width), whether each is white space, whether the text has ended.

    ``decided`` receives the decisions that become final, in the order of the tokens.
    """

    state: State
    rows: Array
    spaces: Sequence[bool]
    ended: bool
    decided: list[Decision] = field(default_factory=list)


_OUT = Decision(OUT, "", 1.0)


class Tagger:
    """The network. ``moves`` are spaCy's names of them, such as ``B-PERSON`` and ``O``, in the order of the scores."""

    def __init__(self, layers: Sequence[Layer], scorer: Scorer, moves: Sequence[str]) -> None:
        self._layers = tuple(layers)
        self._scorer = scorer
        self.depth = len(self._layers)
        self.width = len(self._layers[0].gain)
        self._kinds = [move[0] for move in moves]
        self._labels = [move[2:] for move in moves]
        self.labels = tuple(dict.fromkeys(label for label in self._labels if label))
        self._hidden = scorer.upper.shape[0]
        self._pieces = len(scorer.bias) // self._hidden
        self._zeros = np.zeros((self.depth, self.width), np.float32)
        self._outside = self._mask((BEGIN, UNIT, OUT), self.labels)
        self._outside_last = self._mask((UNIT, OUT), self.labels)
        self._space = self._mask((OUT,), ())
        self._inside = {label: self._mask((IN, LAST), (label,)) for label in self.labels}
        self._inside_last = {label: self._mask((LAST,), (label,)) for label in self.labels}

    def _mask(self, kinds: Sequence[str], labels: Sequence[str]) -> Array:
        """What is added to the scores so that only moves of these kinds and labels can win; OUT has no label."""
        moves = zip(self._kinds, self._labels, strict=True)
        allowed = [kind in kinds and (kind == OUT or label in labels) for kind, label in moves]
        return np.where(allowed, np.float32(0), _NEVER)

    def begin(self) -> State:
        """The state of a new text."""
        rows = np.zeros((self.depth, 2 * self.width), np.float32)
        return State(rows, self._scorer.pad[1:].copy(), 2 * self.depth)

    def advance(self, jobs: Sequence[Job]) -> None:
        """Take the new tokens of some texts, no text twice; each job's ``decided`` gets what is now final."""
        together: list[tuple[Job, Array]] = []
        for job in jobs:
            rows = self._padded(job)
            if len(rows) > _FEW or len(jobs) == 1:
                self._alone(job, rows)
            elif len(rows):
                together.append((job, rows))
        if together:
            self._together(together)

    def _padded(self, job: Job) -> Array:
        """The rows of the job with the padding in front of the text and behind it."""
        state, rows = job.state, job.rows
        state.spaces.extend(job.spaces)
        parts = [rows]
        if len(rows) and not state.begun:
            state.begun = True
            parts.insert(0, self._zeros)
        if job.ended and state.begun:
            parts.append(self._zeros)
        return rows if len(parts) == 1 else np.concatenate(parts)

    def _alone(self, job: Job, entering: Array) -> None:
        """One text: all its rows at once through each layer, then decided one after the other."""
        count, width, kept = len(entering), self.width, job.state.rows
        if not count:
            return
        for number, layer in enumerate(self._layers):
            joined = np.concatenate((kept[number].reshape(2, width), entering))
            kept[number] = joined[count:].reshape(-1)
            entering = self._layer(layer, _windows(joined))
            entering += joined[1:-1]
        features = self._features(entering)
        for at in range(count):
            self._decide([job], features[at : at + 1], [at + 1 == count])

    def _together(self, jobs: Sequence[tuple[Job, Array]]) -> None:
        """Several texts: the next row of each at once through all layers, then decided, and so on."""
        width = self.width
        states = [job.state for job, _ in jobs]
        kept = np.array([state.rows for state in states])  # (texts, depth, 2 x width)
        for turn in range(max(len(rows) for _, rows in jobs)):
            taking = [place for place, (_, rows) in enumerate(jobs) if len(rows) > turn]
            before = kept if len(taking) == len(jobs) else kept[taking]
            entering = np.array([jobs[place][1][turn] for place in taking])
            for number, layer in enumerate(self._layers):
                windows = np.concatenate((before[:, number], entering), axis=1)
                before[:, number] = windows[:, width:]
                entering = self._layer(layer, windows)
                entering += windows[:, width : 2 * width]
            if before is not kept:
                kept[taking] = before
            last = [len(jobs[place][1]) == turn + 1 for place in taking]
            self._decide([jobs[place][0] for place in taking], self._features(entering), last)
        for state, rows in zip(states, kept, strict=True):
            state.rows = rows.copy()  # a part of it would keep the rows of all

    def _features(self, top: Array) -> Array:
        """What each token adds to the decisions it has a part in: (tokens, 3 x pieces x hidden)."""
        features: Array = top @ self._scorer.features
        features += self._scorer.feature_bias
        return features

    def _layer(self, layer: Layer, windows: Array) -> Array:
        """Maxout and normalisation, in the order in which thinc calculates them."""
        width = self.width
        linear: Array = windows @ layer.weights
        linear += layer.bias
        out: Array = np.maximum(linear[:, :width], linear[:, width : 2 * width])
        for start in range(2 * width, linear.shape[1], width):
            np.maximum(out, linear[:, start : start + width], out=out)
        mean = np.add.reduce(out, 1, keepdims=True)
        mean /= width
        out -= mean
        variance = np.add.reduce(out * out, 1, keepdims=True)
        variance /= width
        variance += _EPSILON
        out *= variance ** np.float32(-0.5)
        out *= layer.gain
        out += layer.shift
        return out

    def _decide(self, jobs: Sequence[Job], features: Array, last: Sequence[bool]) -> None:
        """Decide one row of each text; ``last`` tells whether it is the job's last."""
        taken = []
        for place, job in enumerate(jobs):
            if job.state.padding:
                job.state.padding -= 1
            else:
                taken.append(place)
        if not taken:
            return
        if len(taken) < len(jobs):
            jobs, last = [jobs[place] for place in taken], [last[place] for place in taken]
            features = features[taken]
        scores = self._scores(jobs, features)
        masks = [self._allowed(job, last=end) for job, end in zip(jobs, last, strict=True)]
        scores += masks[0] if len(masks) == 1 else np.array(masks)
        for place, (job, move) in enumerate(zip(jobs, scores.argmax(1).tolist(), strict=True)):
            self._carry_out(job, features[place], scores[place], move)

    def _scores(self, jobs: Sequence[Job], features: Array) -> Array:
        """The scores of all moves, allowed or not: (texts, moves)."""
        scorer = self._scorer
        context = np.array([job.state.context for job in jobs])
        hidden = features[:, : len(scorer.bias)] + context[:, 0]
        hidden += context[:, 1]
        hidden += scorer.bias
        best = hidden[:, : self._hidden]
        for piece in range(1, self._pieces):
            best = np.maximum(best, hidden[:, piece * self._hidden : (piece + 1) * self._hidden])
        scores: Array = best @ scorer.upper
        scores += scorer.upper_bias
        return scores

    def _allowed(self, job: Job, *, last: bool) -> Array:
        """What is added to the scores of a text's next token; ``last``: it is the job's last row."""
        state = job.state
        at_end = last and job.ended
        if state.label:
            return (self._inside_last if at_end else self._inside)[state.label]
        if state.spaces[0]:
            return self._space
        return self._outside_last if at_end else self._outside

    def _carry_out(self, job: Job, features: Array, scores: Array, move: int) -> None:
        state, size = job.state, len(self._scorer.bias)
        kind, label = self._kinds[move], self._labels[move]
        del state.spaces[0]
        if kind == OUT:
            job.decided.append(_OUT)
            return
        probability = 1.0
        if kind in (BEGIN, UNIT):
            probability = float(1 / np.exp(scores - scores[move]).sum())
        job.decided.append(Decision(kind, label, probability))
        if kind == BEGIN:
            state.label = label
            state.context[0] = features[size : 2 * size]
        if kind in (BEGIN, IN):
            state.context[1] = features[2 * size :]
        elif kind == LAST:
            state.label = ""
            state.context[:] = self._scorer.pad[1:]


def _windows(rows: Array) -> Array:
    """For n + 2 rows the n windows of three, each as one row."""
    count, width = len(rows) - 2, rows.shape[1]
    return np.ndarray((count, 3 * width), np.float32, rows, strides=(4 * width, 4))
