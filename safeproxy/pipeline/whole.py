"""Filtering text that stands alone: whole values, object keys, and JSON inside strings."""

from __future__ import annotations

import dataclasses
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from safeproxy.core.actions import stand_in
from safeproxy.core.filter import CHAIN_CEILING, StreamFilter
from safeproxy.errors import DetectorError
from safeproxy.events import Action, ChannelKind, Finding
from safeproxy.pipeline.policy import Policy, Report
from safeproxy.pipeline.values import TooManyValuesError, Value, Values, is_json
from safeproxy.wire.dialect import Mode, Slot

#: More texts than this in one event, body or call are refused: each costs some microseconds.
TEXTS_LIMIT = 50_000

#: Values judged clean are remembered, up to so many of so many code points.
_MEMORY = 4096
_SHORT = 256

#: How a text stands that the answer itself says.
SPOKEN = frozenset({Mode.WHOLE, Mode.JSON, Mode.OBJECT})

Span = tuple[int, int]


class HaltError(Exception):
    """A finding says that nothing more may leave. Never crosses the pipeline's border."""


class TooLongError(Exception):
    """A text of the answer has reached its length, so that the answer ends. Never crosses the pipeline's border."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be sent of a text that stands alone, and the spans of it that were replaced."""

    text: str
    halted: bool = False
    edits: tuple[Span, ...] = ()
    found: bool = False
    """Whether there was any finding, even one that is only observed."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the filter made of one text: nothing is counted yet."""

    text: str
    halted: bool = False
    edits: tuple[Span, ...] = ()
    findings: tuple[Finding, ...] = ()
    removed: int = 0


class Scanner:
    """Filters whole values under one policy, counting into one report.

    Its methods raise DetectorError when a detector breaks, unless the policy lets text pass then.
    """

    def __init__(self, policy: Policy, report: Report) -> None:
        self._policy = policy
        self._report = report
        self._clean: set[tuple[ChannelKind, str]] = set()
        self._echoes: dict[tuple[bool, ChannelKind, str], str] | None = None
        self._echoed = 0

    def keep_echoes(self) -> None:
        """From now on remember what became of every text, so that one that comes again is not counted again."""
        self._echoes = {}

    def remember(self, text: str, delivered: str, kind: ChannelKind, *, as_json: bool) -> None:
        """A text was filtered elsewhere: should it come again, this is what becomes of it."""
        if self._echoes is not None and self._echoed < self._policy.max_event_bytes:
            self._echoed += len(text) + len(delivered)
            self._echoes[as_json, kind, text] = delivered

    def place(self, slot: Slot, *, json_content: bool = False) -> Verdict:
        """Filter the value at a slot that stands alone, and put what may be sent of it in its place.

        ``json_content`` says that content is JSON. On a halt the value in the place is of no use.
        """
        value = slot.holder[slot.key]
        as_object = slot.mode is Mode.OBJECT
        text = json.dumps(value, ensure_ascii=False) if as_object else value
        as_json = as_object or slot.mode is Mode.JSON or (json_content and slot.kind is ChannelKind.CONTENT)
        known = None if self._echoes is None else self._echoes.get((as_json, slot.kind, text))
        told = len(self._report.findings)
        if known is not None:
            verdict = Verdict(known, found=known != text)
        else:
            verdict = (self.json if as_json else self.whole)(text, slot.name, slot.kind)
            if not verdict.halted:
                self.remember(text, verdict.text, slot.kind, as_json=as_json)
        if verdict.text != text or verdict.halted:
            slot.holder[slot.key] = _value(verdict.text, value) if as_object else verdict.text
        if verdict.halted and slot.mode is Mode.QUOTE:
            self._report.findings[told:] = [_replaced_only(one) for one in self._report.findings[told:]]
            return Verdict(verdict.text, found=True)
        return verdict

    def is_too_long(self, slot: Slot) -> bool:
        """Whether what stands at a slot is longer than a text of the answer may be; what else an event says is none."""
        limit = self._policy.answer_chars
        if slot.kind is ChannelKind.OTHER or slot.mode not in SPOKEN:
            return False
        value = slot.holder[slot.key]
        return len(json.dumps(value, ensure_ascii=False) if slot.mode is Mode.OBJECT else value) > limit

    def whole(self, text: str, name: str, kind: ChannelKind) -> Verdict:
        """Filter one value of the channel called ``name``, and count it."""
        judged = self._remembered(text, name, kind)
        self._report.count(len(text), judged.removed, len(judged.text), judged.findings)
        return Verdict(judged.text, judged.halted, judged.edits, bool(judged.findings))

    def recurring(self, text: str, name: str, kind: ChannelKind) -> Verdict:
        """Filter a short value that comes again and again (a key, a token); it is not counted."""
        judged = self._remembered(text, name, kind)
        self._report.count(0, 0, 0, judged.findings)
        return Verdict(judged.text, judged.halted, judged.edits, bool(judged.findings))

    def is_clean(self, text: str, name: str, kind: ChannelKind) -> bool:
        """Whether nothing acts on a recurring value."""
        verdict = self.recurring(text, name, kind)
        return not verdict.halted and verdict.text == text

    def json(self, text: str, name: str, kind: ChannelKind) -> Verdict:
        """Filter JSON text by what its strings and numbers say, at any depth; if it was JSON, it still is.

        Each is judged alone, and again in its context, since ``042`` means nothing and ``"cvv": "042"`` does. A number
        that is found becomes 0 (0.0 if it had a fraction or an exponent), so that its type stays. All but what is
        replaced stays as it is, white space and spelling included. On a halt nothing of it remains; so it is with more
        than TEXTS_LIMIT values. What is no valid JSON (a model's slip, or cut off) is filtered as plain text, after
        its strings, which some clients decode all the same.
        """
        try:
            values = Values.of(text, TEXTS_LIMIT)
        except TooManyValuesError:
            self._report.fault("too_many_texts")
            return Verdict("", halted=True)
        scanned = sum(len(value.text) for value in values.found)
        halted, judged = self._each(values, name, kind)
        findings = [finding for one in judged for finding in one.findings]
        if halted:
            self._report.count(scanned, scanned, 0, findings)
            return Verdict("", halted=True, found=True)
        for value, one in zip(values.found, judged, strict=True):
            value.new = one.text
        if is_json(text):
            delivered = sum(len(one.text) for one in judged)
            self._report.count(scanned, sum(one.removed for one in judged), delivered, findings)
            return Verdict(values.text(), found=bool(findings))
        again = self._judged(values.text(), name, kind)
        removed = sum(one.removed for one in judged) + again.removed
        out = "" if again.halted else again.text
        self._report.count(len(text), min(removed, len(text)) if out else len(text), len(out), findings)
        self._report.count(0, 0, 0, again.findings)
        return Verdict(out, again.halted, found=bool(findings or again.findings))

    def _each(self, values: Values, name: str, kind: ChannelKind) -> tuple[bool, list[_Judged]]:
        """Whether anything halts, and each value judged; if so the findings only."""
        alone = [self._remembered(value.text, name, kind) for value in values.found]
        context = values.in_context()
        near = self._judged(context, name, kind) if context else _Judged("")
        parts = _parts(near, values.found)
        if not near.halted and not any(one.halted for one in alone):
            return False, list(map(self._united, values.found, alone, parts))
        told = [
            _Judged("", findings=(*one.findings, *_news(one, part))) for one, part in zip(alone, parts, strict=True)
        ]
        if not any(one.findings for one in told):
            told = [near]  # found in the keys alone, as they follow each other
        return True, told

    def _remembered(self, text: str, name: str, kind: ChannelKind) -> _Judged:
        if (kind, text) in self._clean:
            return _Judged(text)
        judged = self._judged(text, name, kind)
        if not judged.findings and len(self._clean) < _MEMORY and len(text) <= _SHORT:
            self._clean.add((kind, text))
        return judged

    def _judged(self, text: str, name: str, kind: ChannelKind) -> _Judged:
        stream = StreamFilter(self._policy.rules, channel=name, kind=kind, hash_key=self._policy.hash_key)
        try:
            out = stream.feed(text)
            out += stream.finish()
        except DetectorError:
            if self._policy.on_detector_error == "halt":
                raise
            self._report.fault("detector_passed")
            return _Judged(text)
        findings = tuple(stream.take_findings())
        return _Judged(out, stream.halted, tuple(stream.take_edits()), findings, stream.removed)

    def _united(self, value: Value, alone: _Judged, near: _Judged) -> _Judged:
        """What two judgements of a value come to, as if one filter had found it all."""
        news = _news(alone, near)
        findings = sorted((*alone.findings, *news), key=lambda found: (found.start, found.end))
        new, edits, removed = alone.text, alone.edits, alone.removed
        if any(found.applied is not Action.OBSERVE for found in news):
            edits = _overlaps_united((*alone.edits, *near.edits))
            new, findings = self._replaced(value.text, edits, findings)
            removed = sum(end - start for start, end in edits)
        if edits and value.is_number:
            new, removed = _zero(value.text), len(value.text)
        return _Judged(new, edits=edits, findings=tuple(findings), removed=removed)

    def _replaced(self, text: str, edits: tuple[Span, ...], findings: list[Finding]) -> tuple[str, list[Finding]]:
        """The text with the spans replaced, and the findings with the actions that were carried out.

        Each finding but those that are only observed lies in one of the spans, and each span has one at least.
        """
        starts = [start for start, _ in edits]
        inside: list[list[int]] = [[] for _ in edits]
        for number, finding in enumerate(findings):
            if finding.applied is not Action.OBSERVE:
                inside[bisect_right(starts, finding.start) - 1].append(number)
        pieces: list[str] = []
        at = 0
        for (start, end), numbers in zip(edits, inside, strict=True):
            replacement, action = self._replacement(text[start:end], [findings[number] for number in numbers])
            for number in numbers:
                findings[number] = dataclasses.replace(findings[number], applied=action)
            pieces += text[at:start], replacement
            at = end
        return "".join((*pieces, text[at:])), findings

    def _replacement(self, text: str, findings: list[Finding]) -> tuple[str, Action]:
        """What stands for a span, and by which action: that of the finding that wins, as in one filter."""
        winner = max(findings, key=lambda f: (f.action.strength, f.severity, -self._numbers[f.rule]))
        rule = self._policy.rules.rules[self._numbers[winner.rule]]
        if len(text) > CHAIN_CEILING:
            return rule.stand_in, rule.action
        return stand_in(rule, rule.action, text, self._policy.hash_key), rule.action

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Each rule's place in the rule set, by its id."""
        return {rule.id: number for number, rule in enumerate(self._policy.rules.rules)}


def _news(alone: _Judged, near: _Judged) -> list[Finding]:
    """What was found of a value in its context and not alone."""
    known = {(finding.rule, finding.start, finding.end) for finding in alone.findings}
    return [found for found in near.findings if (found.rule, found.start, found.end) not in known]


def _parts(near: _Judged, values: list[Value]) -> list[_Judged]:
    """A judgement of all values in their context, value by value, positions counted from each value's start."""
    told = [value for value in values if not value.is_key]
    starts = [value.start for value in told]
    findings: dict[int, list[Finding]] = {}
    edits: dict[int, list[Span]] = {}

    def overlapped(start: int, end: int) -> Iterator[tuple[int, int, int]]:
        for value in told[max(bisect_right(starts, start) - 1, 0) : bisect_left(starts, end)]:
            s, e = max(start - value.start, 0), min(end - value.start, len(value.text))
            if s < e:
                yield id(value), s, e

    for edit in near.edits:
        for key, s, e in overlapped(*edit):
            edits.setdefault(key, []).append((s, e))
    for finding in near.findings:
        for key, s, e in overlapped(finding.start, finding.end):
            findings.setdefault(key, []).append(dataclasses.replace(finding, start=s, end=e))
    return [
        _Judged("", edits=tuple(edits.get(id(value), ())), findings=tuple(findings.get(id(value), ())))
        for value in values
    ]


def _overlaps_united(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    united: list[Span] = []
    for start, end in sorted(spans):
        if united and start < united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], end))
        else:
            united.append((start, end))
    return tuple(united)


def _zero(number: str) -> str:
    return "0.0" if any(sign in number for sign in ".eE") else "0"


def _replaced_only(finding: Finding) -> Finding:
    """A finding that ended nothing."""
    return dataclasses.replace(finding, applied=Action.REDACT) if finding.applied is Action.HALT else finding


def _value(text: str, before: Any) -> Any:
    """The JSON value a text says; where it says none (it was halted), an empty one of the kind there was."""
    return json.loads(text) if text else type(before)()


def sealed(policy: Policy, original: str, signature: str) -> str:
    """A signature that holds, sealed, the text it signs, to be put back later. Raises HaltError without a seal."""
    if policy.seal is None:
        raise HaltError
    return policy.seal(json.dumps([original, signature]))
