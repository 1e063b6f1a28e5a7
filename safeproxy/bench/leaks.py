"""The leak test: every shipped rule's samples, cut every way, through every channel of every API.

For each sample the oracle is the filter's result for the whole text at once, itself held against the spans that the
rule's author declared: what was declared must have been removed. A cutting passes if the delivered text of the channel
is exactly the oracle's, and nothing else was delivered. What was delivered beyond the text common with the oracle's
counts as leaked; a stream's deltas only ever append, so a piece that left too early is still there at the end.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from safeproxy.bench.apis import Talk, Voice, voices
from safeproxy.bench.rules import HASH_KEY
from safeproxy.core.filter import StreamFilter
from safeproxy.events import Action, ChannelKind
from safeproxy.pipeline import BodyPipeline, Policy, StreamPipeline
from safeproxy.rulesets import LoadedRule, load_with_sources

#: Random cuttings of each sample, cut once more as bytes.
RANDOM_CUTTINGS = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """A text in which its rule finds exactly these spans."""

    rule: str
    text: str
    spans: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Tally:
    """What became of the cuttings of one channel."""

    cuttings: int = 0
    leaked: int = 0
    """Characters delivered that the oracle does not have there."""
    differing: int = 0
    """Cuttings whose delivered text is not the oracle's, leaked or not."""


@dataclass(slots=True)
class Result:
    """The leak test's outcome."""

    samples: int = 0
    uncovered: int = 0
    """Characters of declared spans that even the oracle lets through."""
    channels: dict[str, Tally] = field(default_factory=dict)
    bad_samples: list[str] = field(default_factory=list)
    """Rule ids and channels of the samples with a fault, once each."""

    @property
    def leaked(self) -> int:
        """Characters leaked in all."""
        return self.uncovered + sum(tally.leaked for tally in self.channels.values())

    def add(self, other: Result) -> None:
        """Take in the outcome for other samples."""
        self.samples += other.samples
        self.uncovered += other.uncovered
        self.bad_samples += other.bad_samples
        for name, tally in other.channels.items():
            mine = self.channels.setdefault(name, Tally())
            mine.cuttings += tally.cuttings
            mine.leaked += tally.leaked
            mine.differing += tally.differing

    def form(self) -> dict[str, Any]:
        """The outcome for the report."""
        return {**asdict(self), "leaked": self.leaked}


def samples_of(rules: Iterable[LoadedRule]) -> list[Sample]:
    """The match samples of the rules that are in force."""
    return [
        Sample(source.rule.id, match.text, tuple(match.spans))
        for source in rules
        if source.enabled
        for match in source.tests.match
    ]


def cuttings(length: int, random_: random.Random) -> Iterator[list[int]]:
    """Where to cut a text of this length: whole, in two at every position, one at a time, and at random."""
    yield []
    yield from ([at] for at in range(1, length))
    if length > 2:
        yield list(range(1, length))
        for _ in range(RANDOM_CUTTINGS):
            yield sorted(random_.sample(range(1, length), random_.randint(1, min(6, length - 1))))


def cut(text: str, at: Sequence[int]) -> list[str]:
    """The pieces of the text between the positions."""
    return [text[start:end] for start, end in zip([0, *at], [*at, len(text)], strict=True)]


def excess(delivered: str, expected: str) -> int:
    """Characters delivered beyond the beginning that both have in common."""
    common = next((at for at, (one, other) in enumerate(zip(delivered, expected, strict=False)) if one != other), None)
    return len(delivered) - (min(len(delivered), len(expected)) if common is None else common)


def oracle(policy: Policy, sample: Sample, kind: ChannelKind) -> tuple[str, bool, int]:
    """The text to be delivered, whether it is halted, and how many characters of declared spans were let through."""
    stream = StreamFilter(policy.rules, kind=kind, hash_key=policy.hash_key)
    expected = stream.feed(sample.text) + stream.finish()
    removed = {at for start, end in stream.take_edits() for at in range(start, end)}
    halted_at = min(removed, default=0) if stream.halted else len(sample.text)
    rule = next(rule for rule in policy.rules.rules if rule.id == sample.rule)
    if rule.action is Action.OBSERVE or not rule.response or kind not in rule.channels:
        return expected, stream.halted, 0
    declared = (at for start, end in sample.spans for at in range(start, end))
    through = sum(1 for at in declared if at not in removed and at < halted_at)
    return expected, stream.halted, through


def run_stream(policy: Policy, voice: Voice, pieces: Sequence[str], byte_cuts: Sequence[int] = ()) -> Talk:
    """Stream the pieces through the channel; what a client has of it.

    The body arrives event by event, or cut at ``byte_cuts`` if there are any.
    """
    pipeline = StreamPipeline(voice.dialect, policy, voice.ask)
    writer = voice.dialect.writer()
    frames = voice.stream(pieces)
    if byte_cuts:
        body = b"".join(frames)
        frames = [body[a:b] for a, b in zip([0, *byte_cuts], [*byte_cuts, len(body)], strict=True)]
    out = b"".join(map(pipeline.feed, frames)) + pipeline.finish()
    return voice.hear(out if writer is None else writer(out, True))


def run_body(policy: Policy, voice: Voice, text: str) -> Talk | None:
    """The same for an answer that is not streamed, None if the API has none."""
    if voice.body is None:
        return None
    _, out = BodyPipeline(voice.dialect, policy, voice.ask).run(json.dumps(voice.body(text)).encode(), 200)
    return voice.hear_body(out)


def leak_test(policy: Policy, samples: Sequence[Sample], *, seed: int = 1) -> Result:
    """Run every cutting of every sample through every channel."""
    random_ = random.Random(seed)  # noqa: S311 - repeatable cuttings are wanted
    result = Result(samples=len(samples))
    for voice in voices():
        streamed = result.channels.setdefault(voice.name, Tally())
        whole = result.channels.setdefault(f"{voice.name}, not streamed", Tally())
        for sample in samples:
            expected, halted, through = oracle(policy, sample, voice.kind)
            result.uncovered += through
            written = voice.encode(sample.text)
            bad = through > 0
            for cutting in [[]] if voice.at_once else cuttings(len(written), random_):
                byte_cuts = sorted(random_.sample(range(1, 200), 5)) if 1 < len(cutting) < 7 else ()
                talk = run_stream(policy, voice, cut(written, cutting), byte_cuts)
                bad |= judge(streamed, voice, talk, expected, halted=halted)
            told = run_body(policy, voice, written)
            if told is not None:
                bad |= judge(whole, voice, told, expected, halted=halted)
            name = f"{sample.rule}, {voice.name}"
            if bad and name not in result.bad_samples:
                result.bad_samples.append(name)
    return result


def leak_test_of(paths: Sequence[Path], part: int, parts: int, every: int) -> Result:
    """The leak test for one part of the rules' samples, of which only each ``every``-th is taken; loads the rules anew.

    It is what a process of its own runs.
    """
    loaded = load_with_sources(paths)
    policy = Policy(rules=loaded.ruleset, hash_key=HASH_KEY)
    return leak_test(policy, samples_of(loaded.sources)[::every][part::parts])


def leak_test_in_processes(paths: Sequence[Path], *, every: int = 1) -> Result:
    """The leak test for the rules' samples, with a process for each processor, at most four."""
    parts = min(os.cpu_count() or 1, 4)
    result = Result()
    with ProcessPoolExecutor(parts, mp_context=get_context("spawn")) as pool:
        for outcome in pool.map(partial(leak_test_of, paths, parts=parts, every=every), range(parts)):
            result.add(outcome)
    return result


def judge(tally: Tally, voice: Voice, talk: Talk, expected: str, *, halted: bool) -> bool:
    """Count one outcome; whether it is bad: any saying of the text that is not the oracle's, or a wrong end."""
    if halted and voice.in_json:
        expected = ""  # nothing of a call or of a JSON answer is sent if it is halted
    different = talk.halted is not halted or not talk.finished
    leaked = 0
    for said in (talk.spelled, *talk.again):
        try:
            delivered = voice.decode(said)
        except (ValueError, KeyError, TypeError):
            delivered = said  # no longer the JSON it should be: all of it counts
        leaked += excess(delivered, expected)
        different |= delivered != expected and not (halted and not said)
    tally.cuttings += 1
    tally.leaked += leaked
    tally.differing += different
    return different
