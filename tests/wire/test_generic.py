"""APIs nobody has described."""

from __future__ import annotations

import json
from typing import Any

import pytest

from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.pipeline import Policy
from safeproxy.wire.generic import Generic, GenericLines
from tests.wire.chat import DONE, sse
from tests.wire.chat import EMAIL as EMAIL_RULE
from tests.wire.talk import run, whole

EMAIL = ("ada", "@exam", "ple.com")


def lines(*found: Any) -> list[bytes]:
    """One JSON object a line."""
    return [json.dumps(one).encode() + b"\n" for one in found]


def test_clean_events_pass() -> None:
    """Byte for byte where no text is held."""
    frames = [sse({"t": "One, ", "n": 1}), sse({"t": "two. ", "n": 2}), sse({"n": 3}), DONE]
    assert run(Generic(), frames)[0] == b"".join(frames)


def test_a_finding_cut_over_events_is_found_wherever_it_stands() -> None:
    """Every string at one place is one text."""
    frames = [sse({"deep": [{"words": piece}]}) for piece in ("Mail ", *EMAIL, " now")]
    out, pipeline = run(Generic(), frames)
    told = [json.loads(block[6:]) for block in out.split(b"\n\n") if block]
    assert "".join(one["deep"][0]["words"] for one in told) == "Mail [EMAIL] now"
    assert pipeline.report.ended == "stop"


def test_places_are_told_apart() -> None:
    """By keys and by what events call themselves: two texts that take turns stay two."""
    frames = [sse({"type": kind, "s": piece}) for piece in ("ada@", "example.com") for kind in ("a", "b")]
    out, _ = run(Generic(), frames)
    assert out.count(b"[EMAIL]") == 2
    frames = [sse({"type": "a", "s": "ada@"}), sse({"type": "b", "s": "example.com"})]
    assert b"[EMAIL]" not in run(Generic(), frames)[0]


def test_lines_are_read_the_same() -> None:
    """In their own framing."""
    out, _ = run(GenericLines(), lines(*({"w": piece} for piece in ("Mail ", *EMAIL, " now"))))
    assert "".join(json.loads(line)["w"] for line in out.splitlines()) == "Mail [EMAIL] now"


@pytest.mark.parametrize("dialect", [Generic(), GenericLines()])
def test_a_halt_is_an_error(dialect: Generic) -> None:
    """What the API would say is not known."""
    say = lines if isinstance(dialect, GenericLines) else lambda *found: [sse(one) for one in found]
    out, pipeline = run(dialect, say({"w": "Key: "}, {"w": "sk-abcdefgh"}))
    assert b'"code":"content_filter"' in out
    assert b"sk-" not in out
    assert pipeline.report.ended == "content_filter"


@pytest.mark.parametrize("frames", [[b"data: plain words\n\n"], [sse(["a list"])], [sse("a string")]])
def test_what_is_no_event_is_an_error(frames: list[bytes]) -> None:
    """Never waved through."""
    out, pipeline = run(Generic(), frames)
    assert pipeline.report.faults == ["malformed_event"]
    assert b"words" not in out
    assert b"a list" not in out


def test_bodies_are_filtered_and_halted_bodies_replaced() -> None:
    """By an error, since an emptied answer might look complete."""
    assert whole(Generic(), {"any": [{"thing": "ada@example.com"}]})[1] == {"any": [{"thing": "[EMAIL]"}]}
    status, body, _ = whole(Generic(), {"any": "sk-abcdefgh"})
    assert (status, body["error"]["code"]) == (502, "content_filter")


def test_usage_and_model_are_taken_over() -> None:
    """Where they have the common names."""
    _, pipeline = run(Generic(), [sse({"model": "m-1", "usage": {"total_tokens": 3}})])
    assert (pipeline.report.model, pipeline.report.usage) == ("m-1", {"total_tokens": 3})


def test_labels_pass_while_text_is_held() -> None:
    """A client goes by them; what does not look like one is text."""
    frames = [sse({"event": "on_word", "kind": "bit", "w": piece}) for piece in EMAIL]
    out, _ = run(Generic(), frames)
    told = [json.loads(block[6:]) for block in out.split(b"\n\n") if block]
    assert {(one["event"], one["kind"]) for one in told} == {("on_word", "bit")}
    assert b"ada" not in run(Generic(), [sse({"event": "ada@example.com"}), sse({"kind": "to ada@example.com"})])[0]


def test_a_label_in_which_something_is_found_is_not_repeated() -> None:
    """Not in the event that brings the tail, either, wherever the label stands."""
    rules = Policy(RuleSet([Rule(id="name", entity="NAME", words=("qzjx",)), EMAIL_RULE]))
    out, _ = run(Generic(), [sse({"w": "ada", "kind": "qzjx"})], policy=rules)
    assert b"qzjx" not in out
    assert b"ada" in out
