"""A rule set: the rules of a deployment, compiled once and shared by all streams."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial

from safeproxy.core.actions import KEYED
from safeproxy.core.automaton import Machine
from safeproxy.core.backtrack import BacktrackDetector, BacktrackPattern
from safeproxy.core.detector import Detector, Model
from safeproxy.core.rule import Engine, Rule
from safeproxy.core.scan import PatternDetector
from safeproxy.errors import RuleError
from safeproxy.events import Action, ChannelKind, ModelFacts

#: A kind of model and the name of one, as a rule gives them.
ModelKey = tuple[str, str]
#: Ordinary words, numbers and markup, to warm up with.
_ORDINARY = (
    "Hello! I'm here to help: what would you like to know? The quick brown fox jumps over the lazy dog, and every "
    "just zebra was vexed by it. \n\n## A heading\n\n1. First, **bold** and _plain_ words; 2. then `code()` \u2014 "
    '{"key": ["value", 12.5, true, null]}\n```python\ndef add(a, b=0):\n    return a + b  # see https://example.com/a?b=c\n'
    "```\n- On 24 March 2021 at 10:45, about 3,000 people (or 42 %) paid $19.99 <b>each</b> & left.\n"
    "THE END | A/B | x = y * 7 - 8 ^ 9 @ ~ [link](#top) \u2019twas \u201cquoted\u201d \u00e9 \u00fc.\n"
)


class RuleSet:
    """The rules in order (the order decides ties only), with what is compiled from them.

    ``models`` holds the model of every rule that names a detector. Raises RuleError when a rule cannot be used, naming
    it and the remedy.
    """

    def __init__(self, rules: Iterable[Rule], models: Mapping[ModelKey, Model] | None = None) -> None:
        self.rules: tuple[Rule, ...] = tuple(rules)
        self._models = models or {}
        for rule in self.rules:
            if rule.after is not None and rule.action is Action.OBSERVE:
                raise RuleError(f"rule {rule.id!r}: `after` needs an action that does more than observe")
        self.needs_hash_key = any(rule.action in KEYED for rule in self.rules)
        self._machines: dict[tuple[int, ...], Machine] = {}
        self._backtracks: dict[int, BacktrackPattern] = {}
        self._waiting: set[Callable[[], Detector]] = set()  # makers of detectors that may wait
        self._acting = {kind: self._makers(kind, watching=False) for kind in ChannelKind}
        self._watching = {kind: self._makers(kind, watching=True) for kind in ChannelKind}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the rules' canonical form and their models' digests, as hex: equal ones find and do the same."""
        models = "".join(model.digest for model in self.models)
        return hashlib.sha256(_canonical(self.rules) + models.encode()).hexdigest()

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that its rules use, each once."""
        keys = sorted({(rule.detector, rule.model) for rule in self.rules if rule.detector})
        return tuple(dict.fromkeys(self._model(key) for key in keys))

    @cached_property
    def model_facts(self) -> tuple[ModelFacts, ...]:
        """What the audit trail says of its models."""
        return tuple(ModelFacts(model.name, model.version, model.digest) for model in self.models)

    @property
    def waits(self) -> bool:
        """Whether a detector may wait in the middle of a call."""
        return any(model.waits for model in self.models)

    def with_rules(self, rules: Iterable[Rule]) -> RuleSet:
        """Other rules that use the same models."""
        return RuleSet(rules, self._models)

    def _model(self, key: ModelKey) -> Model:
        model = self._models.get(key)
        if model is None:
            raise RuleError(f"no model was loaded for the detector {key[0]!r}{f' ({key[1]})' if key[1] else ''}")
        return model

    def acting_detectors(self, kind: ChannelKind) -> tuple[Detector, ...]:
        """Fresh detectors for one channel of this kind, for the rules that change the text."""
        return tuple(make() for make in self._acting[kind])

    def watching_detectors(self, kind: ChannelKind) -> tuple[Detector, ...]:
        """Fresh detectors for the rules that only observe: they hold nothing and change nothing."""
        return tuple(make() for make in self._watching[kind])

    def warm_up(self, texts: Iterable[str] = ()) -> None:
        """Meet ordinary text, and ``texts``, before the first stream does: a step costs most the first time.

        Nobody outside of the process is asked.
        """
        for text in (_ORDINARY, *texts):
            for kind in ChannelKind:
                for make in (*self._acting[kind], *self._watching[kind]):
                    if make not in self._waiting:
                        detector = make()
                        detector.feed(text)
                        detector.finish()

    def _makers(self, kind: ChannelKind, *, watching: bool) -> tuple[Callable[[], Detector], ...]:
        """Makers of the detectors for this kind of channel, of the rules that only observe or of the others."""
        numbers = [number for number, rule in enumerate(self.rules) if rule.response and kind in rule.channels]
        patterns = [
            number
            for number in numbers
            if not self.rules[number].detector and (self.rules[number].action is Action.OBSERVE) == watching
        ]
        beside = [number for number in patterns if self.rules[number].engine is Engine.REGEX]
        together = tuple(number for number in patterns if self.rules[number].engine is Engine.AUTOMATON)
        first = (partial(PatternDetector, self._machine(together)),) if together else ()
        return (
            *first,
            *(partial(BacktrackDetector, self._backtrack(number)) for number in beside),
            *self._model_makers([number for number in numbers if self.rules[number].detector], watching=watching),
        )

    def _model_makers(self, numbers: Iterable[int], *, watching: bool) -> tuple[Callable[[], Detector], ...]:
        """One maker for each model: its rules share a detector, which only watches if all of them only observe."""
        by_model: dict[Model, list[tuple[int, Rule]]] = {}
        for number in numbers:
            rule = self.rules[number]
            by_model.setdefault(self._model((rule.detector, rule.model)), []).append((number, rule))
        makers = []
        for model, rules in by_model.items():
            if all(rule.action is Action.OBSERVE for _, rule in rules) == watching:
                model.detector(rules)  # a rule that its model cannot serve is refused now, not in mid-stream
                makers.append(partial(model.detector, rules))
                if model.waits:
                    self._waiting.add(makers[-1])
        return tuple(makers)

    def _backtrack(self, number: int) -> BacktrackPattern:
        pattern = self._backtracks.get(number)
        if pattern is None:
            pattern = self._backtracks[number] = BacktrackPattern(self.rules[number], number)
        return pattern

    def _machine(self, numbers: tuple[int, ...]) -> Machine:
        """The machine of these rules; kinds of channel with the same rules share one."""
        machine = self._machines.get(numbers)
        if machine is None:
            machine = self._machines[numbers] = Machine([self.rules[number] for number in numbers], numbers)
        return machine


def _canonical(rules: tuple[Rule, ...]) -> bytes:
    def plain(value: object) -> object:
        if isinstance(value, frozenset):
            return sorted(value)
        raise TypeError(type(value).__name__)

    forms = [dataclasses.asdict(rule) for rule in rules]
    return json.dumps(forms, sort_keys=True, separators=(",", ":"), default=plain).encode()
