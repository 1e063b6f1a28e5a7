"""The fast path: it gives what the slow path gives."""

from __future__ import annotations

import pytest

from safeproxy.core.filter import StreamFilter
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import DetectorError
from safeproxy.pipeline import Policy, StreamPipeline
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


def test_the_fast_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """After two events of a shape no event of it is parsed any more."""
    pipeline = StreamPipeline(CHAT, Policy(RuleSet([EMAIL, NUMBER, KEY])))
    for frame in [opening(), *says("One, ", "two, ")]:
        pipeline.feed(frame)
    monkeypatch.setattr("safeproxy.wire.jsontext.parse", lambda data: pytest.fail("parsed"))
    assert [pipeline.feed(frame) for frame in says("three, ", "\u00e9, ")] == says("three, ", "\u00e9, ")


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
