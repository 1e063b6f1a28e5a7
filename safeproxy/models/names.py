"""The name tier's models: safeproxy's own, or any spaCy pipeline that is installed or lies in a folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeproxy.core.detector import Detector
from safeproxy.core.names import NameDetector, takers_of
from safeproxy.core.rule import Rule
from safeproxy.core.tagger import Job
from safeproxy.errors import RuleError
from safeproxy.models.spacy_pipeline import SpacyLexicon, tagger
from safeproxy.plugins.digests import digest_of
from safeproxy.suspend import Gathering

if TYPE_CHECKING:
    from spacy.language import Language

#: The model that comes with safeproxy, and the name a rule may give it.
OWN = "safeproxy"
OWN_FOLDER = Path(__file__).resolve().parent / "data" / "names"

#: Seconds between two rounds through the network while there is always more text: far less than a token takes to come.
APART = 0.012

_MISSING = "the detector 'ner' needs spaCy, which is not installed; pip install 'safeproxy[names]'"


class NamesModel:
    """A pipeline whose `ner` runs token by token. A `Model`.

    The jobs of streams whose text arrives close together go through the network together.
    """

    waits = True

    def __init__(self, nlp: Language, name: str, digest: str) -> None:
        self.tagger = tagger(nlp)
        self.lexicon = SpacyLexicon(nlp)
        self.name = name
        self.version = str(nlp.meta.get("version", ""))
        self.digest = digest
        self.labels = self.tagger.labels
        self.advance = Gathering[Job](self.tagger.advance, APART)

    def detector(self, rules: Sequence[tuple[int, Rule]]) -> Detector:
        """A detector of the entities that the rules name. Raises RuleError for a label that the model has not."""
        takers = takers_of(rules, self.name, self.labels)
        return NameDetector(self.tagger, self.lexicon, takers, self.advance)

    def entities(self, pieces: Iterable[str]) -> list[tuple[int, int, str]]:
        """All entities of a text that is told in pieces: start, end and label, in order."""
        rules = [Rule(id=label, entity=label, detector="ner", threshold=0.0) for label in self.labels]
        detector = self.detector(list(enumerate(rules)))
        spans = [span for piece in pieces for span in detector.feed(piece)]
        return sorted((start, end, self.labels[rule]) for start, end, rule, *_ in [*spans, *detector.finish()])


def load(model: str) -> NamesModel:
    """The model of this name: `safeproxy`, an installed spaCy package, or the path of a folder.

    Raises RuleError when it cannot be loaded, NotIncrementalError when it cannot run token by token.
    """
    nlp, folder = pipeline(model or OWN)
    try:
        return NamesModel(nlp, model or OWN, digest_of(folder))
    except RuleError as error:
        raise type(error)(f"the model {model!r} cannot run token by token: {error}") from None


def pipeline(name: str) -> tuple[Language, Path]:
    """The pipeline with what `ner` needs alone, and the folder it was read from. Raises RuleError."""
    try:
        import spacy
        from spacy.util import get_package_path, is_package
    except ImportError:
        raise RuleError(_MISSING) from None
    folder = OWN_FOLDER if name == OWN else Path(name)
    package = name != OWN and is_package(name)
    if not package and not (folder / "meta.json").is_file():
        raise RuleError(
            f"there is no model {name!r}; expected {OWN!r}, an installed spaCy pipeline, or the folder of one"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # spaCy warns of pipelines of other versions; `models verify` tells
            nlp = spacy.load(name if package else folder)
    except Exception as error:  # noqa: BLE001 - whatever spaCy makes of a broken folder
        raise RuleError(f"the model {name!r} cannot be loaded: {type(error).__name__}: {error}") from None
    _ner_alone(nlp)
    return nlp, Path(get_package_path(name)) if package else folder


def _ner_alone(nlp: Language) -> None:
    """A parser before `ner` would set sentence starts, which no entity may cross and which need the whole text."""
    if "ner" not in nlp.pipe_names:
        return
    upstream: Any = nlp.get_pipe("ner").model.get_ref("tok2vec").layers[0] if _has_tok2vec(nlp) else None
    listened = getattr(upstream, "upstream_name", None)
    for name in list(nlp.pipe_names):
        if name != "ner" and name != listened and not (listened == "*" and name == "tok2vec"):
            nlp.disable_pipe(name)


def _has_tok2vec(nlp: Language) -> bool:
    model = nlp.get_pipe("ner").model
    return bool(model.has_ref("tok2vec") and model.get_ref("tok2vec").layers)
