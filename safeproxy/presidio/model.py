"""Presidio's recognizers as one model: the rules that name them share one automaton per channel."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from safeproxy.core.detector import Detector
from safeproxy.core.rule import Rule
from safeproxy.errors import RuleError
from safeproxy.presidio.detector import Enhancement, PresidioDetector, Program
from safeproxy.presidio.phones import PhoneMachine
from safeproxy.presidio.recognizers import find, presidio
from safeproxy.presidio.sources import Source, described, source_of
from safeproxy.presidio.words import Tokenizer

#: The packages whose code decides what is found.
_PACKAGES = ("presidio-analyzer", "phonenumbers", "spacy", "tldextract")


class PresidioModel:
    """The recognizers of some references, made ready. A `Model`.

    A rule names one of the references as its ``model``; its ``labels``, if it has any, are the entities it takes.
    A rule finds what an `AnalyzerEngine` with its recognizers alone finds, with the rule's threshold as
    ``score_threshold``.
    """

    name = "presidio"
    waits = False

    def __init__(self, sources: dict[str, tuple[Source, ...]], enhancement: Enhancement) -> None:
        self._sources = sources
        self.enhancement = enhancement
        self._phones = PhoneMachine()
        self._tokenizers: dict[str, Tokenizer] = {}
        self._programs: dict[tuple[tuple[int, Rule], ...], Program] = {}
        self.version = version("presidio-analyzer")
        self.digest = self._digest()

    def _digest(self) -> str:
        lines = [f"{package} {version(package)}" for package in _PACKAGES]
        lines.append(repr(tuple(self.enhancement)))
        for reference, sources in sorted(self._sources.items()):
            lines += [reference, *(line for source in sources for line in described(source))]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def sources(self, reference: str) -> tuple[Source, ...]:
        """The recognizers of a reference."""
        return self._sources[reference]

    def entities(self, reference: str) -> tuple[str, ...]:
        """The entities that the recognizers of a reference find, each once."""
        return tuple(dict.fromkeys(source.entity for source in self._sources[reference]))

    def bounded(self, reference: str) -> tuple[str, ...]:
        """Where the recognizers of a reference may find other things than Presidio, for want of a bound."""
        return tuple(line for source in self._sources[reference] for line in source.bounded)

    def detector(self, rules: Sequence[tuple[int, Rule]]) -> Detector:
        """A fresh detector of one channel. Raises RuleError when a rule names what was not loaded."""
        key = tuple(rules)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self._program(rules)
        return PresidioDetector(program)

    def _program(self, rules: Sequence[tuple[int, Rule]]) -> Program:
        taken = [(number, rule, self._of(rule)) for number, rule in rules]
        for _, _, sources in taken:
            for source in sources:
                if source.context and source.language not in self._tokenizers:
                    self._tokenizers[source.language] = Tokenizer(source.language)
        return Program(taken, self._tokenizers, self._phones, self.enhancement)

    def _of(self, rule: Rule) -> tuple[Source, ...]:
        """The recognizers that a rule takes."""
        if rule.model not in self._sources:
            raise RuleError(f"rule {rule.id!r}: the recognizer {rule.model!r} was not loaded")
        found = tuple(s for s in self._sources[rule.model] if not rule.labels or s.entity in rule.labels)
        if not found:
            raise RuleError(
                f"rule {rule.id!r}: {rule.model} does not find {', '.join(rule.labels)}; "
                f"it finds {', '.join(self.entities(rule.model))}"
            )
        return found


def load(reference: str, base: Path = Path()) -> PresidioModel:
    """The model of one reference; see `load_all`."""
    return load_all([reference], base)


def load_all(references: Iterable[str], base: Path = Path()) -> PresidioModel:
    """The model of several references, so that their rules share one automaton.

    A reference is a predefined recognizer's class name (``CreditCardRecognizer``), an entity (``CREDIT_CARD``), the
    import path of a `PatternRecognizer` (``package.module:Name``), or a file in the format of Presidio's registry,
    relative to ``base``, and a name in it (``file.yaml#name``); ``@`` and a language may follow (``...@es``). Raises
    RuleError, naming the reference, for what does not exist or cannot run in a stream; ConfigError where Presidio is
    not installed.
    """
    made: dict[str, Source] = {}  # a recognizer that two references name is one
    sources: dict[str, tuple[Source, ...]] = {}
    for reference in dict.fromkeys(references):
        found = []
        for recognizer in find(reference, base):
            try:
                source = source_of(recognizer)
            except RuleError as error:
                raise RuleError(f"presidio: {reference}: {error}") from None
            found.append(made.setdefault("\n".join([type(recognizer).__qualname__, *described(source)]), source))
        sources[reference] = tuple(found)
    return PresidioModel(sources, _enhancement())


def _enhancement() -> Enhancement:
    """The settings of the context enhancer that an AnalyzerEngine takes when it is given none."""
    enhancer = presidio().context_aware_enhancers.LemmaContextAwareEnhancer()
    if enhancer.context_suffix_count or getattr(enhancer, "context_matching_mode", "substring") != "substring":
        raise RuleError("this version of presidio-analyzer looks for context words in another way; 2.2.366 is known")
    return Enhancement(
        enhancer.context_similarity_factor,
        enhancer.min_score_with_context_similarity,
        enhancer.context_prefix_count + 1,
    )
