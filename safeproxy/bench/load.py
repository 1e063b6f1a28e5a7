"""The benchmark's clients: streams asked for through a target, and what was seen of them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from aiohttp import ClientResponse, ClientSession, ClientTimeout, TCPConnector

from safeproxy.bench.upstream import MODEL, pieces
from safeproxy.demo import chat
from safeproxy.errors import SafeproxyError


class BenchError(SafeproxyError):
    """A measurement makes no sense, for what came back was not what was asked for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The stream a client asks for: pieces of text, and the seconds between them (0: unpaced)."""

    chunks: int
    pace: float
    script: str = "prose"
    note: bool = True
    fault: str = ""
    at_once: int = 1
    """Events that the upstream writes together, if unpaced."""
    key: str = "none"
    """What the client presents itself with."""

    @property
    def text(self) -> str:
        """What the upstream says."""
        return "".join(pieces(self.script, self.chunks))


@dataclass(slots=True)
class Seen:
    """What a client saw; times are `time.monotonic`."""

    run: str
    asked: float
    first_byte: float | None = None
    received: list[tuple[float, int]] = field(default_factory=list)
    """Whenever text arrived: the time, and the characters so far."""
    text: list[str] = field(default_factory=list)
    finish: str | None = None
    status: int = 200
    left: float | None = None
    """When the client left of its own will."""


def open_session() -> ClientSession:
    """A session without limits; to be used as a context manager."""
    return ClientSession(connector=TCPConnector(limit=0), timeout=ClientTimeout(total=None, sock_read=60))


async def stream(
    session: ClientSession,
    base: str,
    wish: Wish,
    *,
    leave_after: int | None = None,
    read: bool = True,
    may_fail: bool = False,
) -> Seen:
    """Ask for one stream and read it to its end, or leave it after so many characters.

    With ``read`` false the bytes are only counted as having come, so that the client costs little. Raises BenchError
    for an answer with an error's status unless it ``may_fail``.
    """
    seen = Seen(run=uuid.uuid4().hex, asked=time.monotonic())
    async with _asked(session, base, wish, seen.run) as answer:
        seen.status = answer.status
        if answer.status != 200 and may_fail:
            return seen
        await _check(answer)
        if not read:
            await _skim(answer.content.iter_any())
            return seen
        reader, characters = chat.EventReader(), 0
        async for data in answer.content.iter_any():
            now = time.monotonic()
            seen.first_byte = seen.first_byte or now
            before = characters
            for event in reader.feed(data):
                text = chat.content(event)
                seen.text.append(text)
                characters += len(text)
                seen.finish = chat.finish_reason(event) or seen.finish
            if characters > before:
                seen.received.append((now, characters))
            if leave_after is not None and characters >= leave_after:
                seen.left = time.monotonic()
                answer.close()
                return seen
    return seen


def _asked(session: ClientSession, base: str, wish: Wish, run: str) -> AbstractAsyncContextManager[ClientResponse]:
    metadata = {
        "run": run,
        "chunks": str(wish.chunks),
        "pace": str(wish.pace),
        "script": wish.script,
        "note": "1" if wish.note else "0",
        **({"fault": wish.fault} if wish.fault else {}),
        **({"at_once": str(wish.at_once)} if wish.at_once > 1 else {}),
    }
    body = {"model": MODEL, "stream": True, "metadata": metadata, "messages": [{"role": "user", "content": "Go on."}]}
    return session.post(base + chat.PATH, json=body, headers={"Authorization": f"Bearer {wish.key}"})


async def _check(answer: ClientResponse) -> None:
    if answer.status != 200:
        raise BenchError(f"the target answered {answer.status}: {(await answer.text())[:200]}")


async def skim(session: ClientSession, base: str, wish: Wish, count: Callable[[int], object]) -> None:
    """Ask for one stream and tell ``count`` of the bytes of its body as they come. Raises BenchError."""
    async with _asked(session, base, wish, "skimmed") as answer:
        await _check(answer)
        await _skim(answer.content.iter_any(), count)


async def _skim(arriving: AsyncIterator[bytes], count: Callable[[int], object] = lambda _: None) -> None:
    """Read to the end; BenchError if the answer did not end as it should."""
    tail = b""
    async for data in arriving:
        count(len(data))
        tail = (tail + data)[-len(chat.DONE) :]
    if tail != chat.DONE:
        raise BenchError("a stream broke off before its end")


async def many(base: str, wish: Wish, streams: int, *, read: bool = True) -> list[Seen]:
    """So many streams at once, started evenly over one pace so that their chunks do not come in step.

    Raises BenchError when a text that was read is not the text that was sent.
    """

    async def one(session: ClientSession, number: int) -> Seen:
        await asyncio.sleep(wish.pace * number / streams)
        return await stream(session, base, wish, read=read)

    async with open_session() as session:
        all_seen = await asyncio.gather(*(one(session, number) for number in range(streams)))
    if read:
        check_clean(all_seen, wish)
    return all_seen


def check_clean(all_seen: Sequence[Seen], wish: Wish) -> None:
    """Clean prose must arrive as it was sent; BenchError if it does not."""
    for seen in all_seen:
        if not is_whole(seen, wish.text):
            raise BenchError("clean prose did not arrive as it was sent: the figures would mean nothing")


def is_whole(seen: Seen, text: str) -> bool:
    """Whether all of ``text`` has arrived, and its end."""
    return "".join(seen.text) == text and seen.finish == "stop"
