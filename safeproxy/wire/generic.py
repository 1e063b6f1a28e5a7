"""An API nobody has described: any stream of JSON events, any JSON body.

Which strings are text, and which of them go on from event to event, cannot be known. So every string that is not
exempt is text, and in a stream all strings at the same place are one text: a finding cut over events is found. The
place is told by the keys that lead there and by what events commonly call themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from safeproxy.wire.base import BaseDialect, informs, numbers, read_anything
from safeproxy.wire.dialect import Decoder, JsonObject, Reading
from safeproxy.wire.leaves import Leaves, unknown_keys
from safeproxy.wire.ndjson import NdjsonDecoder, encode_line
from safeproxy.wire.sse import Frame

#: What events call themselves, and what numbers the things they add to.
_NAMES = ("type", "event", "object", "kind", "index", "output_index", "content_index")
_BLOCKED = "Blocked by content policy (content_policy_violation)."


class Generic(BaseDialect):
    """The dialect, over server-sent events. Channels: ``top.*.text`` and so on, all of no choice."""

    name = "generic"
    ends_itself = False
    head = ("id", "object", "created", "model", *_NAMES)

    def read(self, event: JsonObject) -> Reading:
        """Every string is a piece of the text at its place."""
        reading = Reading(keys=unknown_keys(event), error=bool(event.get("error")))
        told = ".".join(str(event[name])[:64].replace(".", "_") for name in _NAMES if name in event) or "event"
        for key, value in event.items():
            if value is None or isinstance(value, (str, int, float)):
                reading.constants[key] = value
            elif informs(key, value):
                reading.news |= not isinstance(value, (dict, list))
            Leaves(reading, delta=not reading.error, whole=reading.error).collect(
                event, key, (key,), f"top.{told}.{key}"
            )
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

    def halt(self, like: JsonObject, open_choices: dict[int, bool], said: Callable[[str], str]) -> list[bytes]:
        """The error: what such an API says when it stops an answer is not known."""
        return [self.error_frame(_BLOCKED, "content_filter")]


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
