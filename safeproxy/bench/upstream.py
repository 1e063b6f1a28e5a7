"""The benchmark's upstream: streams prose at a set pace, and notes when it sent what and when its reader left.

A request says what it wants in its ``metadata`` (strings, as the API has it): ``run`` names the stream, ``chunks`` and
``pace`` (seconds between chunks, 0: as fast as they go), ``script`` (one of `SCRIPTS`), ``note`` (``1``: keep the
times), ``fault`` (one of `FAULTS`, or empty), ``at_once`` (events that are written together where there is no pace).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from aiohttp import web

from safeproxy.bench import prose
from safeproxy.bench.rules import FINDING_SENTENCE, HALT_SENTENCE
from safeproxy.demo import chat

MODEL = "bench-model"
#: Pieces of prose before the sentence that halts, or in which something is found.
BEFORE_HALT = 20
#: Prose, and what stands in its midst.
SCRIPTS = {"prose": "", "halt": HALT_SENTENCE, "finding": FINDING_SENTENCE}
#: How a stream may fail: with an error before it begins, or in its midst.
EARLY_FAULTS = ("status", "html")
FAULTS = (*EARLY_FAULTS, "reset", "silence", "unfinished", "malformed")
#: Longer than any target should wait, in seconds.
_SILENCE = 60.0


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
    if not SCRIPTS[script]:
        return tuple(prose.chunks(count))
    return (*prose.chunks(BEFORE_HALT), *prose.tokens(SCRIPTS[script]), *prose.chunks(count))


@lru_cache(maxsize=8)
def _events(script: str, count: int) -> tuple[bytes, ...]:
    return tuple(chat.text_chunks(pieces(script, count), model=MODEL))


@lru_cache(maxsize=8)
def _slices(script: str, count: int, at_once: int) -> tuple[bytes, ...]:
    """The same, so many joined: where the upstream must cost next to nothing."""
    events = _events(script, count)
    return tuple(b"".join(events[at : at + at_once]) for at in range(0, len(events), at_once))


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
        script, count, pace, fault = wish["script"], int(wish["chunks"]), float(wish["pace"]), wish.get("fault", "")
        if fault in EARLY_FAULTS:
            return _error(fault)
        notes = Notes()
        if wish["note"] == "1":
            self._notes[wish["run"]] = notes
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            if fault:
                await response.write(b"".join(_events(script, count)[: count // 2]))
                await _fail(request, response, fault)
            elif pace:
                await _paced(response, notes, script, count, pace)
            else:
                for data in _slices(script, count, int(wish.get("at_once", "1"))):
                    await response.write(data)
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


def _error(fault: str) -> web.Response:
    """What is no stream at all."""
    if fault == "html":
        return web.Response(status=502, text="<h1>Bad gateway</h1>", content_type="text/html")
    return web.json_response({"error": {"message": "overloaded", "type": "server_error"}}, status=500)


async def _fail(request: web.Request, response: web.StreamResponse, fault: str) -> None:
    """End a stream that has begun as it should not."""
    if fault == "reset" and request.transport is not None:
        request.transport.abort()
    elif fault == "silence":
        await asyncio.sleep(_SILENCE)
    elif fault == "malformed":
        await response.write(b'data: {"choices": [\n\n')
