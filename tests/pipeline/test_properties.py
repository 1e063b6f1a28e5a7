"""Properties of the pipeline: whatever the cutting and the interleaving, and whatever comes in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core import judge
from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Engine, Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Action, ChannelKind
from safeproxy.pipeline import BodyPipeline, Policy, StreamPipeline
from tests.wire.chat import CHAT, DONE, EMAIL, NUMBER, POLICY, Client, call, choice, event, opening, sse, whole

CALM = Policy(RuleSet([EMAIL, NUMBER]))
PIECES = [
    "ada",
    "@",
    "example",
    ".com",
    " ",
    "4111",
    "1111",
    "sk",
    "-",
    "x",
    "\n",
    '"',
    "\\",
    "\u00e9",
    "\U0001f600",
    "\u2028",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
SECRETS = ("qzjxkv@vwkqzj.qzx", "sk-qzjxkvwq")
SECRETIVE = Policy(
    RuleSet(
        [
            Rule(id="email", entity="EMAIL", pattern=r"qzjxkv@vwkqzj\.qzx"),
            Rule(id="key", entity="KEY", pattern=r"sk-qzjxkvwq", action=Action.HALT),
        ]
    )
)
BETWEEN = st.integers(0, 40)


def cuts(data: Any, positions: list[int]) -> list[Any]:
    """``data`` in pieces whose lengths are ``positions``, the last of them again and again."""
    pieces, at = [], 0
    for length in positions:
        pieces.append(data[at : at + length])
        at += length
    return [*pieces, data[at:]]


@st.composite
def streams(draw: st.DrawFn) -> tuple[dict[tuple[int, str], str], bytes]:
    """Texts by choice and key, and a stream that interleaves their pieces."""
    count = draw(st.integers(1, 3))
    keys = ["content", "reasoning_content", "refusal"]
    texts = {
        (index, key): draw(TEXTS) for index in range(count) for key in draw(st.sets(st.sampled_from(keys), min_size=1))
    }
    queues = {key: cuts(text, draw(st.lists(st.integers(1, 5), max_size=12))) for key, text in texts.items()}
    ascii_only, padded, spaced = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    data = b"".join(opening(index) for index in range(count))
    while queues:
        index, key = draw(st.sampled_from(sorted(queues)))
        piece = queues[index, key].pop(0)
        if not queues[index, key]:
            del queues[index, key]
        more = {"obfuscation": "x" * draw(st.integers(1, 4))} if padded else {}
        body = event(choice({key: piece}, index=index), **more)
        frame = json.dumps(body, ensure_ascii=ascii_only, separators=(", ", ": ") if spaced else (",", ":"))
        data += b"data: " + frame.encode() + b"\n\n"
        if not any(left == index for left, _ in queues):
            data += sse(event(choice({}, "stop", index)))
    return texts, data + DONE


@given(streams(), st.lists(BETWEEN, max_size=30), st.booleans())
def test_any_cutting_and_interleaving_delivers_what_whole_texts_give(
    stream: tuple[dict[tuple[int, str], str], bytes], lengths: list[int], bytewise: bool
) -> None:
    """Each channel arrives as filtering its whole text at once would give it."""
    texts, data = stream
    pipeline = StreamPipeline(CHAT, CALM)
    pieces = [bytes([byte]) for byte in data] if bytewise else cuts(data, lengths)
    client = Client().read(b"".join(map(pipeline.feed, pieces)) + pipeline.finish())
    assert client.done
    assert pipeline.report.ended == "stop"
    for (index, key), text in texts.items():
        assert client.text(key, index) == whole(text, rules=CALM.rules)
    delivered = sum(len(text) for entry in client.choices.values() for text in entry.texts.values())
    report = pipeline.report
    assert report.passed + report.placeholders == delivered
    assert report.scanned == report.passed + report.removed == sum(map(len, texts.values()))


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=5), max_size=8))
def test_tokens_leave_only_for_text_that_leaves_as_it_is(deltas: list[list[str]]) -> None:
    """Of the log probabilities exactly those arrive whose text was not replaced, in order, not before that text."""
    pipeline = StreamPipeline(CHAT, CALM)
    client = Client().read(pipeline.feed(opening()))
    for tokens in deltas:
        entries = [{"token": token, "logprob": -1.0, "bytes": None, "top_logprobs": []} for token in tokens]
        client.read(pipeline.feed(sse(event(choice({"content": "".join(tokens)}, logprobs={"content": entries})))))
        delivered = sum(len(entry["token"]) for entry in client.choices[0].tokens)
        assert delivered <= pipeline.report.passed
    client.read(pipeline.feed(sse(event(choice({}, "stop"))) + DONE))
    stream = StreamFilter(CALM.rules)
    tokens = [token for delta in deltas for token in delta]
    stream.feed("".join(tokens))
    stream.finish()
    edits, kept, at = stream.take_edits(), [], 0
    for token in tokens:
        if not any(start < at + len(token) and at < end for start, end in edits):
            kept.append(token)
        at += len(token)
    assert [entry["token"] for entry in client.choices[0].tokens] == kept


@given(st.binary(max_size=200), st.lists(BETWEEN, max_size=10))
def test_garbage_ends_in_an_error_event_and_never_raises(data: bytes, lengths: list[int]) -> None:
    """Bytes that are no stream are answered by the API's error event; a mere end marker passes as what it is."""
    pipeline = StreamPipeline(CHAT, POLICY)
    out = b"".join(map(pipeline.feed, cuts(data, lengths))) + pipeline.finish()
    assert pipeline.done
    assert pipeline.report.ended in ("upstream_error", "upstream_incomplete")
    assert b'"error"' in out or out.endswith(b"data: [DONE]\n\n")


KEYS = """
    content delta index tool_calls function arguments text logprobs token audio data transcript message choices
    reasoning_details error annotations other
"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["", "stop", "some text", *SECRETS]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYS.split(), *SECRETS]), inner, max_size=4)
    ),
    max_leaves=12,
)
TOKENS = st.builds(
    lambda token, raw: {"token": token, "bytes": raw, "top_logprobs": []}, st.sampled_from(["x", *SECRETS]), JSON
)
EVENTS = st.one_of(
    st.dictionaries(st.sampled_from(["choices", "error", "__verbose", "usage", "x"]), JSON, max_size=3),
    st.builds(lambda delta: event(choice(delta)), JSON),
    st.builds(lambda a, b: event(choice({"content": "t"}, logprobs=a), {**choice({}), "x": b}), JSON, JSON),
    st.builds(
        lambda calls, finish: event(choice({"tool_calls": calls}, finish)), JSON, st.sampled_from([None, "stop"])
    ),
    st.builds(lambda entry: event(choice({"tool_calls": [{"index": 0, "function": entry}]})), JSON),
    st.builds(lambda top, text: {**event(choice(call(text, id="1", name="f"))), "x": top, "text": text}, JSON, TEXTS),
    st.builds(
        lambda tokens, text: event(choice({"content": text}, logprobs={"content": tokens}, token_ids=[1])),
        st.lists(
            st.builds(lambda t, b: {"token": t, "bytes": b, "top_logprobs": []}, st.sampled_from(["x", *SECRETS]), JSON)
        ),
        st.sampled_from(["x", *SECRETS]),
    ),
    st.builds(lambda audio: event(choice({"audio": audio})), JSON),
    st.builds(lambda content: event(choice({"content": content})), JSON),
)


def leaked(value: Any) -> str | None:
    """A piece of four characters of a secret that stands in a value, as key or text."""
    if isinstance(value, dict):
        return next(filter(None, [leaked([*value.keys(), *value.values()])]), None)
    if isinstance(value, list):
        return next(filter(None, map(leaked, value)), None)
    pieces = {secret[at : at + 4] for secret in SECRETS for at in range(len(secret) - 3)}
    return next((piece for piece in pieces if isinstance(value, str) and piece in value), None)


@given(st.lists(EVENTS, max_size=6))
def test_no_piece_of_a_secret_leaves_from_anywhere(events: list[dict[str, Any]]) -> None:
    """Whatever the shape of the events, a secret in a leaf or key of theirs does not get out."""
    pipeline = StreamPipeline(CHAT, SECRETIVE)
    out = b"".join(pipeline.feed(sse(body)) for body in events) + pipeline.feed(DONE) + pipeline.finish()
    assert pipeline.done
    for block in out.decode().split("\n\n"):
        body = block.removeprefix("data: ")
        assert not body or body == "[DONE]" or leaked(json.loads(body)) is None
    report = pipeline.report
    assert report.scanned == report.passed + report.removed
    assert report.placeholders >= 0


class Fragile:
    """A validator that breaks when its schedule says so; with each text it goes on to the next entry."""

    def __init__(self) -> None:
        self.schedule: list[bool] = []
        self.calls = 0

    def __call__(self, text: str) -> bool:
        self.calls += 1
        if self.schedule and self.schedule[self.calls % len(self.schedule)]:
            raise RuntimeError(text)
        return True


FRAGILE = Fragile()
with pytest.MonkeyPatch.context() as _patch:
    _patch.setattr(judge, "VALIDATORS", {"fragile": FRAGILE})
    BREAKING = RuleSet(
        [
            Rule(id="email", entity="EMAIL", pattern=r"qzjxkv@vwkqzj\.qzx", validators=("fragile",)),
            Rule(id="word", entity="WORD", pattern=r"\w+ ?x?", validators=("fragile",), action=Action.OBSERVE),
            Rule(
                id="key",
                entity="KEY",
                pattern=r"sk-qzjxkvwq",
                validators=("fragile",),
                engine=Engine.REGEX,
                max_length=99,
            ),
        ]
    )


@given(
    st.lists(EVENTS | st.builds(lambda text: event(choice({"content": text})), st.sampled_from(SECRETS)), max_size=6),
    st.lists(st.booleans(), min_size=1, max_size=12),
    st.sampled_from(["halt", "pass"]),
    st.sampled_from(["done", "end", "fail"]),
)
def test_a_detector_that_breaks_never_breaks_the_pipeline(
    events: list[dict[str, Any]], schedule: list[bool], on_error: Any, ending: str
) -> None:
    """Whenever it breaks: nothing is raised, the counts add up, and where errors halt no secret leaves."""
    FRAGILE.schedule, FRAGILE.calls = schedule, 0
    pipeline = StreamPipeline(CHAT, Policy(BREAKING, on_detector_error=on_error))
    out = b"".join(pipeline.feed(b": sk-qzjxkvwq\n\n" + sse(body)) for body in events)
    out += {"done": lambda: pipeline.feed(DONE), "end": pipeline.finish, "fail": lambda: pipeline.fail("reset")}[
        ending
    ]()
    assert pipeline.done
    report = pipeline.report
    assert report.held == 0
    assert report.scanned == report.passed + report.removed
    assert min(report.passed, report.removed, report.placeholders) >= 0
    if on_error == "halt":
        assert leaked(out.decode()) is None
    body = {"choices": [{"index": 0, "message": entry, "finish_reason": "stop"} for entry in events]}
    BodyPipeline(CHAT, Policy(BREAKING, on_detector_error=on_error)).run(json.dumps(body).encode(), 200)


@given(JSON, st.sampled_from([200, 400]))
def test_no_piece_of_a_secret_leaves_in_a_body(value: Any, status: int) -> None:
    """The same for whole bodies."""
    for body in (value, {"choices": [{"index": 0, "message": value, "finish_reason": "stop"}]}):
        pipeline = BodyPipeline(CHAT, SECRETIVE)
        _, out = pipeline.run(json.dumps(body).encode(), status)
        assert leaked(json.loads(out)) is None
        assert pipeline.report.ended is not None


@given(TEXTS, TEXTS, st.lists(st.integers(1, 5), max_size=12))
def test_streamed_and_whole_answers_give_the_same_text(content: str, argument: str, lengths: list[int]) -> None:
    """An answer says the same, streamed or not."""
    arguments = json.dumps({"to": argument, "n": [1, 4111111111111111]})
    frames = [opening(), *(sse(event(choice({"content": piece}))) for piece in cuts(content, lengths))]
    pieces = cuts(arguments, lengths)
    for number, piece in enumerate(pieces):
        start = {"id": "t", "type": "function"} if not number else {}
        function = {"arguments": piece, **({"name": "f"} if not number else {})}
        frames.append(sse(event(choice({"tool_calls": [{"index": 0, **start, "function": function}]}))))
    pipeline = StreamPipeline(CHAT, CALM)
    out = b"".join(map(pipeline.feed, [*frames, sse(event(choice({}, "tool_calls"))), DONE])) + pipeline.finish()
    client = Client().read(out)
    message = {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": arguments}}],
    }
    body = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    status, new = BodyPipeline(CHAT, CALM).run(json.dumps(body).encode(), 200)
    delivered = json.loads(new)["choices"][0]["message"]
    assert status == 200
    assert delivered["content"] == client.text() == whole(content, ChannelKind.CONTENT, CALM.rules)
    assert delivered["tool_calls"][0]["function"]["arguments"] == client.choices[0].calls[0]["arguments"]
    assert json.loads(client.choices[0].calls[0]["arguments"])["to"] == whole(argument, rules=CALM.rules)
