"""Anthropic messages, streamed and not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

import pytest

from safeproxy.errors import ClientError
from safeproxy.wire.anthropic import SEALED, Anthropic
from safeproxy.wire.dialect import Ask
from tests.wire.chat import POLICY
from tests.wire.talk import events, frame, run, types, whole

ANTHROPIC = Anthropic()
EMAIL = ("ada", "@exam", "ple.com")
HEAD = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x"}
USAGE = {"input_tokens": 3, "output_tokens": 1}
START = frame("message_start", message={**HEAD, "content": [], "stop_reason": None, "usage": USAGE})


def block(index: int, begin: dict[str, Any], deltas: Iterable[dict[str, Any]]) -> list[bytes]:
    """A content block's events."""
    return [
        frame("content_block_start", index=index, content_block=begin),
        *(frame("content_block_delta", index=index, delta=delta) for delta in deltas),
        frame("content_block_stop", index=index),
    ]


def text(index: int, *pieces: str) -> list[bytes]:
    """A text block."""
    return block(index, {"type": "text", "text": ""}, ({"type": "text_delta", "text": piece} for piece in pieces))


def thinking(index: int, *pieces: str, signature: str = "c2ln") -> list[bytes]:
    """A signed thinking block."""
    deltas: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    deltas.append({"type": "signature_delta", "signature": signature})
    return block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas)


def tool(index: int, *pieces: str) -> list[bytes]:
    """A tool call."""
    begin = {"type": "tool_use", "id": f"toolu_{index}", "name": "send", "input": {}}
    return block(index, begin, ({"type": "input_json_delta", "partial_json": piece} for piece in pieces))


def end(reason: str = "end_turn") -> list[bytes]:
    """The message's end."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [frame("message_delta", delta=delta, usage={"output_tokens": 9}), frame("message_stop")]


def deltas(out: bytes, key: str) -> str:
    """What the deltas say under a key."""
    return "".join(event["delta"].get(key, "") for event in events(out) if event["type"] == "content_block_delta")


class TestStreams:
    """Streamed messages."""

    def test_clean_events_pass_byte_for_byte(self) -> None:
        """Text, thinking, a tool call, a ping and what nobody documents beside them."""
        frames = [START, *thinking(0, "Hm. "), b'event: ping\ndata: {"type": "ping"}\n\n', *text(1, "Hello ", "you. ")]
        frames += [*tool(2, "", '{"to": ', '"nobody"}'), *end("tool_use")]
        out, pipeline = run(ANTHROPIC, frames)
        assert out == b"".join(frames)
        assert pipeline.report.ended == "tool_calls"
        assert pipeline.report.upstream_finish == {0: "tool_use"}
        assert pipeline.report.usage == {**USAGE, "output_tokens": 9}

    def test_a_finding_is_replaced_across_events(self) -> None:
        """And the tail leaves before the block ends."""
        out, pipeline = run(ANTHROPIC, [START, *text(0, "Mail ", *EMAIL, " no", "w"), *end()])
        assert deltas(out, "text") == "Mail [EMAIL] now"
        assert types(out)[-3:] == ["content_block_stop", "message_delta", "message_stop"]
        (finding,) = pipeline.report.take_findings()
        assert (finding.channel, finding.start, finding.end) == ("block.0.text", 5, 20)

    def test_blocks_have_filters_of_their_own(self) -> None:
        """What one block ends with and another begins with is no finding."""
        frames = [START, *text(0, "ada@"), *text(1, "example.com"), *end()]
        assert deltas(run(ANTHROPIC, frames)[0], "text") == "ada@example.com"

    def test_a_call_leaves_whole_with_what_its_values_say_replaced(self) -> None:
        """However its JSON spells it, in the first piece, the others empty or left out."""
        out, _ = run(ANTHROPIC, [START, *tool(0, "", '{"to": "ada\\u0040exa', 'mple.com"}'), *end("tool_use")])
        assert json.loads(deltas(out, "partial_json")) == {"to": "[EMAIL]"}
        assert types(out).count("content_block_start") == 1

    def test_what_follows_a_held_call_waits_behind_it(self) -> None:
        """Clients want the blocks in order; a ping may overtake them."""
        call, after = tool(0, "{}"), text(1, "Done. ")
        ping = frame("ping")
        out, _ = run(ANTHROPIC, [START, *call[:2], after[0], ping, after[1], call[2], after[2], *end()])
        assert out == b"".join([START, ping, *call, *after, *end()])

    def test_nothing_of_a_halted_call_leaves(self) -> None:
        """The block before it is closed already, so the message ends at once."""
        out, pipeline = run(ANTHROPIC, [START, *text(0, "Hi. "), *tool(1, '{"k": "sk-', 'abcdef"}'), *end()])
        assert types(out)[-3:] == ["content_block_stop", "message_delta", "message_stop"]
        assert b"toolu_1" not in out
        assert pipeline.report.ended == "content_filter"

    def test_a_halt_closes_the_open_block_and_refuses(self) -> None:
        """Exactly as the API's own filter does, with the usage that was told."""
        out, _ = run(ANTHROPIC, [START, *text(0, "Key: ", "sk-", "abcdefgh"), *end()])
        assert deltas(out, "text") == "Key: "
        stop, delta, last = events(out)[-3:]
        assert stop == {"type": "content_block_stop", "index": 0}
        assert delta["delta"]["stop_reason"] == "refusal"
        assert delta["delta"]["stop_details"]["type"] == "refusal"
        assert delta["usage"] == {"output_tokens": 1}
        assert last == {"type": "message_stop"}

    @pytest.mark.parametrize("pieces", [("Key: ", "sk-abcdefgh"), ("sk-abcdefgh",)])
    def test_a_halt_can_be_noticed(self, pieces: tuple[str, ...]) -> None:
        """The notice is the open block's last text."""
        out, _ = run(ANTHROPIC, [START, *text(0, *pieces), *end()], ask=Ask(notice="[stopped]"))
        assert deltas(out, "text") == "".join(pieces).removesuffix("sk-abcdefgh") + "[stopped]"

    def test_a_notice_gets_a_block_of_its_own_where_no_text_is_open(self) -> None:
        """Thinking is closed first, the numbers go on."""
        frames = [START, *thinking(0, "sk-abcdefgh"), *end()]
        out, _ = run(ANTHROPIC, frames, ask=Ask(notice="[stopped]"))
        assert [event.get("index") for event in events(out)][1:-2] == [0, 0, 1, 1, 1]
        assert deltas(out, "text") == "[stopped]"

    def test_results_of_server_tools_are_filtered_whole(self) -> None:
        """They arrive in the block's beginning."""
        result = {"type": "web_search_result", "title": "ada@example.com", "encrypted_content": "c2VjcmV0", "url": "u"}
        begin = {"type": "web_search_tool_result", "tool_use_id": "t", "content": [result]}
        out, _ = run(ANTHROPIC, [START, *block(0, begin, []), *end()])
        told = events(out)[1]["content_block"]["content"][0]
        assert told == {**result, "title": "[EMAIL]"}

    def test_citations_and_unknown_deltas_are_filtered(self) -> None:
        """A citation stands alone, anything else may go on from event to event."""
        cited = {"type": "citations_delta", "citation": {"cited_text": "ada@example.com", "document_index": 0}}
        unknown = [{"type": "new_delta", "words": piece} for piece in EMAIL]
        out, _ = run(ANTHROPIC, [START, *block(0, {"type": "text", "text": ""}, [cited, *unknown]), *end()])
        assert events(out)[2]["delta"]["citation"]["cited_text"] == "[EMAIL]"
        assert deltas(out, "words") == "[EMAIL]"

    def test_pieces_of_a_call_without_a_beginning_are_text(self) -> None:
        """Nothing passes because an event was lost."""
        frames = [START, *tool(0, *EMAIL)[1:], *end()]
        assert deltas(run(ANTHROPIC, frames)[0], "partial_json") == "[EMAIL]"

    def test_a_broken_stream_ends_in_the_apis_error_event(self) -> None:
        """With the held tail withheld."""
        out, pipeline = run(ANTHROPIC, [START, *text(0, "Hi ada")[:2]])
        assert events(out)[-1]["type"] == "error"
        assert b"ada" not in out
        assert pipeline.report.ended == "upstream_incomplete"

    def test_an_error_event_passes_and_ends(self) -> None:
        """The upstream's own, filtered."""
        error = frame("error", error={"type": "overloaded_error", "message": "ask ada@example.com"})
        out, pipeline = run(ANTHROPIC, [START, error])
        assert events(out)[-1]["error"] == {"type": "overloaded_error", "message": "ask [EMAIL]"}
        assert pipeline.report.ended == "upstream_error"


class TestThinking:
    """Signed texts."""

    def test_without_a_seal_a_change_halts(self) -> None:
        """A signature over other words would break the client's next request."""
        out, pipeline = run(ANTHROPIC, [START, *thinking(0, "Ask ", *EMAIL, ". "), *text(1, "Hi. "), *end()])
        assert pipeline.report.ended == "content_filter"
        assert b"c2ln" not in out

    def test_with_a_seal_the_original_travels_in_the_signature(self) -> None:
        """And is put back when the client sends the message again."""
        vault: dict[str, str] = {}

        def seal(told: str) -> str:
            vault[SEALED + "1"] = told
            return SEALED + "1"

        policy = dataclasses.replace(POLICY, seal=seal)
        frames = [START, *thinking(0, "Ask ", *EMAIL, ". "), *text(1, "Hi. "), *end()]
        out, _ = run(ANTHROPIC, frames, policy=policy)
        assert deltas(out, "thinking") == "Ask [EMAIL]. "
        signature = deltas(out, "signature")
        again = {"type": "thinking", "thinking": "Ask [EMAIL]. ", "signature": signature}
        request = {"messages": [{"role": "assistant", "content": [again]}, {"role": "user", "content": "Go on"}]}
        assert ANTHROPIC.restore(request, vault.get)
        assert again == {"type": "thinking", "thinking": "Ask ada@example.com. ", "signature": "c2ln"}

    def test_a_body_is_sealed_too(self) -> None:
        """The same for an answer that is not streamed."""
        policy = dataclasses.replace(POLICY, seal=lambda told: SEALED + str(len(told)))
        signed = {"type": "thinking", "thinking": "ada@example.com", "signature": "c2ln"}
        _, body, _ = whole(ANTHROPIC, {**HEAD, "content": [signed], "stop_reason": "end_turn"}, policy=policy)
        assert body["content"] == [{"type": "thinking", "thinking": "[EMAIL]", "signature": f"{SEALED}27"}]

    def test_a_seal_of_others_is_refused(self) -> None:
        """The API would refuse the request anyway, without a word on what to do."""
        signed = {"type": "thinking", "thinking": "x", "signature": SEALED + "x"}
        with pytest.raises(ClientError, match="seal_key"):
            ANTHROPIC.restore({"messages": [{"role": "assistant", "content": [signed]}]}, lambda _: None)

    @pytest.mark.parametrize("body", [None, [], {"messages": 3}, {"messages": [3, {"content": "x"}]}])
    def test_other_requests_are_left_alone(self, body: Any) -> None:
        """Whatever they are."""
        assert not ANTHROPIC.restore(body, lambda _: None)


class TestBodies:
    """Answers that are not streamed."""

    def test_texts_and_inputs_are_filtered(self) -> None:
        """A call's input is an object: its values are judged as the JSON text of a streamed call is."""
        call = {
            "type": "tool_use",
            "id": "t",
            "name": "send",
            "input": {"to": "ada@example.com", "card": 4111111111111111},
        }
        said = {"type": "text", "text": "Mail ada@example.com now"}
        _, body, pipeline = whole(
            ANTHROPIC, {**HEAD, "content": [said, call], "stop_reason": "tool_use", "usage": USAGE}
        )
        assert body["content"][0]["text"] == "Mail [EMAIL] now"
        assert body["content"][1]["input"] == {"to": "[EMAIL]", "card": 0}
        assert pipeline.report.ended == "tool_calls"

    def test_a_halt_cuts_and_refuses(self) -> None:
        """The text before it stays, the call after it goes."""
        said = {"type": "text", "text": "Key: sk-abcdefgh and more"}
        call = {"type": "tool_use", "id": "t", "name": "send", "input": {"a": 1}}
        _, body, pipeline = whole(ANTHROPIC, {**HEAD, "content": [said, call], "stop_reason": "tool_use"})
        assert body["content"] == [{"type": "text", "text": "Key: "}]
        assert body["stop_reason"] == "refusal"
        assert pipeline.report.ended == "content_filter"

    def test_a_halted_call_goes_whole(self) -> None:
        """A notice may stand in its place."""
        call = {"type": "tool_use", "id": "t", "name": "send", "input": {"k": "sk-abcdefgh"}}
        body = {**HEAD, "content": [call], "stop_reason": "tool_use"}
        assert whole(ANTHROPIC, body)[1]["content"] == []
        assert whole(ANTHROPIC, body, ask=Ask(notice="No."))[1]["content"] == [{"type": "text", "text": "No."}]

    def test_errors_are_the_apis(self) -> None:
        """Types go with the status; a block is told in the words some clients look for."""
        error = json.loads(ANTHROPIC.error_body("Slow down.", status=429, code="c"))
        assert error == {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}}
        blocked = json.loads(ANTHROPIC.error_body("x", status=400, code="content_filter"))["error"]
        assert blocked == {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"}


def test_structured_output_is_asked_for() -> None:
    """By either spelling."""
    assert ANTHROPIC.ask({"output_config": {"format": {"type": "json_schema"}}}).json
    assert ANTHROPIC.ask({"output_format": {"type": "json_schema"}}).json
    assert not ANTHROPIC.ask({"messages": []}).json
    assert not ANTHROPIC.ask(None).json


class TestOddEvents:
    """What no server should send."""

    @pytest.mark.parametrize(
        "event",
        [
            {"type": "message_start", "message": {**HEAD, "content": []}, "beside": "ada@example.com"},
            {
                "type": "content_block_delta",
                "x": "ada@example.com",
                "delta": {"type": "thinking_delta", "thinking": "b"},
            },
            {"type": "content_block_start", "index": 0, "content_block": {"type": ["ada@example.com"], "thinking": ""}},
            {"type": "content_block_start", "index": "ada@example.com", "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_stop", "index": {"ada@example.com": 1}},
            {"type": "message_delta", "delta": ["ada@example.com"], "usage": "ada@example.com"},
        ],
    )
    def test_it_is_filtered_all_the_same(self, event: dict[str, Any]) -> None:
        """No exception, and nothing passes because its place is odd."""
        out, _ = run(ANTHROPIC, [b"data: " + json.dumps(event).encode() + b"\n\n", *end()])
        assert b"ada@" not in out

    def test_a_text_that_begins_with_its_block_ends_as_a_delta(self) -> None:
        """The tail's event is named after what it is."""
        begin = {"type": "text", "text": "Mail ada"}
        out, _ = run(ANTHROPIC, [START, *block(0, begin, []), *end()])
        assert events(out)[2] == {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "ada"},
        }

    def test_text_after_its_blocks_end_is_left_out(self) -> None:
        """A client would put the halves together."""
        late = frame("content_block_delta", index=0, delta={"type": "text_delta", "text": "@example.com"})
        out, pipeline = run(ANTHROPIC, [START, *text(0, "ada"), late, *end()])
        assert deltas(out, "text") == "ada"
        assert pipeline.report.faults == ["text_after_finish"]

    def test_pieces_after_their_calls_end_are_left_out(self) -> None:
        """Nor may a call go on after the message has ended."""
        late = tool(0, '"@example.com"}')[1]
        out, pipeline = run(ANTHROPIC, [START, *tool(0, '{"to": "ada"}'), late, *end("tool_use"), *tool(1, "{}")])
        assert deltas(out, "partial_json") == '{"to": "ada"}'
        assert pipeline.report.faults == ["arguments_after_call"]


def test_signed_thinking_is_not_scanned_in_prompts() -> None:
    """It goes back as it was signed, or the API refuses the request."""
    signed = {"type": "thinking", "thinking": "ask ada@example.com", "signature": "c2ln"}
    request = {"messages": [{"role": "assistant", "content": [signed, {"type": "text", "text": "x"}]}]}
    assert [slot.key for slot in ANTHROPIC.read_prompt(request).slots] == ["text"]


def test_seals_of_a_batch_are_opened() -> None:
    """Each request of it is one."""
    signed = {"type": "thinking", "thinking": "x", "signature": SEALED + "1"}
    batch = {"requests": [{"custom_id": "a", "params": {"messages": [{"role": "assistant", "content": [signed]}]}}]}
    assert ANTHROPIC.restore(batch, {SEALED + "1": '["as it was", "c2ln"]'}.get)
    assert signed["thinking"] == "as it was"


def test_unknown_events_are_texts_that_go_on() -> None:
    """A finding cut over two of them is found."""
    frames = [frame("new_event", words="mail ada@exam"), frame("new_event", words="ple.com now")]
    out, _ = run(ANTHROPIC, [START, *frames, *end()])
    assert b"[EMAIL]" in out
    assert b"ada" not in out


def test_an_unknown_field_beside_held_text_passes() -> None:
    """The event is sent in place, its text comes later."""
    held = frame("content_block_delta", index=0, delta={"type": "text_delta", "text": "ada"}, note="hey you. ")
    begin, _, stop = text(0, "x")
    out, _ = run(ANTHROPIC, [START, begin, held, stop, *end()])
    assert [one.get("note") for one in events(out) if "note" in one] == ["hey you. "]


def test_an_event_that_only_its_name_tells_is_read_by_it() -> None:
    """Some servers leave the type out of the data."""
    pieces = [
        b'event: content_block_delta\ndata: {"index":0,"delta":{"type":"text_delta","text":"%s"}}\n\n' % one
        for one in (b"ada@exam", b"ple.com ")
    ]
    begin, _, stop = text(0, "x")
    out, _ = run(ANTHROPIC, [START, begin, *pieces, stop, *end()])
    assert b'"[EMAIL] "' in out
    assert b"ada@" not in out
