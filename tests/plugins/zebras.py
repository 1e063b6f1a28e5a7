"""A recognizer for tests, loaded by worker processes."""

from __future__ import annotations

from typing import Any

from presidio_analyzer import AnalysisExplanation, EntityRecognizer, RecognizerResult


class Zebras(EntityRecognizer):  # type: ignore[misc]
    """A recognizer that finds zebras; near "stripes" it is surer."""

    def __init__(self) -> None:
        super().__init__(["ZEBRA"], context=["stripes"])

    def load(self) -> None: ...

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
        words = [token.text for token in nlp_artifacts.tokens]
        starts = nlp_artifacts.tokens_indices
        found = [start for word, start in zip(words, starts, strict=True) if word.lower() == "zebra"]
        return [
            RecognizerResult("ZEBRA", start, start + 5, 0.4, AnalysisExplanation(self.name, 0.4)) for start in found
        ]
