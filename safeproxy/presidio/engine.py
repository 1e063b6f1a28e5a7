"""An NLP engine for Presidio's `AnalyzerEngine` whose lemmas are the lower-cased words: no model, no sentence needed.

It is what the findings of `presidio:` rules are measured against: `AnalyzerEngine(nlp_engine=WordsNlpEngine())` on the
whole text gives what safeproxy finds in the stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

from safeproxy.presidio.words import Tokenizer, space_token, units


class WordsNlpEngine(NlpEngine):  # type: ignore[misc]
    """Tokens as `safeproxy.presidio.words` has them, lemmas lower-cased, no entities."""

    def __init__(self, languages: Sequence[str] = ("en",)) -> None:
        self._tokenizers = {language: Tokenizer(language) for language in languages}

    def load(self) -> None:
        """There is nothing to load."""

    def is_loaded(self) -> bool:
        """It always is."""
        return True

    def process_text(self, text: str, language: str) -> NlpArtifacts:
        """The tokens of a whole text."""
        tokens: list[str] = []
        starts: list[int] = []
        for start, token in self._tokens(text, language):
            starts.append(start)
            tokens.append(token)
        lemmas = [token.lower() for token in tokens]
        return NlpArtifacts([], tokens, starts, lemmas, self, language)

    def _tokens(self, text: str, language: str) -> Iterator[tuple[int, str]]:
        tokenizer = self._tokenizers[language]
        for unit in units(text):
            start = unit.start
            for token in tokenizer.tokens(text[unit.start : unit.run_end]):
                yield start, token.text
                start = unit.start + token.end
            space = space_token(text[unit.run_end : unit.end], after_run=unit.run_end > unit.start)
            if space:
                yield unit.end - len(space), space

    def process_batch(self, texts: Iterable[str], language: str, **_: Any) -> Iterator[tuple[str, NlpArtifacts]]:
        """One text after the other."""
        for text in texts:
            yield text, self.process_text(text, language)

    def is_stopword(self, word: str, language: str) -> bool:
        """See `Tokenizer.is_stop`."""
        return self._tokenizers[language].is_stop(word)

    def is_punct(self, word: str, language: str) -> bool:
        """See `Tokenizer.is_punct`."""
        return self._tokenizers[language].is_punct(word)

    def get_supported_entities(self) -> list[str]:
        """None: it finds nothing by itself."""
        return []

    def get_supported_languages(self) -> list[str]:
        """The languages given at the start."""
        return list(self._tokenizers)
