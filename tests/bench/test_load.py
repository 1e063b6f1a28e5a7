"""The benchmark's client, with an answer that is played to it: what it asks for and what it notes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self, cast

import pytest
from aiohttp import ClientSession

from safeproxy.bench import load
from safeproxy.bench.load import BenchError, Seen, Wish
from safeproxy.bench.upstream import MODEL, pieces
from safeproxy.demo import chat

WISH = Wish(chunks=3, pace=0)
SENT = b"".join(chat.text_chunks(pieces("prose", 3), model=MODEL))


@dataclass
class Answer:
    """An answer of which these pieces arrive, and the session that gets it."""

    arriving: list[bytes]
    status: int = 200
    closed: bool = False
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def post(self, url: str, *, json: dict[str, Any], headers: dict[str, str]) -> Self:
        """Note what is asked for."""
        self.asked.append((url, json))
        self.keys.append(headers["Authorization"])
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    @property
    def content(self) -> Self:
        """The body's reader."""
        return self

    async def iter_any(self) -> AsyncIterator[bytes]:
        """The pieces; none once the answer was closed."""
        for piece in self.arriving:
            assert not self.closed
            yield piece

    async def text(self) -> str:
        """The whole body."""
        return b"".join(self.arriving).decode()

    def close(self) -> None:
        """The client leaves."""
        self.closed = True


async def seen(answer: Answer, wish: Wish = WISH, **options: Any) -> Seen:
    """What a client sees of the answer."""
    return await load.stream(cast("ClientSession", answer), "http://target", wish, **options)


def says(*texts: str) -> list[bytes]:
    """An event for each text."""
    return [chat.chunk({"content": text}, model=MODEL) for text in texts]


async def test_the_wish_is_told_to_the_upstream_in_strings() -> None:
    """As the API wants metadata; each stream has a name of its own."""
    answer = Answer([chat.DONE])
    runs = [(await seen(answer, Wish(7, 0.25, "halt", note=False))).run for _ in range(2)]
    url, body = answer.asked[0]
    assert url == "http://target" + chat.PATH
    assert (body["model"], body["stream"]) == (MODEL, True)
    assert body["metadata"] == {"run": runs[0], "chunks": "7", "pace": "0.25", "script": "halt", "note": "0"}
    assert answer.asked[1][1]["metadata"]["run"] == runs[1] != runs[0]
    await seen(answer, Wish(7, 0.25, fault="reset", key="mine", at_once=64))
    metadata = answer.asked[2][1]["metadata"]
    assert (metadata["fault"], metadata["at_once"]) == ("reset", "64")
    assert answer.keys == ["Bearer none", "Bearer none", "Bearer mine"]


async def test_arrivals_of_text_are_noted_with_the_characters_so_far() -> None:
    """One for each piece of the body that brought any, however many events it completed."""
    one, two, three = says("ab", "cde", "f")
    start, *_, finish, done = chat.text_chunks([], model=MODEL)
    noted = await seen(Answer([start, one + two[:9], two[9:30], two[30:] + three, finish, done]))
    assert [characters for _, characters in noted.received] == [2, 6]
    assert "".join(noted.text) == "abcdef"
    assert noted.finish == "stop"
    assert noted.first_byte is not None
    assert noted.asked <= noted.first_byte <= noted.received[0][0] <= noted.received[1][0]
    assert noted.left is None


async def test_a_client_leaves_after_so_many_characters() -> None:
    """It closes the answer and reads no more of it."""
    answer = Answer(says("ab", "cd", "ef", "gh"))
    noted = await seen(answer, leave_after=4)
    assert answer.closed
    assert "".join(noted.text) == "abcd"
    assert noted.left is not None
    assert noted.left >= noted.received[-1][0]


@pytest.mark.parametrize("size", [1, 5, 10_000])
async def test_a_stream_that_is_only_counted_has_to_end_as_it_should(size: int) -> None:
    """However its end is cut; anything after it is no proper end."""
    cut = [SENT[at : at + size] for at in range(0, len(SENT), size)]
    noted = await seen(Answer(cut), read=False)
    assert (noted.text, noted.received, noted.finish) == ([], [], None)
    for broken in (cut[:-1], [*cut, b"\n"], []):
        with pytest.raises(BenchError, match="broke off"):
            await seen(Answer(broken), read=False)


async def test_an_answer_that_is_none_is_an_error_with_its_beginning() -> None:
    """The status and enough of the body to know why."""
    with pytest.raises(BenchError) as caught:
        await seen(Answer([b"no " * 1000], status=503))
    assert str(caught.value) == "the target answered 503: " + ("no " * 1000)[:200]


async def test_an_error_is_no_fault_where_it_is_to_be_expected() -> None:
    """Its status is noted; nothing of it is text."""
    noted = await seen(Answer([b"no"], status=503), may_fail=True)
    assert (noted.status, noted.text, noted.finish) == (503, [], None)
    assert (await seen(Answer([SENT]), may_fail=True)).status == 200


async def test_the_bytes_of_a_stream_are_told_as_they_come() -> None:
    """All of them; a stream that breaks off, or an error, is a BenchError."""
    sizes: list[int] = []
    await load.skim(cast("ClientSession", Answer([SENT[:9], SENT[9:]])), "http://target", WISH, sizes.append)
    assert sizes == [9, len(SENT) - 9]
    for answer in (Answer([SENT[:9]]), Answer([SENT], status=500)):
        with pytest.raises(BenchError):
            await load.skim(cast("ClientSession", answer), "http://target", WISH, sizes.append)


async def test_many_streams_are_all_checked_if_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that is not what was sent is an error; unread, nobody knows it."""
    monkeypatch.setattr(load, "open_session", lambda: Answer([SENT]))
    assert len({one.run for one in await load.many("http://target", WISH, 5)}) == 5
    monkeypatch.setattr(load, "open_session", lambda: Answer([*says("else"), chat.DONE]))
    assert len(await load.many("http://target", WISH, 5, read=False)) == 5
    with pytest.raises(BenchError, match="clean prose"):
        await load.many("http://target", WISH, 5)


async def test_streams_start_evenly_over_one_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that their chunks do not come in step."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(load, "open_session", lambda: Answer([SENT]))
    monkeypatch.setattr("asyncio.sleep", sleep)
    await load.many("http://target", Wish(3, 0.2), 4)
    assert waits == pytest.approx([0, 0.05, 0.1, 0.15])
