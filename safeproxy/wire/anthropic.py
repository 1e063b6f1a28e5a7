"""Anthropic messages, streamed and not.

Source: Anthropic's API reference for messages and its streaming events, and captures of what it does not mention:
pre-filled messages, server tools' results that arrive whole in ``content_block_start``. Thinking is signed: the API
refuses a later request in which it was edited, hence `Seal`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from safeproxy.errors import ClientError
from safeproxy.events import ChannelKind
from safeproxy.wire.base import (
    BaseDialect,
    at,
    compact,
    empty_after,
    index_of,
    notice_of,
    numbers,
    read_anything,
    settle_pieces,
    text_of,
)
from safeproxy.wire.dialect import Ask, Finish, JsonObject, Mode, Path, Reading, Seal, Slot, Stop
from safeproxy.wire.leaves import Leaves, is_exempt, is_index, unknown_keys
from safeproxy.wire.sse import Frame

#: What this proxy says where the API would explain its own refusal; some clients look for the very words.
EXPLANATION = "Output blocked by content filtering policy"

#: What a sealed signature begins with.
SEALED = "safeproxy1."

_KNOWN = frozenset({"ping", "message_start", "message_stop", "content_block_start", "content_block_delta"})
_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
#: Texts of a block, by its type: the key in the block, the key and type of the delta that goes on with it.
_TEXTS = {
    "text": ("text", "text", "text_delta", ChannelKind.CONTENT),
    "thinking": ("thinking", "thinking", "thinking_delta", ChannelKind.REASONING),
    "compaction": ("content", "content", "compaction_delta", ChannelKind.CONTENT),
}
_DELTAS = {delta: (key, delta_key, kind) for key, delta_key, delta, kind in _TEXTS.values()}


class Anthropic(BaseDialect):
    """The dialect. Channels: ``block.0.text``, ``block.1.thinking`` and so on, all of choice 0.

    A stream's object keeps which blocks are open, for a halt must close them.
    """

    name = "anthropic"
    typed = True
    keep_alive = b'event: ping\ndata: {"type":"ping"}\n\n'
    echoes = True  # what a signature signs must be kept
    head = ("type", "index")

    def __init__(self, ask: Ask | None = None) -> None:
        super().__init__(ask)
        self._calls: set[int] = set()
        self._open: dict[int, str] = {}  # blocks the client was told of and that have not ended, with their types
        self._next = 0
        self._output_tokens = 0

    def restore(self, body: Any, unseal: Callable[[str], str | None]) -> bool:
        """Thinking that was changed on its way out, as it was signed."""
        restored = False
        for block in _thinking_blocks(body):
            if not text_of(block, "signature").startswith(SEALED):
                continue
            opened = unseal(block["signature"])
            if opened is None:
                raise ClientError(
                    "a thinking block was sealed by another proxy or with another key: "
                    "leave earlier thinking out, or configure one seal_key for all proxies"
                )
            block["thinking"], block["signature"] = json.loads(opened)
            restored = True
        return restored

    def ask(self, body: Any) -> Ask:
        """Structured output is ``output_config.format`` (once ``output_format``)."""
        return Ask(json=isinstance(at(body, "output_config", "format") or at(body, "output_format"), dict))

    # ---- reading

    def read(self, event: JsonObject) -> Reading:
        """One event, told by its ``type``."""
        reading = Reading(news=True, keys=unknown_keys(event))
        kind = text_of(event, "type")
        if kind == "content_block_delta" and isinstance(event.get("delta"), dict):
            self._delta(reading, event)
        elif kind == "content_block_start" and isinstance(event.get("content_block"), dict):
            self._start(reading, event)
        elif kind == "content_block_stop":
            self._stop(reading, event)
        elif kind == "message_start" and isinstance(event.get("message"), dict):
            reading.opened[0] = True
            _message(reading, event["message"], ("message",))
            _others(reading, event, "message", 0)
        elif kind == "message_delta":
            _ending(reading, event)
        else:
            reading.unordered = kind == "ping"
            reading.error = kind == "error" or bool(event.get("error"))
            known = reading.error or kind in _KNOWN
            # What nobody knows may go on from event to event.
            leaves = Leaves(reading, choice=None if known else 0, delta=not known, whole=known)
            for key in event:
                leaves.collect(event, key, (key,), f"other.{kind or 'event'}.{key}")
            reading.opened.update({0: False} if any(slot.mode is Mode.DELTA for slot in reading.slots) else {})
        return reading

    def _start(self, reading: Reading, event: JsonObject) -> None:
        index, block = index_of(event), event["content_block"]
        reading.opened[0] = True
        if text_of(block, "type") in _CALLS:
            self._calls.add(index)
            reading.block, reading.block_begins = f"block.{index}", True
        _block(reading, block, index, ("content_block",), streamed=True)
        _others(reading, event, "content_block", index)

    def _delta(self, reading: Reading, event: JsonObject) -> None:
        index, delta = index_of(event), event["delta"]
        reading.opened[0] = True
        name, path = f"block.{index}", ("delta",)
        kind = text_of(delta, "type")
        if index in self._calls:
            reading.block = name
        for key in delta:
            place = (*path, key)
            if kind in _DELTAS and key == _DELTAS[kind][1] and isinstance(delta[key], str):
                block_key, _, channel_kind = _DELTAS[kind]
                _text(reading, delta, key, f"{name}.{block_key}", channel_kind, place)
                reading.news = _says_more(event, key)
            elif kind == "input_json_delta" and key == "partial_json" and isinstance(delta[key], str):
                channel = f"{name}.input"
                slot = Slot(channel, channel, ChannelKind.TOOL_ARGUMENTS, Mode.JSON, delta, key, place, 0)
                reading.pieces.append(slot)
                reading.news = _says_more(event, key)
            elif kind == "signature_delta" and key == "signature" and is_exempt(key, str(delta[key])):
                reading.closes.append(f"{name}.thinking")
                reading.seals.append(Seal(f"{name}.thinking", delta, key))
            else:
                # A citation comes whole; what nobody knows may go on from event to event.
                known = kind == "citations_delta"
                leaves = Leaves(reading, choice=0, delta=not known, whole=known)
                leaves.collect(delta, key, place, f"{name}.{key}")
        _others(reading, event, "delta", index)
        if reading.pieces:  # a call, also if its beginning was lost or had another name
            self._calls.add(index)
            reading.block = name
        settle_pieces(reading)

    def _stop(self, reading: Reading, event: JsonObject) -> None:
        index = index_of(event)
        if index in self._calls:
            reading.block, reading.block_ends = f"block.{index}", True
        reading.closes.append(f"block.{index}")
        _others(reading, event, "", index)

    def read_body(self, body: Any) -> Reading:
        """A message or an error body; anything else (a batch's list) by its leaves."""
        if not isinstance(body, dict) or not isinstance(body.get("content"), list):
            reading = read_anything(body, "body")
            reading.error = isinstance(body, dict) and bool(body.get("error"))
            return reading
        reading = Reading(keys=unknown_keys(body))
        reading.opened[0] = True
        _message(reading, body, ())
        return reading

    def read_prompt(self, body: Any) -> Reading:
        """Every text of a request but signed thinking: it is the model's own, and must go back as it was signed."""
        reading = super().read_prompt(body)
        signed = {id(block) for block in _thinking_blocks(body) if text_of(block, "signature")}
        reading.slots = [slot for slot in reading.slots if not (slot.key == "thinking" and id(slot.holder) in signed)]
        return reading

    # ---- writing

    def text_event(self, event: JsonObject, path: Path) -> tuple[JsonObject, Path]:
        """A delta, also for a text that a block began with; the message's own texts go on in its first block."""
        if event.get("type") == "content_block_start":
            kind = text_of(event["content_block"], "type")
            _, delta_key, delta, _ = _TEXTS.get(kind, (path[-1], path[-1], "text_delta", None))
            made = {"type": "content_block_delta", "index": index_of(event), "delta": {"type": delta, delta_key: ""}}
            return made, ("delta", delta_key)
        return super().text_event(event, path)

    def sent(self, event: JsonObject) -> None:
        """Keep which blocks are open and what the usage was."""
        kind = event.get("type")
        if kind == "content_block_start":
            self._open[index_of(event)] = text_of(event.get("content_block"), "type")
            self._next = max(self._next, index_of(event) + 1)
        elif kind == "content_block_stop":
            self._open.pop(index_of(event), None)
        elif kind == "message_start":
            tokens = at(event, "message", "usage", "output_tokens")
            self._output_tokens = tokens if type(tokens) is int else 0
            content = at(event, "message", "content")
            self._next = len(content) if isinstance(content, list) else 0

    def halt(
        self,
        like: JsonObject,
        open_choices: dict[int, bool],
        said: Callable[[str], str],
        why: Stop = Stop.FILTERED,
    ) -> list[bytes]:
        """Close what is open, then ``message_delta`` with the stop reason, then ``message_stop``."""
        frames: list[JsonObject] = []
        if not open_choices.get(0, True):
            usage = {"input_tokens": 0, "output_tokens": 0}
            message = {"id": "msg_0", "type": "message", "role": "assistant", "model": "", "content": []}
            ends = {"stop_reason": None, "stop_sequence": None, "usage": usage}
            frames.append({"type": "message_start", "message": {**message, **ends}})
        frames += self._shown() if notice_of(self._ask, why) else []
        frames += [{"type": "content_block_stop", "index": index} for index in sorted(self._open)]
        delta = _stopped(why)
        frames.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": self._output_tokens}})
        frames.append({"type": "message_stop"})
        return [self._frame(one) for one in frames]

    def _shown(self) -> list[JsonObject]:
        """The notice, in the text block that is open or in one of its own."""
        told = {"type": "text_delta", "text": self._ask.notice}
        for index, kind in self._open.items():
            if kind == "text":
                return [{"type": "content_block_delta", "index": index, "delta": told}]
        index = self._next
        stops: list[JsonObject] = [{"type": "content_block_stop", "index": one} for one in sorted(self._open)]
        self._open.clear()
        return [
            *stops,
            {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": index, "delta": told},
            {"type": "content_block_stop", "index": index},
        ]

    def halt_body(self, body: Any, slots: list[Slot], at: int, ask: Ask, why: Stop = Stop.FILTERED) -> bool:
        """The blocks up to the end, none of them a call that was cut, and the stop reason."""
        empty_after(slots, at)
        content = body.get("content") if isinstance(body, dict) else None
        if not isinstance(content, list):
            return False
        place = slots[at].path
        last = place[1] if len(place) > 1 and place[0] == "content" and isinstance(place[1], int) else -1
        kept = content[: last + 1]
        if kept and not (isinstance(kept[-1], dict) and kept[-1].get("type") == "text" and kept[-1].get("text")):
            kept = kept[:-1]
        if notice_of(ask, why):
            kept.append({"type": "text", "text": notice_of(ask, why)})
        body["content"] = kept
        body.update(_stopped(why))
        return True

    def error_frame(self, message: str, code: str) -> bytes:
        """An ``error`` event."""
        return self.encode(self.error_body(message, status=502, code=code), Frame(b"", None, event=b"error"))

    def error_body(self, message: str, *, status: int, code: str) -> bytes:
        """The API's error object; its types go with the status."""
        kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large"}
        kind = kinds.get(status, "invalid_request_error" if 400 <= status < 500 else "api_error")
        if status in (429, 503):
            kind = "rate_limit_error" if status == 429 else "overloaded_error"
        if code == "content_filter":
            message = EXPLANATION
        return compact({"type": "error", "error": {"type": kind, "message": message}})

    def _frame(self, event: JsonObject) -> bytes:
        return self.encode(compact(event), Frame(b"", None, event=event["type"].encode()))


def _thinking_blocks(body: Any) -> Iterator[JsonObject]:
    """The thinking blocks of a request, of a batch's requests too, that answers brought."""
    batch = at(body, "requests")
    bodies = [body, *(at(one, "params") for one in (batch if isinstance(batch, list) else ()))]
    found = [at(one, "messages") for one in bodies]
    for message in [message for messages in found if isinstance(messages, list) for message in messages]:
        content = at(message, "content")
        for block in content if isinstance(content, list) else ():
            if text_of(block, "type") == "thinking" and text_of(message, "role") == "assistant":
                yield block


def _message(reading: Reading, message: JsonObject, path: Path) -> None:
    """A message: whole, or what stands at the beginning of a streamed one (later blocks are numbered behind it)."""
    for key, value in message.items():
        if key == "content" and isinstance(value, list):
            for position, block in enumerate(value):
                if isinstance(block, dict):
                    _block(reading, block, position, (*path, key, position), streamed=False)
                else:
                    Leaves(reading, choice=0, whole=True).collect(value, position, (*path, key, position), "content")
        elif key == "usage":
            reading.usage = numbers(value)
            Leaves(reading, whole=True).collect(message, key, (*path, key), key)
        else:
            if key == "model" and isinstance(value, str):
                reading.model = value
            _stop_reason(reading, message, key)
            Leaves(reading, whole=True).collect(message, key, (*path, key), key)


def _ending(reading: Reading, event: JsonObject) -> None:
    for key, value in event.items():
        if key == "delta" and isinstance(value, dict):
            for inner in value:
                _stop_reason(reading, value, inner)
                Leaves(reading, whole=True).collect(value, inner, (key, inner), inner)
        else:
            Leaves(reading, whole=True).collect(event, key, (key,), key)
    reading.usage = numbers(event.get("usage"))


def _stop_reason(reading: Reading, holder: JsonObject, key: str) -> None:
    value = holder[key]
    if key == "stop_reason" and isinstance(value, str) and value:
        reading.finishes.append(Finish(0, value, holder, key))
        reading.opened[0] = True


def _block(reading: Reading, block: JsonObject, index: int, path: Path, *, streamed: bool) -> None:
    """One content block: whole, or its beginning."""
    name = f"block.{index}"
    kind = text_of(block, "type")
    for key, value in block.items():
        place = (*path, key)
        if kind in _TEXTS and key == _TEXTS[kind][0] and isinstance(value, str):
            _text(reading, block, key, f"{name}.{key}", _TEXTS[kind][3], place, whole=not streamed)
        elif kind in _CALLS and key == "input" and isinstance(value, (dict, list)):
            if value:
                channel = f"{name}.input"
                slot = Slot(channel, channel, ChannelKind.TOOL_ARGUMENTS, Mode.OBJECT, block, key, place, 0)
                reading.slots.append(slot)
        elif kind == "thinking" and key == "signature" and isinstance(value, str) and is_exempt(key, value):
            if value:
                reading.seals.append(Seal(f"{name}.thinking", block, key))
        elif kind == "redacted_thinking" and key == "data" and is_exempt("signature", str(value)):
            continue
        else:
            leaves = Leaves(reading, choice=0, whole=True)
            leaves.collect(block, key, place, f"{name}.{key}", ChannelKind.OTHER)


def _text(
    reading: Reading, holder: JsonObject, key: str, channel: str, kind: ChannelKind, path: Path, *, whole: bool = False
) -> None:
    if holder[key]:
        mode = Mode.WHOLE if whole else Mode.DELTA
        reading.slots.append(Slot(channel, channel, kind, mode, holder, key, path, 0))


def _others(reading: Reading, event: JsonObject, known: str, index: int) -> None:
    """What stands beside an event's own part."""
    for key in event:
        if key not in ("type", "index", known):
            Leaves(reading, choice=0, whole=True).collect(event, key, (key,), f"block.{index}.beside.{key}")
    if "index" in event and not is_index(event["index"]):
        Leaves(reading, choice=0, whole=True).collect(event, "index", ("index",), f"block.{index}.beside.index")


def _says_more(event: JsonObject, key: str) -> bool:
    """Whether a delta's event says anything but the delta's text."""
    return bool(event.keys() - {"type", "index", "delta"} or event["delta"].keys() - {"type", key})


def _stopped(why: Stop) -> JsonObject:
    """How a message says why it ended."""
    if why is Stop.LENGTH:
        return {"stop_reason": "max_tokens", "stop_sequence": None}
    details = {"type": "refusal", "category": None, "explanation": EXPLANATION}
    return {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
