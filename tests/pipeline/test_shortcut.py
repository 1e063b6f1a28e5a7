"""The fast path: it gives what the slow path gives."""

from __future__ import annotations

from typing import Any

import pytest

from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import DetectorError
from safeproxy.pipeline import Policy, StreamPipeline
from safeproxy.wire import jsontext
from safeproxy.wire.registry import RESPONSES
from tests.wire.chat import (
    CHAT,
    DONE,
    EMAIL,
    KEY,
    NUMBER,
    POLICY,
    Client,
    choice,
    chunk,
    event,
    opening,
    run,
    says,
    served,
    sse,
)

HOLDS_EVERY_WORD = RuleSet([Rule(id="handle", entity="HANDLE", pattern=r"\w[\w, ]*@\w+")])


def test_the_fast_path_gives_what_the_slow_path_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of one shape, with all sorts of strings in them."""
    texts = [
        "One, ",
        "\u00e9t\u00e9",
        '"quoted"',
        "ada@",
        "example.com",
        "\\",
        "\n",
        " ",
        "\U0001f600",
        "end",
        '","x":"y',
        "",
    ]
    for ascii_only in (True, False):
        for more in ({}, {"obfuscation": "abc"}, {"provider": "Acme"}, {"usage": None}):
            frames = [
                opening(),
                *(sse(event(choice({"content": t}), **more), ascii_only=ascii_only) for t in texts * 2),
            ]
            frames += [chunk({}, "stop"), DONE]
            fast, quick = run(frames)
            with monkeypatch.context() as patch:
                patch.setattr("safeproxy.pipeline.shortcut.Shortcuts.find", lambda self, raw: None)
                slow, plain = run(frames)
            assert Client().read(fast).choices == Client().read(slow).choices
            assert quick.report.scanned == plain.report.scanned
            assert fast == slow


WORDS = ["One, ", "two", " three", " four. ", "five\u00e9", "six, "]


def slow_events(monkeypatch: pytest.MonkeyPatch, frames: list[bytes], rules: RuleSet) -> list[int]:
    """Which of the frames were parsed, by number."""
    parse, parsed = jsontext.parse, []
    pipeline = StreamPipeline(CHAT, Policy(rules))
    for number, frame in enumerate(frames):
        with monkeypatch.context() as patch:
            # Learning parses too, but only what has a probe in it.
            patch.setattr(jsontext, "parse", lambda data, at=number: (parsed.append(at), parse(data))[1])
            pipeline.feed(frame)
    return sorted(set(parsed))


@pytest.mark.parametrize(
    "more", [{}, {"usage": None}, {"obfuscation": "aB3"}, {"provider": "Acme"}, {"system_fingerprint": "fp_1"}]
)
@pytest.mark.parametrize("rules", [RuleSet([EMAIL, NUMBER, KEY]), HOLDS_EVERY_WORD])
def test_the_fast_path_is_taken(monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], rules: RuleSet) -> None:
    """From the second text on no event is parsed, though the first may be held in part or whole."""
    texts = [sse(event(choice({"content": word}), **more)) for word in WORDS]
    assert slow_events(monkeypatch, [opening(), *texts, chunk({}, "stop")], rules) == [0, 1, 7]


def test_the_fast_path_is_taken_without_a_role_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the role comes with the first text, the second text's frame is the one that recurs."""
    frames = [chunk({"role": "assistant", "content": "One"}), *says(*WORDS)]
    assert slow_events(monkeypatch, frames, HOLDS_EVERY_WORD) == [0, 1]
    frames = [chunk({"role": "assistant", "content": word}) for word in WORDS]
    assert slow_events(monkeypatch, frames, HOLDS_EVERY_WORD) == [0]


def test_the_fast_path_is_taken_by_several_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own frame, with an id of its own even."""
    frames = [
        sse({**event(choice({"content": word}, index=index)), "id": f"c-{index}"})
        for word in WORDS
        for index in range(3)
    ]
    assert slow_events(monkeypatch, frames, HOLDS_EVERY_WORD) == [0, 1, 2]


class TestFastPath:
    """What the fast path does besides passing text."""

    def test_a_halt(self) -> None:
        """Text before the finding leaves, then the API's end."""
        client, pipeline = served([opening(), *says("One, ", "two, ", "use sk-abcdefgh now")])
        assert client.text() == "One, two, use "
        assert client.choices[0].finish == "content_filter"
        assert pipeline.report.ended == "content_filter"

    @pytest.mark.usefixtures("_breaks_at_boom")
    def test_a_broken_detector(self) -> None:
        """It halts as elsewhere."""
        client, pipeline = served([opening(), *says("One, ", "two, ", "boom")])
        assert client.text() == "One, two, "
        assert pipeline.report.ended == "detector_error"

    @pytest.fixture
    def _breaks_at_boom(self, monkeypatch: pytest.MonkeyPatch) -> None:
        feed = StreamFilter.feed

        def break_at_boom(stream: StreamFilter, text: str) -> str:
            if text == "boom":
                raise DetectorError("it broke")
            return feed(stream, text)

        monkeypatch.setattr(StreamFilter, "feed", break_at_boom)

    def test_audio_that_waits(self) -> None:
        """It leaves with the event that releases its text."""
        frames = [chunk({"audio": {"transcript": text}}) for text in ("One. ", "Two. ", "x", " three. ")]
        frames.insert(3, chunk({"audio": {"data": "QUJD"}}))
        pipeline = StreamPipeline(CHAT, POLICY)
        outs = [pipeline.feed(frame) for frame in frames]
        assert outs[2] == outs[3] == b""
        assert b"QUJD" in outs[4]

    def test_a_frame_that_only_looks_alike(self) -> None:
        """The same bytes before and after, but no single string between, is parsed."""
        frames = [opening(), *says("One, ", "two, ")]
        body = frames[1][len(b"data: ") : -2]
        odd = body.replace(b"One, ", b'x","refusal":"ada@example.com')
        client, _ = served([*frames, b"data: " + odd + b"\n\n", chunk({}, "stop"), DONE])
        assert client.text() == "One, two, x"
        assert client.text("refusal") == "[EMAIL]"

    @pytest.mark.parametrize("middle", [b"\x01", b"\\", b"\\x", b"\xff"])
    def test_a_string_that_is_none(self, middle: bytes) -> None:
        """It is judged as if there were no fast path."""
        frames = [opening(), *says("One, ", "two, ")]
        client, pipeline = served([*frames, frames[1].replace(b"One, ", middle), chunk({}, "stop"), DONE])
        assert client.text() == ("One, two, \ufffd" if middle == b"\xff" else "One, two, ")
        assert pipeline.report.faults == ([] if middle == b"\xff" else ["malformed_event"])

    def test_frames_that_never_repeat_are_not_learned_for_ever(self) -> None:
        """Where each frame has another id, the trying stops."""
        pipeline = StreamPipeline(CHAT, POLICY)
        frames = [sse({**event(choice({"content": "a. "})), "id": f"c-{n}"}) for n in range(200)]
        assert b"".join(map(pipeline.feed, frames)) == b"".join(frames)
        assert len(pipeline._shortcuts._templates) <= 8
        assert pipeline._shortcuts._skip > 10


class TestTicks:
    """Events that differ in a number or a time."""

    @staticmethod
    def run(*numbers: str) -> tuple[bytes, StreamPipeline]:
        """Deltas of a response with these numbers, as they are written."""
        pipeline = StreamPipeline(RESPONSES, POLICY)
        frame = b'data: {"type":"response.output_text.delta","sequence_number":%s,"output_index":0,"delta":"ha. "}\n\n'
        return b"".join(pipeline.feed(frame % number.encode()) for number in numbers), pipeline

    def test_numbers_that_do_not_count_number_nothing(self) -> None:
        """A server that writes 0 every time repeats itself as it likes."""
        out, pipeline = self.run(*["0"] * 5)
        assert out.count(b"ha. ") == 5
        assert out.count(b'"sequence_number":0') == 5
        assert pipeline.report.faults == []

    def test_a_repeated_number_is_a_repeated_event(self) -> None:
        """On the fast path as on the slow."""
        out, pipeline = self.run("1", "2", "3", "3", "4")
        assert out.count(b"ha. ") == 4
        assert pipeline.report.faults == ["repeated_event"]

    def test_what_is_no_number_is_no_json(self) -> None:
        """The fast path must not take what the slow one refuses."""
        _, pipeline = self.run("1", "2", "007")
        assert pipeline.report.faults == ["malformed_event"]
