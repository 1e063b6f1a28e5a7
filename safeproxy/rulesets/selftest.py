"""Runs each rule's own samples through the filter: the whole text at once, and one character at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from safeproxy.core.filter import StreamFilter
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import SafeproxyError
from safeproxy.events import Action, ChannelKind
from safeproxy.rulesets.loading import LoadedRule, ruleset_of
from safeproxy.rulesets.yaml_lines import Place

Spans = tuple[tuple[int, int], ...]
Kind = Literal["match", "no_match", "known_gap"]


@dataclass(frozen=True, slots=True)
class SampleResult:
    """How one sample of a rule fared.

    ``index`` counts the samples of its kind from 0. ``whole`` are the spans found in the text fed at once,
    ``by_character`` in the text fed one character at a time; a sample passes if both are as ``expected``.
    ``fault`` says that the detector broke; it is empty if it did not.
    """

    rule: str
    place: Place
    kind: Kind
    index: int
    text: str
    expected: Spans
    whole: Spans
    by_character: Spans
    fault: str = ""

    @property
    def passed(self) -> bool:
        """Whether both feedings found what was expected."""
        return not self.fault and self.whole == self.by_character == self.expected

    @property
    def message(self) -> str:
        """Why the sample failed, on one line; empty if it passed. Shows the sample, which is the author's own."""
        if self.passed:
            return ""
        head = f"{self.place}: rule {self.rule!r}, tests.{self.kind}[{self.index}] {self.text!r}: "
        if self.fault:
            return f"{head}the detector broke: {self.fault}"
        if self.whole != self.by_character:
            return (
                f"{head}found {_shown(self.whole)} in the whole text but "
                f"{_shown(self.by_character)} one character at a time"
            )
        if self.kind == "known_gap":
            return f"{head}found {_shown(self.whole)}: the gap is closed; remove it from known_gap"
        return f"{head}expected {_shown(self.expected)}, found {_shown(self.whole)}"


class _Sample(NamedTuple):
    kind: Kind
    number: int
    text: str
    expected: Spans


def run(source: LoadedRule) -> tuple[SampleResult, ...]:
    """The results of all samples of one rule, that rule alone."""
    # As `redact` every finding is reported, whatever the rule does with it: a halt would end at the first. What other
    # rules must have found before is not asked for: the rule is alone.
    rule = dataclasses.replace(
        source.rule, action=Action.REDACT, channels=frozenset(ChannelKind), response=True, after=None
    )
    rules = ruleset_of([rule])
    return tuple(_result(source, rules, sample) for sample in _samples(source))


def run_all(sources: Iterable[LoadedRule]) -> tuple[SampleResult, ...]:
    """The results of all samples of all rules, in order."""
    return tuple(result for source in sources for result in run(source))


def _samples(source: LoadedRule) -> Iterator[_Sample]:
    for index, match in enumerate(source.tests.match):
        yield _Sample("match", index, match.text, match.spans)
    for index, miss in enumerate(source.tests.no_match):
        yield _Sample("no_match", index, miss.text, ())
    for index, gap in enumerate(source.tests.known_gap):
        yield _Sample("known_gap", index, gap.text, ())


def _result(source: LoadedRule, rules: RuleSet, sample: _Sample) -> SampleResult:
    whole: Spans = ()
    by_character: Spans = ()
    fault = ""
    try:
        whole = _spans(rules, [sample.text])
        by_character = _spans(rules, sample.text)
    except SafeproxyError as error:
        fault = str(error)
    return SampleResult(source.rule.id, source.place, *sample, whole, by_character, fault)


def _spans(rules: RuleSet, pieces: Iterable[str]) -> Spans:
    stream = StreamFilter(rules)
    for piece in pieces:
        stream.feed(piece)
    stream.finish()
    return tuple(sorted((finding.start, finding.end) for finding in stream.take_findings()))


def _shown(spans: Spans) -> str:
    return ", ".join(f"[{start}, {end}]" for start, end in spans) or "nothing"
