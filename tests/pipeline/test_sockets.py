"""Messages of a WebSocket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from safeproxy.pipeline import SocketPipeline
from safeproxy.wire.dialect import Ask
from safeproxy.wire.registry import REALTIME, SOCKET, socket_dialect
from tests.wire.chat import POLICY
from tests.wire.test_openai_responses import Script

EMAIL = ("ada", "@exam", "ple.com")


def message(kind: str, **fields: Any) -> str:
    """An event of the realtime API."""
    return json.dumps({"type": kind, "event_id": "event_1", **fields})


def response(*pieces: str) -> list[str]:
    """A spoken response."""
    item = {"id": "item_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    place = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
    spoken = {**item, "status": "completed", "content": [{"type": "output_audio", "transcript": "".join(pieces)}]}
    return [
        message("response.created", response={"id": "resp_1", "status": "in_progress", "output": []}),
        message("response.output_item.added", response_id="resp_1", output_index=0, item=item),
        *(message("response.output_audio_transcript.delta", **place, delta=piece) for piece in pieces),
        message("response.output_audio_transcript.done", **place, transcript="".join(pieces)),
        message("response.output_item.done", response_id="resp_1", output_index=0, item=spoken),
        message("response.done", response={"id": "resp_1", "status": "completed", "output": [spoken]}),
    ]


def run(*messages: str, dialect: Any = REALTIME) -> tuple[list[Any], list[str], SocketPipeline]:
    """What comes out, decoded and as it is."""
    pipeline = SocketPipeline(dialect, POLICY, Ask())
    out = [told for one in messages for told in pipeline.feed(one)]
    return [json.loads(one) for one in out], out, pipeline


def test_clean_messages_pass_as_they_came() -> None:
    """One response after the other."""
    limits = message("rate_limits.updated", rate_limits=[{"name": "requests", "limit": 3, "remaining": 2}])
    messages = [message("session.created", session={"model": "m"}), *response("Hello. "), limits, *response("Bye. ")]
    assert run(*messages)[1] == messages


def test_each_response_is_filtered() -> None:
    """In its deltas and in all that says it again."""
    found, _, pipeline = run(*response("Mail ", *EMAIL, " now"), *response("And ", *EMAIL))
    spoken = [one["delta"] for one in found if one["type"].endswith("transcript.delta")]
    assert "".join(spoken) == "Mail [EMAIL] nowAnd [EMAIL]"
    assert "ada" not in json.dumps(found)
    assert [one["type"] for one in found].count("response.done") == 2
    assert not pipeline.done
    assert len(pipeline.report.take_findings()) == 2


def test_usage_is_that_of_all_responses() -> None:
    """A connection has many, each of which is paid for."""
    messages = []
    for output in (3, 4):
        *before, last = response("Hello. ")
        told = json.loads(last)
        told["response"]["usage"] = {"input_tokens": 5, "output_tokens": output}
        messages += [*before, json.dumps(told)]
    _, _, pipeline = run(*messages)
    assert pipeline.report.usage == {"input_tokens": 10, "output_tokens": 7}


def test_a_halt_ends_the_response_and_the_connection() -> None:
    """In the realtime API's words; nothing after it is sent."""
    found, _, pipeline = run(*response("Key: ", "sk-abcdefgh"), *response("More. "))
    assert found[-1]["type"] == "response.done"
    assert found[-1]["response"]["status_details"] == {"type": "incomplete", "reason": "content_filter"}
    assert "More" not in json.dumps(found)
    assert pipeline.done
    assert pipeline.report.ended == "content_filter"


def test_the_responses_api_ends_in_its_own_words() -> None:
    """Its messages are the events of its streams."""
    messages = [frame.decode().partition("data: ")[2] for frame in Script().message("Key: ", "sk-abcdefgh").frames]
    found, _, _ = run(*messages, dialect=SOCKET)
    assert found[-1]["type"] == "response.incomplete"


def test_what_the_user_said_is_filtered_too() -> None:
    """A transcript comes in deltas and whole; an item of the conversation whole."""
    deltas = [
        message("conversation.item.input_audio_transcription.delta", item_id="i", content_index=0, delta=piece)
        for piece in EMAIL
    ]
    whole = message("conversation.item.input_audio_transcription.completed", item_id="i", transcript="".join(EMAIL))
    item = {"id": "i", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "".join(EMAIL)}]}
    found, _, _ = run(*deltas, whole, message("conversation.item.added", item=item))
    assert "ada" not in json.dumps(found)
    assert found[-1]["item"]["content"][0]["text"] == "[EMAIL]"


@pytest.mark.parametrize("bad", ["no JSON", "[]", '"text"', "{"])
def test_what_cannot_be_read_ends_it(bad: str) -> None:
    """Never passed on."""
    found, _, pipeline = run(bad)
    assert [one["type"] for one in found] == ["error"]
    assert pipeline.done


def test_an_end_of_the_connection_in_mid_response_is_told() -> None:
    """What is held is withheld; between responses there is nothing to tell."""
    pipeline = SocketPipeline(REALTIME, POLICY, Ask())
    for one in response("Hi ", "ada")[:4]:
        pipeline.feed(one)
    assert [json.loads(one)["type"] for one in pipeline.finish()] == ["error"]
    assert pipeline.report.ended == "upstream_error"
    quiet = run(*response("Hello. "))[2]
    assert quiet.finish() == []
    assert quiet.report.ended == "stop"
    assert quiet.fail("x") == quiet.feed("{}") == quiet.finish() == []


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v1/realtime", "openai_realtime"), ("/openai/realtime", "openai_realtime"), ("/v1/responses", "openai_socket")],
)
def test_paths_of_sockets(path: str, name: str) -> None:
    """Those whose messages are known."""
    dialect = socket_dialect(path)
    assert dialect is not None
    assert dialect.name == name
    assert socket_dialect("/v1/other") is None


def test_responses_that_run_at_once_are_told_apart() -> None:
    """By their ids: what one says is no part of the other's text."""
    place = {"item_id": "item_1", "output_index": 0, "content_index": 0}
    pieces = [("r1", "mail ada"), ("r2", "@example.com "), ("r1", " now "), ("r2", "yes ")]
    found, _, _ = run(
        *(message("response.output_text.delta", response_id=name, **place, delta=piece) for name, piece in pieces)
    )
    said = {name: "".join(one["delta"] for one in found if one["response_id"] == name) for name in ("r1", "r2")}
    assert said == {"r1": "mail ada now ", "r2": "@example.com yes "}


def test_too_many_responses_at_once_end_the_connection() -> None:
    """Each has state."""
    begun = [message("response.created", response={"id": f"r{number}", "output": []}) for number in range(70)]
    _, _, pipeline = run(*begun)
    assert pipeline.done
    assert pipeline.report.faults == ["too_many_texts"]


def test_messages_keep_their_line_ends() -> None:
    """Some servers write JSON for people."""
    pretty = json.dumps({"type": "session.created", "session": {"model": "m"}}, indent=2)
    assert run(pretty)[1] == [pretty]
