"""What most dialects have in common; each dialect says the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Self

from safeproxy.wire import sse
from safeproxy.wire.dialect import Ask, Decoder, Dialect, JsonObject, Mode, Path, Reading, Slot, Stop
from safeproxy.wire.leaves import KNOWN_KEYS, Leaves, is_exempt, is_index, unknown_keys

DONE = b"[DONE]"
#: What a block is told as: in this wording SDKs and gateways know it for a content policy's.
BLOCKED = "Blocked by content policy (content_policy_violation)."
#: What the end of an answer is told as that was longer than it may be, where the API has no word for that.
TOO_LONG = "The answer is longer than it may be (setting max_answer_chars)."
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
#: What one of a text's own objects keeps in an event made after it: clients add other strings up, ids too.
_KEPT = frozenset({"index", "type"})
_EMPTY: tuple[object, ...] = (None, "", [], {})
#: Fields that only say what the text beside them is.
_LABELS = frozenset({"type", "format", "id"})


class BaseDialect:
    """Server-sent events, nothing to keep from event to event, errors as ``{"error": {...}}``.

    One object is the dialect; `voice` gives another of its kind for each stream.
    """

    name = "base"
    keep_alive = b": keep-alive\n\n"
    media_type = "text/event-stream"
    over_events: Dialect | None = None
    comments = True
    concurrent = False
    typed = False
    ends_itself = True
    echoes = False
    tick: str | None = None
    #: What an event made after another keeps of its top.
    head: tuple[str, ...] = ()

    def __init__(self, ask: Ask | None = None) -> None:
        self._ask = ask or Ask()

    def decoder(self, limit: int) -> Decoder:
        """Server-sent events."""
        return sse.SseDecoder(limit)

    def encode(self, data: bytes, like: sse.Frame | None = None) -> bytes:
        """One SSE frame."""
        return sse.encode(data, like)

    def is_end(self, data: bytes) -> bool:
        """``[DONE]``."""
        return data.strip() == DONE

    def writer(self) -> Callable[[bytes, bool], bytes] | None:
        """The frames are the answer."""
        return None

    def restore(self, body: Any, unseal: Callable[[str], str | None]) -> bool:
        """Nothing is ever sealed."""
        return False

    def ask(self, body: Any) -> Ask:
        """Nothing special."""
        return Ask()

    def voice(self, ask: Ask) -> Self:
        """A fresh object for one stream."""
        return type(self)(ask)

    def split(self, event: JsonObject, held: Callable[[int], bool]) -> list[JsonObject]:
        """The event as it is."""
        return [event]

    def mark(self, event: JsonObject) -> object:
        """No numbers."""
        return None

    def text_event(self, event: JsonObject, path: Path) -> tuple[JsonObject, Path]:
        """Only the objects along the path, of them only identity and position."""
        return skeleton(event, path, self.head)

    def role_event(self, event: JsonObject, choice: int) -> JsonObject | None:
        """No roles."""
        return None

    def add_role(self, event: JsonObject) -> None:
        """No roles."""

    def attach_tokens(self, event: JsonObject, key: str, entries: list[Any]) -> None:
        """At the top."""
        event["logprobs"] = entries

    def stamp(self, event: JsonObject, *, own: bool) -> bool:
        """No numbers."""
        return False

    def renumber(self, number: int) -> int:
        """No numbers."""
        return number

    def sent(self, event: JsonObject) -> None:
        """Nothing to keep."""

    def dropped(self, event: JsonObject) -> None:
        """Nothing to keep."""

    def read_body(self, body: Any) -> Reading:
        """Every text, each standing alone."""
        return read_anything(body, "body")

    def read_prompt(self, body: Any) -> Reading:
        """Every text of a request."""
        return read_anything(body, "request")

    def refused_prompt(self, message: str) -> tuple[int, bytes] | None:
        """An error like any."""
        return None

    def halt_body(self, body: Any, slots: list[Slot], at: int, ask: Ask, why: Stop = Stop.FILTERED) -> bool:
        """No end of its own."""
        return False

    def error_frame(self, message: str, code: str) -> bytes:
        """``{"error": {...}}`` alone: beside other things some clients do not see it."""
        return self.encode(self.error_body(message, status=502, code=code))

    def error_body(self, message: str, *, status: int, code: str) -> bytes:
        """The widespread error object; its type follows the status."""
        kind = "invalid_request_error" if 400 <= status < 500 else "upstream_error"
        if status == 429:
            kind = "rate_limit_error"
        param = "messages" if code == "content_filter" else None
        return compact({"error": {"message": message, "type": kind, "param": param, "code": code}})


def compact(value: Any) -> bytes:
    """JSON on one line, everything beyond ASCII escaped."""
    return json.dumps(value, separators=(",", ":")).encode()


def read_anything(value: Any, name: str) -> Reading:
    """A value of no known shape, not streamed."""
    reading = Reading()
    reading.keys = unknown_keys(value)
    Leaves(reading, whole=True).collect([value], 0, (), name)
    return reading


def settle_pieces(reading: Reading) -> None:
    """In an event of a call no text leaves by itself; where the call has no beginning, pieces are text like any."""
    if reading.block is None:
        for slot in reading.pieces:
            slot.mode = Mode.DELTA
        reading.slots += reading.pieces
        reading.pieces = []
        return
    reading.pieces += [slot for slot in reading.slots if slot.mode is Mode.DELTA]
    reading.slots = [slot for slot in reading.slots if slot.mode is not Mode.DELTA]


def empty_after(slots: list[Slot], at: int) -> None:
    """Empty every text behind ``slots[at]``, for a whole body that is cut off there."""
    for slot in slots[at + 1 :]:
        value = slot.holder[slot.key]
        slot.holder[slot.key] = type(value)() if isinstance(value, (str, list, dict)) else None


def skeleton(event: Any, path: Path, head: tuple[str, ...], *, top: bool = True) -> tuple[Any, Path]:
    """The containers along the path, of the rest only what identifies them; list positions become 0."""
    if not path:
        return "", ()
    step, rest = path[0], path[1:]
    inner, inner_path = skeleton(event[step], rest, head, top=False)
    if isinstance(step, int):
        return [inner], (0, *inner_path)
    known = head if top else _KEPT
    kept = {key: event[key] for key in event if key in known and key != step and is_plain(key, event[key])}
    kept[step] = inner
    return kept, (step, *inner_path)


def is_plain(key: str, value: Any) -> bool:
    """Whether a value is a number, a truth value, null, or a string that is no text."""
    return is_exempt(key, value) if isinstance(value, str) else value is None or type(value) in (int, float, bool)


def informs(key: str, value: Any) -> bool:
    """Whether a field says something even if all text of its event is held: it is no text, nor mere labelling."""
    if isinstance(value, str):
        return bool(value) and is_exempt(key, value) and key not in _LABELS
    return value not in _EMPTY and key != "index"


def is_empty(value: Any) -> bool:
    """Whether a value says nothing at all."""
    return value in _EMPTY


def numbers(usage: Any) -> dict[str, int] | None:
    """The whole numbers of a usage object, those one level down as ``outer.inner``; unknown keys are left out."""
    if not isinstance(usage, dict):
        return None
    found: dict[str, int] = {}
    for key, value in usage.items():
        if is_count(value):
            found[key] = int(value)
        elif isinstance(value, dict):
            found.update({f"{key}.{inner}": int(n) for inner, n in value.items() if is_count(n)})
    return {key: n for key, n in list(found.items())[:64] if all(part in KNOWN_KEYS for part in key.split("."))}


def is_count(value: Any) -> bool:
    """Whether a value is a whole number that may count tokens; some servers write a fraction of zero behind it."""
    return (type(value) is int or (type(value) is float and value.is_integer())) and abs(value) < 2**53


def thought_first(message: JsonObject) -> list[str]:
    """A message's keys with its reasoning before what was said after it: a halt there cuts off the rest."""
    return sorted(message, key=lambda key: not key.startswith(("reasoning", "thinking")))


def notice_of(ask: Ask, why: Stop) -> str:
    """What is shown before an end: what has reached its length needs no explanation."""
    return ask.notice if why is Stop.FILTERED else ""


def text_of(value: Any, key: str) -> str:
    """The string under a key, ``""`` if there is none."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def at(value: Any, *path: str | int) -> Any:
    """The value at a path, None if there is none."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def index_of(value: Any) -> int:
    """The number of a choice, a block, a candidate; where there is one only it may be left out."""
    index = value.get("index") if isinstance(value, dict) else None
    return index if is_index(index) else 0


def asks_for_json(body: Any) -> bool:
    """Whether a request asks for structured output by ``response_format``."""
    return text_of(at(body, "response_format"), "type") in ("json_object", "json_schema")


def is_base64(value: str) -> bool:
    """Whether a string could be a piece of sound in base64."""
    return _BASE64.fullmatch(value) is not None
