"""The words a training run knows, and the vectors they begin with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from safeproxy.core.sentences import sentences
from safeproxy.core.tokens import Spelled, grams, tokens
from safeproxy.errors import ConfigError
from safeproxy.training.toxicity_network import Floats, GramTable, Ints, Lexicon

#: Sentences of a text beyond these are not learnt from.
MOST_SENTENCES = 16


class WordVectors:
    """The word vectors of a spaCy pipeline's folder, reduced to ``width`` principal components.

    Raises ConfigError when the folder has none.
    """

    def __init__(self, folder: Path, width: int) -> None:
        from spacy.vocab import Vocab  # only who trains with vectors needs spaCy

        try:
            self._vectors = Vocab().from_disk(folder / "vocab").vectors
            self._strings = Vocab().from_disk(folder / "vocab").strings
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder} is no folder of a spaCy pipeline ({type(error).__name__})") from None
        table = np.asarray(self._vectors.data, np.float32)
        if not table.size:
            raise ConfigError(f"the pipeline in {folder} has no word vectors; take one that has, like en_core_web_md")
        table = table / (np.linalg.norm(table, axis=1, keepdims=True) + 1e-6)
        _, _, axes = np.linalg.svd(table[:: max(1, len(table) // 8000)], full_matrices=False)
        reduced = table @ axes[:width].T
        self._table = (reduced / (np.linalg.norm(reduced, axis=1).mean() + 1e-6)).astype(np.float32)

    def __contains__(self, word: str) -> bool:
        return self._row(word) >= 0

    def __getitem__(self, word: str) -> Floats:
        return np.asarray(self._table[self._row(word)], np.float32)

    def words(self) -> list[str]:
        """Words in lower case that have a vector, sorted."""
        keys = self._vectors.key2row
        found = {self._strings[key] for key in keys if key in self._strings}
        return sorted(word for word in found if word.isalpha() and word.islower() and 2 < len(word) < 18)

    def _row(self, word: str) -> int:
        row = self._vectors.key2row.get(self._strings[word])
        return -1 if row is None else int(row)


def text_tokens(text: str, known: dict[str, int]) -> list[list[str]]:
    """The tokens of a text, sentence by sentence, as the detector reads them; sentences without any are left out."""
    found = [_sentence_tokens([word.text for word in sentence], known) for sentence in sentences(text)]
    return [sentence for sentence in found if sentence]


def _sentence_tokens(words: Sequence[str], known: dict[str, int]) -> list[str]:
    spelled, found = Spelled(), []
    for word in words:
        found += tokens(word, known)
        joined = spelled.join(word, known)
        if joined:
            found.append(joined)
    return found


def vocabulary(texts: Iterable[str], vectors: WordVectors | None, rare: int = 3) -> dict[str, int]:
    """Tokens with a row of their own: those with a vector to begin with, and those seen ``rare`` times or more."""
    seen = Counter(token for text in texts for sentence in text_tokens(text, {}) for token in sentence)
    kept = [token for token, count in seen.items() if count >= rare or (vectors is not None and token in vectors)]
    return {token: row for row, token in enumerate(sorted(kept))}


def gram_table(words: Iterable[str], buckets: int) -> GramTable:
    """The n-gram buckets of these words."""
    return GramTable([grams(word, buckets) for word in words])


class Tokens:
    """Numbers for tokens, given out as texts are read; then the lexicon of them all."""

    def __init__(self, known: dict[str, int]) -> None:
        self.known = known
        self._numbers: dict[str, int] = {}

    def read(self, text: str) -> list[Ints]:
        """The token numbers of a text, sentence by sentence."""
        numbers = self._numbers
        return [
            np.array([numbers.setdefault(token, len(numbers)) for token in sentence])
            for sentence in text_tokens(text, self.known)[:MOST_SENTENCES]
        ]

    def lexicon(self, buckets: int) -> Lexicon:
        """The rows and n-grams of all tokens read so far, by their numbers."""
        words = list(self._numbers)
        rows = np.array([self.known.get(word, -1) for word in words])
        return Lexicon(rows, gram_table(words, buckets))


def fitted_buckets(vectors: WordVectors, buckets: int, most: int = 60_000, rounds: int = 20) -> Floats:
    """Vectors of n-grams whose means come near the vectors of words: conjugate gradients on ridge regression."""
    words = vectors.words()
    words = words[:: max(1, len(words) // most)]
    table = gram_table(words, buckets)
    wanted = np.stack([vectors[word] for word in words])
    chunks = [np.arange(len(words))[at : at + 4000] for at in range(0, len(words), 4000)]

    def normal(value: Floats) -> Floats:
        """The matrix of means, transposed and multiplied by itself, times ``value``."""
        return sum((table.spread(rows, table.means(rows, value), buckets) for rows in chunks), 0.05 * value)

    value = np.zeros((buckets, wanted.shape[1]), np.float32)
    rest = sum((table.spread(rows, wanted[rows], buckets) for rows in chunks), value)
    direction = rest
    power = (rest * rest).sum()
    for _ in range(rounds):
        if power < 1e-6:
            break
        image = normal(direction)
        step = power / (direction * image).sum()
        value = value + step * direction
        rest = rest - step * image
        power, before = (rest * rest).sum(), power
        direction = rest + power / before * direction
    return value.astype(np.float32)
