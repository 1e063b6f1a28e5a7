"""Legacy completions and llama.cpp's own: streams, whole bodies, readings one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from safeproxy.pipeline import StreamPipeline
from safeproxy.wire.dialect import Ask
from safeproxy.wire.openai_completions import OpenAICompletions
from tests.wire.chat import DONE, POLICY
from tests.wire.played import events, frames, judged, played

COMPLETIONS = OpenAICompletions()
HEAD = {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m-1"}


def piece(text: str = "", finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """One event; ``more`` goes into the choice."""
    choice = {"text": text, "index": index, "logprobs": None, **more, "finish_reason": finish}
    return {**HEAD, "choices": [choice]}


def says(*texts: str, index: int = 0) -> list[Any]:
    """An event for each piece of text."""
    return [piece(text, index=index) for text in texts]


def answer(*made: Any, finish: str = "stop") -> list[bytes]:
    """A whole answer of one choice."""
    return [*frames(*made, piece("", finish)), DONE]


def text(data: bytes, index: int = 0) -> str:
    """What a client has of a choice."""
    return "".join(
        choice["text"] for event in events(data) for choice in event.get("choices", ()) if choice["index"] == index
    )


def finishes(data: bytes) -> list[tuple[int, str]]:
    """Each choice's end."""
    return [
        (choice["index"], choice["finish_reason"])
        for event in events(data)
        for choice in event.get("choices", ())
        if choice["finish_reason"]
    ]


def probabilities(offset: int, *tokens: str, top: bool = True) -> dict[str, Any]:
    """Log probabilities for these tokens, the first of which stands there in the text."""
    offsets = [offset + len("".join(tokens[:position])) for position in range(len(tokens))]
    others = [{token: -0.5, "other": -3.0} for token in tokens] if top else None
    numbers = [-0.5 for _ in tokens]
    lists = {"tokens": list(tokens), "token_logprobs": numbers, "top_logprobs": others, "text_offset": offsets}
    return {"logprobs": lists}


class TestStream:
    """Events."""

    def test_clean_events_pass_byte_for_byte(self) -> None:
        """With log probabilities, usage, spaces."""
        made = [
            *says("One, "),
            piece("two. ", **probabilities(5, "two", ". ")),
            {**HEAD, "choices": [{"index": 0, "text": "Three. "}]},
            {**HEAD, "choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 3}},
        ]
        pieces = [frame.replace(b'":', b'": ') for frame in answer(*made)]
        out, pipeline = played(COMPLETIONS, pieces)
        assert out == b"".join(pieces)
        report = pipeline.report
        assert (report.ended, report.model, report.faults) == ("stop", "m-1", [])
        assert report.usage == {"prompt_tokens": 2, "completion_tokens": 3}

    def test_a_finding_is_replaced_across_events(self) -> None:
        """The tail's event has all that a choice has."""
        out, _ = played(COMPLETIONS, answer(*says("Mail ada", "@exam", "ple.com now", " or bye")))
        assert text(out) == "Mail [EMAIL] now or bye"
        assert events(out)[-2] == piece(" bye") | {"choices": [{"text": "bye", "index": 0, **_nothing()}]}
        assert out.endswith(DONE)

    def test_choices_are_told_apart(self) -> None:
        """By their number."""
        made = [*says("ada@exam"), *says("bob@exam", index=1), *says("ple.com "), *says("ple.org ", index=1)]
        out, _ = played(COMPLETIONS, answer(*made, piece("", "length", index=1)))
        assert (text(out), text(out, 1)) == ("[EMAIL] ", "[EMAIL] ")
        assert finishes(out) == [(1, "length"), (0, "stop")]

    def test_a_halt_ends_every_open_choice(self) -> None:
        """As the API's own filter would, with the notice before it if there is one."""
        made = [*says("One. "), *says("Two. ", index=1), *says("Key sk-abcdefgh ")]
        out, pipeline = played(COMPLETIONS, answer(*made))
        ends = frames(piece("", "content_filter"), piece("", "content_filter", index=1))
        assert out == b"".join([*frames(*made[:2], *says("Key ")), *ends, DONE])
        assert pipeline.report.ended == "content_filter"
        out, _ = played(COMPLETIONS, answer(*says("Key sk-abcdefgh ")), ask=Ask(notice="[stopped]"))
        assert text(out) == "Key [stopped]"
        assert finishes(out) == [(0, "content_filter")]

    def test_a_stream_that_breaks_off_ends_with_an_error(self) -> None:
        """Not as if it were whole."""
        out, _ = played(COMPLETIONS, frames(*says("One. ", "ada")))
        assert text(out) == "One. "
        assert events(out)[-1]["error"]["code"] == "upstream_incomplete"

    def test_unknown_fields_are_text(self) -> None:
        """Wherever they stand."""
        mail = "ada@example.com"
        made = piece("x", stop_reason=mail, prompt_logprobs=[{"7": {"decoded_token": mail}}])
        odd = piece("", logprobs={"new": [mail], "tokens": 3})
        out, _ = played(COMPLETIONS, answer(made | {"surprise": {"deep": [mail]}}, odd))
        assert b"ada@" not in out
        assert out.count(b"[EMAIL]") == 4
        out, _ = played(COMPLETIONS, frames({"error": {"message": mail}}))
        assert events(out) == [{"error": {"message": "[EMAIL]"}}]

    def test_numbers_of_tokens_go_with_text_that_is_held(self) -> None:
        """They spell it."""
        out, _ = played(
            COMPLETIONS, answer(piece("One. ", token_ids=[1]), piece("ada", token_ids=[2]), *says("@x.io "))
        )
        assert [choice.get("token_ids") for event in events(out) for choice in event["choices"]] == [[1], None, None]

    @pytest.mark.parametrize("odd", [3, None, "x", [], {"index": "0"}, {"index": -1}, {"index": True}])
    def test_odd_shapes_are_read(self, odd: Any) -> None:
        """Never a failure, never unfiltered."""
        mail = "ada@example.com"
        if isinstance(odd, dict):
            odd = odd | {"text": mail}
        for event in (
            {"choices": [odd, {"text": mail}]},
            {"choices": odd, "x": mail},
            {"choices": [{"text": odd, "x": mail}]},
            {"choices": [{"text": "x", "logprobs": odd, "x": mail}]},
            {"choices": [{"text": "x", "logprobs": {"tokens": [mail], "top_logprobs": odd}}]},
            {"choices": [{"text": "x", "logprobs": {"tokens": [], "token_logprobs": [mail], "text_offset": odd}}]},
            {
                "choices": [
                    {"text": "x", "logprobs": {"tokens": [odd], "token_logprobs": [mail], "text_offset": [mail]}}
                ]
            },
            {"content": mail, "stop": odd},
        ):
            out, _ = played(COMPLETIONS, frames(event))
            assert b"ada@" not in out


def _nothing() -> dict[str, Any]:
    return {"logprobs": None, "finish_reason": None}


class TestTokens:
    """Log probabilities in lists side by side."""

    def test_they_wait_for_their_text_and_go_with_it(self) -> None:
        """Tokens of what was replaced are gone; places are not told any more."""
        made = [
            piece("Hi ada@", **probabilities(0, "Hi", " ", "ada", "@")),
            piece("example.com. ", **probabilities(7, "example", ".com", ". ")),
            piece("So. ", **probabilities(20, "So. ")),
        ]
        out, _ = played(COMPLETIONS, answer(*made))
        lists = [choice["logprobs"] for event in events(out) for choice in event["choices"] if choice["logprobs"]]
        assert [one["tokens"] for one in lists] == [["Hi", " "], [". "], ["So. "]]
        assert [one["text_offset"] for one in lists] == [[0, 2], [], []]
        assert lists[0]["top_logprobs"] == [{"Hi": -0.5, "other": -3.0}, {" ": -0.5, "other": -3.0}]
        assert all(len(one["token_logprobs"]) == len(one["tokens"]) for one in lists)
        assert text(out) == "Hi [EMAIL]. So. "

    def test_held_ones_leave_with_the_tail(self) -> None:
        """In the shape they came in, their places kept where nothing was replaced."""
        out, _ = played(COMPLETIONS, answer(piece("Hi ada", **probabilities(0, "Hi", " ada"))))
        lists = [choice["logprobs"] for event in events(out) for choice in event["choices"] if choice["logprobs"]]
        assert [(one["tokens"], one["text_offset"]) for one in lists] == [(["Hi"], [0]), ([" ada"], [2])]

    def test_lists_may_be_missing(self) -> None:
        """Or null."""
        bare: Any = {"logprobs": {"tokens": ["Hi", " ada"], "token_logprobs": [None, -1.0], "top_logprobs": None}}
        out, _ = played(COMPLETIONS, answer(piece("Hi ada", **bare)))
        first = events(out)[0]["choices"][0]["logprobs"]
        assert first == {"tokens": ["Hi"], "token_logprobs": [None], "top_logprobs": None}

    def test_keys_that_are_tokens_are_filtered(self) -> None:
        """Those of tokens that were not chosen, too."""
        lists = {"tokens": ["One. "], "token_logprobs": [-1.0], "top_logprobs": [{"ada@example.com": -2.0}]}
        out, _ = played(COMPLETIONS, answer(piece("One. ", logprobs=lists)))
        assert b"ada@" not in out

    def test_nothing_follows_a_finish(self) -> None:
        """No tokens by themselves, no second finish, whatever it is."""
        late = piece("", "an odd reason", **probabilities(5, "ada@example.com"))
        out, pipeline = played(
            COMPLETIONS, answer(*says("One. "), piece("", "stop"), piece("", None, **probabilities(5, "ada")), late)
        )
        assert b"ada" not in out
        assert finishes(out) == [(0, "stop")]
        assert pipeline.report.faults == ["duplicate_finish"]

    def test_entries_as_in_a_chat_are_known(self) -> None:
        """llama.cpp sends them on this path."""
        entries: list[Any] = [
            {"token": one, "logprob": -1.5, "bytes": None, "top_logprobs": []} for one in ("Hi ", "ada@", "x.io ")
        ]
        out, _ = played(COMPLETIONS, answer(piece("Hi ada@x.io ", logprobs={"content": entries})))
        (kept,) = (choice["logprobs"] for event in events(out) for choice in event["choices"] if choice["logprobs"])
        assert [entry["token"] for entry in kept["content"]] == ["Hi "]

    def test_places_number_the_events(self) -> None:
        """Unless a server says the same each time."""
        assert COMPLETIONS.mark(piece("x", **probabilities(3, "x"))) == ("cmpl-1", 0, 3)
        odds: list[Any] = [probabilities(0, "x"), probabilities(-1, "x"), {}, {"logprobs": {"text_offset": []}}]
        for odd in odds:
            assert COMPLETIONS.mark(piece("x", **odd)) is None
        again = frames(piece("two. ", **probabilities(5, "two. ")))
        out, pipeline = played(COMPLETIONS, [*frames(*says("One, ")), *again, *again, *frames(piece("", "stop")), DONE])
        assert text(out) == "One, two. "
        assert pipeline.report.faults == ["repeated_event"]


class TestBody:
    """Whole answers."""

    def test_the_same_is_found_as_in_a_stream(self) -> None:
        """Byte for byte if nothing is."""
        assert judged(COMPLETIONS, piece("Hi.", "stop", **probabilities(0, "Hi."), token_ids=[1]))[0] == 200
        made = piece("Hi ada@example.com. ", "stop", **probabilities(0, "Hi ", "ada@example.com", ". "), token_ids=[1])
        _, value, pipeline = judged(COMPLETIONS, made)
        lists = {"tokens": ["Hi ", ". "], "token_logprobs": [-0.5, -0.5], "text_offset": []}
        others = {"top_logprobs": [{"Hi ": -0.5, "other": -3.0}, {". ": -0.5, "other": -3.0}]}
        assert value["choices"] == [
            {"text": "Hi [EMAIL]. ", "index": 0, "logprobs": {**lists, **others}, "finish_reason": "stop"}
        ]
        assert pipeline.report.ended == "stop"

    def test_a_halt_ends_every_choice(self) -> None:
        """What came before it stays."""
        made = piece("One.", "stop", **probabilities(0, "One."))
        made["choices"] += piece("Key sk-abcdefgh ", "stop", index=1, token_ids=[1])["choices"]
        made["choices"] += piece("Three.", "stop", index=2)["choices"]
        _, value, pipeline = judged(COMPLETIONS, made, Ask(notice="[stopped]"))
        assert [choice["text"] for choice in value["choices"]] == ["One.", "Key [stopped]", "[stopped]"]
        assert {choice["finish_reason"] for choice in value["choices"]} == {"content_filter"}
        assert {choice["logprobs"] for choice in value["choices"]} == {None}
        assert b"token_ids" not in json.dumps(value).encode()
        assert pipeline.report.ended == "content_filter"

    def test_a_body_with_no_choices_becomes_an_error(self) -> None:
        """There is nothing to be ended in it."""
        status, value, _ = judged(COMPLETIONS, {"x": "sk-abcdefgh "})
        assert (status, value["error"]["code"]) == (502, "content_filter")


class TestNative:
    """llama.cpp's own shape."""

    @staticmethod
    def piece(text: str = "", *, stop: bool = False, **more: Any) -> dict[str, Any]:
        """One event."""
        return {"index": 0, "content": text, "stop": stop, "id_slot": 0, "tokens_predicted": 3, **more}

    def last(self, text: str = "") -> dict[str, Any]:
        """The last event, which repeats the prompt."""
        settings = {"seed": 1, "samplers": ["top_k"]}
        return self.piece(text, stop=True, stop_type="limit", prompt="I am ada@x.", generation_settings=settings)

    def test_clean_events_pass_byte_for_byte(self) -> None:
        """And their end is known."""
        pieces = frames(self.piece("One. ", tokens=[3]), self.last() | {"tokens_evaluated": 9})
        out, pipeline = played(COMPLETIONS, pieces)
        assert out == b"".join(pieces)
        assert pipeline.report.ended == "length"
        assert pipeline.report.usage == {"tokens_evaluated": 9, "tokens_predicted": 3}

    def test_text_is_filtered_across_events(self) -> None:
        """Numbers and probabilities of tokens go with it."""
        probabilities = [{"id": 7, "token": "ada", "logprob": -0.5, "bytes": [], "top_logprobs": []}]
        made = [
            self.piece("ada", tokens=[3], completion_probabilities=probabilities),
            self.piece("@x.io b", tokens=[4]),
        ]
        out, _ = played(COMPLETIONS, frames(*made, self.last()))
        assert "".join(event["content"] for event in events(out)) == "[EMAIL] b"
        assert b'"tokens":' not in out
        assert b'"ada"' not in out
        assert [event["stop"] for event in events(out)].count(True) == 1

    def test_the_prompt_halts_nothing(self) -> None:
        """It is the client's own."""
        out, pipeline = played(COMPLETIONS, frames(self.piece("One. "), self.last() | {"prompt": "sk-abcdefgh ok"}))
        assert b"sk-a" not in out
        assert pipeline.report.ended == "length"

    def test_a_halt_stops_it(self) -> None:
        """Streamed or not; there is no end marker."""
        out, _ = played(COMPLETIONS, frames(self.piece("Key sk-abcdefgh "), self.last()), ask=Ask(notice="[stopped]"))
        assert [(event["content"], event["stop"]) for event in events(out)] == [
            ("Key ", False),
            ("[stopped]", False),
            ("", True),
        ]
        _, value, _ = judged(COMPLETIONS, self.last("Key sk-abcdefgh ") | {"tokens": [1]}, Ask(notice="[stopped]"))
        assert (value["content"], value["stop_type"]) == ("Key [stopped]", "content_filter")
        assert "tokens" not in value
        assert "sk-" not in json.dumps(value)


def test_structured_output_is_response_format() -> None:
    """As in a chat."""
    assert COMPLETIONS.ask({"response_format": {"type": "json_object"}}).json
    assert not COMPLETIONS.ask({"prompt": "x"}).json


def test_shortcuts_are_learned() -> None:
    """Events alike but for their text give the same out."""
    pipeline = StreamPipeline(COMPLETIONS, POLICY)
    pieces = frames(*says(*["One. "] * 9, "ada@x.io. "))
    out = b"".join(map(pipeline.feed, pieces))
    assert out == b"".join(pieces[:9]) + frames(*says("[EMAIL]. "))[0]
