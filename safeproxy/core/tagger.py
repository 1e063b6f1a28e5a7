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

    rows: list[Array]
    """The last two rows that entered each layer."""
    begun: bool = False
    padding: int = 0
    """Top rows still to come that belong to the padding in front."""
    spaces: list[bool] = field(default_factory=list)
    """Whether each undecided token is white space."""
    label: str = ""
    """The open entity's."""
    first: Array | None = None
    before: Array | None = None


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
        nothing = np.zeros((2, self.width), np.float32)
        return State([nothing] * self.depth, padding=2 * self.depth)

    def advance(self, jobs: Sequence[Job]) -> None:
        """Take the new tokens of some texts, no text twice; each job's ``decided`` gets what is now final."""
        entering = [self._padded(job) for job in jobs]
        working = [(job, rows) for job, rows in zip(jobs, entering, strict=True) if len(rows)]
        if not working:
            return
        states = [job.state for job, _ in working]
        counts = [len(rows) for _, rows in working]
        top = self._through_layers(states, [rows for _, rows in working], counts)
        features = top @ self._scorer.features
        features += self._scorer.feature_bias
        self._decide([job for job, _ in working], features, counts)

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

    def _through_layers(self, states: Sequence[State], rows: Sequence[Array], counts: Sequence[int]) -> Array:
        """The rows that leave the top, one text's after the other's: for each row that entered, one that is older."""
        if len(states) == 1:
            return self._alone(states[0], rows[0], counts[0])
        entering = np.concatenate(rows)
        windows_at, ends_at = _places(counts)
        for number, layer in enumerate(self._layers):
            kept = [state.rows[number] for state in states]
            joined = np.concatenate(
                [part for pair in zip(kept, _split(entering, counts), strict=True) for part in pair]
            )
            for state, last in zip(states, joined[ends_at], strict=True):
                state.rows[number] = last.copy()  # a view would keep the rows of all streams
            windows = joined[windows_at].reshape(len(windows_at), 3 * self.width)
            entering = self._layer(layer, windows)
            entering += windows[:, self.width : 2 * self.width]
        return entering

    def _alone(self, state: State, entering: Array, count: int) -> Array:
        """The same for one text, without what several need."""
        for number, layer in enumerate(self._layers):
            joined = np.concatenate((state.rows[number], entering))
            state.rows[number] = joined[count:]
            entering = self._layer(layer, _windows(joined))
            entering += joined[1:-1]
        return entering

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

    def _decide(self, jobs: Sequence[Job], features: Array, counts: Sequence[int]) -> None:
        """Decide row after row of each text; the texts' rows of one round together."""
        work = []
        start = 0
        for job, count in zip(jobs, counts, strict=True):
            skipped = min(job.state.padding, count)
            job.state.padding -= skipped
            if count > skipped:
                work.append((job, start + skipped, start + count))
            start += count
        while work:
            self._round([(job, features[at], job.ended and at + 1 == end) for job, at, end in work])
            work = [(job, at + 1, end) for job, at, end in work if at + 1 < end]

    def _round(self, tokens: Sequence[tuple[Job, Array, bool]]) -> None:
        """One token of each text."""
        scorer = self._scorer
        size = len(scorer.bias)
        hidden = np.empty((len(tokens), size), np.float32)
        masks = []
        for place, (job, features, last) in enumerate(tokens):
            state = job.state
            if state.first is None or state.before is None:
                np.add(features[:size], scorer.pad[1], out=hidden[place])
                hidden[place] += scorer.pad[2]
                masks.append(self._space if state.spaces[0] else self._outside_last if last else self._outside)
            else:
                np.add(features[:size], state.first, out=hidden[place])
                hidden[place] += state.before
                masks.append((self._inside_last if last else self._inside)[state.label])
        hidden += scorer.bias
        best = hidden[:, : self._hidden]
        for piece in range(1, self._pieces):
            best = np.maximum(best, hidden[:, piece * self._hidden : (piece + 1) * self._hidden])
        scores = best @ scorer.upper
        scores += scorer.upper_bias
        scores += masks[0] if len(masks) == 1 else np.array(masks)
        for (job, features, _), row, move in zip(tokens, scores, scores.argmax(1).tolist(), strict=True):
            self._carry_out(job, features, row, move)

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
            state.label, state.first = label, features[size : 2 * size].copy()
        if kind in (BEGIN, IN):
            state.before = features[2 * size :].copy()
        else:
            state.first = state.before = None


def _split(rows: Array, counts: Sequence[int]) -> list[Array]:
    """The rows of each text."""
    parts = []
    start = 0
    for count in counts:
        parts.append(rows[start : start + count])
        start += count
    return parts


def _places(counts: Sequence[int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where each text has two kept rows and then so many new ones: each window's rows, and each text's last two."""
    starts = np.cumsum([0, *(count + 2 for count in counts[:-1])])
    first = np.concatenate([np.arange(start, start + count) for start, count in zip(starts, counts, strict=True)])
    ends = starts + np.array(counts)
    return first[:, None] + np.arange(3), ends[:, None] + np.arange(2)


def _windows(rows: Array) -> Array:
    """For n + 2 rows the n windows of three, each as one row."""
    count, width = len(rows) - 2, rows.shape[1]
    return np.ndarray((count, 3 * width), np.float32, rows, strides=(4 * width, 4))
