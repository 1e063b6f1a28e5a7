"""Custom recognizers of Presidio: any `EntityRecognizer` class, named by its import path, in worker processes.

What is found in a sentence is what Presidio's `AnalyzerEngine` finds in it with this recognizer alone, its context
words included. Words stand for their own lemmas, in lower case: real ones need a model.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING

from safeproxy.errors import RuleError
from safeproxy.plugins.model import WindowedModel
from safeproxy.plugins.settings import worker_settings
from safeproxy.plugins.workers import in_workers

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine, EntityRecognizer
    from spacy.tokens import Doc


def load(model: str) -> WindowedModel:
    """The recognizer ``package.module:ClassName``, or a settings file that names it. Raises RuleError."""
    settings = worker_settings(model)
    if not settings.model:
        raise RuleError("the detector 'recognizer' needs package.module:ClassName in the rule's 'model'")
    judge = "safeproxy.plugins.recognizers:RecognizerJudge"
    return in_workers("recognizer", judge, settings.model, settings=settings, name=settings.model)


class RecognizerJudge:
    """One recognizer, made without arguments, under an `AnalyzerEngine` of its own, in its language. In a worker.

    Its digest is of its own source, its version and Presidio's: what it loads besides is not known here.
    """

    def __init__(self, path: str) -> None:
        from importlib.metadata import version

        from presidio_analyzer import EntityRecognizer

        from safeproxy.plugins.worker import imported

        kind = imported(path)
        recognizer = kind()
        if not isinstance(recognizer, EntityRecognizer):
            raise TypeError(f"{path!r} is no EntityRecognizer of Presidio")
        self._language = language = str(recognizer.supported_language)
        self._engine = _engine(recognizer, language)
        self.labels = list(recognizer.supported_entities)
        self.version = str(recognizer.version)
        parts = (
            inspect.getsource(inspect.getmodule(kind) or kind),
            self.version,
            version("presidio-analyzer"),
            language,
        )
        self.digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def __call__(self, text: str) -> Iterator[tuple[int, int, str, float]]:
        """The recognizer's results for the sentence."""
        for result in self._engine.analyze(text, self._language):
            yield result.start, result.end, result.entity_type, result.score


def _engine(recognizer: EntityRecognizer, language: str) -> AnalyzerEngine:
    """An engine with this recognizer alone, and words without a model."""
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from spacy.language import Language

    Language.component("safeproxy_words_as_lemmas", func=_words_as_lemmas)
    words = spacy.blank(language)
    words.add_pipe("safeproxy_words_as_lemmas")
    engine = SpacyNlpEngine()
    engine.nlp = {language: words}
    registry = RecognizerRegistry(recognizers=[recognizer], supported_languages=[language])
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])


def _words_as_lemmas(doc: Doc) -> Doc:
    for token in doc:
        token.lemma_ = token.lower_
    return doc
