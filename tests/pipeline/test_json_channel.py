"""Content asked for as JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest

from safeproxy.pipeline import BodyPipeline, StreamPipeline
from safeproxy.wire.dialect import Ask
from tests.wire.chat import CHAT, POLICY, Client, answer, choice, chunk, entries, event, opening, sse

JSON = Ask(json=True, notice="[never shown]")


def served(*pieces: str, ask: Ask = JSON) -> tuple[Client, StreamPipeline]:
    """What a client has of an answer in these pieces."""
    pipeline = StreamPipeline(CHAT, POLICY, ask)
    return Client().read(b"".join(map(pipeline.feed, answer(*pieces))) + pipeline.finish()), pipeline


def test_values_are_judged_by_what_they_say() -> None:
    """Escapes hide nothing, numbers stay numbers, spelling stays where nothing was found."""
    client, pipeline = served('{"to" : "ada\\u00', '40example.com", "card": 41111111', '11111111, "ok": "\\u0041"}')
    assert client.text() == '{"to" : "[EMAIL]", "card": 0, "ok": "\\u0041"}'
    report = pipeline.report
    assert report.scanned == report.passed + report.removed
    assert {finding.rule for finding in report.take_findings()} == {"email", "number"}


def test_every_prefix_a_client_sees_is_one_of_the_whole() -> None:
    """It sees nothing or all."""
    client, _ = served('{"a": "b', '"}')
    assert [entry["choices"][0]["delta"].get("content", "") for entry in client.events if entry["choices"]][1:-1] == [
        '{"a": "b"}'
    ]


def test_a_halt_shows_nothing_of_it_and_no_notice() -> None:
    """A parser would choke on either."""
    client, pipeline = served('{"k": "sk-abc', 'defgh"}')
    assert client.text() == ""
    assert client.choices[0].finish == "content_filter"
    assert pipeline.report.ended == "content_filter"


def test_what_is_no_json_is_text() -> None:
    """A refusal, or an answer cut off by its limit."""
    assert served("I cannot mail ada", "@example.com.")[0].text() == "I cannot mail [EMAIL]."
    assert served('{"to": "ada@example.com')[0].text() == '{"to": "[EMAIL]"'


def test_what_is_held_counts_as_held_and_is_withheld_when_the_stream_breaks() -> None:
    """The counts add up at any time."""
    pipeline = StreamPipeline(CHAT, POLICY, JSON)
    pipeline.feed(opening() + chunk({"content": '{"a": "b'}))
    assert (pipeline.report.scanned, pipeline.report.held) == (8, 8)
    assert b'"a' not in pipeline.fail("upstream_reset")
    assert (pipeline.report.scanned, pipeline.report.removed, pipeline.report.held) == (8, 8, 0)


def test_other_channels_are_not_held() -> None:
    """Reasoning is no JSON."""
    pipeline = StreamPipeline(CHAT, POLICY, JSON)
    out = pipeline.feed(opening() + chunk({"reasoning_content": "Let me see. "}))
    assert b"Let me see. " in out


def test_log_probabilities_leave_with_clean_json_only() -> None:
    """They would spell what was replaced."""
    for text, kept in (('{"a":1}', True), ('{"a":"ada@example.com"}', False)):
        pipeline = StreamPipeline(CHAT, POLICY, JSON)
        said = sse(event(choice({"content": text}, logprobs=entries(text))))
        out = pipeline.feed(opening() + said + chunk({}, "stop")) + pipeline.feed(b"data: [DONE]\n\n")
        tokens = Client().read(out).choices[0].tokens
        assert ([token["token"] for token in tokens] == [text]) is kept


def test_more_than_may_be_held_fails_closed() -> None:
    """As a detector that cannot go on."""
    pipeline = StreamPipeline(CHAT, dataclasses.replace(POLICY, max_event_bytes=2000), JSON)
    out = pipeline.feed(opening())
    for _ in range(30):
        out += pipeline.feed(chunk({"content": "x" * 100}))
    assert pipeline.report.ended == "detector_error"
    assert b"xxx" not in out


@pytest.mark.parametrize(
    "text", ['{"a":"ada@example.com"}', '["4111111111111111", 4111111111111111]', '{"k":"sk-abcdefgh"}']
)
def test_the_verdict_is_that_of_an_answer_that_is_not_streamed(text: str) -> None:
    """Streamed or not, the same text comes out."""
    message = {"role": "assistant", "content": text}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    _, out = BodyPipeline(CHAT, POLICY, JSON).run(json.dumps(body).encode(), 200)
    assert json.loads(out)["choices"][0]["message"]["content"] == served(text)[0].text()
