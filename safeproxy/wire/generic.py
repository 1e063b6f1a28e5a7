"""An API nobody has described: any stream of JSON events, any JSON body.

Which strings are text, and which of them go on from event to event, cannot be known. So every string that is not
exempt is text, and in a stream all strings at the same place are one text: a finding cut over events is found. The
place is told by the keys that lead there and by what events commonly call themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from safeproxy.wire.base import BLOCKED, TOO_LONG, BaseDialect, numbers, read_anything
from safeproxy.wire.dialect import Decoder, JsonObject, Mode, Path, Reading, Stop
from safeproxy.wire.leaves import Leaves, unknown_keys
from safeproxy.wire.ndjson import NdjsonDecoder, encode_line
from safeproxy.wire.sse import Frame

#: What events call themselves, and what numbers the things they add to.
_LABELS = ("type", "event", "object", "kind")
_NUMBERS = ("index", "output_index", "content_index")
_LABEL = re.compile(r"[A-Za-z0-9_:./-]{1,64}")


class Generic(BaseDialect):
    """The dialect, over server-sent events. Channels: ``top.*.text`` and so on, all of no choice."""

    name = "generic"
    ends_itself = False
    head = ("id", "object", "created", "model", *_LABELS, *_NUMBERS)

    def read(self, event: JsonObject) -> Reading:
        """Every string is a piece of the text at its place."""
        reading = Reading(keys=unknown_keys(event), error=bool(event.get("error")))
        told = ".".join(_spoken(event[name]) for name in (*_LABELS, *_NUMBERS) if name in event) or "event"
        for key, value in event.items():
            if value is None or isinstance(value, (str, int, float)):
                reading.constants[key] = value
            whole = reading.error or (key in _LABELS and _is_label(value))
            Leaves(reading, delta=not whole, whole=whole).collect(event, key, (key,), f"top.{told}.{key}")
        # Labels first: what is in them must be decided before an event of our own repeats them.
        reading.slots.sort(key=lambda slot: slot.mode is Mode.DELTA)
        for slot in reading.slots:
            reading.constants.pop(str(slot.path[0]), None)
        reading.usage = numbers(event.get("usage"))
        model = event.get("model")
        reading.model = model if isinstance(model, str) else None
        return reading

    def read_body(self, body: Any) -> Reading:
        """Every string, each standing alone."""
        reading = read_anything(body, "body")
        reading.error = isinstance(body, dict) and bool(body.get("error"))
        return reading

    def text_event(self, event: JsonObject, path: Path) -> tuple[JsonObject, Path]:
        """With the event's labels, by which clients go."""
        labels = {key: event[key] for key in _LABELS if _is_label(event.get(key))}
        made, place = super().text_event(event, path)
        return {**labels, **made}, place

    def halt(
        self,
        like: JsonObject,
        open_choices: dict[int, bool],
        said: Callable[[str], str],
        why: Stop = Stop.FILTERED,
    ) -> list[bytes]:
        """The error: what such an API says when it stops an answer is not known."""
        told = (TOO_LONG, "answer_too_long") if why is Stop.LENGTH else (BLOCKED, "content_filter")
        return [self.error_frame(*told)]


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and _LABEL.fullmatch(value) is not None


def _spoken(value: Any) -> str:
    """A label or a number as a part of a channel's name; never a text that could be anything."""
    if _is_label(value):
        return str(value).replace(".", "_")
    return str(value) if type(value) is int else "*"


class GenericLines(Generic):
    """The same over one JSON object a line."""

    name = "generic_lines"
    media_type = "application/x-ndjson"
    keep_alive = b""
    comments = False

    def decoder(self, limit: int) -> Decoder:
        """Lines."""
        return NdjsonDecoder(limit)

    def encode(self, data: bytes, like: Frame | None = None) -> bytes:
        """One line."""
        return encode_line(data)
