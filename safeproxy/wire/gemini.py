"""Gemini's ``generateContent`` and ``streamGenerateContent``, of the Gemini API and of Vertex AI.

Source: Google's API reference for GenerateContentResponse, and what its clients were seen to refuse: in a stream of
events anything but ``data: {...}``. Every streamed event is a whole response; texts of equal kind of one candidate go
on from event to event. Vertex may stream a call's arguments, too, piece by piece (``partialArgs``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from safeproxy.events import ChannelKind
from safeproxy.wire import sse
from safeproxy.wire.base import (
    DONE,
    BaseDialect,
    at,
    compact,
    empty_after,
    index_of,
    informs,
    is_empty,
    is_plain,
    notice_of,
    numbers,
    read_anything,
    settle_pieces,
    skeleton,
    text_of,
)
from safeproxy.wire.dialect import Anchor, Ask, Decoder, Dialect, Finish, JsonObject, Mode, Path, Reading, Slot, Stop
from safeproxy.wire.jsonarray import ArrayWriter, JsonArrayDecoder, encode_element
from safeproxy.wire.leaves import Leaves, kind_of, numbered, unknown_keys

#: What a frame of our own repeats of the upstream's, by key.
_HEAD = ("createTime", "modelVersion", "responseId")
#: Parts that come whole, whatever their strings' keys are.
_WHOLE_PARTS = frozenset({"executableCode", "codeExecutionResult", "inlineData", "fileData", "videoMetadata"})
#: Parts that are an object the model or a tool made up, by the key it stands under.
_OBJECTS = {"functionCall": "args", "toolCall": "args", "functionResponse": "response", "toolResponse": "response"}
#: Objects that consist of numbers and of words of the API's own.
_LABELS = frozenset({"safetyRatings", "usageMetadata"})
_LABEL = re.compile(r"[A-Z][A-Z_]{0,63}")
#: Lists that point into the text by position, by the candidate's key that holds them.
_POINTERS = {
    "groundingMetadata": ("groundingSupports",),
    "citationMetadata": ("citationSources", "citations"),
    "logprobsResult": ("chosenCandidates", "topCandidates"),
}
#: What a part may have that is a piece of a call, and one that is text.
_PIECE = frozenset({"functionCall", "thoughtSignature"})
_TEXT = frozenset({"text", "thought"})
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    504: "DEADLINE_EXCEEDED",
}
_STOPS = {Stop.FILTERED: "SAFETY", Stop.LENGTH: "MAX_TOKENS"}
_JSON_ASKED = ("responseSchema", "response_schema", "responseJsonSchema", "response_json_schema")


class Gemini(BaseDialect):
    """The dialect. Channels: ``candidate.0.text``, ``candidate.0.thought``, ``candidate.0.functionCall`` and so on.

    Every event brings its role, so a choice needs no opening.
    """

    name = "gemini"
    keep_alive = b""
    comments = False
    head = _HEAD

    def decoder(self, limit: int) -> Decoder:
        """Server-sent events without anything but data."""
        return _DataDecoder(limit)

    def encode(self, data: bytes, like: sse.Frame | None = None) -> bytes:
        """One SSE frame of data alone."""
        return sse.encode(data)

    def is_end(self, data: bytes) -> bool:
        """There is no end marker."""
        return False

    def ask(self, body: Any) -> Ask:
        """Structured output is a response type or schema in the generation config."""
        config = at(body, "generationConfig") or at(body, "generation_config")
        kind = text_of(config, "responseMimeType") or text_of(config, "response_mime_type")
        return Ask(json=kind == "application/json" or any(at(config, key) for key in _JSON_ASKED))

    # ---- reading

    def split(self, event: JsonObject, held: Callable[[int], bool]) -> list[JsonObject]:
        """Pieces of calls apart from what else the event says."""
        candidates = event.get("candidates")
        if not isinstance(candidates, list) or not any(map(_needs_split, candidates)) or _is_piece(event):
            return [event]
        head = {key: event[key] for key in _HEAD if key in event}
        rest = {key: value for key, value in event.items() if key != "candidates"}
        events: list[JsonObject] = []
        for candidate in candidates:
            parts = _apart(candidate) if _needs_split(candidate) else [candidate]
            events += [{**head, "candidates": [part]} for part in parts]
        events[-1] = {"candidates": events[-1]["candidates"], **rest}
        return events

    def read(self, event: JsonObject) -> Reading:
        """One streamed response."""
        reader = _Reader(whole=False)
        reading = reader.top(event)
        if _is_piece(event):
            (candidate,) = event["candidates"]
            reading.block = f"candidate.{index_of(candidate)}.functionCall"
            reading.block_begins = "name" in candidate["content"]["parts"][0]["functionCall"]
            reading.block_ends = not candidate["content"]["parts"][0]["functionCall"].get("willContinue")
        settle_pieces(reading)
        return reading

    def read_body(self, body: Any) -> Reading:
        """A whole response or an error body."""
        return _Reader(whole=True).top(body) if isinstance(body, dict) else read_anything(body, "body")

    # ---- writing

    def text_event(self, event: JsonObject, path: Path) -> tuple[JsonObject, Path]:
        """With the role, and with the mark of a thought."""
        made, place = skeleton(event, path, _HEAD)
        content = at(event, *path[:3])
        if path[2:4] == ("content", "parts") and isinstance(path[1], int) and isinstance(content, dict):
            (candidate,) = made["candidates"]
            if is_plain("role", content.get("role")):
                candidate["content"]["role"] = content.get("role") or "model"
            if at(event, *path[:5], "thought") is True:
                candidate["content"]["parts"][0]["thought"] = True
        return made, place

    def halt(
        self,
        like: JsonObject,
        open_choices: dict[int, bool],
        said: Callable[[str], str],
        why: Stop = Stop.FILTERED,
    ) -> list[bytes]:
        """The notice if there is one, then the open candidates without content, ended for the reason."""
        head = {key: like[key] for key in _HEAD if key in like and is_plain(key, like[key])}
        indices = sorted(open_choices)
        frames: list[JsonObject] = []
        if notice := notice_of(self._ask, why):
            content = {"parts": [{"text": notice}], "role": "model"}
            frames.append({"candidates": [{"content": content, "index": index} for index in indices], **head})
        ended = [{"finishReason": _STOPS[why], "index": index, "safetyRatings": []} for index in indices]
        counts = {key: n for key, n in (numbers(like.get("usageMetadata")) or {}).items() if "." not in key}
        usage = {"usageMetadata": counts} if counts else {}
        frames.append({"candidates": ended, **usage, **head})
        return [self.encode(compact(frame)) for frame in frames] if indices else []

    def halt_body(self, body: Any, slots: list[Slot], at: int, ask: Ask, why: Stop = Stop.FILTERED) -> bool:
        """The parts up to the finding, none of them anything but text that was cut; every candidate ended."""
        candidates = body.get("candidates") if isinstance(body, dict) else None
        if not isinstance(candidates, list) or not candidates:
            return False
        empty_after(slots, at)
        path = slots[at].path
        if path[0] == "candidates" and isinstance(path[1], int):
            first = path[1]
        else:
            keys = list(body)
            first = 0 if keys.index(path[0]) < keys.index("candidates") else len(candidates)
        for position, candidate in enumerate(candidates):
            if isinstance(candidate, dict) and (position >= first or why is Stop.FILTERED):
                candidate["finishReason"] = _STOPS[why]
                if position >= first:
                    _cut(candidate, path[2:] if position == first and path[0] == "candidates" else ())
                    _show(candidate, notice_of(ask, why))
                for key in _POINTERS:
                    candidate.pop(key, None)
        return True

    def refused_prompt(self, message: str) -> tuple[int, bytes]:
        """How the API answers a prompt that it refuses: no error, but no candidates."""
        feedback = {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": message}
        usage = {"promptTokenCount": 0, "totalTokenCount": 0}  # some clients do not ask whether there is any
        return 200, compact({"promptFeedback": feedback, "usageMetadata": usage})

    def error_body(self, message: str, *, status: int, code: str) -> bytes:
        """Google's error object, its status in words."""
        word = _STATUSES.get(status, "INVALID_ARGUMENT" if 400 <= status < 500 else "UNAVAILABLE")
        return compact({"error": {"code": status, "message": message, "status": word}})


class GeminiArray(Gemini):
    """The same streamed as one JSON array, which is what the API sends unless it is asked for events.

    Frames are elements behind a separator, see `safeproxy.wire.jsonarray`.
    """

    name = "gemini_array"
    media_type = "application/json"
    over_events: Dialect | None = Gemini()

    def decoder(self, limit: int) -> Decoder:
        """Elements of one array."""
        return JsonArrayDecoder(limit)

    def encode(self, data: bytes, like: sse.Frame | None = None) -> bytes:
        """One element."""
        return encode_element(data)

    def writer(self) -> Callable[[bytes, bool], bytes]:
        """Elements make one array again."""
        array = ArrayWriter()
        return lambda data, last: array.feed(data, last=last)


class _DataDecoder:
    """Server-sent events, of which only data is left: clients of this API fail at everything else."""

    def __init__(self, limit: int) -> None:
        self._decoder = sse.SseDecoder(limit)

    @property
    def idle(self) -> bool:
        """Whether no frame is open."""
        return self._decoder.idle

    def feed(self, data: bytes) -> Iterator[sse.Frame]:
        """Take the next bytes; give the frames they complete."""
        return filter(None, map(_data_only, self._decoder.feed(data)))

    def finish(self) -> Iterator[sse.Frame]:
        """The stream has ended; give what was still open."""
        return filter(None, map(_data_only, self._decoder.finish()))


def _data_only(frame: sse.Frame) -> sse.Frame | None:
    if not frame.data or frame.data.strip() == DONE:
        return None
    if frame.event or frame.id or frame.retry or frame.comments or not frame.raw.startswith(b"data: "):
        return sse.Frame(frame.raw, frame.data, plain=False)
    return frame


class _Reader:
    """Reads one response, streamed or (``whole``) not."""

    def __init__(self, *, whole: bool) -> None:
        self.reading = Reading()
        self._streamed = not whole

    def top(self, event: JsonObject) -> Reading:
        reading = self.reading
        reading.keys = unknown_keys(event)
        for key, value in event.items():
            if key == "candidates" and isinstance(value, list):
                for entry, index, path in numbered(self.reading, key, value, whole=not self._streamed):
                    self._candidate(entry, index, path)
                continue
            if value is None or isinstance(value, (str, int, float)):
                reading.constants[key] = value
            elif value:
                reading.news = True
            self._whole(event, key, (key,), key, None)
        if isinstance(event.get("promptFeedback"), dict) and not event.get("candidates"):
            self._refused(event["promptFeedback"])
        reading.error = bool(event.get("error"))
        reading.model = text_of(event, "modelVersion") or None
        reading.usage = numbers(event.get("usageMetadata"))
        return reading

    def _whole(self, holder: Any, key: str | int, path: Path, name: str, choice: int | None) -> None:
        """Texts that stand alone; words of the API's own are none where nothing else is to be expected."""
        inner = Reading()
        Leaves(inner, choice=choice, whole=True).collect(holder, key, path, name, kind_of(key, ChannelKind.OTHER))
        if key in _LABELS:
            inner.slots = [slot for slot in inner.slots if not _LABEL.fullmatch(slot.holder[slot.key])]
        self.reading.slots += inner.slots

    def _refused(self, feedback: JsonObject) -> None:
        reason = text_of(feedback, "blockReason")
        if reason:
            self.reading.opened[0] = False
            self.reading.finishes.append(Finish(0, reason, feedback, "blockReason"))

    def _candidate(self, entry: JsonObject, index: int, path: Path) -> None:
        reading, name = self.reading, f"candidate.{index}"
        reading.opened.setdefault(index, False)
        for key, value in entry.items():
            if key == "content" and isinstance(value, dict):
                self._content(value, index, (*path, key))
                continue
            if key == "logprobsResult" and value:
                self._logprobs(entry, index, path)
            elif key != "index":
                reading.news |= not is_empty(value)
                self._whole(entry, key, (*path, key), f"{name}.{key}", index)
            for pointer in _POINTERS.get(key, ()):
                if isinstance(value, dict) and isinstance(value.get(pointer), list):
                    reading.anchors += [
                        Anchor(f"{name}.{text}", value, pointer, repeats=True) for text in ("text", "thought")
                    ]
        reason = _reason(entry)
        if reason:
            reading.finishes.append(Finish(index, reason, entry, "finishReason"))

    def _logprobs(self, entry: JsonObject, index: int, path: Path) -> None:
        """Log probabilities spell the text: they leave only beside text of which nothing is held, or at the end."""
        reading, key = self.reading, "logprobsResult"
        reading.padding.append((entry, key))
        reading.revealing = reading.news = True
        name = f"candidate.{index}.{key}"
        if self._streamed and not _reason(entry) and not _has_text(entry):
            slot = Slot(name, name, ChannelKind.OTHER, Mode.REPEAT, entry, key, (*path, key), index)
            reading.slots.append(slot)
        else:
            self._whole(entry, key, (*path, key), name, index)

    def _content(self, content: JsonObject, index: int, path: Path) -> None:
        for key, value in content.items():
            at = (*path, key)
            if key == "parts" and isinstance(value, list):
                for position, part in enumerate(value):
                    if isinstance(part, dict):
                        self._part(part, index, (*at, position))
                    else:
                        self._unknown(value, position, (*at, position), f"candidate.{index}.part", index)
            else:
                self._unknown(content, key, at, f"candidate.{index}.content.{key}", index)

    def _unknown(self, holder: Any, key: str | int, path: Path, name: str, choice: int) -> None:
        """Nobody knows whether its texts go on from event to event; those that mean text are taken to do so."""
        leaves = Leaves(self.reading, choice=choice, whole=not self._streamed)
        leaves.collect(holder, key, path, name, kind_of(key, ChannelKind.OTHER))

    def _part(self, part: JsonObject, index: int, path: Path) -> None:
        name = f"candidate.{index}"
        for key, value in part.items():
            at = (*path, key)
            if key == "text" and isinstance(value, str):
                self._text(part, index, at, thought=part.get("thought") is True)
            elif key in _OBJECTS and isinstance(value, dict):
                self._object(value, key, index, at)
            elif key in _WHOLE_PARTS:
                self._whole(part, key, at, f"{name}.{key}", index)
                self.reading.news = True
            elif not (key == "thought" and isinstance(value, bool)):
                self.reading.news |= informs(key, value)
                self._unknown(part, key, at, f"{name}.part.{key}", index)

    def _text(self, part: JsonObject, index: int, path: Path, *, thought: bool) -> None:
        if part["text"]:
            name = f"candidate.{index}.{'thought' if thought else 'text'}"
            kind = ChannelKind.REASONING if thought else ChannelKind.CONTENT
            mode = Mode.DELTA if self._streamed else Mode.WHOLE
            self.reading.slots.append(Slot(name, name, kind, mode, part, "text", path, index))

    def _object(self, made: JsonObject, part: str, index: int, path: Path) -> None:
        """A call or a result: one value, judged as such; with its name, and pieces of it if it is streamed."""
        self.reading.news = True
        name = f"candidate.{index}.{part}"
        kind = ChannelKind.TOOL_ARGUMENTS if _OBJECTS[part] == "args" else ChannelKind.OTHER
        inner = Reading()
        leaves = Leaves(inner, choice=index, whole=True)
        for key, value in made.items():
            at = (*path, key)
            if key == _OBJECTS[part] and not is_empty(value):
                channel = f"{name}.{key}"
                self.reading.slots.append(Slot(channel, channel, kind, Mode.OBJECT, made, key, at, index))
                self.reading.acts |= part == "functionCall"
            elif key == "partialArgs" and isinstance(value, list):
                for position, piece in enumerate(value):
                    self._piece(value, position, piece, f"{name}.{key}", index, at)
            elif key != _OBJECTS[part] or not is_empty(value):
                leaves.collect(made, key, at, f"{name}.{key}", kind)
        self.reading.slots += inner.slots

    def _piece(self, pieces: list[Any], position: int, piece: Any, name: str, index: int, path: Path) -> None:
        """A piece of a string in a call's arguments; where in them it belongs tells the strings apart."""
        kind, place = ChannelKind.TOOL_ARGUMENTS, (*path, position)
        if not isinstance(piece, dict):
            self._whole(pieces, position, place, name, index)
            return
        for key, value in piece.items():
            at = (*place, key)
            if key == "stringValue" and isinstance(value, str) and value:
                mode = Mode.DELTA if self._streamed else Mode.WHOLE
                slot = Slot(f"{name}.{piece.get('jsonPath')!r}", name, kind, mode, piece, key, at, index)
                (self.reading.pieces if self._streamed else self.reading.slots).append(slot)
            elif key == "numberValue" and not is_empty(value):
                self.reading.slots.append(Slot(f"{name}.{key}", name, kind, Mode.OBJECT, piece, key, at, index))
            else:
                self._whole(piece, key, at, f"{name}.{key}", index)


def _reason(candidate: JsonObject) -> str:
    reason = text_of(candidate, "finishReason")
    return "" if reason == "FINISH_REASON_UNSPECIFIED" else reason


def _parts(candidate: Any) -> list[Any]:
    parts = at(candidate, "content", "parts")
    return parts if isinstance(parts, list) else []


def _has_text(candidate: JsonObject) -> bool:
    return any(text_of(part, "text") for part in _parts(candidate))


def _is_call_piece(part: Any) -> bool:
    """Whether a part is a piece of a streamed call; an empty one is its last."""
    call = part.get("functionCall") if isinstance(part, dict) else None
    return isinstance(call, dict) and (not call or bool(call.get("partialArgs") or call.get("willContinue")))


def _is_call(part: Any) -> bool:
    """Whether a part is a call or a piece of one."""
    return isinstance(part, dict) and isinstance(part.get("functionCall"), dict)


def _needs_split(candidate: Any) -> bool:
    """Whether pieces of calls stand in a candidate, or calls beside text, for which they have to wait.

    The empty last piece may come with the finish, which ends calls; and what is said in one event with the finish is
    decided with it.
    """
    if isinstance(candidate, dict) and not _reason(candidate) and _has_text(candidate):
        return any(map(_is_call, _parts(candidate)))
    pieces = [part for part in _parts(candidate) if _is_call_piece(part)]
    return bool(pieces) and not (_reason(candidate) and not any(part["functionCall"] for part in pieces))


def _is_piece(event: JsonObject) -> bool:
    """Whether the event is a piece of one call and nothing else."""
    candidates = event.get("candidates")
    if not isinstance(candidates, list) or len(candidates) != 1:
        return False
    (candidate,) = candidates
    parts = _parts(candidate)
    if len(parts) != 1 or not _is_call_piece(parts[0]) or _reason(candidate):
        return False
    return set(parts[0]) <= _PIECE and set(candidate) <= {"index", "content"}


def _apart(candidate: JsonObject) -> list[JsonObject]:
    """A candidate as several: runs of parts that are no pieces of calls, and each piece; the rest comes last."""
    content = candidate["content"]
    number = {"index": candidate["index"]} if "index" in candidate else {}
    groups: list[list[Any]] = []
    fresh = True
    for part in content["parts"]:
        if _is_call(part):
            others = {key: value for key, value in part.items() if key not in _PIECE}
            groups += [[others]] if others else []
            groups.append([{key: value for key, value in part.items() if key in _PIECE}])
            fresh = True
        elif fresh:
            groups.append([part])
            fresh = False
        else:
            groups[-1].append(part)
    made = [{"content": {**content, "parts": group}, **number} for group in groups]
    rest = {key: value for key, value in candidate.items() if key != "content"}
    return [*made, rest] if rest.keys() - {"index"} else made


def _cut(candidate: JsonObject, path: Path) -> None:
    """Leave of a candidate what stands before a path in it, and the text there; nothing where there is no path."""
    parts = _parts(candidate)
    if path[:2] == ("content", "parts") and len(path) > 2 and isinstance(path[2], int):
        last = parts[path[2]]
        is_text = isinstance(last, dict) and bool(text_of(last, "text"))
        kept = [*parts[: path[2]], *([{key: last[key] for key in last if key in _TEXT}] if is_text else [])]
    else:
        keys: list[Any] = list(candidate)
        kept = parts if path and "content" in keys and keys.index("content") < keys.index(path[0]) else []
    if kept:
        candidate["content"]["parts"] = kept
    else:
        candidate.pop("content", None)


def _show(candidate: JsonObject, notice: str) -> None:
    if notice:
        content = candidate.setdefault("content", {"parts": [], "role": "model"})
        content["parts"].append({"text": notice})
