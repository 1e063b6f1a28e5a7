"""A tool call that several kinds of events make up (its beginning, pieces, the whole again, its end).

All of them are held until the last is there, and what comes after them waits behind them: clients want the parts of
an answer in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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


@dataclass(slots=True)
class HeldBlock:
    """The events of one call. ``size`` is their bytes, and those of what waits behind them."""

    key: str
    steps: list[Step] = field(default_factory=list)
    behind: list[Waiting] = field(default_factory=list)
    size: int = 0
    _texts: dict[str, list[tuple[Step, Slot]]] = field(default_factory=dict)

    def add(self, step: Step) -> None:
        """Take another event of the call."""
        self.steps.append(step)
        self.size += len(step.frame.raw)
        for slot in step.reading.pieces:
            self._texts.setdefault(slot.channel, []).append((step, slot))

    def wait(self, event: JsonObject, frame: Frame, *, verbatim: bool) -> None:
        """Let an event of something else wait."""
        self.behind.append(Waiting(event, frame, verbatim))
        self.size += len(frame.raw)

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
