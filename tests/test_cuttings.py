"""Wherever a stream is cut, into events or into bytes, nothing leaks and the text is the one it should be.

Every channel of every API, rules of every action and view; the oracle is the filter for the whole text at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from safeproxy.bench.apis import Talk, Voice, voices
from safeproxy.bench.leaks import Sample, Tally, cut, judge, oracle, run_stream
from safeproxy.core.rule import Rule, View
from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Action
from safeproxy.pipeline import Policy, StreamPipeline

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
#: At how many places a stream's bytes are cut at once; each place is one of them once.
AT_ONCE = 1 if DEEP else 48
by_voice = pytest.mark.parametrize("voice", voices(), ids=lambda voice: voice.name)

POLICY = Policy(
    RuleSet(
        [
            Rule(id="redact", entity="MAIL", pattern=r"[a-z]{2,20}@[a-z]{2,20}\.[a-z]{2,5}"),
            Rule(id="mask", entity="CARD", pattern=r"\b4[0-9]{15}\b", action=Action.MASK),
            Rule(id="hash", entity="NAME", pattern=r"\bID-[A-Z]{4}\b", action=Action.HASH),
            Rule(id="halt", entity="KEY", pattern=r"\bsk-[a-z]{5,9}\b", action=Action.HALT),
            Rule(id="observe", entity="WORD", words=("looked at",), action=Action.OBSERVE),
            Rule(id="folded", entity="SLUR", words=("zanzibar",), view=View.SKELETON),
            Rule(id="wide", entity="CODE", pattern=r"code [0-9]{4}", view=View.NFKD),
            Rule(id="long", entity="BLOCK", pattern=r"BEGIN[A-Z]{40,90}END", max_length=120),
        ]
    ),
    hash_key=b"k",
    seal=lambda text: "sealed",
)
TEXTS = (
    ("redact", "to ada@example.com, ok"),
    ("redact", "ada@ex.de"),
    ("mask", 'a "4111111111111111" b'),
    ("hash", "it is ID-ABCD.\n"),
    ("halt", "key sk-abcdef now"),
    ("halt", "sk-abcdef"),
    ("observe", "it was looked at\\here"),
    ("folded", "so zAnzib\u0430r, z\u200banzibar"),
    ("redact", "\U0001f600 ada@ex.de \u2028\u00e9"),
    ("wide", "a co\u00adde \uff11\uff12\uff13\uff14 b"),
    ("long", "a BEGIN" + "QWERTZ" * 9 + "END b"),
)
SAMPLES = [Sample(rule, text, ()) for rule, text in TEXTS]


NAMES = [voice.name for voice in voices()]


def some(voice: Voice, of: int) -> list[Sample]:
    """Every sample, or in the quick profile another one in ``of`` for each voice: all voices together take all."""
    return SAMPLES if DEEP else SAMPLES[NAMES.index(voice.name) % of :: of]


@dataclass(frozen=True)
class Wanted:
    """What must come of a sample."""

    text: str
    halted: bool


def wanted(voice: Voice, sample: Sample) -> Wanted:
    """The oracle's word."""
    text, halted, _ = oracle(POLICY, sample, voice.kind)
    return Wanted(text, halted)


def check(voice: Voice, talk: Talk, want: Wanted) -> None:
    """Every saying of the text is the oracle's, and so is the end."""
    tally = Tally()
    assert not judge(tally, voice, talk, want.text, halted=want.halted), talk
    assert tally.leaked == 0


def test_the_samples_are_found() -> None:
    """Each rule acts on its samples, or cutting them would tell nothing."""
    for voice in voices()[:1]:
        for sample in SAMPLES:
            want = wanted(voice, sample)
            assert (want.text == sample.text and not want.halted) is (sample.rule == "observe")


@by_voice
def test_every_cut_into_events(voice: Voice) -> None:
    """In two events at every position (in a long text at some), and one event for every character."""
    if voice.at_once:
        return
    for sample in some(voice, 2):
        want, written = wanted(voice, sample), voice.encode(sample.text)
        for at in range(1, len(written), 1 if DEEP or len(sample.text) < 24 else 6):
            check(voice, run_stream(POLICY, voice, cut(written, [at])), want)
        check(voice, run_stream(POLICY, voice, list(written)), want)


@by_voice
def test_every_cut_into_three_events(voice: Voice) -> None:
    """In three events, one of them of a few characters, at every position of a short text."""
    if voice.at_once:
        return
    sample = SAMPLES[1]
    want, written = wanted(voice, sample), voice.encode(sample.text)
    for at in range(1, len(written) - 1):
        for size in range(1, len(written) - at if DEEP else 3):
            if at + size < len(written):
                check(voice, run_stream(POLICY, voice, cut(written, [at, at + size])), want)


@by_voice
def test_every_cut_into_bytes(voice: Voice) -> None:
    """The stream's bytes cut at every position: what leaves is the same bytes as from the whole, and no other text."""
    for sample in some(voice, 5):
        want, written = wanted(voice, sample), voice.encode(sample.text)
        pieces = [written] if voice.at_once else cut(written, [len(written) // 2])
        body = b"".join(voice.stream(pieces))
        check(voice, run_stream(POLICY, voice, pieces), want)
        whole = fed(voice, [body])
        assert fed(voice, [body[at : at + 1] for at in range(len(body))]) == whole
        step = max(len(body) // AT_ONCE, 1) if AT_ONCE > 1 else len(body)
        for first in range(1, step):
            places = list(range(first, len(body), step)) or [first]
            assert fed(voice, [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]) == whole


def fed(voice: Voice, pieces: list[bytes]) -> bytes:
    """What leaves of a body in these pieces."""
    pipeline = StreamPipeline(voice.dialect, POLICY, voice.ask)
    return b"".join(map(pipeline.feed, pieces)) + pipeline.finish()
