"""Cohere's v2 chat, streamed and not.

Source: Cohere's API reference for ``/v2/chat`` and its streamed events. Contents and calls are numbered, each with an
event for its beginning and one for its end; the message's end has the finish reason. The API has no reason for an
answer that was filtered, so a halt is the reason ``ERROR`` with an explanation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from safeproxy.events import ChannelKind
from safeproxy.wire import sse
from safeproxy.wire.base import (
    BLOCKED,
    BaseDialect,
    asks_for_json,
    at,
    compact,
    empty_after,
    index_of,
    notice_of,
    numbers,
    read_anything,
    settle_pieces,
    skeleton,
    text_of,
)
from safeproxy.wire.dialect import Anchor, Ask, Finish, JsonObject, Mode, Path, Reading, Slot, Stop
from safeproxy.wire.leaves import Leaves, is_index, unknown_keys

#: What the message's end says.
_STOPS: dict[Stop, JsonObject] = {
    Stop.FILTERED: {"finish_reason": "ERROR", "error": BLOCKED},
    Stop.LENGTH: {"finish_reason": "MAX_TOKENS"},
}
_CONTENT = ("delta", "message", "content")
_TEXTS = {"text": ChannelKind.CONTENT, "thinking": ChannelKind.REASONING}
_PLAN = ("delta", "message", "tool_plan")
_ARGUMENTS = ("delta", "message", "tool_calls", "function", "arguments")
#: Events whose texts go on from event to event, unknown ones too.
_DELTAS = frozenset({"content-start", "content-delta", "tool-plan-delta"})
_EMPTY_MESSAGE = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}


class Cohere(BaseDialect):
    """The dialect. Channels: ``content.0.text``, ``content.0.thinking``, ``tool_plan``, ``tool.0``, all of choice 0.

    A stream's object keeps which calls and contents there are, for a halt must end those that are open.
    """

    name = "cohere"
    typed = True
    head = ("type", "index", "id")

    def __init__(self, ask: Ask | None = None) -> None:
        super().__init__(ask)
        self._calls: set[int] = set()
        self._texts: set[int] = set()  # contents that are text, to which citations point
        self._open: dict[int, str] = {}  # contents the client was told of and that have not ended, with their types
        self._next = 0

    def encode(self, data: bytes, like: sse.Frame | None = None) -> bytes:
        """One SSE frame; a text that its content began with goes on in a delta, so its frame is named so."""
        if like is not None and like.event == b"content-start" and data.startswith(b'{"type":"content-delta"'):
            like = sse.Frame(b"", None, event=b"content-delta")
        return sse.encode(data, like)

    def ask(self, body: Any) -> Ask:
        """Structured output is ``response_format``."""
        return Ask(json=asks_for_json(body))

    # ---- reading

    def read(self, event: JsonObject) -> Reading:
        """One event, told by its ``type``."""
        kind, index = text_of(event, "type"), index_of(event)
        says_text = kind in _DELTAS and not (_says_more(event) and kind != "tool-call-delta")
        reading = Reading(news=not says_text, keys=unknown_keys(event))
        reading.opened[0] = kind == "message-start"
        self._leaves(reading, event, kind, index)
        if kind == "content-start":
            reading.news = True
            if text_of(at(event, *_CONTENT), "type") == "text":
                self._texts.add(index)
        elif kind == "content-delta" and event.get("logprobs"):
            reading.padding.append((event, "logprobs"))
            reading.revealing = True
        elif kind == "content-end":
            reading.closes.append(f"content.{index}")
        elif kind.startswith("tool-call"):
            self._call(reading, kind, index)
        elif kind.startswith("citation"):
            self._citation(reading, event, kind)
        elif kind == "message-end":
            _ending(reading, event)
        reading.error = bool(event.get("error"))
        settle_pieces(reading)
        return reading

    def _leaves(self, reading: Reading, event: JsonObject, kind: str, index: int) -> None:
        """All texts; those that are known by their place go to their channels."""
        Leaves(reading, choice=0, whole=True).collect([event], 0, (), "top")
        kept: list[Slot] = []
        for slot in reading.slots:
            if slot.path[:-1] == _CONTENT and slot.path[-1] in _TEXTS and kind in _DELTAS:
                key = str(slot.path[-1])
                slot.channel = slot.name = f"content.{index}.{key}"
                slot.kind, slot.mode = _TEXTS[key], Mode.DELTA
            elif slot.path == _PLAN and kind in _DELTAS:
                slot.channel = slot.name = "tool_plan"
                slot.kind, slot.mode = ChannelKind.REASONING, Mode.DELTA
            elif slot.path == _ARGUMENTS and kind in ("tool-call-start", "tool-call-delta"):
                slot.channel = slot.name = f"tool.{index}.arguments"
                slot.kind, slot.mode = ChannelKind.TOOL_ARGUMENTS, Mode.JSON
                reading.pieces.append(slot)
                continue
            elif slot.path[:1] == ("delta",) and kind in _DELTAS:
                slot.mode = Mode.DELTA
            kept.append(slot)
        reading.slots = kept

    def _call(self, reading: Reading, kind: str, index: int) -> None:
        if kind == "tool-call-start":
            self._calls.add(index)
        if index in self._calls:
            reading.block = f"tool.{index}"
            reading.block_begins = kind == "tool-call-start"
            reading.block_ends = kind == "tool-call-end"

    def _citation(self, reading: Reading, event: JsonObject, kind: str) -> None:
        """It points into the text by position and repeats some of it: so it waits for it, and goes with it.

        Its beginning and its end are two events, of which the second says nothing by itself.
        """
        reading.news = False
        message = at(event, "delta", "message")
        named = at(message, "citations", "content_index")
        targets = [named] if is_index(named) and kind == "citation-start" else sorted(self._texts)
        holder, key = event, "type"
        path: Path = ("type",)
        if isinstance(message, dict) and message.get("citations"):
            holder, key, path = message, "citations", ("delta", "message", "citations")
        for target in targets:
            channel = f"content.{target}.text"
            reading.anchors.append(Anchor(channel, {"": True}, ""))
        if targets:
            channel = f"content.{targets[-1]}.text"
            reading.slots.append(Slot(channel, channel, ChannelKind.OTHER, Mode.GATED, holder, key, path, 0))

    def read_body(self, body: Any) -> Reading:
        """A whole answer or an error body."""
        if not isinstance(body, dict) or not isinstance(body.get("message"), dict):
            reading = read_anything(body, "body")
            reading.error = isinstance(body, dict) and isinstance(body.get("message"), str)
            return reading
        reading = Reading(keys=unknown_keys(body))
        reading.opened[0] = True
        Leaves(reading, choice=0, whole=True).collect([body], 0, (), "body")
        for slot in reading.slots:
            if slot.path[:2] == ("message", "content") and slot.path[-1] in _TEXTS and len(slot.path) == 4:
                key = str(slot.path[-1])
                slot.channel = slot.name = f"content.{slot.path[2]}.{key}"
                slot.kind = _TEXTS[key]
                if key == "text":
                    self._point(reading, body, slot.channel)
            elif slot.path == ("message", "tool_plan"):
                slot.channel = slot.name = "tool_plan"
                slot.kind = ChannelKind.REASONING
        if body.get("logprobs"):
            reading.padding.append((body, "logprobs"))
        reason = text_of(body, "finish_reason")
        if reason:
            reading.finishes.append(Finish(0, reason, body, "finish_reason"))
        reading.usage = numbers(body.get("usage"))
        return reading

    def _point(self, reading: Reading, body: JsonObject, channel: str) -> None:
        for holder, key in ((body["message"], "citations"), (body, "logprobs")):
            if isinstance(holder.get(key), list):
                reading.anchors.append(Anchor(channel, holder, key))

    # ---- writing

    def text_event(self, event: JsonObject, path: Path) -> tuple[JsonObject, Path]:
        """A delta, also for a text that its content began with."""
        if event.get("type") == "content-start" and path[:3] == _CONTENT and len(path) == 4:
            said = {"message": {"content": {path[3]: ""}}}
            return {"type": "content-delta", "index": index_of(event), "delta": said}, path
        return skeleton(event, path, self.head)

    def sent(self, event: JsonObject) -> None:
        """Keep which contents are open."""
        if event.get("type") == "content-start":
            self._open[index_of(event)] = text_of(at(event, *_CONTENT), "type")
            self._next = max(self._next, index_of(event) + 1)
        elif event.get("type") == "content-end":
            self._open.pop(index_of(event), None)

    def halt(
        self,
        like: JsonObject,
        open_choices: dict[int, bool],
        said: Callable[[str], str],
        why: Stop = Stop.FILTERED,
    ) -> list[bytes]:
        """The notice if there is one, the end of what is open, and the message's end with the reason."""
        if not open_choices:
            return []
        begun: list[JsonObject] = []
        if not open_choices.get(0, True):
            begun = [{"type": "message-start", "delta": {"message": _EMPTY_MESSAGE}}]
        shown = self._shown() if notice_of(self._ask, why) else []
        return [_frame(event) for event in (*begun, *shown, *self._ended(_STOPS[why]))]

    def _shown(self) -> list[JsonObject]:
        """The notice, in the text that is open or in one of its own."""
        told = {"message": {"content": {"text": self._ask.notice}}}
        for index, kind in self._open.items():
            if kind == "text":
                return [{"type": "content-delta", "index": index, "delta": told}]
        stops: list[JsonObject] = [{"type": "content-end", "index": index} for index in sorted(self._open)]
        self._open = {self._next: "text"}
        begins = {"message": {"content": {"type": "text", "text": ""}}}
        return [
            *stops,
            {"type": "content-start", "index": self._next, "delta": begins},
            {"type": "content-delta", "index": self._next, "delta": told},
        ]

    def _ended(self, reason: JsonObject) -> list[JsonObject]:
        stops: list[JsonObject] = [{"type": "content-end", "index": index} for index in sorted(self._open)]
        return [*stops, {"type": "message-end", "delta": reason}]

    def halt_body(self, body: Any, slots: list[Slot], at: int, ask: Ask, why: Stop = Stop.FILTERED) -> bool:
        """The contents up to the end, no call, no citation, and the reason."""
        message = body.get("message") if isinstance(body, dict) else None
        if not isinstance(message, dict):
            return False
        empty_after(slots, at)
        body["finish_reason"] = _STOPS[why]["finish_reason"]
        body.pop("logprobs", None)
        for key in ("tool_calls", "citations"):
            message.pop(key, None)
        path = slots[at].path
        content = message.get("content")
        if isinstance(content, list):
            if path[:2] == ("message", "content") and len(path) > 2 and isinstance(path[2], int):
                del content[path[2] + 1 :]
            content[:] = [part for part in content if any(text_of(part, key) for key in _TEXTS)]
        if notice := notice_of(ask, why):
            told = {"type": "text", "text": notice}
            message["content"] = [*content, told] if isinstance(content, list) else [told]
        return True

    def error_frame(self, message: str, code: str) -> bytes:
        """The end of what is open, and the message's end with the error: there is no event for errors alone."""
        return b"".join(_frame(event) for event in self._ended({"finish_reason": "ERROR", "error": message}))

    def error_body(self, message: str, *, status: int, code: str) -> bytes:
        """A string under ``message``."""
        return compact({"message": message})


def _says_more(event: JsonObject) -> bool:
    """Whether a delta says anything but text."""
    message, content = at(event, "delta", "message"), at(event, *_CONTENT)
    strange = event.keys() - {"type", "index", "id", "delta", "logprobs"}
    if not isinstance(message, dict) or strange or len(event["delta"]) > 1 or message.keys() - {"content", "tool_plan"}:
        return True
    return isinstance(content, list) or any(
        not isinstance(value, str) for value in (content.values() if isinstance(content, dict) else ())
    )


def _ending(reading: Reading, event: JsonObject) -> None:
    delta = event.get("delta")
    reason = text_of(delta, "finish_reason")
    reading.usage = numbers(at(delta, "usage"))
    if reason and isinstance(delta, dict):
        reading.finishes.append(Finish(0, reason, delta, "finish_reason"))


def _frame(event: JsonObject) -> bytes:
    return sse.encode(compact(event), sse.Frame(b"", None, event=event["type"].encode()))
