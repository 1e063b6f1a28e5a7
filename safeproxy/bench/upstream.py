"""The benchmark's upstream: streams prose at a set pace, and notes when it sent what and when its reader left.

A request says what it wants in its ``metadata`` (strings, as the API has it): ``run`` names the stream, ``chunks`` and
``pace`` (seconds between chunks, 0: as fast as they go), ``script`` (``prose`` or ``halt``), ``note`` (``1``: keep
the times).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from aiohttp import web

from safeproxy.bench import prose
from safeproxy.bench.rules import HALT_SENTENCE
from safeproxy.demo import chat

MODEL = "bench-model"
#: Pieces of prose before the sentence that halts.
BEFORE_HALT = 20


@dataclass(slots=True)
class Notes:
    """What the upstream saw of one stream; times are `time.monotonic`, which all processes of a machine share."""

    sent: list[tuple[float, int]] = field(default_factory=list)
    """For each piece of text: when it was sent, and the characters sent with it."""
    closed: float | None = None
    """When the reader's leaving was noticed."""


@lru_cache(maxsize=8)
def pieces(script: str, count: int) -> tuple[str, ...]:
    """The pieces of text of a stream, cached for they are the same for many."""
    if script == "prose":
        return tuple(prose.chunks(count))
    sentence = prose.tokens(HALT_SENTENCE)
    return (*prose.chunks(BEFORE_HALT), *sentence, *prose.chunks(count))


@lru_cache(maxsize=8)
def _events(script: str, count: int) -> tuple[bytes, ...]:
    return tuple(chat.text_chunks(pieces(script, count), model=MODEL))


class Upstream:
    """The aiohttp application and its notes."""

    def __init__(self) -> None:
        self._notes: dict[str, Notes] = {}
        self.app = web.Application()
        self.app.router.add_post(chat.PATH, self._answer)

    def take_notes(self) -> dict[str, Any]:
        """What was noted since the last call, by the streams' names."""
        taken, self._notes = self._notes, {}
        return {run: asdict(notes) for run, notes in taken.items()}

    def take_closed(self) -> dict[str, Any]:
        """The same for the streams whose reader has left; the others' notes stay."""
        taken = {run: asdict(notes) for run, notes in self._notes.items() if notes.closed is not None}
        for run in taken:
            del self._notes[run]
        return taken

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        wish = (await request.json())["metadata"]
        script, count, pace = wish["script"], int(wish["chunks"]), float(wish["pace"])
        notes = Notes()
        if wish["note"] == "1":
            self._notes[wish["run"]] = notes
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            if pace:
                await _paced(response, notes, script, count, pace)
            else:
                for event in _events(script, count):
                    await response.write(event)
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            notes.closed = time.monotonic()
            raise
        return response


async def _paced(response: web.StreamResponse, notes: Notes, script: str, count: int, pace: float) -> None:
    first, *middle, finish, done = _events(script, count)
    await response.write(first)
    due, characters = time.monotonic(), 0
    for event, piece in zip(middle, pieces(script, count), strict=True):
        characters += len(piece)
        # Noted before the write: the write itself may yield, and the reader may then read before we have noted.
        notes.sent.append((time.monotonic(), characters))
        await response.write(event)
        due += pace
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    await response.write(finish + done)
