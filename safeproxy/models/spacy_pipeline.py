"""From a spaCy pipeline to a tagger that runs token by token, or why that cannot be.

What is read here is spaCy's own: ``spacy.ml.models.tok2vec`` (the embedding and the encoder),
``spacy.ml.models.parser`` (the scorer), ``spacy.pipeline._parser_internals.ner`` (the moves).
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from safeproxy.core.names import Tokens
from safeproxy.core.tagger import Array, Layer, Scorer, Tagger
from safeproxy.errors import RuleError

if TYPE_CHECKING:
    from spacy.language import Language
    from thinc.api import Model

#: Runs whose tokens are remembered. At 96 numbers a token some 20 MB at most.
MAX_REMEMBERED = 40_000
#: Longest run that is remembered, in code points.
_LONGEST_REMEMBERED = 40


class NotIncrementalError(RuleError):
    """The pipeline cannot be run token by token; the message says why."""


def tagger(nlp: Language) -> Tagger:
    """The network of the pipeline's `ner`. Raises NotIncrementalError."""
    ner = _ner(nlp)
    model = ner.model
    if ner.cfg.get("beam_width", 1) != 1:
        raise NotIncrementalError("its `ner` searches with a beam; only a greedy one decides token by token")
    if not model.attrs.get("has_upper", False):
        raise NotIncrementalError("its `ner` has no upper layer (`use_upper`)")
    if unseen := model.attrs.get("unseen_classes"):
        raise NotIncrementalError(f"its `ner` has {len(unseen)} moves that were never trained")
    linear = model.get_ref("tok2vec").layers[-1]
    encoder = _tok2vec(nlp).get_ref("encode")
    moves = [ner.moves.get_class_name(number) for number in range(ner.moves.n_moves)]
    return Tagger(_layers(encoder), _scorer(linear, model.get_ref("lower"), model.get_ref("upper")), moves)


def _ner(nlp: Language) -> Any:
    if "ner" not in nlp.pipe_names:
        raise NotIncrementalError("it has no component `ner`")
    ner = nlp.get_pipe("ner")
    if getattr(ner.model, "name", "") != "parser_model":
        raise NotIncrementalError(f"its `ner` is of another architecture ({ner.model.name})")
    return ner


def _tok2vec(nlp: Language) -> Model:
    """The embedding and the encoder that `ner` listens to, its own or the pipeline's."""
    found = _ner(nlp).model.get_ref("tok2vec").layers[0]
    if found.name.endswith("listener"):
        upstream = found.upstream_name
        names = [name for name in nlp.pipe_names if name == upstream or upstream == "*"]
        shared = [nlp.get_pipe(name) for name in names if hasattr(nlp.get_pipe(name), "listening_components")]
        if not shared:
            raise NotIncrementalError("its `ner` listens to a component that is not there")
        found = shared[0].model
    if not (found.has_ref("embed") and found.has_ref("encode")):
        raise NotIncrementalError(f"its tokens are embedded by another architecture ({found.name})")
    return found


def _layers(encoder: Model) -> list[Layer]:
    """The encoder's layers. Raises NotIncrementalError where it is no window of one token to each side."""
    windows = [node for node in encoder.walk() if node.name == "expand_window"]
    maxouts = [node for node in encoder.walk() if node.name == "maxout"]
    norms = [node for node in encoder.walk() if node.name == "layernorm"]
    if not windows or not len(windows) == len(maxouts) == len(norms):
        raise NotIncrementalError(f"its encoder is of another architecture ({encoder.name[:80]})")
    if any(window.attrs["window_size"] != 1 for window in windows):
        raise NotIncrementalError("its encoder looks at more than one token to each side in one layer")
    return [_layer(maxout, norm) for maxout, norm in zip(maxouts, norms, strict=True)]


def _layer(maxout: Model, norm: Model) -> Layer:
    weights, bias = maxout.get_param("W"), maxout.get_param("b")  # (width, pieces, 3 x width), (width, pieces)
    width, pieces, reads = weights.shape
    if reads != 3 * width or pieces < 2:
        raise NotIncrementalError(f"a layer reads {reads} numbers and gives {width}; expected three times as many")
    by_piece = weights.transpose(1, 0, 2).reshape(pieces * width, reads)
    return Layer(
        _array(by_piece.T), _array(bias.T.reshape(-1)), _array(norm.get_param("G")), _array(norm.get_param("b"))
    )


def _scorer(linear: Model, lower: Model, upper: Model) -> Scorer:
    """The scorer, the two linear maps from a top row to the hidden layer made one."""
    weights = lower.get_param("W")  # (features, hidden, pieces, inner)
    features, hidden, pieces, inner = weights.shape
    if features != 3:
        raise NotIncrementalError(f"its `ner` reads {features} tokens a decision; expected 3")
    flat = weights.transpose(0, 2, 1, 3).reshape(features * pieces * hidden, inner)
    return Scorer(
        features=_array((flat @ linear.get_param("W")).T),
        feature_bias=_array(flat @ linear.get_param("b")),
        pad=_array(lower.get_param("pad")[0].transpose(0, 2, 1).reshape(features, -1)),
        bias=_array(lower.get_param("b").T.reshape(-1)),
        upper=_array(upper.get_param("W").T),
        upper_bias=_array(upper.get_param("b")),
    )


def _array(values: Any) -> Array:
    return np.ascontiguousarray(values, np.float32)


class SpacyLexicon:
    """Tokens and embeddings by a pipeline's tokenizer and tables. A `Lexicon`, of bounded memory."""

    def __init__(self, nlp: Language) -> None:
        self._nlp = nlp
        self._embed = _tok2vec(nlp).get_ref("embed")
        self._remembered: OrderedDict[str, Tokens] = OrderedDict()
        self._asking = Lock()  # a pipeline has one memory zone at a time

    def tokens(self, run: str) -> Tokens:
        """What the run becomes."""
        remembered = self._remembered
        tokens = remembered.get(run)
        if tokens is None:
            tokens = self._ask(run)
            if len(run) <= _LONGEST_REMEMBERED:
                remembered[run] = tokens
                if len(remembered) > MAX_REMEMBERED:
                    remembered.popitem(last=False)
        return tokens

    def _ask(self, run: str) -> Tokens:
        # What the vocabulary learns of a run must not stay: it would grow with every new word for ever.
        with self._asking, self._nlp.memory_zone():
            doc = self._nlp.make_doc(run)
            ends = tuple(token.idx + len(token) for token in doc)
            spaces = tuple(token.is_space for token in doc)
            rows = _array(self._embed.predict([doc])[0])
        return Tokens(ends, rows, spaces)
