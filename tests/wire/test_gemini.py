"""Gemini: streams of events and of array elements, whole bodies, readings one by one."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from safeproxy.pipeline import StreamPipeline
from safeproxy.wire.dialect import Ask, Mode
from safeproxy.wire.gemini import Gemini, GeminiArray
from safeproxy.wire.jsonarray import ArrayWriter
from tests.wire.chat import POLICY
from tests.wire.played import events, frames, judged, played

GEMINI, ARRAY = Gemini(), GeminiArray()
HEAD = {"modelVersion": "gemini-3-pro", "responseId": "r-1"}


def parts(*made: Any, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """A response with these parts of one candidate."""
    candidate: dict[str, Any] = {"content": {"parts": list(made), "role": "model"}, "index": index, **more}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})], **HEAD}


def says(*texts: str, thought: bool = False, index: int = 0) -> list[Any]:
    """A response for each piece of text."""
    return [parts({"text": text, **({"thought": True} if thought else {})}, index=index) for text in texts]


def answer(*texts: str) -> list[Any]:
    """A whole answer."""
    return [*says(*texts), parts({"text": ""}, finish="STOP")]


def text(data: bytes, *, thought: bool = False, index: int = 0) -> str:
    """What a client has of a candidate's text or thoughts."""
    found = ""
    for event in events(data):
        for candidate in event.get("candidates", ()):
            for part in candidate.get("content", {}).get("parts", ()):
                if candidate.get("index", 0) == index and part.get("thought", False) is thought:
                    found += part.get("text", "")
    return found


def finishes(data: bytes) -> list[tuple[int, str]]:
    """Each candidate's end."""
    return [
        (candidate["index"], candidate["finishReason"])
        for event in events(data)
        for candidate in event.get("candidates", ())
        if candidate.get("finishReason")
    ]


USAGE = {
    "promptTokenCount": 4,
    "candidatesTokenCount": 9,
    "totalTokenCount": 13,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}],
}
CLEAN = [
    parts({"text": "**Thinking.** ", "thought": True}) | {"usageMetadata": USAGE},
    parts({"text": "One, "}) | {"usageMetadata": USAGE},
    parts({"text": "two. "}, safetyRatings=[{"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}]),
    parts({"functionCall": {"name": "f", "args": {"a": [1, "x"]}, "id": "c-1"}, "thoughtSignature": "AbC+/=="}),
    parts({"executableCode": {"language": "PYTHON", "code": "print(1)"}}),
    parts({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}}),
    parts({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo" * 40}}),
    parts({"text": "", "thoughtSignature": "x"}, finish="STOP") | {"usageMetadata": USAGE},
]


class TestStream:
    """Events."""

    def test_clean_events_pass_byte_for_byte(self) -> None:
        """With the line ends that the API uses, with its spaces too."""
        crlf = [frame.replace(b"\n", b"\r\n").replace(b'":', b'": ') for frame in frames(*CLEAN)]
        for pieces in (frames(*CLEAN), crlf):
            out, pipeline = played(GEMINI, pieces)
            assert out == b"".join(pieces)
            report = pipeline.report
            assert (report.ended, report.faults, report.model) == ("stop", [], "gemini-3-pro")
            assert report.usage == {"promptTokenCount": 4, "candidatesTokenCount": 9, "totalTokenCount": 13}

    def test_labels_are_no_text(self) -> None:
        """What is scanned is what the model said."""
        _, pipeline = played(GEMINI, frames(*answer("One. "), {**HEAD, "usageMetadata": USAGE}))
        assert pipeline.report.scanned == len("One. ")

    def test_nothing_but_data_is_sent(self) -> None:
        """Clients of this API fail at comments, names, ids, a byte order mark, an end marker, a missing space."""
        first, second, last = frames(*answer("One. ", "two. "))
        odd = [b"\xef\xbb\xbf: hi\n\nretry: 5\n\nevent: x\nid: 1\n" + first, b"data:" + second[6:], last]
        out, _ = played(GEMINI, [*odd, b"data: [DONE]\n\n", b": bye\n\n"])
        assert out == first + second + last

    def test_a_finding_is_replaced_across_events(self) -> None:
        """The tail keeps its role and index."""
        out, pipeline = played(GEMINI, frames(*answer("Mail ada", "@exam", "ple.com now", " or bye")))
        assert text(out) == "Mail [EMAIL] now or bye"
        assert finishes(out) == [(0, "STOP")]
        for event in events(out):
            assert event["candidates"][0]["content"]["role"] == "model"
            assert {key: event[key] for key in HEAD} == HEAD
        assert pipeline.report.removed == 15

    def test_the_tail_of_a_thought_is_a_thought(self) -> None:
        """Thoughts and text are two channels."""
        stream = [*says("I see ada@ex", thought=True), *says("Say ada"), *says("ample.com", thought=True)]
        out, pipeline = played(GEMINI, frames(*stream, parts({"text": "!"}, finish="STOP")))
        assert text(out, thought=True) == "I see [EMAIL]"
        assert text(out) == "Say ada!"
        assert {finding.channel for finding in pipeline.report.take_findings()} == {"candidate.0.thought"}

    def test_candidates_are_told_apart(self) -> None:
        """By their number; the only one needs none."""
        stream = [*says("ada@exam"), *says("bob@exam", index=1), *says("ple.com "), *says("ple.org ", index=1)]
        ends = [parts(finish="STOP"), parts(finish="MAX_TOKENS", index=1)]
        out, _ = played(GEMINI, frames(*stream, *ends))
        assert (text(out), text(out, index=1)) == ("[EMAIL] ", "[EMAIL] ")
        lone = {"candidates": [{"content": {"parts": [{"text": "ada@example.com"}]}, "finishReason": "STOP"}]}
        assert b"ada@" not in played(GEMINI, frames(lone))[0]

    def test_usage_is_sent_though_text_is_held(self) -> None:
        """A count is news; an event of nothing but held text is not sent."""
        first, second = says("ada", "@example")
        pipeline = StreamPipeline(GEMINI, POLICY)
        out = pipeline.feed(frames(first | {"usageMetadata": USAGE})[0])
        assert (text(out), events(out)[0]["usageMetadata"]) == ("", USAGE)
        assert pipeline.feed(frames(second)[0]) == b""

    def test_a_call_is_judged_by_its_values(self) -> None:
        """Escapes, keys and numbers too; the rest stays."""
        args = {"to": "ada@example.com", "card": 4111111111111111, "ada@example.com": ["x"]}
        stream = parts({"functionCall": {"name": "send", "args": args}}, finish="STOP")
        escaped = frames(stream)[0].replace(b"ada@", b"\\u0061da\\u0040")
        out, pipeline = played(GEMINI, [escaped])
        call = events(out)[0]["candidates"][0]["content"]["parts"][0]["functionCall"]
        assert call == {"name": "send", "args": {"to": "[EMAIL]", "card": 0, "[EMAIL]": ["x"]}}
        names = {finding.channel for finding in pipeline.report.take_findings()}
        assert names <= {"candidate.0.functionCall.args", "keys"}

    @pytest.mark.parametrize("part", ["functionResponse", "toolResponse", "toolCall"])
    def test_results_are_judged_too(self, part: str) -> None:
        """A tool's answer is one value."""
        key = "args" if part == "toolCall" else "response"
        out, _ = played(GEMINI, frames(parts({part: {"name": "f", key: {"a": "ada@example.com"}}}, finish="STOP")))
        assert events(out)[0]["candidates"][0]["content"]["parts"][0][part][key] == {"a": "[EMAIL]"}

    def test_unknown_fields_are_text(self) -> None:
        """Wherever they stand."""
        mail = "ada@example.com"
        stream = parts({"surprise": {"deep": [mail]}}, {"text": "x", "new": mail}, finish="STOP", finishMessage=mail)
        stream["candidates"][0]["content"]["odd"] = mail
        stream |= {"modelStatus": {"message": mail}, "candidateNote": mail}
        out, _ = played(GEMINI, frames(stream))
        assert b"ada@" not in out
        assert out.count(b"[EMAIL]") == 6

    @pytest.mark.parametrize("odd", [3, None, "x", [], {"index": "0"}, {"index": -1}, {"index": True}])
    def test_odd_shapes_are_read(self, odd: Any) -> None:
        """Never a failure, never unfiltered."""
        mail = {"parts": [{"text": "ada@example.com"}]}
        if isinstance(odd, dict):
            odd = odd | {"content": mail}
        for event in (
            {"candidates": [odd, {"content": mail, "finishReason": "STOP"}]},
            {"candidates": odd, "x": mail},
            {"candidates": {"x": {"content": mail}}},
            {"candidates": [{"content": odd, "x": mail}]},
            {"candidates": [{"content": {"parts": odd}, "x": mail}]},
            {"candidates": [{"content": {"parts": [odd, {"functionCall": odd, "text": "ada@example.com"}]}}]},
            {"promptFeedback": odd, "x": mail},
            {"usageMetadata": odd, "x": mail},
        ):
            out, _ = played(GEMINI, frames(event))
            assert b"ada@" not in out

    def test_a_refused_prompt_is_an_end(self) -> None:
        """No candidates, but a reason."""
        event = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}, **HEAD}
        out, pipeline = played(GEMINI, frames(event))
        assert out == frames(event)[0]
        assert pipeline.report.ended == "content_filter"

    def test_a_stream_that_breaks_off_ends_with_an_error(self) -> None:
        """Clients take the bare end for the answer's end."""
        out, pipeline = played(GEMINI, frames(*says("One. ", "ada")))
        assert text(out) == "One. "
        error = {
            "code": 502,
            "message": "The upstream ended its answer before it was finished.",
            "status": "UNAVAILABLE",
        }
        assert events(out)[-1] == {"error": error}
        assert pipeline.report.ended == "upstream_incomplete"

    def test_an_error_of_the_upstream_is_the_end(self) -> None:
        """It is passed on, filtered."""
        error = {"code": 503, "message": "Overloaded, ask ada@example.com", "status": "UNAVAILABLE"}
        out, pipeline = played(GEMINI, frames(*says("One. "), {"error": error}))
        assert events(out)[-1]["error"] == error | {"message": "Overloaded, ask [EMAIL]"}
        assert pipeline.report.ended == "upstream_error"


class TestStreamedCalls:
    """Arguments piece by piece."""

    BEGIN = parts({"functionCall": {"name": "f", "willContinue": True}, "thoughtSignature": "sig"})
    END = parts({"functionCall": {}}, finish="STOP")

    @staticmethod
    def piece(value: Any, key: str = "stringValue", path: str = "$.to", **more: Any) -> dict[str, Any]:
        """A piece of one argument."""
        return parts({"functionCall": {"partialArgs": [{"jsonPath": path, key: value, **more}], "willContinue": True}})

    def test_clean_pieces_pass_byte_for_byte(self) -> None:
        """All at once, when the call has ended."""
        stream = frames(self.BEGIN, self.piece("Par"), self.piece("is"), self.piece(2, "numberValue"), self.END)
        pipeline = StreamPipeline(GEMINI, POLICY)
        assert b"".join(map(pipeline.feed, stream[:-1])) == b""
        assert pipeline.feed(stream[-1]) == b"".join(stream)
        closed = frames(self.BEGIN, self.piece("x"), parts({"functionCall": {}}), *answer("Bye. "))
        assert played(GEMINI, closed)[0] == b"".join(closed)

    def test_a_finding_is_replaced_across_pieces(self) -> None:
        """Each argument is a text of its own."""
        pieces = [self.piece("ada@ex"), self.piece("a.b", path="$.cc"), self.piece("ample.com"), self.END]
        pieces.insert(2, self.piece(4111111111111111, "numberValue", path="$.card"))
        out, _ = played(GEMINI, frames(self.BEGIN, *pieces))
        made = [part["partialArgs"][0] for part in map(_call, events(out)) if "partialArgs" in part]
        assert [(one["jsonPath"], one.get("stringValue", one.get("numberValue"))) for one in made] == [
            ("$.to", "[EMAIL]"),
            ("$.cc", "a.b"),
            ("$.card", 0),
            ("$.to", ""),
        ]

    def test_pieces_beside_other_things_are_set_apart(self) -> None:
        """Text, the finish, another candidate."""
        together = self.piece("ada@ex")
        together["candidates"][0]["content"]["parts"].insert(0, {"text": "One. "})
        together["candidates"].append(parts({"text": "Two. "}, index=1)["candidates"][0])
        last = self.piece("ample.com")
        last["candidates"][0] |= {"finishReason": "STOP"}
        last["candidates"].append(parts(index=1, finish="STOP")["candidates"][0])
        out, pipeline = played(GEMINI, frames(self.BEGIN, together, last | {"usageMetadata": USAGE}))
        assert (text(out), text(out, index=1)) == ("One. ", "Two. ")
        assert b"ada@" not in out
        assert b"[EMAIL]" in out
        assert finishes(out) == [(0, "STOP"), (1, "STOP")]
        assert events(out)[-1]["usageMetadata"] == USAGE
        assert pipeline.report.ended == "stop"

    def test_the_event_that_ends_a_call_is_filtered_too(self) -> None:
        """Its keys as well as its texts."""
        end = parts({"functionCall": {}}, finish="STOP") | {"x": {"ada@example.com": 1}}
        out, _ = played(GEMINI, frames(self.BEGIN, self.piece("x"), end))
        assert b"ada@" not in out

    def test_nothing_of_a_halted_call_leaves(self) -> None:
        """Not its beginning either."""
        out, _ = played(GEMINI, frames(self.BEGIN, self.piece("sk-abc"), self.piece("defghij "), self.END))
        assert b"functionCall" not in out
        assert finishes(out) == [(0, "SAFETY")]


def _call(event: Any) -> Any:
    return event["candidates"][0]["content"]["parts"][0]["functionCall"]


class TestCompanions:
    """What refers to the text."""

    SUPPORT: ClassVar[Any] = {"segment": {"startIndex": 0, "endIndex": 3, "text": "Hi"}, "groundingChunkIndices": [0]}
    META: ClassVar[Any] = {
        "groundingMetadata": {"groundingSupports": [SUPPORT], "groundingChunks": [{"web": {"uri": "u", "title": "T"}}]},
        "citationMetadata": {"citationSources": [{"startIndex": 0, "endIndex": 3, "uri": "u"}]},
    }

    def test_positions_go_when_the_text_was_changed(self) -> None:
        """Else they stay."""
        clean = [*says("Hi. "), parts(finish="STOP", **self.META)]
        assert played(GEMINI, frames(*clean))[0] == b"".join(frames(*clean))
        out, _ = played(GEMINI, frames(*says("To ada@example.com. "), parts(finish="STOP", **self.META)))
        candidate = events(out)[-1]["candidates"][0]
        assert candidate["groundingMetadata"] == {
            "groundingSupports": [],
            "groundingChunks": [{"web": {"uri": "u", "title": "T"}}],
        }
        assert candidate["citationMetadata"] == {"citationSources": []}

    def test_their_texts_are_filtered(self) -> None:
        """Titles come from anywhere."""
        chunks = {"groundingChunks": [{"web": {"title": "ada@example.com"}}]}
        out, _ = played(GEMINI, frames(*says("Hi. "), parts(finish="STOP", groundingMetadata=chunks)))
        assert events(out)[-1]["candidates"][0]["groundingMetadata"]["groundingChunks"][0]["web"]["title"] == "[EMAIL]"

    @staticmethod
    def logprobs(*tokens: str) -> dict[str, Any]:
        """The probabilities of these tokens."""
        chosen = [{"token": token, "tokenId": 7, "logProbability": -0.5} for token in tokens]
        return {"logprobsResult": {"chosenCandidates": chosen, "topCandidates": [{"candidates": chosen}]}}

    def test_log_probabilities_stay_beside_clean_text(self) -> None:
        """Nothing held before or after."""
        stream = [parts({"text": "One. "}, **self.logprobs("One", ". ")), parts(finish="STOP", **self.logprobs("."))]
        assert played(GEMINI, frames(*stream))[0] == b"".join(frames(*stream))

    def test_log_probabilities_go_with_text_that_is_held_or_changed(self) -> None:
        """At the end, too, and where they come without their text."""
        stream = [
            parts({"text": "One ada"}, **self.logprobs("One", " ada")),
            parts(**self.logprobs("@example")),
            parts({"text": "@example.com. "}, **self.logprobs("@example", ".com", ". ")),
            parts(finish="STOP", **self.logprobs("One", " ada", "@example", ".com", ". ")),
        ]
        out, _ = played(GEMINI, frames(*stream))
        assert text(out) == "One [EMAIL]. "
        assert b" ada" not in out
        assert b"@example" not in out


class TestHalt:
    """The API's own end."""

    def test_it_is_an_event_without_content(self) -> None:
        """All open candidates in one, with the counts so far."""
        stream = [*says("One. "), *says("Two. ", index=1), says("Key sk-abcdefgh ")[0] | {"usageMetadata": USAGE}]
        out, pipeline = played(GEMINI, frames(*stream, *answer("more")))
        last = {
            "candidates": [
                {"finishReason": "SAFETY", "index": 0, "safetyRatings": []},
                {"finishReason": "SAFETY", "index": 1, "safetyRatings": []},
            ],
            "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 9, "totalTokenCount": 13},
            **HEAD,
        }
        assert out.startswith(b"".join(frames(*stream[:2])))
        assert out.endswith(frames(last)[0])
        assert text(out) == "One. Key "
        assert pipeline.report.ended == "content_filter"
        assert pipeline.report.delivered_finish == {0: "content_filter", 1: "content_filter"}

    def test_a_notice_stands_before_it(self) -> None:
        """In an event of text; not where JSON was asked for."""
        stream = frames(*says("Key sk-abcdefgh "))
        out, _ = played(GEMINI, stream, ask=Ask(notice="[stopped]"))
        assert text(out) == "Key [stopped]"
        assert "content" not in events(out)[-1]["candidates"][0]
        out, _ = played(GEMINI, frames(*says('{"a":"sk-abcdefgh ')), ask=Ask(notice="[stopped]", json=True))
        assert "stopped" not in text(out)

    def test_the_first_event_may_halt(self) -> None:
        """There is a candidate to be ended all the same."""
        out, _ = played(GEMINI, frames({"modelStatus": {"message": "sk-abcdefgh "}}))
        assert events(out) == [{"candidates": [{"finishReason": "SAFETY", "index": 0, "safetyRatings": []}]}]


class TestArray:
    """The same as one JSON array."""

    @staticmethod
    def played(*made: Any, ask: Ask | None = None) -> list[Any]:
        """The array that a client gets."""
        stream = b"[" + b"\n,\r\n".join(json.dumps(event, indent=2).encode() for event in made) + b"\n]\n"
        out, _ = played(ARRAY, [stream], ask=ask)
        writer = ArrayWriter()
        made_array: list[Any] = json.loads(writer.feed(out, last=False) + writer.feed(b"", last=True))
        return made_array

    def test_clean_elements_pass_byte_for_byte(self) -> None:
        """Spaces and line ends too."""
        elements = [json.dumps(event, indent=2).encode() for event in CLEAN]
        out, _ = played(ARRAY, [b"[" + b"\n,\r\n".join(elements) + b"]"])
        assert out == b"".join(b"\x1e" + element for element in elements)

    def test_it_is_filtered_like_events(self) -> None:
        """Replaced, halted, broken off."""
        made = self.played(*answer("Mail ada", "@example.com now. "))
        assert "".join(_text(event) for event in made) == "Mail [EMAIL] now. "
        made = self.played(*answer("Key sk-abcdefgh "))
        assert made[-1]["candidates"] == [{"finishReason": "SAFETY", "index": 0, "safetyRatings": []}]
        assert self.played(*says("One. "))[-1]["error"]["status"] == "UNAVAILABLE"
        assert played(ARRAY, [b"{}"])[0].startswith(b'\x1e{"error"')
        assert played(ARRAY, [b'[{"candidates": ['])[0].startswith(b'\x1e{"error"')


def _text(event: Any) -> str:
    return "".join(part.get("text", "") for part in event["candidates"][0].get("content", {}).get("parts", ()))


class TestBody:
    """Whole answers."""

    def test_the_same_is_found_as_in_a_stream(self) -> None:
        """Byte for byte if nothing is."""
        assert judged(GEMINI, CLEAN[0] | {"usageMetadata": USAGE})[0] == 200
        made = parts(
            {"text": "I see ada@example.com", "thought": True},
            {"text": "Mail ada@example.com now"},
            {"functionCall": {"name": "f", "args": {"to": "ada@example.com", "n": 1}}},
            finish="STOP",
            **TestCompanions.META,
        )
        _, value, pipeline = judged(GEMINI, made)
        candidate = value["candidates"][0]
        assert [part.get("text") for part in candidate["content"]["parts"][:2]] == ["I see [EMAIL]", "Mail [EMAIL] now"]
        assert candidate["content"]["parts"][2]["functionCall"]["args"] == {"to": "[EMAIL]", "n": 1}
        assert candidate["groundingMetadata"]["groundingSupports"] == []
        assert pipeline.report.ended == "stop"

    def test_a_halt_cuts_it_off(self) -> None:
        """Parts behind it are gone, every candidate is ended."""
        call = {"functionCall": {"name": "f", "args": {}}}
        made = parts({"text": "One."}, {"text": "Key sk-abcdefgh "}, call, finish="STOP", **TestCompanions.META)
        made["candidates"] += parts({"text": "Two."}, index=1, finish="STOP")["candidates"]
        _, value, pipeline = judged(GEMINI, made)
        content = {"parts": [{"text": "O"}, {"text": "ne.Key "}], "role": "model"}  # one text, held as in a stream
        assert value == {
            "candidates": [
                {"content": content, "index": 0, "finishReason": "SAFETY"},
                {"index": 1, "finishReason": "SAFETY"},
            ],
            **HEAD,
        }
        assert pipeline.report.ended == "content_filter"

    def test_a_halted_call_leaves_no_content(self) -> None:
        """But what came before it stays."""
        call = {"functionCall": {"name": "f", "args": {"a": "sk-abcdefgh "}}}
        _, value, _ = judged(GEMINI, parts(call, finish="STOP"))
        assert value["candidates"] == [{"index": 0, "finishReason": "SAFETY"}]
        _, value, _ = judged(GEMINI, parts({"text": "One."}, call, finish="STOP"), Ask(notice="[stopped]"))
        assert value["candidates"][0]["content"]["parts"] == [{"text": "One."}, {"text": "[stopped]"}]

    def test_a_halt_beside_the_content_keeps_it(self) -> None:
        """Read before, it was clean; read after, it was not judged."""
        _, value, _ = judged(GEMINI, parts({"text": "One."}, finishMessage="sk-abcdefgh "))
        assert _text(value) == "One."
        made = {"x": "sk-abcdefgh ", **parts({"text": "One."})}
        assert judged(GEMINI, made)[1]["candidates"] == [{"index": 0, "finishReason": "SAFETY"}]
        made = {**parts({"text": "One."}), "x": "sk-abcdefgh "}
        assert _text(judged(GEMINI, made)[1]) == "One."

    def test_an_error_is_filtered(self) -> None:
        """One in which something halts becomes an error of its own."""
        error = {"code": 400, "message": "No ada@example.com", "status": "INVALID_ARGUMENT"}
        assert judged(GEMINI, {"error": error}, status=400)[1]["error"]["message"] == "No [EMAIL]"
        assert judged(GEMINI, [{"error": error}], status=400)[1][0]["error"]["message"] == "No [EMAIL]"
        status, value, _ = judged(GEMINI, {"error": error | {"message": "sk-abcdefgh "}}, status=400)
        assert (status, value["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"generationConfig": {"responseMimeType": "application/json"}}, True),
        ({"generation_config": {"response_mime_type": "application/json"}}, True),
        ({"generationConfig": {"responseSchema": {"type": "OBJECT"}}}, True),
        ({"generationConfig": {"responseJsonSchema": {"type": "object"}}}, True),
        ({"generationConfig": {"responseMimeType": "text/plain"}}, False),
        ({"generationConfig": 3}, False),
        ([], False),
    ],
)
def test_structured_output_is_in_the_generation_config(config: Any, expected: bool) -> None:
    """By its type or its schema, in both spellings."""
    assert GEMINI.ask(config).json is expected


def test_a_refused_prompt_is_answered_as_the_api_does() -> None:
    """No error, but no candidates."""
    status, body = GEMINI.refused_prompt("No.")
    assert (status, json.loads(body)) == (
        200,
        {
            "promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "No."},
            "usageMetadata": {"promptTokenCount": 0, "totalTokenCount": 0},
        },
    )


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (400, "INVALID_ARGUMENT"),
        (413, "INVALID_ARGUMENT"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (502, "UNAVAILABLE"),
    ],
)
def test_errors_are_googles(status: int, word: str) -> None:
    """The status in figures and in words."""
    body = json.loads(GEMINI.error_body("No.", status=status, code="x"))
    assert body == {"error": {"code": status, "message": "No.", "status": word}}


def test_prompts_are_read() -> None:
    """Every text of a request, media left out."""
    reading = GEMINI.read_prompt(
        {
            "contents": [
                {
                    "role": "user",
                    "parts": [{"text": "one"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA" * 100}}],
                }
            ],
            "systemInstruction": {"parts": [{"text": "two"}]},
        }
    )
    assert [slot.holder[slot.key] for slot in reading.slots] == ["one", "two"]
    assert {slot.mode for slot in reading.slots} == {Mode.WHOLE}


def test_a_call_after_a_finding_that_halts_never_leaves() -> None:
    """Though it came whole, in an event of its own or beside the text."""
    call = {"functionCall": {"name": "send", "args": {"to": "x"}}}
    for first in ([parts({"text": "Key sk-abc"}), parts(call)], [parts({"text": "Key sk-abc"}, call)]):
        frames = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in [*first, parts({"text": "defgh "})]]
        pipeline = StreamPipeline(GEMINI, POLICY)
        out = b"".join(map(pipeline.feed, frames))
        assert pipeline.report.ended == "content_filter"
        assert b"send" not in out


def test_grounding_does_not_say_what_is_held() -> None:
    """It repeats pieces of the text."""
    support = {"groundingSupports": [{"segment": {"text": "ada@exam", "endIndex": 8}}]}
    made = parts({"text": "ada@exam"})
    made["candidates"][0]["groundingMetadata"] = support
    out = StreamPipeline(GEMINI, POLICY).feed(b"data: " + json.dumps(made).encode() + b"\n\n")
    assert b"ada@" not in out
