"""Whatever an upstream sends, nothing breaks, no secret leaves, and clients are told how it ended."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeproxy.bench.apis import Voice, texts, voices
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import ClientError
from safeproxy.pipeline import BodyPipeline, Policy, StreamPipeline
from safeproxy.pipeline.lines import LinesPipeline
from safeproxy.pipeline.prompt import filter_prompt
from safeproxy.pipeline.reframed import Reframed
from safeproxy.pipeline.sockets import SocketPipeline
from safeproxy.wire import registry
from safeproxy.wire.dialect import Ask, Dialect
from safeproxy.wire.ndjson import SseToNdjson
from tests.fuzz.mutations import (
    DIALECTS,
    MAIL,
    POLICY,
    SECRETS,
    STOP,
    all_holders,
    around,
    ended,
    exposed,
    frames_of,
    joined,
    leaked,
    mutate,
    parsed,
    plant_whole,
    run,
    strings,
)
from tests.golden.cases import Case, cases

VOICES = voices()
STREAMS = [case for case in cases() if case.streamed]
RECORDED = {case.name: parsed(case.dialect, case.upstream()) for case in STREAMS}
SAMPLES: list[Any] = [event for voice in VOICES for event in voice.events(['{"text":', '"ab"}'])]
SAMPLES += [event for events in RECORDED.values() for event in events]
#: The same rules for what is asked.
ASKING = Policy(RuleSet([Rule(id="email", entity="EMAIL", pattern=r"qzjxkv@vwkqzj\.qzx", request=True)]))

RANDOM = st.randoms(use_true_random=False)
SNIPPETS = st.sampled_from(
    [
        b"data: ",
        b"data:",
        b"event: message_start\n",
        b"id: 1\n",
        b"retry: 3\n",
        b": comment\n\n",
        b"\n\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b"[DONE]",
        b"data: [DONE]\n\n",
        b"[",
        b"]",
        b",",
        b"{}",
        b'{"',
        b'"}',
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b"\xff",
        b"\x1e",
        b"null",
        b"1e999",
        b'{"a":1,"a":2}',
        b"[" * 70,
        b'"\\ud83d"',
        MAIL.encode(),
    ]
    + [json.dumps(event).encode() for event in SAMPLES[::7]]
)
BYTES = st.binary(max_size=60) | st.lists(SNIPPETS | st.binary(max_size=4), max_size=12).map(b"".join)
CUTS = st.lists(st.integers(1, 40), max_size=8)

BY_DIALECT, BY_VOICE, BY_STREAM = st.sampled_from(DIALECTS), st.sampled_from(VOICES), st.sampled_from(STREAMS)
#: Each test is for all dialects, so it takes more examples than others.
more = settings(max_examples=3 * settings().max_examples)


def cut(data: bytes, lengths: list[int]) -> list[bytes]:
    """The data in pieces of these lengths, and the rest."""
    pieces = []
    for length in lengths:
        pieces.append(data[:length])
        data = data[length:]
    return [*pieces, data]


# ---- any bytes


@more
@given(dialect=BY_DIALECT, data=BYTES, lengths=CUTS, as_json=st.booleans())
def test_any_bytes_give_a_valid_stream(dialect: Dialect, data: bytes, lengths: list[int], as_json: bool) -> None:
    """Nothing is raised, the framing is that of the API, and no secret leaves."""
    pipeline = StreamPipeline(dialect, POLICY, Ask(json=as_json, notice="stopped"))
    writer = dialect.writer()
    out = b""
    for piece in cut(data, lengths):
        sent = pipeline.feed(piece)
        out += sent if writer is None else writer(sent, False)
    rest = pipeline.finish()
    out += rest if writer is None else writer(rest, True)
    assert pipeline.done
    assert MAIL.encode() not in out
    for event in parsed(dialect, out):
        assert MAIL not in json.dumps(event)


@more
@given(dialect=BY_DIALECT, data=BYTES, lengths=CUTS)
def test_any_bytes_may_break_off(dialect: Dialect, data: bytes, lengths: list[int]) -> None:
    """The same where the connection breaks: an error, and then nothing."""
    pipeline = StreamPipeline(dialect, POLICY)
    out = b"".join(map(pipeline.feed, cut(data, lengths))) + pipeline.fail("reset")
    writer = dialect.writer()
    parsed(dialect, out if writer is None else writer(out, True))
    assert (pipeline.feed(data), pipeline.finish(), pipeline.fail("reset")) == (b"", b"", b"")
    assert pipeline.report.ended is not None


@more
@given(dialect=BY_DIALECT, data=BYTES, status=st.sampled_from([200, 404, 500]), as_json=st.booleans())
def test_any_bytes_give_a_valid_body(dialect: Dialect, data: bytes, status: int, as_json: bool) -> None:
    """An answer that is not streamed is JSON in the end, whatever it was."""
    told, out = BodyPipeline(dialect, POLICY, Ask(json=as_json)).run(data, status)
    assert told >= 200
    assert leaked([json.loads(out)]) is None or exposed([json.loads(out)])


@more
@given(dialect=BY_DIALECT, data=BYTES)
def test_any_bytes_may_be_asked(dialect: Dialect, data: bytes) -> None:
    """A prompt is filtered or refused as no JSON, nothing else."""
    try:
        verdict = filter_prompt(dialect, ASKING, data)
    except ClientError:
        return
    dialect.ask(json.loads(verdict.body))
    dialect.restore(json.loads(verdict.body), lambda sealed: '["a", "b"]')
    assert MAIL not in json.dumps(json.loads(verdict.body)) or exposed([json.loads(verdict.body)])


@given(data=BYTES, lengths=CUTS)
def test_any_bytes_give_lines_for_browsers(data: bytes, lengths: list[int]) -> None:
    """A stream of events that is put into lines is lines of JSON, whatever came."""
    lines = SseToNdjson()
    pipeline = Reframed(StreamPipeline(registry.CHAT, POLICY), lambda frames, last: lines.feed(frames))
    out = b"".join(map(pipeline.feed, cut(data, lengths))) + pipeline.finish()
    assert pipeline.done
    parsed(registry.GENERIC_LINES, out)


@given(data=BYTES | BYTES.map(lambda data: data + b"\n"), lengths=CUTS)
def test_any_bytes_give_a_file_of_lines(data: bytes, lengths: list[int]) -> None:
    """Every line of a file of answers is JSON."""
    pipeline = LinesPipeline(registry.dialect_of, POLICY)
    out = b"".join(map(pipeline.feed, cut(data, lengths))) + pipeline.finish()
    assert pipeline.done
    parsed(registry.GENERIC_LINES, out.rstrip(b"\n") + b"\n" if out else out)  # the last line needs no end


@given(
    dialect=st.sampled_from([registry.SOCKET, registry.REALTIME]),
    messages=st.lists(st.text(max_size=20) | st.sampled_from(SAMPLES).map(json.dumps), max_size=6),
)
def test_any_messages_on_a_socket(dialect: Dialect, messages: list[str]) -> None:
    """Every message that leaves is a JSON object."""
    pipeline = SocketPipeline(dialect, POLICY, Ask())
    out = [message for said in messages for message in pipeline.feed(said)] + pipeline.finish()
    assert all(isinstance(json.loads(message), dict) for message in out)


# ---- events gone wrong


def pieces_of(voice: Voice) -> list[str]:
    """A text in three pieces that is what the channel needs."""
    return ['{"te', 'xt": "a', 'b"}'] if voice.in_json else ["hello ", "wor", "ld"]


@more
@given(voice=BY_VOICE, random_=RANDOM, times=st.integers(0, 4))
def test_no_secret_leaves_a_mutated_stream(voice: Voice, random_: Random, times: int) -> None:
    """A secret in one place of a stream gone wrong: not a piece of it gets out, and the stream ends."""
    events = mutate(voice.events(pieces_of(voice)), random_, times, SAMPLES)
    plant_whole(events, random_, random_.choice(SECRETS))
    events = mutate(events, random_, random_.choice([0, 0, 1]), SAMPLES)
    if exposed(events):
        return
    frames = frames_of(voice.dialect, events, random_, named=voice.named, done=voice.done)
    out, _ = run(voice.dialect, frames, voice.ask, deltas=list(voice.deltas.values()))
    told = parsed(voice.dialect, out)
    assert leaked(told, out) is None
    assert ended(voice.dialect, told, out)


@more
@given(case=BY_STREAM, random_=RANDOM, times=st.integers(0, 2))
def test_no_secret_leaves_a_mutated_recording(case: Case, random_: Random, times: int) -> None:
    """The same for recorded streams, which say more than texts."""
    events = mutate(RECORDED[case.name], random_, times, SAMPLES)
    plant_whole(events, random_, random_.choice(SECRETS))
    if exposed(events):
        return
    done = case.folder.parent.name in ("openai_chat", "openai_completions")
    frames = frames_of(case.dialect, events, random_, named=not done, done=done)
    out, _ = run(case.dialect, frames, case.ask)
    told = parsed(case.dialect, out)
    assert leaked(told, out) is None
    assert ended(case.dialect, told, out)


@more
@given(voice=BY_VOICE, random_=RANDOM, secret=st.sampled_from(SECRETS), times=st.integers(0, 3))
def test_no_secret_leaves_in_pieces(voice: Voice, random_: Random, secret: str, times: int) -> None:
    """A secret cut over the events of a text, among events gone wrong: a client cannot put it together again."""
    written = voice.encode(f"ab {secret} cd")
    places = sorted(random_.sample(range(1, len(written)), random_.choice([1, 2, 3, len(written) - 1])))
    pieces = [written[a:b] for a, b in zip([0, *places], [*places, len(written)], strict=True)]
    events = around(voice, pieces, random_, times, SAMPLES)
    frames = frames_of(voice.dialect, events, random_, named=voice.named, done=voice.done)
    out, _ = run(voice.dialect, frames, voice.ask, deltas=list(voice.deltas.values()))
    told = parsed(voice.dialect, out)
    said = [*joined(told), *("".join(texts(event, place)) for place in voice.deltas.values() for event in told)]
    assert not any(one in text for one in SECRETS for text in [*said, out.decode()])
    assert ended(voice.dialect, told, out)


@more
@given(voice=BY_VOICE, random_=RANDOM, times=st.integers(0, 3), size=st.integers(1, 30))
def test_nothing_follows_a_halt(voice: Voice, random_: Random, times: int, size: int) -> None:
    """After the word that halts, nothing of what was said leaves."""
    written = voice.encode(f"ab {STOP} vbxhush cd")
    pieces = [written[at : at + size] for at in range(0, len(written), size)]
    events = around(voice, pieces, random_, times, SAMPLES, apart=True)
    frames = frames_of(voice.dialect, events, random_, named=voice.named, done=voice.done)
    out, pipeline = run(voice.dialect, frames, voice.ask, deltas=list(voice.deltas.values()))
    assert pipeline.done
    told = parsed(voice.dialect, out)
    assert not any(word in text for word in ("vbx", "hush", STOP) for text in [*joined(told), out.decode()])


@more
@given(dialect=BY_DIALECT, random_=RANDOM, times=st.integers(0, 4), status=st.sampled_from([200, 400]))
def test_no_secret_leaves_a_mutated_body(dialect: Dialect, random_: Random, times: int, status: int) -> None:
    """The same for whole answers, of the API and of others."""
    bodies = [voice.body('{"text": "ab"}') for voice in VOICES if voice.body is not None]
    own = [voice.body('{"text": "ab"}') for voice in VOICES if voice.dialect is dialect and voice.body is not None]
    events = mutate([random_.choice(own or bodies)], random_, times, bodies)
    plant_whole(events, random_, random_.choice(SECRETS))
    if exposed(events):
        return
    for body in events:
        raw = json.dumps(body).encode()
        ask = Ask(json=random_.random() < 0.2, notice=random_.choice(["", "stopped"]))
        _, out = BodyPipeline(dialect, POLICY, ask).run(raw, status)
        assert leaked([json.loads(out)], out) is None


@given(random_=RANDOM, times=st.integers(0, 3))
def test_no_secret_leaves_a_file_of_lines(random_: Random, times: int) -> None:
    """The same for files of answers, bare or wrapped as batches wrap them."""
    bodies = [voice.body('{"text": "ab"}') for voice in VOICES if voice.body is not None]
    wraps = (
        lambda body: body,
        lambda body: {"custom_id": "1", "response": {"status_code": 200, "body": body}},
        lambda body: {"custom_id": "1", "result": {"type": "succeeded", "message": body}},
    )
    lines = [random_.choice(wraps)(random_.choice(bodies)) for _ in range(3)]
    lines = mutate(lines, random_, times, bodies)
    plant_whole(lines, random_, random_.choice(SECRETS))
    if exposed(lines):
        return
    pipeline = LinesPipeline(registry.dialect_of, POLICY)
    out = pipeline.feed(b"".join(json.dumps(line).encode() + b"\n" for line in lines)) + pipeline.finish()
    assert leaked(parsed(registry.GENERIC_LINES, out), out) is None


@given(dialect=st.sampled_from([registry.SOCKET, registry.REALTIME]), random_=RANDOM, times=st.integers(0, 4))
def test_no_secret_leaves_a_socket(dialect: Dialect, random_: Random, times: int) -> None:
    """The same for messages of several responses on one connection."""
    own = [voice for voice in VOICES if voice.dialect is registry.RESPONSES and not voice.ask.json]
    events = [event for _ in range(2) for event in (lambda v: v.events(pieces_of(v)))(random_.choice(own))]
    events = mutate(events, random_, times, SAMPLES)
    plant_whole(events, random_, random_.choice(SECRETS))
    if exposed(events):
        return
    pipeline = SocketPipeline(dialect, POLICY, Ask())
    out = [message for event in events for message in pipeline.feed(json.dumps(event))] + pipeline.finish()
    assert leaked([json.loads(message) for message in out]) is None


@more
@given(dialect=BY_DIALECT, random_=RANDOM, times=st.integers(0, 4))
def test_no_secret_passes_in_a_mutated_prompt(dialect: Dialect, random_: Random, times: int) -> None:
    """A request gone wrong goes upstream without the secret, or not at all; but for thinking that is signed."""
    thought = {"type": "thinking", "thinking": "a", "signature": "safeproxy1.x"}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [thought]}]
    asked = [{"model": "m", "messages": messages, "input": "x", "contents": [{"parts": []}], "text": {"format": {}}}]
    requests = mutate(asked, random_, times, SAMPLES[::5])
    plant_whole(requests, random_, MAIL)
    signed = [one for one in all_holders(requests) if isinstance(one, dict) and "signature" in one]
    if exposed(requests) or any(MAIL in str(one.get("thinking")) for one in signed):
        return
    for request in requests:
        try:
            verdict = filter_prompt(dialect, ASKING, json.dumps(request).encode())
            dialect.ask(request)
            dialect.restore(request, lambda sealed: '["a", "b"]')
        except ClientError:
            continue
        assert MAIL not in "\n".join(joined([json.loads(verdict.body)])) + verdict.body.decode()


# ---- what was found so, and must stay mended


def said(**fields: Any) -> dict[str, Any]:
    """An event of the responses API."""
    return {"sequence_number": 0, **fields}


DRESSED = f"so {MAIL}."
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
STARTED = {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": []}}


def delta(text: str) -> dict[str, Any]:
    """A piece of text of Anthropic's."""
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def output(text: str) -> dict[str, Any]:
    """A piece of text of the responses API."""
    return said(type="response.output_text.delta", item_id="i", output_index=0, content_index=0, delta=text)


def argued(text: str) -> dict[str, Any]:
    """A piece of a function call's arguments of the responses API."""
    return said(type="response.function_call_arguments.delta", item_id="i", output_index=0, delta=text)


def item(verb: str, **fields: Any) -> dict[str, Any]:
    """The beginning or the end of an item of the responses API."""
    return said(type=f"response.output_item.{verb}", output_index=0, item={"id": "i", "status": "x", **fields})


COMPLETED = said(type="response.completed", response={"id": "r", "status": "completed", "output": []})
HALF, REST = "qzjxkv@vwk", "qzj.qzx"
FOUND: dict[str, tuple[Dialect, list[Any]]] = {
    "anthropic, no index": (registry.ANTHROPIC, [{key: delta(MAIL)[key] for key in ("type", "delta")} | {"data": 0}]),
    "anthropic, a list for a type": (registry.ANTHROPIC, [{**BLOCK, "content_block": {"type": [DRESSED]}}]),
    "anthropic, an object for a type": (registry.ANTHROPIC, [{**BLOCK, "content_block": {"type": {DRESSED: 1}}}]),
    "anthropic, beside the message": (registry.ANTHROPIC, [{**STARTED, "data": DRESSED}]),
    "anthropic, a key beside the message": (registry.ANTHROPIC, [{**STARTED, MAIL: 1}]),
    "anthropic, after its block's end": (
        registry.ANTHROPIC,
        [STARTED, BLOCK, delta(HALF), {"type": "content_block_stop", "index": 0}, delta(REST)],
    ),
    "anthropic, a call's pieces before its beginning": (
        registry.ANTHROPIC,
        [
            STARTED,
            {**delta(""), "delta": {"type": "input_json_delta", "partial_json": f'{{"text": "{STOP}'}},
            {**BLOCK, "content_block": {"type": "tool_use", "id": "t", "name": "n", "input": {}}},
            {**delta(""), "delta": {"type": "input_json_delta", "partial_json": f' {MAIL[:-1]}"}}'}},
            {"type": "content_block_stop", "index": 0},
        ],
    ),
    "responses, half a pair for a type": (registry.RESPONSES, [said(type="\ud83d", x=f"b {MAIL}", output_index=0)]),
    "anthropic, half a pair for a type": (registry.ANTHROPIC, [{"type": "\ud83d", "x": f"b {MAIL}"}]),
    "generic, half a pair for a type": (registry.GENERIC, [{"type": "\ud83d", "x": f"b {MAIL}"}]),
    "responses, a text of a choice that is not open": (registry.RESPONSES, [said(type="so x", output_index=0)]),
    "responses, the type": (registry.RESPONSES, [said(type=DRESSED, output_index=0)]),
    "responses, a list for a type": (registry.RESPONSES, [said(type=[DRESSED], output_index=0)]),
    "responses, the item's id": (registry.RESPONSES, [{**output("a"), "item_id": DRESSED}]),
    "responses, a position": (registry.RESPONSES, [{**output("a"), "output_index": {"x": MAIL}}]),
    "responses, the number": (registry.RESPONSES, [{**output("a"), "sequence_number": [MAIL]}]),
    "responses, a key": (registry.RESPONSES, [said(type="response.created", response={"id": "r"}, **{MAIL: 1})]),
    "responses, a key of the response": (registry.RESPONSES, [said(type="response.created", response={MAIL: 1})]),
    "responses, a quoted key": (registry.RESPONSES, [said(type="response.created", response={"text": {MAIL: 1}})]),
    "responses, an item that is a text": (registry.RESPONSES, [said(type="x", response={"output": [MAIL, [MAIL]]})]),
    "responses, the usage": (registry.RESPONSES, [said(type="response.created", response={"usage": MAIL})]),
    "responses, the padding": (registry.RESPONSES, [{**output("a"), "obfuscation": MAIL}]),
    "responses, after its item's end": (
        registry.RESPONSES,
        [item("added", type="message"), output(HALF), item("done", type="message"), output(REST), COMPLETED],
    ),
    "responses, a call after the response's end": (
        registry.RESPONSES,
        [
            item("added", type="function_call", arguments=""),
            argued('{"text":"' + HALF),
            COMPLETED,
            argued(REST + '"}'),
            item("done", type="function_call", arguments=""),
        ],
    ),
    "cohere, after its content's end": (
        registry.COHERE,
        [
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": HALF}}}},
            {"type": "content-end", "index": 0},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": REST}}}},
        ],
    ),
    "ollama, a time": (
        registry.OLLAMA,
        [
            {"model": "m", "created_at": time, "message": {"role": "assistant", "content": text}, "done": False}
            for time, text in (("2026-01-01T00:00:00Z", "a"), ("2026-01-01T00:00:00Z", "b"), (MAIL, "c"))
        ],
    ),
    "responses, tokens that are no list": (registry.RESPONSES, [output("a") | {"logprobs": {"text": f"a {STOP} b"}}]),
    "responses, tokens that are no list, at the end": (
        registry.RESPONSES,
        [output("a") | {"logprobs": {"text": f"a {HALF}"}}, COMPLETED],
    ),
    "gemini, a call's response": (
        registry.GEMINI,
        [{"candidates": [{"content": {"parts": [{"functionCall": {"name": "n", "args": {}, "response": DRESSED}}]}}]}],
    ),
    "chat, the type of a thought": (
        registry.CHAT,
        [
            {"choices": [{"index": 0, "delta": {"content": [{"type": "thinking", "thinking": [thought]}]}}]}
            for thought in ({"type": DRESSED, "text": "a"}, {"type": [MAIL], "text": "a"})
        ],
    ),
}
OPEN: dict[str, str] = {}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(strict=True, reason=OPEN[name]) if name in OPEN else ())
        for name in FOUND
    ],
)
def test_what_fuzzing_found_stays_mended(name: str) -> None:
    """Shapes that once raised, or let a secret out."""
    dialect, events = FOUND[name]
    lines = dialect.media_type != "text/event-stream"
    head, end = (b"", b"\n") if lines else (b"event: x\ndata: ", b"\n\n")
    frames = [head + json.dumps(event).encode() + end for event in events]
    out, _ = run(dialect, frames, Ask())
    told = parsed(dialect, out)
    assert not any(MAIL[:-1] in text for text in [*strings(told), *joined(told), out.decode()])


def test_a_halted_body_whose_text_is_no_text() -> None:
    """The notice cannot go on with an object; the answer is cut off all the same."""
    part = {"type": "output_text", "text": {"x": f"a {STOP}"}}
    body = {"object": "response", "output": [{"type": "message", "content": [part]}]}
    raw = json.dumps(body).encode()
    _, out = BodyPipeline(registry.RESPONSES, POLICY, Ask(notice="stopped")).run(raw, 200)
    assert leaked([json.loads(out)], out) is None
