"""OpenAI responses, streamed and not, and the doors beside them: stored responses, their items, conversations.

Source: OpenAI's published event types. An event's type is a family and a verb: ``response.output_text.delta`` adds to
a text, ``response.output_text.done`` says it whole, and the part, the item and the response that hold it say it
again. Families nobody knows are read by the same rule. Channels are told apart by their positions, never by item ids,
which some servers change with every event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from safeproxy.events import ChannelKind
from safeproxy.wire.base import (
    BaseDialect,
    at,
    compact,
    empty_after,
    is_base64,
    is_plain,
    notice_of,
    numbers,
    read_anything,
    settle_pieces,
    text_of,
)
from safeproxy.wire.dialect import Anchor, Ask, Decoder, Finish, JsonObject, Mode, Path, Reading, Slot, Stop, Tokens
from safeproxy.wire.leaves import Leaves, is_index, is_media, spoken_name, unknown_keys
from safeproxy.wire.ndjson import NdjsonDecoder, encode_line
from safeproxy.wire.openai_closing import Closing
from safeproxy.wire.openai_items import (
    CALLS,
    anchor_part,
    kind_of_family,
    read_item,
    read_items,
    read_part,
    tokens_of_parts,
)
from safeproxy.wire.sse import Frame

#: Where the response gives back what the request said.
_QUOTED = ("instructions", "tools", "tool_choice", "text", "prompt", "metadata", "user", "safety_identifier")
#: Numbers that say where in the response an event's text stands, and what its channels call them.
_PLACES = (("content_index", "content"), ("summary_index", "summary"), ("command_index", "command"))
#: What no event of these families says by itself.
_POSITIONS = frozenset(
    {"type", "sequence_number", "item_id", "output_index", "content_index", "summary_index", "command_index"}
)
_JSON_FAMILIES = frozenset({"function_call_arguments", "mcp_call_arguments"})
#: Families that bring sound as base64, and those that bring what it says.
_SOUND = {"audio": "audio.transcript", "output_audio": "output_audio_transcript"}
#: Families with more than one name.
_SAME = {"audio_transcript": "audio.transcript"}
_LAST = frozenset(
    {"response.completed", "response.done", "response.incomplete", "response.failed", "response.cancelled"}
)
_LISTS = ("output", "data", "input")


class OpenAIResponses(BaseDialect):
    """The dialect. Channels: ``output.0.content.0.output_text``, ``output.1.function_call_arguments`` and so on.

    A stream's object keeps what the client was told so far, for a halt must close all of it.
    """

    name = "openai_responses"
    typed = True
    echoes = True
    tick: str | None = "sequence_number"
    head = (
        "type",
        "response_id",
        "item_id",
        "output_index",
        "content_index",
        "summary_index",
        "command_index",
        "sequence_number",
    )

    def __init__(self, ask: Ask | None = None) -> None:
        super().__init__(ask)
        self._calls: set[int] = set()
        self._told = Closing(self._ask)
        self._counts = True  # whether the upstream's numbers do
        self._seen: int | None = None  # the upstream's number read last
        self._last: int | None = None  # the running number sent last
        self._drift = False  # whether our numbers differ from the upstream's

    def ask(self, body: Any) -> Ask:
        """Structured output is ``text.format``; the request's own words are those that the response gives back."""
        as_json = text_of(at(body, "text", "format"), "type") in ("json_object", "json_schema")
        quoted: set[str] = set()
        for key in _QUOTED if isinstance(body, dict) else ():
            _gather(body.get(key), quoted)
        return Ask(json=as_json, quoted=frozenset(quoted))

    # ---- reading

    def read(self, event: JsonObject) -> Reading:
        """One event, told by its ``type``."""
        reading = Reading(news=True)
        kind = text_of(event, "type")
        family, _, verb = kind.removeprefix("response.").rpartition(".")
        if isinstance(event.get("response"), dict):
            self._response(reading, event, kind)
        elif isinstance(event.get("session"), dict):
            self._quoted(reading, event, "session", ("session",))
        elif isinstance(event.get("item"), dict) and family in ("output_item", "conversation.item"):
            self._item(reading, event, family, verb)
        elif isinstance(event.get("part"), dict) and family.endswith("part"):
            self._part(reading, event, verb)
        else:
            self._said(reading, event, family, verb)
        reading.keys += unknown_keys(event, but=("response", "session"))
        self._settle(reading, event, kind)
        return reading

    def _said(self, reading: Reading, event: JsonObject, family: str, verb: str) -> None:
        family = _SAME.get(family, family)
        if family == "output_text.annotation":
            self._annotation(reading, event)
        elif family and verb == "delta":
            self._delta(reading, event, family)
        elif family and verb in ("done", "added", "completed"):
            self._whole(reading, event, family, verb)
        else:
            reading.error = verb == "error" or bool(event.get("error"))
            # What nobody knows may go on from event to event.
            known = reading.error or family == "rate_limits"
            self._rest(reading, event, (), f"other.{family}.{verb}", delta=not known)

    def _settle(self, reading: Reading, event: JsonObject, kind: str) -> None:
        """What goes for an event of whatever kind."""
        index = event.get("output_index")
        if is_index(index) and reading.pieces:
            self._calls.add(index)  # also if its beginning was lost
        if is_index(index) and index in self._calls:
            reading.block = f"output.{index}"
            reading.block_begins = kind == "response.output_item.added"
            reading.block_ends = kind == "response.output_item.done"
        settle_pieces(reading)
        if any(slot.mode is Mode.DELTA for slot in reading.slots):
            reading.opened[0] = True

    def _response(self, reading: Reading, event: JsonObject, kind: str) -> None:
        response = event["response"]
        reading.opened[0] = True
        self._whole_response(reading, response, ("response",))
        self._rest(reading, event, ("response",), "top")
        if kind in _LAST:
            reason = text_of(response.get("incomplete_details"), "reason") or text_of(response, "status")
            reading.finishes.append(Finish(0, reason or kind.rpartition(".")[2], response, "status"))

    def _whole_response(self, reading: Reading, response: JsonObject, path: Path) -> None:
        for key, value in response.items():
            if key == "output" and isinstance(value, list):
                read_items(reading, value, (*path, key))
            elif key in _QUOTED:
                self._quoted(reading, response, key, (*path, key))
            else:
                Leaves(reading, choice=0, whole=True).collect(response, key, (*path, key), f"response.{key}")
        reading.keys += [key for key in unknown_keys(response) if key.key not in self._ask.quoted]
        reading.usage = numbers(response.get("usage"))
        model = response.get("model")
        reading.model = model if isinstance(model, str) else None

    def _quoted(self, reading: Reading, response: JsonObject, key: str, path: Path) -> None:
        inner = Reading()
        Leaves(inner, choice=0, whole=True).collect(response, key, path, f"response.{key}")
        for slot in inner.slots:
            slot.mode = Mode.QUOTE
            if slot.holder[slot.key] not in self._ask.quoted:
                reading.slots.append(slot)

    def _item(self, reading: Reading, event: JsonObject, family: str, verb: str) -> None:
        if family == "conversation.item":  # said beside the responses
            read_item(reading, event["item"], family, ("item",))
            self._rest(reading, event, ("item",), family)
            return
        index = _number(event, "output_index")
        name = f"output.{index}"
        reading.opened[0] = True
        if text_of(event["item"], "type") in CALLS:
            self._calls.add(index)
        if verb == "done":
            reading.closes.append(name)
        read_item(reading, event["item"], name, ("item",))
        self._rest(reading, event, ("item",), name)

    def _part(self, reading: Reading, event: JsonObject, verb: str) -> None:
        name = _place(event)
        if verb == "done":
            reading.closes.append(name)
        part = event["part"]
        read_part(reading, part, name, ("part",))
        if verb == "added":
            for slot in reading.slots:  # later deltas go on with it
                if slot.path in (("part", "text"), ("part", "refusal")):
                    slot.mode = Mode.DELTA
        self._rest(reading, event, ("part",), name)

    def _annotation(self, reading: Reading, event: JsonObject) -> None:
        name = _place(event)
        self._rest(reading, event, (), f"{name}.annotation")
        if event.get("annotation"):
            reading.anchors.append(Anchor(f"{name}.output_text", event, "annotation"))

    def _delta(self, reading: Reading, event: JsonObject, family: str) -> None:
        name = _channel(event, family)
        kind = kind_of_family(family)
        reading.opened[0] = True
        reading.news = False
        for key, value in event.items():
            if key == "obfuscation" and isinstance(value, str) and value.isalnum():
                reading.padding.append((event, key))
            elif key == "delta" and isinstance(value, str):
                if family in _SOUND and is_base64(value):
                    # What it says its transcript says: it leaves after that, and not if that was changed.
                    transcript = f"{_place(event)}.{_SOUND[family]}"
                    reading.slots.append(
                        Slot(transcript, spoken_name(transcript), ChannelKind.AUDIO, Mode.GATED, event, key, (key,), 0)
                    )
                elif value:
                    mode = Mode.JSON if family in _JSON_FAMILIES else Mode.DELTA
                    (reading.pieces if mode is Mode.JSON else reading.slots).append(
                        Slot(name, spoken_name(name), kind, mode, event, key, (key,), 0)
                    )
            elif key == "logprobs" and isinstance(value, list):
                if value:
                    reading.tokens.append(Tokens(name, spoken_name(name), kind, 0, event, key))
            elif not _is_position(key, value):
                leaves = Leaves(reading, choice=0, delta=True)
                leaves.collect(event, key, (key,), f"{name}.{key}", kind)
                reading.news |= bool(value) and not is_plain(key, value)

    def _whole(self, reading: Reading, event: JsonObject, family: str, verb: str) -> None:
        """A text said whole: for the first time (``added``), or again (``done``)."""
        name = _channel(event, family)
        kind = kind_of_family(family)
        if verb != "added":
            reading.closes.append(name)
        for key, value in event.items():
            if _is_position(key, value) or is_media(key, value):
                continue
            if key == "arguments" and isinstance(value, str) and value:
                reading.slots.append(Slot(name, spoken_name(name), kind, Mode.JSON, event, key, (key,), 0))
            elif key == "logprobs":
                anchor_part(reading, event, _place(event))
                Leaves(reading, choice=0, whole=True).collect(event, key, (key,), f"{name}.{key}")
            elif verb == "added" and isinstance(value, str) and value:
                reading.slots.append(Slot(name, spoken_name(name), kind, Mode.DELTA, event, key, (key,), 0))
            else:
                Leaves(reading, choice=0, whole=True).collect(event, key, (key,), name, kind)

    def _rest(self, reading: Reading, event: JsonObject, known: Path, name: str, *, delta: bool = False) -> None:
        for key, value in event.items():
            if key not in known and not _is_position(key, value) and not is_media(key, value):
                leaves = Leaves(reading, choice=0, delta=delta, whole=not delta)
                leaves.collect(event, key, (key,), f"{name}.{key}")

    def read_body(self, body: Any) -> Reading:
        """A response, a list of items, a single item, or an error body."""
        reading = Reading()
        if not isinstance(body, dict):
            return read_anything(body, "body")
        if text_of(body, "object") == "list" and isinstance(body.get("data"), list):
            read_items(reading, body["data"], ("data",))
            self._rest(reading, body, ("data",), "body")
            reading.keys = unknown_keys(body)
            return reading
        if not isinstance(body.get("output"), list):
            reading = read_anything(body, "body")
            reading.error = bool(body.get("error"))
            return reading
        reading.opened[0] = True
        self._whole_response(reading, body, ())
        for position, item in enumerate(body["output"]):
            tokens_of_parts(reading, item, f"output.{position}")
        reading.anchors = [anchor for anchor in reading.anchors if anchor.key != "logprobs"]
        reason = text_of(body.get("incomplete_details"), "reason") or text_of(body, "status")
        if reason in ("queued", "in_progress"):
            reason = ""
        if reason:
            reading.finishes.append(Finish(0, reason, body, "status"))
        reading.error = bool(body.get("error"))
        return reading

    # ---- writing

    def mark(self, event: JsonObject) -> object:
        """The running number."""
        number = event.get("sequence_number")
        return number if type(number) is int and number > 0 else None

    def text_event(self, event: JsonObject, path: Path) -> tuple[JsonObject, Path]:
        """A delta, also for a text that a part or a command began with."""
        family, _, verb = text_of(event, "type").rpartition(".")
        if verb != "added":
            made, place = super().text_event(event, path)
            if "logprobs" in event and path[0] != "logprobs":
                made["logprobs"] = []
            return made, place
        if "part" in event:
            refusal = path[-1] == "refusal"
            family = "response.refusal" if refusal else "response.output_text"
            if text_of(event["part"], "type") == "summary_text":
                family = "response.reasoning_summary_text"
            elif text_of(event["part"], "type") == "reasoning_text":
                family = "response.reasoning_text"
        kept = {key: event[key] for key in self.head if key in event and is_plain(key, event[key])}
        return {**kept, "type": f"{family}.delta", "delta": ""}, ("delta",)

    def stamp(self, event: JsonObject, *, own: bool) -> bool:
        """Number densely where the upstream does: some clients are strict."""
        number = event.get("sequence_number")
        if type(number) is not int:
            return False
        if own:
            self._drift = True
            if self._counts and self._last is not None:
                self._last += 1
                event["sequence_number"] = self._last
            return True
        event["sequence_number"] = self.renumber(number)
        return bool(event["sequence_number"] != number)

    def renumber(self, number: int) -> int:
        """The upstream's number while nothing was left out or put in, else the next.

        An upstream that says the same number twice does not number at all; events that had to wait come out of order.
        """
        if self._seen is not None:
            self._counts &= number != self._seen
            self._drift |= number < self._seen
        self._seen = number
        if not self._counts:
            return number
        self._last = self._last + 1 if self._drift and self._last is not None else number
        return self._last

    def dropped(self, event: JsonObject) -> None:
        """The numbers go on without it."""
        self._drift = True

    def sent(self, event: JsonObject) -> None:
        """Keep what the client was told."""
        self._told.note(event)

    def halt(
        self,
        like: JsonObject,
        open_choices: dict[int, bool],
        said: Callable[[str], str],
        why: Stop = Stop.FILTERED,
    ) -> list[bytes]:
        """Close what is open as incomplete, then ``response.incomplete`` with the reason."""
        frames = []
        for event in self._told.events(said, why):
            if self._last is not None:
                self._last += 1
                event = {"type": event.pop("type"), "sequence_number": self._last, **event}
            frames.append(self._frame(event))
        return frames

    def halt_body(self, body: Any, slots: list[Slot], at: int, ask: Ask, why: Stop = Stop.FILTERED) -> bool:
        """The items up to the end, the last incomplete, no call that was cut, and the response incomplete."""
        place = slots[at].path
        key = str(place[0]) if place and place[0] in _LISTS else "output"
        if not isinstance(body, dict) or not isinstance(body.get(key), list):
            return False
        empty_after(slots, at)
        notice = notice_of(ask, why)
        cut = place[1] if len(place) > 1 and place[0] == key and isinstance(place[1], int) else 0
        kept = body[key][: cut + 1]
        last = kept.pop() if kept else None
        # Half of a JSON text would be parsed as a whole one.
        if isinstance(last, dict) and last.get("type") == "message" and place[0] == key and not ask.json:
            kept.append(_cut_message(last, place, notice))
        if notice and not any(notice in str(item.get("content")) for item in kept if isinstance(item, dict)):
            kept.append(_notice(notice))
        body[key] = kept
        if "output" in body:
            body.update(ending(ask, why))
        return True

    def error_frame(self, message: str, code: str) -> bytes:
        """An ``error`` event in both shapes that clients look for: flat, and with an ``error`` object."""
        error = {"type": "upstream_error", "code": code, "message": message, "param": None}
        flat: JsonObject = {"type": "error", "code": code, "message": message, "param": None}
        if self._last is not None:
            self._last += 1
            flat["sequence_number"] = self._last
        return self._frame({**flat, "error": error})

    def _frame(self, event: JsonObject) -> bytes:
        return self.encode(compact(event), Frame(b"", None, event=event["type"].encode()))


class OpenAISocket(OpenAIResponses):
    """The same events as messages of a WebSocket, which travel here as lines: the responses API's, the realtime API's.

    A realtime response ends with ``response.done`` whatever became of it.
    """

    name = "openai_socket"
    media_type = "application/x-ndjson"
    comments = False

    def decoder(self, limit: int) -> Decoder:
        """A line is a message."""
        return NdjsonDecoder(limit)

    def encode(self, data: bytes, like: Frame | None = None) -> bytes:
        """One message."""
        return encode_line(data)


class OpenAIRealtime(OpenAISocket):
    """The realtime API's own words for an end."""

    name = "openai_realtime"
    concurrent = True

    def __init__(self, ask: Ask | None = None) -> None:
        super().__init__(ask)
        self._told = Closing(self._ask, realtime=True)


def ending(ask: Ask, why: Stop) -> JsonObject:
    """What a response that was ended says of itself."""
    return Closing(ask).ending(why)


def _notice(text: str) -> JsonObject:
    """A message of its own."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": "msg_notice", "type": "message", "status": "incomplete", "role": "assistant", "content": [part]}


def _cut_message(message: JsonObject, place: Path, notice: str) -> JsonObject:
    """A message whose text was cut at the place, without the parts behind it."""
    content = message.get("content")
    if isinstance(content, list) and len(place) > 3 and isinstance(place[3], int):
        content = content[: place[3] + 1]
        for part in content:  # what spells the text, and what points into it
            if isinstance(part, dict):
                part.update({key: [] for key in ("annotations", "logprobs") if key in part})
        if notice and content and text_of(content[-1], "type") == "output_text":
            content[-1]["text"] = text_of(content[-1], "text") + notice
        message["content"] = content
    message["status"] = "incomplete"
    return message


def _channel(event: JsonObject, family: str) -> str:
    """The channel of an event's text."""
    if family.startswith("conversation."):  # beside the responses, where nothing else tells one from another
        return f"conversation.{family}.{event.get('item_id')}"
    return f"{_place(event)}.{family}"


def _is_position(key: str, value: Any) -> bool:
    """Whether it says nothing but where the event belongs, and looks like it."""
    return key in _POSITIONS and is_plain(key, value)


def _place(event: JsonObject) -> str:
    """Where the event's text stands, in the words of channels."""
    parts = [f"output.{_number(event, 'output_index')}"]
    for key, name in _PLACES:
        if key in event:
            parts.append(f"{name}.{_number(event, key)}")
    return ".".join(parts)


def _number(event: JsonObject, key: str) -> int:
    value = event.get(key)
    return value if is_index(value) else 0


def _gather(value: Any, into: set[str]) -> None:
    """All strings at and below a value."""
    layer = [value]
    while layer:
        one = layer.pop()
        if isinstance(one, str):
            into.add(one)
        elif isinstance(one, dict):
            into.update(one)
            layer += one.values()
        elif isinstance(one, list):
            layer += one
