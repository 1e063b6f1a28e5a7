"""How a streamed response is brought to an end in its middle: every open part and item is closed, then the response.

The order is that of an answer which reached its token limit: the text is said whole, its part ends, its item ends as
incomplete, and the response ends as incomplete with the items so far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from safeproxy.wire.base import BLOCKED, notice_of, text_of
from safeproxy.wire.dialect import Ask, JsonObject, Stop
from safeproxy.wire.leaves import is_index

#: By the type of a part: its families of events for the text and for the part, and the key of its text.
_PARTS = {
    "output_text": ("output_text", "content_part", "text"),
    "refusal": ("refusal", "content_part", "refusal"),
    "reasoning_text": ("reasoning_text", "content_part", "text"),
    "summary_text": ("reasoning_summary_text", "reasoning_summary_part", "text"),
}
_REASONS = {Stop.FILTERED: "content_filter", Stop.LENGTH: "max_output_tokens"}


@dataclass(slots=True)
class _Item:
    """An item the client was told of; ``parts`` by list (``content`` or ``summary``) and position."""

    item: JsonObject
    ended: bool = False
    parts: dict[tuple[str, int], JsonObject] = field(default_factory=dict)
    open: set[tuple[str, int]] = field(default_factory=set)
    said: set[tuple[str, int]] = field(default_factory=set)
    """Open parts whose text was said whole."""


class Closing:
    """Keeps what was sent of a response, and makes the events that end it."""

    def __init__(self, ask: Ask, *, realtime: bool = False) -> None:
        self._ask = ask
        self._notice = ""
        self._realtime = realtime
        self._response: JsonObject = {}
        self._items: dict[int, _Item] = {}

    def note(self, event: JsonObject) -> None:
        """An event was sent."""
        family, _, verb = text_of(event, "type").removeprefix("response.").rpartition(".")
        index = event.get("output_index")
        if isinstance(event.get("response"), dict):
            self._response = event["response"]
        elif not is_index(index):
            return
        elif family == "output_item" and isinstance(event.get("item"), dict):
            known = self._items.setdefault(index, _Item(event["item"]))
            known.item = event["item"]
            known.ended = verb == "done"
        elif family.endswith("part") and isinstance(event.get("part"), dict) and index in self._items:
            self._part(self._items[index], event, ended=verb == "done")
        elif verb == "done" and index in self._items:
            where = "summary" if "summary_index" in event else "content"
            if is_index(event.get(f"{where}_index")):
                self._items[index].said.add((where, event[f"{where}_index"]))

    def _part(self, known: _Item, event: JsonObject, *, ended: bool) -> None:
        where = "summary" if "summary_index" in event else "content"
        position = event.get(f"{where}_index")
        if is_index(position):
            known.parts[where, position] = event["part"]
            (known.open.discard if ended else known.open.add)((where, position))

    def events(self, said: Callable[[str], str], why: Stop = Stop.FILTERED) -> list[JsonObject]:
        """The events that end the response; ``said`` is what was delivered of a channel."""
        events: list[JsonObject] = []
        self._notice = "" if self._ask.json else notice_of(self._ask, why)
        if self._notice:
            events += self._opening()
        for index in sorted(self._items):
            if not self._items[index].ended:
                events += self._end_item(index, said)
        output = [self._items[index].item for index in sorted(self._items)]
        response = {**self._response, **self.ending(why), "output": output}
        verb = "done" if self._realtime else response["status"]
        if self._realtime:
            events = [{**event, "response_id": response.get("id")} for event in events]
        return [*events, {"type": f"response.{verb}", "response": response}]

    def ending(self, why: Stop) -> JsonObject:
        """What a response that was ended says of itself."""
        if self._realtime:
            return {"status": "incomplete", "status_details": {"type": "incomplete", "reason": _REASONS[why]}}
        if self._ask.failed and why is Stop.FILTERED:
            error = {"code": "invalid_prompt", "message": BLOCKED}
            return {"status": "failed", "error": error, "incomplete_details": None}
        return {"status": "incomplete", "error": None, "incomplete_details": {"reason": _REASONS[why]}}

    def _opening(self) -> list[JsonObject]:
        """A message for the notice, if no text is open that it could be added to."""
        if self._open_text() is not None:
            return []
        index = max(self._items, default=-1) + 1
        item = {"id": "msg_notice", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        self._items[index] = _Item(item, parts={("content", 0): part}, open={("content", 0)})
        place = {"item_id": item["id"], "output_index": index, "content_index": 0}
        return [
            {"type": "response.output_item.added", "output_index": index, "item": dict(item)},
            {"type": "response.content_part.added", **place, "part": dict(part)},
        ]

    def _open_text(self) -> tuple[int, tuple[str, int]] | None:
        """The last text that is open: its item's index and its place there."""
        for index in sorted(self._items, reverse=True):
            known = self._items[index]
            for place in sorted(known.open, reverse=True):
                if not known.ended and known.parts[place].get("type") == "output_text":
                    return index, place
        return None

    def _end_item(self, index: int, said: Callable[[str], str]) -> list[JsonObject]:
        known = self._items[index]
        events: list[JsonObject] = []
        for place in sorted(known.open):
            events += self._end_part(index, place, said)
        lists: dict[str, list[Any]] = {}
        for (where, _), part in sorted(known.parts.items(), key=lambda entry: entry[0]):
            parts = lists.setdefault(where, [])
            empty = part.get("type") == "output_text" and not part.get("text")
            if not (empty and self._ask.json):  # no client must parse an empty text as JSON
                parts.append(part)
        code = said(f"output.{index}.code_interpreter_call_code")
        if code:
            head = {"item_id": known.item.get("id"), "output_index": index}
            events.append({"type": "response.code_interpreter_call_code.done", **head, "code": code})
            known.item = {**known.item, "code": code}
        known.item = {**known.item, **lists, "status": "incomplete"}
        known.ended = True
        return [*events, {"type": "response.output_item.done", "output_index": index, "item": known.item}]

    def _end_part(self, index: int, place: tuple[str, int], said: Callable[[str], str]) -> list[JsonObject]:
        known = self._items[index]
        where, position = place
        part = known.parts[place]
        if text_of(part, "type") not in _PARTS:
            return []
        family, part_family, key = _PARTS[part["type"]]
        head = {"item_id": known.item.get("id"), "output_index": index, f"{where}_index": position}
        text = said(f"output.{index}.{where}.{position}.{family}")
        events: list[JsonObject] = []
        if self._notice and self._open_text() == (index, place):
            text += self._notice
            shown: JsonObject = {
                "type": "response.output_text.delta",
                **head,
                "delta": self._notice,
                "logprobs": [],
            }
            events.append(shown)
        ended = {**part, key: text}
        if family == "output_text":
            ended["annotations"] = ended["logprobs"] = []
        known.parts[place] = ended
        known.open.discard(place)
        if self._ask.json and family == "output_text":
            return events  # clients would parse the text as a whole JSON value, and fail
        more: JsonObject = {"logprobs": []} if family == "output_text" else {}
        if place not in known.said:
            events.append({"type": f"response.{family}.done", **head, key: text, **more})
        return [*events, {"type": f"response.{part_family}.done", **head, "part": ended}]
