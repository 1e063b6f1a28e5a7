"""The scripts of the leak test: each must say its text, and be heard to say it."""

from __future__ import annotations

import json

import pytest

from safeproxy.bench.apis import Voice, texts, voices


@pytest.mark.parametrize("voice", voices(), ids=lambda voice: voice.name)
def test_a_script_says_its_text(voice: Voice) -> None:
    """Without any filter a client hears it, in deltas and in what repeats them."""
    written = voice.encode("some text")
    writer = voice.dialect.writer()
    out = b"".join(voice.stream([written] if voice.at_once else [written[:3], written[3:]]))
    talk = voice.hear(out)
    assert [voice.decode(said) for said in (talk.spelled, *talk.again)] == ["some text"] * (1 + len(talk.again))
    assert talk.finished
    assert not talk.halted
    assert (writer is not None) is (voice.dialect.media_type == "application/json")


@pytest.mark.parametrize("voice", voices(), ids=lambda voice: voice.name)
def test_a_body_says_its_text(voice: Voice) -> None:
    """The same for an answer that is not streamed."""
    assert voice.body is not None
    talk = voice.hear_body(json.dumps(voice.body(voice.encode("some text"))).encode())
    assert voice.decode(talk.spelled) == "some text"
    assert not talk.halted


def test_every_saying_is_heard() -> None:
    """A response says its text in four more places."""
    (voice,) = (voice for voice in voices() if voice.name == "responses output_text")
    assert len(voice.hear(b"".join(voice.stream(["x"]))).again) == 4


def test_texts_at_a_place() -> None:
    """Lists are gone through, what is not there is nothing."""
    value = {"a": [{"b": "x"}, {"c": 1}, {"b": {"d": 2}}]}
    assert texts(value, ("a", "*", "b")) == ["x", '{"d": 2}']
    assert texts(value, ("a", 0, "b")) == ["x"]
    assert texts(value, ("z",)) == []
