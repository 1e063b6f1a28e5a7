"""An answer says the same whether it is streamed or not: every channel of every API, samples of the shipped rules."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import pytest

from safeproxy.bench.apis import Talk, Voice, voices
from safeproxy.bench.leaks import Sample, run_body, run_stream, samples_of
from safeproxy.bench.rules import HASH_KEY
from safeproxy.core.filter import StreamFilter
from safeproxy.pipeline import Policy
from safeproxy.rulesets import load_with_sources
from safeproxy.wire import jsontext

RULES = Path(__file__).parent.parent / "rules"
#: Every how many-th sample is taken.
EVERY = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 47
VOICES = [voice for voice in voices() if voice.body is not None]
by_voice = pytest.mark.parametrize("voice", VOICES, ids=lambda voice: voice.name)

MAIL = "mail ada.lovelace@example.com now"
HAND_MADE = (
    "",
    " ",
    "\n",
    "plain words",
    MAIL,
    f'"{MAIL}"',
    f"\\{MAIL}\\",
    f"a\\u0040b {MAIL}",
    f"\u2028{MAIL}\u2029\x85",
    f"\U0001f600 {MAIL} \U0001f600",
    f"e\u0301 {MAIL} \ufb03",
    f"\x00\x1f {MAIL} \x7f",
    json.dumps({"to": [MAIL], "n": 4111111111111111}),
    json.dumps(json.dumps({"to": MAIL})),
    '{"a": 1, "a": 2}',
    '{"cut": "off',
    "[DONE]",
    "data: x\n\nevent: y\n\n",
    f"<b>{MAIL}</b>",
    "4111 1111 1111 1111",
    "{}",
    "null",
    "0",
)
#: Half a surrogate pair: JSON may spell it, UTF-8 cannot.
HALVES = ("\ud83d", "a \ude00 b", f"\ud83d{MAIL}", f"{MAIL} \ud83d")


@functools.cache
def policy() -> Policy:
    """The shipped rules."""
    return Policy(rules=load_with_sources([RULES]).ruleset, hash_key=HASH_KEY, seal=lambda text: "sealed")


@functools.cache
def samples() -> list[Sample]:
    """Some of the texts in which the shipped rules find something."""
    return samples_of(load_with_sources([RULES]).sources)[::EVERY]


def said(voice: Voice, talk: Talk | None) -> tuple[str, bool]:
    """The text a client has of an answer, and whether it was halted."""
    assert talk is not None
    return voice.decode(talk.spelled), talk.halted


def streamed(voice: Voice, text: str) -> Talk:
    """The answer in pieces of five characters."""
    written = voice.encode(text)
    return run_stream(policy(), voice, [written[at : at + 5] for at in range(0, len(written), 5)] or [""])


def check(voice: Voice, text: str) -> None:
    """The same text and the same verdict, and that of the filter for the text alone.

    Where an API has no end for an answer that was halted, an error stands in its place.
    """
    stream = streamed(voice, text)
    (spelled, halted), (told, stopped) = said(voice, stream), said(voice, run_body(policy(), voice, voice.encode(text)))
    assert halted is stopped
    assert spelled == told or (halted and not told)
    oracle = StreamFilter(policy().rules, kind=voice.kind, hash_key=HASH_KEY)
    expected = oracle.feed(text) + oracle.finish()
    assert stream.halted is oracle.halted
    if not voice.in_json and not oracle.halted:
        assert stream.spelled == expected
    for again in stream.again if not stream.halted else ():
        assert again == stream.spelled


@by_voice
def test_samples_of_the_shipped_rules(voice: Voice) -> None:
    """Found, replaced or halted alike."""
    for sample in samples():
        check(voice, sample.text)


@by_voice
def test_texts_made_by_hand(voice: Voice) -> None:
    """Escapes, line ends of all kinds, pairs of surrogates, text that looks like JSON or like the wire, no text."""
    for text in HAND_MADE:
        check(voice, text)


@by_voice
def test_halves_of_surrogate_pairs(voice: Voice) -> None:
    """They come through as they came, streamed or not, and hide nothing."""
    for text in HALVES:
        check(voice, text)


@by_voice
def test_a_pair_cut_in_two_is_one_character(voice: Voice) -> None:
    """A pair whose halves come in two events is the character that one event would have brought."""
    if voice.at_once or voice.in_json:
        return
    text = f"a \U0001f600 {MAIL}"
    halves = text.replace("\U0001f600", "\ud83d\ude00")
    for at in range(1, 11):
        talk = run_stream(policy(), voice, [halves[:at], halves[at:]])
        assert jsontext.join_pieces([talk.spelled]) == said(voice, run_body(policy(), voice, text))[0]
