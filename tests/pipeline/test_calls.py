"""Tool calls in a stream: held, judged by what they say, released whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from safeproxy.pipeline import Policy, StreamPipeline
from tests.wire.chat import (
    CHAT,
    DONE,
    POLICY,
    RULES,
    Client,
    call,
    choice,
    chunk,
    event,
    opening,
    run,
    says,
    served,
    sse,
)

CARD = "4111111111111111"


class TestCalls:
    """Tool calls are held, and released whole."""

    def test_a_clean_call_is_replayed_byte_for_byte(self) -> None:
        """In the events it came in, in order, once it is complete."""
        frames = [opening(), chunk(call("", id="1", name="f")), chunk(call('{"a":')), chunk(call('"b"}'))]
        pipeline = StreamPipeline(CHAT, POLICY)
        assert [pipeline.feed(frame) for frame in frames[1:]] == [b"", b"", b""]
        assert pipeline.feed(chunk({}, "tool_calls")) == b"".join(frames[1:]) + chunk({}, "tool_calls")

    def test_a_later_call_shows_the_earlier_to_be_complete(self) -> None:
        """If its arguments are; they leave in order of their numbers."""
        first = [chunk(call('{"a"', id="1", name="f")), chunk(call(":1}"))]
        pipeline = StreamPipeline(CHAT, POLICY)
        pipeline.feed(opening())
        assert b"".join(map(pipeline.feed, first)) == b""
        assert pipeline.feed(chunk(call("{", 1, id="2", name="g"))) == b"".join(first)

    def test_interleaved_calls_leave_whole_and_in_order(self) -> None:
        """Pieces of two calls that take turns."""
        pieces = [call('{"a"', id="1", name="f"), call('{"b"', 1, id="2", name="g"), call(":1}"), call(":2}", 1)]
        client, _ = served([opening(), *map(chunk, pieces), chunk({}, "tool_calls"), DONE])
        assert [made["arguments"] for made in client.choices[0].calls.values()] == ['{"a":1}', '{"b":2}']

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ('{"to":"ada\\u0040example.com"}', {"to": "[EMAIL]"}),
            ('{"ada@example.com":[{"x":"ada@example.com"}]}', {"[EMAIL]": [{"x": "[EMAIL]"}]}),
            (f'{{"n":{CARD},"f":{CARD}.5,"e":"{CARD}"}}', {"n": 0, "f": 0.0, "e": "[NUMBER]"}),
            (
                json.dumps({"inner": json.dumps({"to": "ada@example.com", "q": '"'})}),
                {"inner": '{"to": "[EMAIL]", "q": "\\""}'},
            ),
        ],
    )
    def test_arguments_are_judged_by_what_they_say(self, arguments: str, expected: Any) -> None:
        """Escapes, keys, numbers and JSON in strings; the result is JSON of the same types."""
        pieces = [chunk(call(arguments[at : at + 5])) for at in range(0, len(arguments), 5)]
        client, _ = served([opening(), chunk(call("", id="1", name="f")), *pieces, chunk({}, "tool_calls"), DONE])
        made = client.choices[0].calls[0]
        assert json.loads(made["arguments"]) == expected
        assert (made["id"], made["name"]) == ("1", "f")

    def test_broken_arguments_are_filtered_as_text(self) -> None:
        """Cut off by the length limit, say; escapes do not hide anything then, either."""
        client, _ = served(
            [opening(), chunk(call('{"a":"ada\\u0040example.com', id="1", name="f")), chunk({}, "length"), DONE]
        )
        assert client.choices[0].calls[0]["arguments"] == '{"a":"[EMAIL]"'

    def test_names_and_free_input_are_text(self) -> None:
        """A function's name, and what a custom tool is given."""
        delta = {
            "tool_calls": [
                {"index": 0, "id": "1", "type": "custom", "custom": {"name": "ada@example.com", "input": "To ada"}}
            ]
        }
        more = {"tool_calls": [{"index": 0, "custom": {"input": "@example.com!"}}]}
        client, _ = served([opening(), chunk(delta), chunk(more), chunk({}, "tool_calls"), DONE])
        assert client.events[1]["choices"][0]["delta"]["tool_calls"][0]["custom"] == {
            "name": "[EMAIL]",
            "input": "To [EMAIL]!",
        }

    def test_other_text_of_a_held_event_is_filtered(self) -> None:
        """What stands beside the call in its events."""
        piece = sse({**event(choice(call("{}", id="1", name="f"))), "provider": "ada@example.com"})
        client, _ = served([opening(), piece, chunk({}, "tool_calls"), DONE])
        assert client.events[1]["provider"] == "[EMAIL]"
        both = sse({**event(choice(call("{}", id="1", name="f"))), "text": "ada@exam"})
        client, _ = served([opening(), both, sse({**event(choice({})), "text": "ple.com"}), chunk({}, "stop"), DONE])
        assert "".join(entry.get("text", "") for entry in client.events) == "[EMAIL]"
        assert client.choices[0].calls[0]["arguments"] == "{}"

    def test_an_unfinished_call_does_not_leave(self) -> None:
        """When the upstream breaks off."""
        client, _ = served([opening(), *says("Hi. "), chunk(call('{"a":1}', id="1", name="f"))])
        assert client.choices[0].calls == {}
        assert client.text() == "Hi. "
        assert client.error is not None

    def test_a_piece_after_its_call_was_released_is_taken_out(self) -> None:
        """It would break the JSON that was sent; white space is harmless."""
        frames = [
            opening(),
            chunk(call("{}", id="1", name="f")),
            chunk(call("{", 1, id="2", name="g")),
            chunk(call(" ")),
        ]
        pipeline = StreamPipeline(CHAT, POLICY)
        for frame in frames:
            pipeline.feed(frame)
        assert pipeline.report.faults == []
        assert pipeline.feed(chunk(call('{"a":1}'))) == b""
        assert pipeline.report.faults == ["arguments_after_call"]

    def test_calls_that_share_a_number_are_told_apart_by_id(self) -> None:
        """Some servers number every call 0."""
        frames = [
            opening(),
            chunk(call('{"a":1}', id="1", name="f")),
            chunk(call('{"a":"ada@example.com"}', id="2", name="f")),
        ]
        out, _ = run([*frames, chunk({}, "tool_calls"), DONE])
        assert frames[1] in out
        assert b'{\\"a\\":\\"[EMAIL]\\"}' in out

    def test_the_role_does_not_wait_when_another_choice_goes_on(self) -> None:
        """Clients that count choices would miss the first."""
        held = chunk({"role": "assistant", "content": None, **call("{}", id="1", name="f")})
        pipeline = StreamPipeline(CHAT, POLICY)
        assert pipeline.feed(held) == b""
        client = Client().read(pipeline.feed(opening(1)))
        assert list(client.choices) == [0, 1]
        assert client.choices[0].role == "assistant"
        client.read(pipeline.feed(chunk({}, "tool_calls")))
        assert client.choices[0].calls[0]["arguments"] == "{}"

    def test_pieces_of_one_shape_are_not_parsed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A call of many pieces costs little, and says the same."""
        arguments = json.dumps({"to": ["ada@example.com", "\u00e9\n"]})
        pieces = [chunk(call(arguments[at : at + 3])) for at in range(0, len(arguments), 3)]
        pipeline = StreamPipeline(CHAT, POLICY)
        for frame in [opening(), chunk(call("", id="1", name="f")), pieces[0]]:
            pipeline.feed(frame)
        with monkeypatch.context() as patch:
            patch.setattr("safeproxy.wire.jsontext.parse", lambda data: pytest.fail("parsed"))
            assert b"".join(map(pipeline.feed, pieces[1:])) == b""
        client = Client().read(pipeline.feed(chunk(call("{}", 1, id="2", name="g")) + chunk({}, "tool_calls")))
        assert json.loads(client.choices[0].calls[0]["arguments"]) == {"to": ["[EMAIL]", "\u00e9\n"]}

    def test_the_fast_path_knows_calls_of_one_number_apart(self) -> None:
        """Pieces after another id belong to the new call."""
        first, second = (
            [call('{"a"', id="1", name="f"), call(":1"), call("}")],
            [call('{"b"', id="2", name="f"), call(":2"), call("}")],
        )
        frames = [chunk(delta) for delta in [*first, *second]]
        out, _ = run([opening(), *frames, chunk({}, "tool_calls"), DONE])
        assert out == b"".join([opening(), *frames, chunk({}, "tool_calls"), DONE])

    def test_calls_are_bounded(self) -> None:
        """More than an event's bytes are not held."""
        policy = Policy(RULES, max_event_bytes=2000)
        client, pipeline = served([opening(), *(chunk(call("x" * 100)) for _ in range(30))], policy)
        assert client.error is not None
        assert pipeline.report.faults == ["call_too_large"]
