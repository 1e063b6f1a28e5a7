"""A model that judges whole sentences, wherever it runs, as a `Model` that rules can name."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeVar

from safeproxy import suspend
from safeproxy.core.detector import Detector
from safeproxy.core.names import takers_of
from safeproxy.core.rule import Rule
from safeproxy.core.windows import MAX_WINDOW, Found, WindowedDetector
from safeproxy.plugins.guard import Fault, PluginError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model: its labels (none, if any may come), version, and SHA-256 (hex) of what decides."""

    labels: tuple[str, ...]
    version: str
    digest: str


class SentenceJudge(Protocol):
    """What the author of a plug-in writes: judges one sentence by its text alone.

    ``labels``: those it can give, none if any may come. ``version``, and ``digest``: SHA-256, as hex, of all that
    decides what is found. Optional: ``window``, the longest text it is to be given, in code points.
    """

    labels: Sequence[str]
    version: str
    digest: str

    def __call__(self, text: str) -> Iterable[tuple[int, int, str, float]]:
        """The findings: start, end (half open, in code points), label, score between 0 and 1."""
        ...


class Asker(Protocol):
    """Where sentences are judged."""

    waits: bool
    """Whether the answer is to be waited for."""
    at_once: int
    """So many questions of one stream are worth asking at the same time."""
    faults: Counter[str]
    """How often it failed, by code."""

    def ask(self, text: str) -> Future[Sequence[Found]]:
        """The answer to come, which raises DetectorError if at all. Raises DetectorError when nothing may be asked."""
        ...

    def close(self) -> None:
        """Let go of what it holds; it is not asked again."""
        ...


class WindowedModel:
    """Finds in whole sentences. A `Model`; ``waits`` says whether it waits for something outside of the process."""

    def __init__(self, name: str, facts: Facts, asker: Asker, longest: int = MAX_WINDOW) -> None:
        self.name = name
        self.version = facts.version
        self.digest = facts.digest
        self.labels = facts.labels
        self.longest = longest
        self.waits = asker.waits
        self._asker = asker

    @property
    def faults(self) -> Mapping[str, int]:
        """How often it could not judge, by code."""
        return self._asker.faults

    def detector(self, rules: Sequence[tuple[int, Rule]]) -> Detector:
        """A detector of what the rules name. Raises RuleError for a label that the model has not."""
        takers = takers_of(rules, self.name, self.labels or None)
        return WindowedDetector(takers, self.judge, self.longest)

    def judge(self, windows: Sequence[str]) -> Sequence[Sequence[Found]]:
        """What is found in each; as many are asked about at a time as is worth it. Raises DetectorError."""
        asked: deque[Future[Sequence[Found]]] = deque()
        judged = []
        try:
            for text in windows:
                if len(asked) == self._asker.at_once:
                    judged.append(_answer(asked.popleft()))
                asked.append(self._asker.ask(text))
            while asked:
                judged.append(_answer(asked.popleft()))
        finally:
            for future in asked:  # one failed, or nobody waits any more
                future.cancel()
        return judged

    def close(self) -> None:
        """End its processes and connections; what it is asked later fails."""
        self._asker.close()


def _answer(asked: Future[T]) -> T:
    return asked.result() if asked.done() else suspend.wait(asked)


def in_process(name: str, judge: SentenceJudge) -> WindowedModel:
    """A model that runs where it is called, and that every stream waits for: for what takes microseconds."""
    return WindowedModel(name, facts_of(judge), _Here(name, judge), int(getattr(judge, "window", MAX_WINDOW)))


class _Here:
    """Judges at once."""

    waits = False
    at_once = 1

    def __init__(self, name: str, judge: SentenceJudge) -> None:
        self._name = name
        self._judge = judge
        self.faults: Counter[str] = Counter()

    def ask(self, text: str) -> Future[Sequence[Found]]:
        answer: Future[Sequence[Found]] = Future()
        try:
            answer.set_result(findings(self._judge(text), len(text)))
        except Exception as error:  # noqa: BLE001 - a stranger's code, which may have broken on the text it would show
            self.faults[Fault.RAISED] += 1
            raise PluginError(self._name, Fault.RAISED, type(error).__name__) from None
        return answer

    def close(self) -> None:
        """Nothing is held."""


def facts_of(judge: SentenceJudge) -> Facts:
    """What a judge says of itself."""
    return Facts(tuple(judge.labels), str(judge.version), str(judge.digest))


def findings(answer: Iterable[Sequence[object]], length: int) -> list[Found]:
    """A judge's answer about a text of this length, checked. Raises ValueError."""
    return [_found(entry, length) for entry in answer]


def _found(entry: Sequence[object], length: int) -> Found:
    start, end, label, score = entry
    if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= length):
        raise ValueError("a range outside of the text")
    if not (isinstance(label, str) and isinstance(score, (int, float)) and 0 <= score <= 1):
        raise ValueError("no label, or a score outside of 0 to 1")
    return Found(start, end, label, float(score))
