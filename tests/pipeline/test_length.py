"""An answer that reaches its length: every text ends at exactly that many characters, and the answer as its API's does.

Every channel of every API; the oracle is the filter for the text up to the length.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.bench.apis import Talk, Voice, voices
from safeproxy.bench.leaks import cut
from safeproxy.core.filter import StreamFilter
from safeproxy.events import ChannelKind
from safeproxy.pipeline import BodyPipeline, Policy, Report, StreamPipeline
from safeproxy.wire.dialect import Ask
from tests.test_cuttings import DEEP, POLICY, SAMPLES
from tests.wire.chat import CHAT, DONE, Client, call, choice, chunk, entries, event, opening, says, sse

NAMES = [voice.name for voice in voices()]
by_voice = pytest.mark.parametrize("voice", voices(), ids=lambda voice: voice.name)
#: Words with which the APIs say that an answer has reached its length.
LENGTHS = ("length", "max_tokens", "MAX_TOKENS", "max_output_tokens", "limit", "answer_too_long")


def limited(length: int) -> Policy:
    """The rules of the cutting tests, with a longest answer."""
    return dataclasses.replace(POLICY, max_answer_chars=length)


def streamed(
    voice: Voice, policy: Policy, pieces: list[str], cuts: list[int] | None = None
) -> tuple[Talk, Report, bytes]:
    """What a client has of a stream, what is told of it, and its bytes; ``cuts`` are into bytes, not into events."""
    pipeline = StreamPipeline(voice.dialect, policy, voice.ask)
    writer, frames = voice.dialect.writer(), voice.stream(pieces)
    if cuts is not None:
        body = b"".join(frames)
        frames = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    out = b"".join(map(pipeline.feed, frames)) + pipeline.finish()
    out = out if writer is None else writer(out, True)
    report = pipeline.report
    assert pipeline.done
    assert report.held == 0
    assert report.scanned == report.passed + report.removed
    return voice.hear(out), report, out


def expected(voice: Voice, text: str, length: int) -> tuple[str, bool]:
    """What is delivered of the text up to the length, and whether a rule halts it there."""
    stream = StreamFilter(POLICY.rules, kind=voice.kind, hash_key=POLICY.hash_key)
    told = stream.feed(text[:length]) + stream.finish()
    return told, stream.halted


def is_call(voice: Voice) -> bool:
    """Whether the text is one of a call, which is held until it is whole, as an interpreter's code is not."""
    return voice.kind is ChannelKind.TOOL_ARGUMENTS and "code_interpreter" not in voice.name


def lengths(voice: Voice, text: str) -> list[int]:
    """Every length, or in the quick profile every third, from another one on for each voice."""
    return list(range(1, len(text) + 1) if DEEP else range(1 + NAMES.index(voice.name) % 3, len(text) + 1, 3))


def check_end(report: Report, out: bytes, *, halted: bool, too_long: bool) -> None:
    """The one end that is due, in the answer and in what is told of it."""
    if halted:
        assert report.ended == "content_filter"
        return
    assert (report.ended == "length") is too_long
    assert ("answer_too_long" in report.faults) is too_long
    assert any(f'"{word}"'.encode() in out for word in LENGTHS) is too_long


@by_voice
def test_a_streamed_text_ends_at_its_length(voice: Voice) -> None:
    """Whatever its cutting; what it says again is no longer, and a rule that halts before halts."""
    if is_call(voice) or voice.ask.json or voice.at_once:
        return
    for sample in SAMPLES:
        for length in lengths(voice, sample.text):
            want, halted = expected(voice, sample.text, length)
            for pieces in ([sample.text], cut(sample.text, [len(sample.text) // 2]), list(sample.text)):
                talk, report, out = streamed(voice, limited(length), pieces)
                assert talk.spelled == want
                assert set(talk.again) <= {want}
                check_end(report, out, halted=halted, too_long=length < len(sample.text))


@by_voice
def test_a_whole_text_ends_at_its_length(voice: Voice) -> None:
    """In an answer that is not streamed; calls and signed thinking are left out, unknown APIs not measured."""
    if voice.body is None or voice.dialect.name.startswith("generic"):
        return
    signed = voice.name == "anthropic thinking"
    for sample in SAMPLES:
        written = voice.encode(sample.text)
        if voice.in_json and not sample.text.isascii():
            continue  # objects are measured as they are meant, not as they are written
        for length in lengths(voice, written):
            pipeline = BodyPipeline(voice.dialect, limited(length), voice.ask)
            _, out = pipeline.run(json.dumps(voice.body(written)).encode(), 200)
            too_long = length < len(written)
            want, halted = expected(voice, sample.text, len(sample.text) if voice.in_json else length)
            if too_long and (voice.in_json or is_call(voice) or signed):
                assert pipeline.report.ended in ("length", "content_filter")
                assert voice.ask.json or voice.hear_body(out).spelled in ("", want)
            else:
                told = voice.hear_body(out).spelled
                assert (
                    voice.decode(told) == want
                    or ((voice.in_json or signed) and halted and not told)
                    or b'"error"' in out
                )
                check_end(pipeline.report, out, halted=halted, too_long=too_long)


@by_voice
def test_a_call_is_sent_whole_or_not_at_all(voice: Voice) -> None:
    """JSON that is cut off is another call, or none."""
    if not is_call(voice):
        return
    sample = SAMPLES[0]
    written = voice.encode(sample.text)
    for length in (1, len(written) // 2, len(written) - 1, len(written), len(written) + 1):
        for pieces in ([written],) if voice.at_once else ([written], cut(written, [length // 2]), list(written)):
            talk, report, out = streamed(voice, limited(length), pieces)
            too_long = length < len(written)
            assert voice.decode(talk.spelled) == ("" if too_long else expected(voice, sample.text, 99)[0])
            assert not too_long or not any(talk.again)
            check_end(report, out, halted=False, too_long=too_long)


@by_voice
def test_every_cut_into_bytes_gives_the_same_bytes(voice: Voice) -> None:
    """At every position in the deep profile, else at some; an event with more than fits is cut in itself."""
    sample = SAMPLES[0]
    written = voice.encode(sample.text)
    pieces = [written] if voice.at_once else cut(written, [7])
    length = min(12, len(written) - 1)
    body = b"".join(voice.stream(pieces))
    _, _, whole = streamed(voice, limited(length), pieces, [])
    for at in range(1, len(body), 1 if DEEP else 29):
        assert streamed(voice, limited(length), pieces, [at])[2] == whole
    assert streamed(voice, limited(length), pieces, list(range(1, len(body))))[2] == whole


#: How each API ends, by a voice: its last events, and what a body says.
ENDS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "chat content": (
        [{"choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}]}],
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "One two"}, "finish_reason": "length"}]},
    ),
    "completions text": (
        [{"choices": [{"text": "", "index": 0, "logprobs": None, "finish_reason": "length"}]}],
        {"choices": [{"index": 0, "text": "One two", "logprobs": None, "finish_reason": "length"}]},
    ),
    "responses output_text": (
        [
            {"type": "response.output_text.done", "text": "One two"},
            {"type": "response.content_part.done"},
            {"type": "response.output_item.done"},
            {
                "type": "response.incomplete",
                "response": {
                    "status": "incomplete",
                    "error": None,
                    "incomplete_details": {"reason": "max_output_tokens"},
                },
            },
        ],
        {"status": "incomplete", "error": None, "incomplete_details": {"reason": "max_output_tokens"}},
    ),
    "anthropic text": (
        [
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "max_tokens", "stop_sequence": None},
                "usage": {"output_tokens": 1},
            },
            {"type": "message_stop"},
        ],
        {"stop_reason": "max_tokens", "stop_sequence": None, "content": [{"type": "text", "text": "One two"}]},
    ),
    "gemini text": (
        [{"candidates": [{"finishReason": "MAX_TOKENS", "index": 0, "safetyRatings": []}]}],
        {
            "candidates": [
                {
                    "index": 0,
                    "content": {"role": "model", "parts": [{"text": "One two"}]},
                    "finishReason": "MAX_TOKENS",
                }
            ]
        },
    ),
    "ollama chat content": (
        [{"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "length"}],
        {"message": {"role": "assistant", "content": "One two"}, "done": True, "done_reason": "length"},
    ),
    "ollama generate response": (
        [{"response": "", "done": True, "done_reason": "length"}],
        {"response": "One two", "done": True, "done_reason": "length"},
    ),
    "cohere text": (
        [
            {"type": "content-end", "index": 0},
            {"type": "message-end", "delta": {"finish_reason": "MAX_TOKENS"}},
        ],
        {
            "finish_reason": "MAX_TOKENS",
            "message": {"role": "assistant", "content": [{"type": "text", "text": "One two"}]},
        },
    ),
    "transcription text": ([{"error": {"code": "answer_too_long"}}], {"error": {"code": "answer_too_long"}}),
}


def holds(whole: Any, part: Any) -> bool:
    """Whether a value says all that another does, at any depth."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and holds(whole[key], part[key]) for key in part)
    return bool(whole == part)


@pytest.mark.parametrize("name", list(ENDS))
def test_the_end_is_the_apis_own(name: str) -> None:
    """Its word for its own limit, in its place; the notice of a halt is not shown."""
    voice = next(one for one in voices() if one.name == name)
    voice = dataclasses.replace(voice, ask=dataclasses.replace(voice.ask, notice="Halted."))
    events, answer = ENDS[name]
    _, _, out = streamed(voice, limited(7), ["One two", " three"])
    told = [json.loads(line.removeprefix(b"data: ")) for line in out.splitlines() if line.endswith(b"}")]
    assert all(map(holds, told[-len(events) :], events)), told
    assert not any(map(holds, told[: -len(events)], events))
    assert out.endswith(b"data: [DONE]\n\n") is (name in ("chat content", "completions text"))
    assert voice.body is not None
    pipeline = BodyPipeline(voice.dialect, limited(7), voice.ask)
    status, body = pipeline.run(json.dumps(voice.body("One two three")).encode(), 200)
    assert holds(json.loads(body), answer)
    assert status == (502 if name == "transcription text" else 200)
    assert pipeline.report.faults == ["answer_too_long"]
    assert b"Halted." not in out + body


PIECES = [
    "ada",
    "@",
    "example",
    ".com",
    " ",
    "sk-",
    "abcdef",
    "4111111111111111",
    "\n",
    '"',
    "\u00e9",
    "\U0001f600",
    "BEGIN",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.integers(1, 40), st.data())
def test_any_text_any_cutting_any_length(text: str, length: int, data: st.DataObject) -> None:
    """Made of what the rules look for, so that findings lie across the length; halves of characters come apart."""
    raw = text.encode("utf-16-le")
    units = [raw[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(raw), 2)]
    places = sorted(data.draw(st.sets(st.integers(0, len(units)), max_size=8)))
    pieces = ["".join(units[start:end]) for start, end in zip([0, *places], [*places, len(units)], strict=True)]
    voice = voices()[0]
    want, halted = expected(voice, text, length)
    talk, report, out = streamed(voice, limited(length), pieces)
    assert talk.spelled == want
    check_end(report, out, halted=halted, too_long=length < len(text))


def chat(policy: Policy, *frames: bytes, ask: Ask | None = None) -> tuple[Client, StreamPipeline]:
    """What a client of a chat has."""
    pipeline = StreamPipeline(CHAT, policy, ask)
    return Client().read(b"".join(map(pipeline.feed, frames)) + pipeline.finish()), pipeline


def test_what_other_texts_hold_is_decided_as_at_an_end() -> None:
    """Of another choice, of the reasoning; all choices end, but one that has ended keeps its own end."""
    client, pipeline = chat(
        limited(8),
        *(opening(index) for index in range(4)),
        chunk({"content": "ada@ex.d"}, index=1),
        chunk({"reasoning_content": "ada@ex."}),
        chunk({"content": "ok"}, "stop", index=3),
        *says("One ", "two three"),
    )
    assert client.text() == "One two "
    assert client.text("reasoning_content") == "ada@ex."
    assert client.text(index=1) == "ada@ex.d"
    assert [client.choices[index].finish for index in range(4)] == ["length", "length", "length", "stop"]
    assert client.done
    assert pipeline.report.delivered_finish == {0: "length", 1: "length", 2: "length", 3: "stop"}
    assert pipeline.feed(chunk({"content": "more"})) == b""


def test_a_finding_in_what_others_hold_counts() -> None:
    """It is replaced; one that halts makes it a halt."""
    client, _ = chat(
        limited(9), opening(), opening(1), chunk({"content": "ada@ex.de"}, index=1), *says("One two three")
    )
    assert client.text(index=1) == "[MAIL]"
    client, pipeline = chat(
        limited(9), opening(), opening(1), chunk({"content": "sk-abcdef"}, index=1), *says("One two three")
    )
    assert (client.text(), client.text(index=1)) == ("One two t", "")
    assert {one.finish for one in client.choices.values()} == {"content_filter"}
    assert pipeline.report.ended == "content_filter"


def test_calls_that_are_complete_are_sent() -> None:
    """One that is not is none, and one that is too long ends the answer."""
    whole, half = call('{"a": 1}', id="call_1", name="f"), call('{"b": ', 1, id="call_2", name="g")
    client, _ = chat(limited(9), opening(), chunk(whole), chunk(half), *says("One two three"))
    assert {key: one["arguments"] for key, one in client.choices[0].calls.items()} == {0: '{"a": 1}'}
    assert (client.text(), client.choices[0].finish) == ("One two t", "length")
    more = [chunk(call("2222, ", 1)) for _ in range(3)]
    client, pipeline = chat(limited(9), opening(), chunk(whole), chunk(half), *more)
    assert list(client.choices[0].calls) == [0]
    assert (client.choices[0].finish, pipeline.report.faults) == ("length", ["answer_too_long"])


def test_json_that_was_asked_for_ends_as_the_model_would_end_it() -> None:
    """In its middle; what is found in it is replaced all the same."""
    client, _ = chat(limited(22), opening(), *says('{"to": "ada@ex.de", "t', 'ext": "Hi"}'), ask=Ask(json=True))
    assert client.text() == '{"to": "[MAIL]", "t'
    assert client.choices[0].finish == "length"


def test_log_probabilities_end_with_the_text() -> None:
    """None tells of what was cut off."""
    tokens = ("One ", "two ", "three")
    delta = choice({"content": "".join(tokens)}, logprobs=entries(*tokens))
    client, _ = chat(limited(10), opening(), sse(event(delta)))
    assert client.text() == "One two th"
    assert [one["token"] for one in client.choices[0].tokens] == ["One ", "two "]


def test_a_text_of_just_the_length_ends_by_itself() -> None:
    """Nothing was cut off."""
    client, pipeline = chat(limited(8), opening(), *says("One ", "two "), chunk({}, "stop"), DONE)
    assert (client.text(), client.choices[0].finish, pipeline.report.faults) == ("One two ", "stop", [])


def test_what_no_model_said_is_not_measured() -> None:
    """Errors, usage and names; in bodies also lists of what users wrote."""
    client, _ = chat(limited(5), sse({"error": {"message": "A long explanation", "code": "overloaded"}}))
    assert client.error == {"message": "A long explanation", "code": "overloaded"}
    for dialect, body, status in (
        (CHAT, {"error": {"message": "A long explanation"}}, 400),
        (
            next(one for one in voices() if one.name == "responses output_text").dialect,
            {
                "object": "list",
                "data": [{"type": "message", "content": [{"type": "input_text", "text": "A long text"}]}],
            },
            200,
        ),
    ):
        raw = json.dumps(body).encode()
        assert BodyPipeline(dialect, limited(5)).run(raw, status) == (status, raw)


def test_choices_before_the_cut_keep_their_own_end() -> None:
    """In a body; those behind it were not said."""

    def one(index: int, content: str) -> dict[str, Any]:
        return {"index": index, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}

    pipeline = BodyPipeline(CHAT, limited(5))
    raw = json.dumps({"choices": [one(0, "One"), one(1, "Two three"), one(2, "Four")]}).encode()
    told = json.loads(pipeline.run(raw, 200)[1])["choices"]
    assert [(c["message"]["content"], c["finish_reason"]) for c in told] == [
        ("One", "stop"),
        ("Two t", "length"),
        ("", "length"),
    ]
    assert pipeline.report.delivered_finish == {0: "stop", 1: "length", 2: "length"}
