"""Tool calls that several kinds of events make up (a beginning, pieces, the whole again, an end).

All events of such a call are held until the last is there, and what comes after them waits in line behind them:
clients want the parts of an answer in order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from safeproxy.pipeline.calls import CallText
from safeproxy.pipeline.step import Step
from safeproxy.pipeline.whole import HaltError, Scanner
from safeproxy.wire.dialect import JsonObject, Mode, Slot
from safeproxy.wire.jsontext import join_pieces
from safeproxy.wire.sse import Frame


@dataclass(slots=True)
class Waiting:
    """An event that waits behind a held call."""

    event: JsonObject
    frame: Frame
    verbatim: bool
    size: int


@dataclass(slots=True)
class HeldBlock:
    """The events of one call; ``ended`` says that the last is among them, ``size`` is the bytes of their frames."""

    key: str
    steps: list[Step] = field(default_factory=list)
    ended: bool = False
    size: int = 0
    _texts: dict[str, list[tuple[Step, Slot]]] = field(default_factory=dict)
    _wholes: dict[str, CallText] = field(default_factory=dict)

    def add(self, step: Step) -> None:
        """Take another event of the call."""
        self.steps.append(step)
        self.ended |= step.reading.block_ends
        for slot in step.reading.pieces:
            self._texts.setdefault(slot.channel, []).append((step, slot))
            self._wholes.setdefault(slot.channel, CallText(slot)).add(slot.holder[slot.key])

    def is_longer_than(self, limit: int) -> bool:
        """Whether any of its texts has more code points."""
        return any(text.is_longer_than(limit) for text in self._wholes.values())

    def filter(self, scanner: Scanner) -> None:
        """Filter the call's texts, each as a whole. Raises HaltError, after which nothing of the call may leave."""
        for pieces in self._texts.values():
            _filter_text(pieces, scanner)
        for step in self.steps:
            for slot in step.reading.slots:
                before = slot.holder[slot.key]
                verdict = scanner.place(slot)
                if verdict.halted:
                    raise HaltError
                step.changed |= slot.holder[slot.key] != before


class Line:
    """The calls that are held, oldest first, and between and behind them the events that wait.

    ``size`` is the bytes of their frames. The first in line is always a call
    that has not ended: what stands before it has left.
    """

    def __init__(self) -> None:
        self.size = 0
        self._line: deque[HeldBlock | Waiting] = deque()
        self._latest: Frame | None = None
        self._open: dict[str, HeldBlock] = {}

    def __bool__(self) -> bool:
        """Whether anything is held."""
        return bool(self._line)

    def __len__(self) -> int:
        """How many calls and events are held."""
        return len(self._line)

    def find(self, key: str | None) -> HeldBlock | None:
        """The held call of that name, if it has not ended."""
        return None if key is None else self._open.get(key)

    def begin(self, key: str) -> HeldBlock:
        """A call begins."""
        block = self._open[key] = HeldBlock(key)
        self._line.append(block)
        return block

    def add(self, block: HeldBlock, step: Step) -> None:
        """Take an event of a held call."""
        block.add(step)
        block.size += self._grown(step.frame)
        if block.ended:
            del self._open[block.key]

    def wait(self, event: JsonObject, frame: Frame, *, verbatim: bool) -> None:
        """Let an event of something else wait."""
        self._line.append(Waiting(event, frame, verbatim, self._grown(frame)))

    def next(self, *, force: bool = False) -> HeldBlock | Waiting | None:
        """Take out the first in line if its turn has come; with ``force`` a call that has not ended, too."""
        if not self._line:
            return None
        first = self._line[0]
        if isinstance(first, HeldBlock) and not first.ended:
            if not force:
                return None
            del self._open[first.key]
        self._line.popleft()
        self.size -= first.size
        return first

    def _grown(self, frame: Frame) -> int:
        """By how much another event makes the line longer: a frame that was split into several counts once."""
        size = 0 if frame is self._latest else len(frame.raw)
        self._latest = frame
        self.size += size
        return size


def _filter_text(pieces: list[tuple[Step, Slot]], scanner: Scanner) -> None:
    """Judge the pieces as one text; if it changes, the first of them says it all and the others nothing."""
    slot = pieces[0][1]
    text = join_pieces([piece.holder[piece.key] for _, piece in pieces])
    as_json = slot.mode is Mode.JSON
    verdict = (scanner.json if as_json else scanner.whole)(text, slot.name, slot.kind)
    if verdict.halted:
        raise HaltError
    scanner.remember(text, verdict.text, slot.kind, as_json=as_json)
    if verdict.text == text:
        return
    for number, (step, piece) in enumerate(pieces):
        piece.holder[piece.key] = "" if number else verdict.text
        step.changed = True
        step.withheld |= number > 0
