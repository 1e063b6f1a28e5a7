"""Ollama's own ``/api/chat`` and ``/api/generate``, streamed and not.

Source: Ollama's API reference. Answers come as one JSON object a line, streamed unless the request says otherwise; the
last line has ``done``. A tool call comes whole, its arguments an object. Blank lines are never sent: the official
client fails at them, so nothing can be sent while text is held.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from safeproxy.events import ChannelKind
from safeproxy.wire.base import (
    BaseDialect,
    at,
    compact,
    empty_after,
    informs,
    is_empty,
    is_plain,
    notice_of,
    read_anything,
    skeleton,
    text_of,
    thought_first,
)
from safeproxy.wire.dialect import Anchor, Ask, Decoder, Finish, JsonObject, Mode, Path, Reading, Slot, Stop, Tokens
from safeproxy.wire.leaves import Leaves, entry_index, kind_of, unknown_keys
from safeproxy.wire.ndjson import NdjsonDecoder, encode_line
from safeproxy.wire.sse import Frame

#: What a line of our own repeats of the upstream's, by key.
_HEAD = ("model", "created_at")
#: The texts of generate and those of a chat's message.
_TEXTS = {
    "response": ChannelKind.CONTENT,
    "thinking": ChannelKind.REASONING,
    "message.content": ChannelKind.CONTENT,
    "message.thinking": ChannelKind.REASONING,
}
_COUNTS = ("prompt_eval_count", "eval_count")
#: Fields that say how far it is, different in every line.
_PROGRESS = frozenset({"created_at", "done", "done_reason"})
_IMAGES = frozenset({"image", "images"})
_BASE64 = re.compile(r"[A-Za-z0-9+/]{64,}={0,2}")


class Ollama(BaseDialect):
    """The dialect, of both paths. Channels: ``message.content``, ``response`` and so on, all of choice 0."""

    name = "ollama"
    tick: str | None = "created_at"
    media_type = "application/x-ndjson"
    keep_alive = b""
    comments = False
    head = _HEAD

    def decoder(self, limit: int) -> Decoder:
        """Lines."""
        return NdjsonDecoder(limit)

    def encode(self, data: bytes, like: Frame | None = None) -> bytes:
        """One line."""
        return encode_line(data)

    def is_end(self, data: bytes) -> bool:
        """There is no end marker."""
        return False

    def ask(self, body: Any) -> Ask:
        """Structured output is ``format``: the word, or a schema."""
        wanted = at(body, "format")
        return Ask(json=wanted == "json" or (isinstance(wanted, dict) and bool(wanted)))

    # ---- reading

    def split(self, event: JsonObject, held: Callable[[int], bool]) -> list[JsonObject]:
        """What is said apart from the calls beside it, which wait for it."""
        message = event.get("message")
        if not isinstance(message, dict) or not message.get("tool_calls") or event.get("done"):
            return [event]
        rest = {key: value for key, value in message.items() if key != "tool_calls"}
        if not any(rest.get(key) for key in ("content", "thinking")):
            return [event]
        call = {key: "" if key in ("content", "thinking") else value for key, value in message.items()}
        return [{**event, "message": rest}, {**event, "message": call}]

    def read(self, event: JsonObject) -> Reading:
        """One line."""
        return _Reader(whole=False).top(event)

    def read_body(self, body: Any) -> Reading:
        """A whole answer or an error body."""
        return _Reader(whole=True).top(body) if isinstance(body, dict) else read_anything(body, "body")

    def read_prompt(self, body: Any) -> Reading:
        """Every text of a request; images are none."""
        reading = read_anything(body, "request")
        reading.slots = [slot for slot in reading.slots if not _is_image(slot)]
        return reading

    # ---- writing

    def text_event(self, event: JsonObject, path: Path) -> tuple[JsonObject, Path]:
        """With the role, and never the last."""
        made, place = skeleton(event, path, _HEAD)
        role = at(event, "message", "role")
        if path[0] == "message" and isinstance(role, str) and is_plain("role", role):
            made["message"] = {"role": role, **made["message"]}
        made["done"] = False
        return made, place

    def halt(
        self,
        like: JsonObject,
        open_choices: dict[int, bool],
        said: Callable[[str], str],
        why: Stop = Stop.FILTERED,
    ) -> list[bytes]:
        """The notice if there is one, then a last line; the API has no word for a filter, clients take any."""
        if not open_choices:
            return []
        notice = notice_of(self._ask, why)
        frames = [_line(like, notice, done=False)] if notice else []
        frames.append({**_line(like, "", done=True), "done_reason": why.value})
        return [self.encode(compact(frame)) for frame in frames]

    def halt_body(self, body: Any, slots: list[Slot], at: int, ask: Ask, why: Stop = Stop.FILTERED) -> bool:
        """Later texts emptied, calls and what spells the text taken out, the reason set."""
        if not isinstance(body, dict) or not ("message" in body or "response" in body):
            return False
        empty_after(slots, at)
        body["done"], body["done_reason"] = True, why.value
        for key in ("context", "logprobs"):
            body.pop(key, None)
        message = body.get("message")
        if isinstance(message, dict):
            message.pop("tool_calls", None)
            message["content"] = text_of(message, "content") + notice_of(ask, why)
        else:
            body["response"] = text_of(body, "response") + notice_of(ask, why)
        return True

    def error_body(self, message: str, *, status: int, code: str) -> bytes:
        """A string under ``error``."""
        return compact({"error": message})


class _Reader:
    """Reads one line or (``whole``) one body."""

    def __init__(self, *, whole: bool) -> None:
        self.reading = Reading()
        self._whole = whole

    def top(self, event: JsonObject) -> Reading:
        reading = self.reading
        reading.keys = unknown_keys(event)
        reading.opened[0] = False
        for key in thought_first(event):
            value, path = event[key], (key,)
            if key == "message" and isinstance(value, dict):
                self._message(value)
            elif key in _TEXTS and isinstance(value, str):
                self._text(event, key, key, path)
            elif key == "context" and isinstance(value, list):
                self._context(event, path)
            elif key == "logprobs" and isinstance(value, list):
                self._logprobs(event)
            else:
                if key not in _PROGRESS and (value is None or isinstance(value, (str, int, float))):
                    reading.constants[key] = value
                reading.news |= isinstance(value, (dict, list)) and not is_empty(value)
                self._other(event, key, path, key, delta=False)
        if event.get("done") is True:
            reading.news = True
            reading.finishes.append(Finish(0, text_of(event, "done_reason") or "stop", event, "done_reason"))
        reading.error = bool(event.get("error"))
        reading.model = text_of(event, "model") or None
        counts = {key: event[key] for key in _COUNTS if type(event.get(key)) is int}
        reading.usage = counts or None
        return reading

    def _message(self, message: JsonObject) -> None:
        for key in thought_first(message):
            value, path, name = message[key], ("message", key), f"message.{key}"
            if name in _TEXTS and isinstance(value, str):
                self._text(message, key, name, path)
            elif key == "tool_calls" and isinstance(value, list):
                self._calls(value, path)
            else:
                self.reading.news |= informs(key, value) and key != "role"
                self._other(message, key, path, name, delta=True)

    def _text(self, holder: JsonObject, key: str, name: str, path: Path) -> None:
        if holder[key]:
            mode = Mode.WHOLE if self._whole else Mode.DELTA
            self.reading.slots.append(Slot(name, name, _TEXTS[name], mode, holder, key, path, 0))

    def _other(self, holder: JsonObject, key: str, path: Path, name: str, *, delta: bool) -> None:
        """Of a message, what nobody knows may go on from line to line."""
        if key in _IMAGES and _is_base64(holder[key]):
            self.reading.news = True
            return
        inner = Reading()
        leaves = Leaves(inner, choice=0, delta=delta and key not in _IMAGES, whole=self._whole or not delta)
        leaves.collect(holder, key, path, name, kind_of(key, ChannelKind.OTHER))
        self.reading.slots += inner.slots

    def _calls(self, calls: list[Any], path: Path) -> None:
        """Whole calls: the arguments as one value, all else as texts."""
        for position, call in enumerate(calls):
            self.reading.news = True
            place, name = (*path, position), f"message.tool.{entry_index(call, position)}"
            function = at(call, "function")
            arguments = at(function, "arguments")
            kind = ChannelKind.TOOL_ARGUMENTS
            inner = Reading()
            Leaves(inner, choice=0, whole=True).collect(calls, position, place, name, kind)
            if isinstance(arguments, (dict, list)) and arguments:
                below = (*place, "function", "arguments")
                inner.slots = [slot for slot in inner.slots if slot.path[: len(below)] != below]
                channel = f"{name}.arguments"
                inner.slots.append(Slot(channel, channel, kind, Mode.OBJECT, function, "arguments", below, 0))
            self.reading.slots += inner.slots
            self.reading.acts = True

    def _context(self, event: JsonObject, path: Path) -> None:
        """The whole answer as numbers of tokens, of no use once any of it was changed."""
        self.reading.padding.append((event, "context"))
        self.reading.anchors += [Anchor(name, event, "context") for name in _TEXTS]
        self._other(event, "context", path, "context", delta=False)

    def _logprobs(self, event: JsonObject) -> None:
        """They spell the text they come with."""
        if event["logprobs"]:
            thinks = [name for name in _TEXTS if at(event, *name.split(".")) and _TEXTS[name] is ChannelKind.REASONING]
            name = thinks[0] if thinks else "message.content" if "message" in event else "response"
            self.reading.tokens.append(Tokens(name, f"{name}.logprobs", _TEXTS[name], 0, event, "logprobs"))


def _is_base64(value: Any) -> bool:
    """Whether a value is an image, or several."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, str) and _is_base64(one) for one in value)
    return isinstance(value, str) and _BASE64.fullmatch(value) is not None


def _is_image(slot: Slot) -> bool:
    return any(key in _IMAGES for key in slot.path[-2:]) and _is_base64(slot.holder[slot.key])


def _line(like: JsonObject, text: str, *, done: bool) -> JsonObject:
    """A line of our own that says this, of the same kind as the upstream's."""
    head = {key: like[key] for key in _HEAD if key in like and is_plain(key, like[key])}
    if "response" in like and "message" not in like:
        return {**head, "response": text, "done": done}
    return {**head, "message": {"role": "assistant", "content": text}, "done": done}
