"""The leak test: every shipped rule's samples, cut every way, through every channel of an OpenAI chat answer.

For each sample the oracle is the filter's result for the whole text at once, itself held against the spans that the
rule's author declared: what was declared must have been removed. A cutting passes if the delivered text of the channel
is exactly the oracle's, and nothing else was delivered. What was delivered beyond the text common with the oracle's
counts as leaked; a stream's deltas only ever append, so a piece that left too early is still there at the end.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from safeproxy.bench.rules import HASH_KEY
from safeproxy.core.filter import StreamFilter
from safeproxy.demo import chat
from safeproxy.events import Action, ChannelKind
from safeproxy.pipeline import BodyPipeline, Policy, StreamPipeline
from safeproxy.rulesets import LoadedRule, load_with_sources
from safeproxy.wire.registry import dialect_for

MODEL = "bench-model"
#: Random cuttings of each sample, cut once more as bytes.
RANDOM_CUTTINGS = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """A text in which its rule finds exactly these spans."""

    rule: str
    text: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Channel:
    """A place for text in an answer: how a delta says it, and how a message or a delta is read."""

    name: str
    kind: ChannelKind
    write: Callable[[str], dict[str, Any]]
    encode: Callable[[str], str] = str
    """What the model writes there when it means a text."""
    decode: Callable[[str], str] = str
    """What is meant by what was delivered."""


def _field(name: str, kind: ChannelKind) -> Channel:
    return Channel(name, kind, lambda text: {name: text})


def _tool_call(arguments: str) -> dict[str, Any]:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "note", "arguments": arguments}}
    return {"tool_calls": [call]}


def _decode_arguments(arguments: str) -> str:
    if not arguments:
        return ""  # a call that was withheld
    text: str = json.loads(arguments)["text"]
    return text


CHANNELS = (
    _field("content", ChannelKind.CONTENT),
    _field("refusal", ChannelKind.REFUSAL),
    _field("reasoning_content", ChannelKind.REASONING),
    _field("reasoning", ChannelKind.REASONING),
    Channel(
        "tool arguments",
        ChannelKind.TOOL_ARGUMENTS,
        _tool_call,
        encode=lambda text: json.dumps({"text": text}),
        decode=_decode_arguments,
    ),
)

#: Keys of a delta or a message under which no generated text stands.
_NO_TEXT = frozenset({"role", "id", "type", "name", "index", "finish_reason"})


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


def _leaves(value: Any) -> Iterator[str]:
    """Every text under the value, but for those that are no generated text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, below in value.items():
            if key not in _NO_TEXT:
                yield from _leaves(below)
    elif isinstance(value, list):
        for below in value:
            yield from _leaves(below)


def run_stream(
    policy: Policy, channel: Channel, pieces: Sequence[str], byte_cuts: Sequence[int] = ()
) -> tuple[str, str | None]:
    """Stream the pieces through the channel; give everything delivered and the finish reason.

    The body arrives event by event, or cut at ``byte_cuts`` if there are any.
    """
    pipeline = StreamPipeline(_dialect(), policy)
    events = [chat.chunk({"role": "assistant"}, model=MODEL)]
    events += [chat.chunk(channel.write(piece), model=MODEL) for piece in pieces]
    events += [chat.chunk({}, model=MODEL, finish="stop"), chat.DONE]
    if byte_cuts:
        body = b"".join(events)
        events = [body[a:b] for a, b in zip([0, *byte_cuts], [*byte_cuts, len(body)], strict=True)]
    reader, delivered, finish = chat.EventReader(), [], None
    for data in (*events, None):
        if pipeline.done:
            break
        for event in reader.feed(pipeline.finish() if data is None else pipeline.feed(data)):
            delivered += [leaf for delta in chat.deltas(event) for leaf in _leaves(delta)]
            finish = chat.finish_reason(event) or finish
    return "".join(delivered), finish


def run_body(policy: Policy, channel: Channel, text: str) -> tuple[str, str | None]:
    """The same for a non-streamed answer."""
    message = {"role": "assistant", **channel.write(text)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice]}
    _, out = BodyPipeline(_dialect(), policy).run(json.dumps(body).encode(), 200)
    answer = json.loads(out)["choices"][0]
    return "".join(_leaves(answer["message"])), answer["finish_reason"]


def _dialect() -> Any:
    dialect = dialect_for("POST", chat.PATH)
    assert dialect is not None
    return dialect


def leak_test(policy: Policy, samples: Sequence[Sample], *, seed: int = 1) -> Result:
    """Run every cutting of every sample through every channel."""
    random_ = random.Random(seed)  # noqa: S311 - repeatable cuttings are wanted
    result = Result(samples=len(samples))
    for channel in CHANNELS:
        streamed = result.channels.setdefault(channel.name, Tally())
        whole = result.channels.setdefault(f"{channel.name}, not streamed", Tally())
        for sample in samples:
            expected, halted, through = oracle(policy, sample, channel.kind)
            result.uncovered += through
            finish = "content_filter" if halted else "stop"
            written = channel.encode(sample.text)
            bad = through > 0
            for cutting in cuttings(len(written), random_):
                byte_cuts = sorted(random_.sample(range(1, 200), 5)) if 1 < len(cutting) < 7 else ()
                outcome = run_stream(policy, channel, cut(written, cutting), byte_cuts)
                bad |= _judge(streamed, channel, outcome, (expected, finish))
            bad |= _judge(whole, channel, run_body(policy, channel, written), (expected, finish))
            name = f"{sample.rule}, {channel.name}"
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


def _judge(tally: Tally, channel: Channel, outcome: tuple[str, str | None], wanted: tuple[str, str]) -> bool:
    """Count one outcome; whether it is bad."""
    try:
        delivered = channel.decode(outcome[0])
    except (ValueError, KeyError):
        delivered = outcome[0]  # no longer the JSON it should be: all of it counts
    expected = wanted[0] if delivered or channel.decode is str else ""
    tally.cuttings += 1
    tally.leaked += excess(delivered, expected)
    different = (delivered, outcome[1]) != (expected, wanted[1])
    tally.differing += different
    return different
