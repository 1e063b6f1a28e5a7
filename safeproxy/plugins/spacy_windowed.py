"""spaCy pipelines that cannot run token by token (transformers, beams, rulers): whole sentences in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safeproxy.plugins.digests import digest_of
from safeproxy.plugins.model import WindowedModel
from safeproxy.plugins.settings import worker_settings
from safeproxy.plugins.workers import in_workers

if TYPE_CHECKING:
    from spacy.language import Language

#: Components that set no entities. A parser would also set sentence starts, which no entity may cross.
_IDLE = frozenset(
    {
        "parser",
        "senter",
        "sentencizer",
        "tagger",
        "morphologizer",
        "lemmatizer",
        "trainable_lemmatizer",
        "attribute_ruler",
    }
)


def load(model: str) -> WindowedModel:
    """An installed spaCy pipeline, or one in a folder, or a settings file that names it. Raises RuleError."""
    settings = worker_settings(model)
    judge = "safeproxy.plugins.spacy_windowed:SpacyJudge"
    return in_workers("ner", judge, settings.model, settings=settings, name=settings.model)


class SpacyJudge:
    """The entities that a pipeline gives for a sentence alone; spaCy tells no scores, so each has 1. In a worker."""

    def __init__(self, model: str) -> None:
        import spacy

        self._nlp = spacy.load(model, exclude=_IDLE)
        self.labels: Sequence[str] = _labels(self._nlp)
        self.version = str(self._nlp.meta.get("version", ""))
        self.digest = digest_of(Path(self._nlp.path))

    def __call__(self, text: str) -> Iterator[tuple[int, int, str, float]]:
        """The entities of the sentence."""
        with self._nlp.memory_zone():  # the vocabulary would grow with every new word for ever
            for entity in self._nlp(text).ents:
                yield entity.start_char, entity.end_char, entity.label_, 1.0


def _labels(nlp: Language) -> list[str]:
    """The labels of all that sets entities; none, hence any, if a component does not tell."""
    labels: set[str] = set()
    for name in ("ner", "beam_ner", "entity_ruler", "span_ruler"):
        if name in nlp.pipe_names:
            labels.update(nlp.get_pipe(name).labels)
    return sorted(labels)
