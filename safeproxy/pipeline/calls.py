"""Tool calls are held until they are complete: half a call is a wrong call, and may be half a secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import pairwise
from typing import Any

from safeproxy.pipeline.values import is_json_container
from safeproxy.pipeline.whole import HaltError, Scanner
from safeproxy.wire.dialect import CallPiece, JsonObject, Mode, Path, Slot
from safeproxy.wire.jsontext import join_pieces
from safeproxy.wire.sse import Frame


@dataclass(slots=True)
class CallText:
    """One text of a call, in pieces."""

    slot: Slot
    pieces: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, text: str) -> None:
        """Take another piece."""
        self.pieces.append(text)
        self.size += len(text)

    def is_longer_than(self, limit: int) -> bool:
        """Whether it has more code points; pieces may have counted the halves of one."""
        return self.size > limit and len(join_pieces(self.pieces)) > limit


@dataclass(slots=True)
class HeldCall:
    """A call whose pieces are held: the first as an event to build on, all as the bytes to replay."""

    key: str
    choice: int
    id: str | None
    first: JsonObject
    frame: Frame
    raw: list[bytes]
    brings_role: bool
    texts: dict[str, CallText] = field(default_factory=dict)

    def add(self, piece: CallPiece) -> None:
        """Take the texts of one piece."""
        for slot in piece.slots:
            self.texts.setdefault(slot.channel, CallText(slot)).add(slot.holder[slot.key])

    def is_complete(self) -> bool:
        """Whether its arguments are whole, by what is there of them."""
        arguments = [text for text in self.texts.values() if text.slot.mode is Mode.JSON]
        return bool(arguments) and all(is_json_container(join_pieces(text.pieces)) for text in arguments)

    def is_longer_than(self, limit: int) -> bool:
        """Whether any of its texts has more code points."""
        return any(text.is_longer_than(limit) for text in self.texts.values())

    def filtered(self, scanner: Scanner) -> JsonObject | None:
        """The whole call in one event, or None if nothing had to be changed. Raises HaltError on a halt."""
        changed = False
        for text in self.texts.values():
            whole = join_pieces(text.pieces)
            scan = scanner.json if text.slot.mode is Mode.JSON else scanner.whole
            verdict = scan(whole, text.slot.name, text.slot.kind)
            if verdict.halted:
                raise HaltError
            changed = changed or verdict.text != whole
            text.pieces = [verdict.text]
        if not changed:
            return None
        for text in self.texts.values():
            _put(self.first, text.slot.path, text.pieces[0])
        return self.first


def _put(event: JsonObject, path: Path, value: str) -> None:
    """Set the value at the path, making objects on the way; where a list lacks the position it is left out."""
    holder: Any = event
    for step, following in pairwise(path):
        if isinstance(holder, dict) and not isinstance(holder.get(step), (dict, list)):
            holder[step] = [] if isinstance(following, int) else {}
        if not _has_place(holder, step):
            return
        holder = holder[step]
    if _has_place(holder, path[-1]):
        holder[path[-1]] = value


def _has_place(holder: Any, step: str | int) -> bool:
    return isinstance(holder, dict) or (isinstance(holder, list) and isinstance(step, int) and step < len(holder))


class Taken(Enum):
    """What became of a call's piece."""

    BEGUN = auto()
    CONTINUED = auto()
    TOO_LATE = auto()


class HeldCalls:
    """The calls of a stream that are not complete, in order of arrival. ``size`` is their bytes."""

    def __init__(self) -> None:
        self._held: dict[int, list[HeldCall]] = {}
        self._released: set[str] = set()
        self.size = 0

    def holds(self, choice: int) -> bool:
        """Whether any piece of the choice's calls is held."""
        return bool(self._held.get(choice))

    def count(self) -> int:
        """How many calls are held or have been released."""
        return len(self._released) + sum(map(len, self._held.values()))

    def take(self, piece: CallPiece, event: JsonObject, frame: Frame, raw: bytes, *, brings_role: bool) -> Taken:
        """Hold a piece, unless its call has been released already."""
        calls = self._held.setdefault(piece.choice, [])
        taken = Taken.CONTINUED
        call = next((c for c in reversed(calls) if c.key == piece.key), None)
        if call is None or (piece.id and call.id and piece.id != call.id):
            # Some servers number all calls 0 and only change the id.
            if call is None and piece.key in self._released and not piece.id:
                return Taken.TOO_LATE
            taken = Taken.BEGUN
            call = HeldCall(piece.key, piece.choice, piece.id, event, frame, [], brings_role)
            calls.append(call)
        call.id = call.id or piece.id
        call.raw.append(raw)
        self.size += len(raw)
        call.add(piece)
        return taken

    def go_on(self, call: HeldCall, whole: CallText, text: str, raw: bytes) -> None:
        """Hold another piece of one of the call's texts."""
        whole.add(text)
        call.raw.append(raw)
        self.size += len(raw)

    def latest(self, piece: CallPiece) -> HeldCall:
        """The held call that the piece just taken belongs to."""
        return next(call for call in reversed(self._held[piece.choice]) if call.key == piece.key)

    def complete(self, choice: int) -> list[HeldCall]:
        """Take out the calls that the beginning of a later one shows to be complete, in order."""
        calls = self._held.get(choice, [])
        ready = []
        while len(calls) > 1 and calls[0].is_complete():
            ready.append(self._out(calls))
        return ready

    def all(self, choice: int) -> list[HeldCall]:
        """Take out all calls of the choice, which has ended."""
        calls = self._held.pop(choice, [])
        return [self._out(calls) for _ in range(len(calls))]

    def roles(self) -> list[HeldCall]:
        """The held calls whose first event opens their choice."""
        return [call for calls in self._held.values() for call in calls if call.brings_role]

    def _out(self, calls: list[HeldCall]) -> HeldCall:
        call = calls.pop(0)
        self._released.add(call.key)
        self.size -= sum(map(len, call.raw))
        return call
