"""OpenAI chat completions, streamed and not, as OpenAI, Azure and the many compatible servers speak it.

Sources: the OpenAI API reference (chat.completion and chat.completion.chunk), and what compatible servers were seen
to add: several spellings of reasoning, Mistral's list content, Perplexity's citations, Azure's filter results,
llama.cpp's ``__verbose``, OpenRouter's ``reasoning_details``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from safeproxy.events import ChannelKind
from safeproxy.wire.base import (
    DONE,
    BaseDialect,
    asks_for_json,
    compact,
    empty_after,
    index_of,
    informs,
    is_base64,
    is_empty,
    is_plain,
    notice_of,
    numbers,
    read_anything,
    skeleton,
    text_of,
    thought_first,
)
from safeproxy.wire.dialect import (
    Anchor,
    Ask,
    CallPiece,
    Finish,
    JsonObject,
    Mode,
    Path,
    Reading,
    Seal,
    Slot,
    Stop,
    Tokens,
)
from safeproxy.wire.leaves import Leaves, entry_index, is_exempt, kind_of, numbered, unknown_keys

#: What a frame of our own repeats of the upstream's, by key.
_HEAD = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
#: Values that say something of the text beside them, and whether they spell it.
_PADDING = {
    "obfuscation": False,
    "token_ids": True,
    "prompt_token_ids": True,
    "prompt_logprobs": True,
    "meta_info": True,
}
#: Lists of whole things, which later events do not go on with.
_WHOLE_IN_DELTA = frozenset({"annotations", "images", "executed_tools", "extra_content"})
_WHOLE_AT_TOP = frozenset(
    {"error", "citations", "search_results", "usage", "images", "moderation", "prompt_filter_results"}
)


class OpenAIChat(BaseDialect):
    """The dialect. Channels: ``choice.0.content``, ``choice.0.tool.1.arguments`` and so on."""

    name = "openai_chat"
    head = _HEAD

    def ask(self, body: Any) -> Ask:
        """Structured output is ``response_format``."""
        return Ask(json=asks_for_json(body))

    def split(self, event: JsonObject, held: Callable[[int], bool]) -> list[JsonObject]:
        """One event a choice and a call's piece, if there are calls and they do not stand alone."""
        choices = event.get("choices")
        if not isinstance(choices, list) or not any(_calls(choice) for choice in choices):
            return [event]
        if len(choices) == 1:
            ends = _reason(choices[0]) and not held(index_of(choices[0]))
            if ends or _is_pure_piece(event, choices[0]):
                return [event]
        parts = [part for choice in choices for part in _parts(choice, held)]
        head = {key: event[key] for key in _HEAD if key in event}
        rest = {key: value for key, value in event.items() if key not in ("choices", "usage")}
        last = {"usage": event["usage"]} if "usage" in event else {}
        events = [{**head, "choices": [part]} for part in parts]
        events[0] = {**rest, "choices": events[0]["choices"]}
        events[-1].update(last)
        return events

    def read(self, event: JsonObject) -> Reading:
        """A ``chat.completion.chunk``."""
        return _Reader(whole=False).top(event)

    def read_body(self, body: Any) -> Reading:
        """A ``chat.completion`` or an error body."""
        return _Reader(whole=True).top(body) if isinstance(body, dict) else read_anything(body, "body")

    def text_event(self, event: JsonObject, path: Path) -> tuple[JsonObject, Path]:
        """Clients go through ``choices`` without asking whether there are any, and want ``finish_reason``."""
        made, place = skeleton(event, path, _HEAD)
        made.setdefault("choices", [])
        if len(path) > 2 and path[0] == "choices" and isinstance(path[1], int) and path[2] == "delta":
            made["choices"][0]["finish_reason"] = None
        return made, place

    def role_event(self, event: JsonObject, choice: int) -> JsonObject | None:
        """A chunk with the role alone."""
        for entry in event.get("choices", ()):
            delta = entry.get("delta") if isinstance(entry, dict) else None
            if isinstance(delta, dict) and "role" in delta and index_of(entry) == choice:
                head = {key: event[key] for key in _HEAD if key in event}
                opening = {"role": delta.pop("role"), "content": delta.pop("content", None)}
                return {**head, "choices": [{"index": choice, "delta": opening, "finish_reason": None}]}
        return None

    def add_role(self, event: JsonObject) -> None:
        """``role`` first in the delta, as servers send it."""
        for choice in event["choices"]:
            choice["delta"] = {"role": "assistant", **choice.get("delta", {})}

    def attach_tokens(self, event: JsonObject, key: str, entries: list[Any]) -> None:
        """Into ``choices[0].logprobs``."""
        choice = event["choices"][0]
        logprobs = choice.get("logprobs")
        if not isinstance(logprobs, dict):
            logprobs = choice["logprobs"] = {"content": None, "refusal": None}
        logprobs[key] = entries

    def halt(
        self,
        like: JsonObject,
        open_choices: dict[int, bool],
        said: Callable[[str], str],
        why: Stop = Stop.FILTERED,
    ) -> list[bytes]:
        """The notice if there is one and a finish chunk with the reason for each open index, then ``[DONE]``."""
        head = {key: like[key] for key in _HEAD if key in like and is_plain(key, like[key])}
        head.setdefault("object", "chat.completion.chunk")
        frames = []
        for index, has_role in sorted(open_choices.items()):
            delta = {} if has_role else {"role": "assistant", "content": ""}
            notice = notice_of(self._ask, why)
            if notice:
                shown = {"index": index, "delta": {**delta, "content": notice}, "finish_reason": None}
                frames.append(self.encode(compact({**head, "choices": [shown]})))
                delta = {}
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": why.value}
            frames.append(self.encode(compact({**head, "choices": [choice]})))
        return [*frames, self.encode(DONE)]

    def halt_body(self, body: Any, slots: list[Slot], at: int, ask: Ask, why: Stop = Stop.FILTERED) -> bool:
        """Later texts emptied, later choices' calls, audio and log probabilities taken out, every finish set."""
        empty_after(slots, at)
        halted = slots[at].choice
        passed = {slot.choice for slot in slots[:at]} - {halted, None}
        choices = body.get("choices") if isinstance(body, dict) else None
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            whole = index_of(choice) in passed and halted is not None
            if ("finish_reason" in choice or "message" in choice) and not (whole and why is Stop.LENGTH):
                choice["finish_reason"] = why.value
            if whole:
                continue
            if "logprobs" in choice:
                choice["logprobs"] = None
            message = choice.get("message")
            if isinstance(message, dict):
                for key in ("tool_calls", "function_call", "audio", "annotations", "images"):
                    message.pop(key, None)
                if notice_of(ask, why):
                    message["content"] = text_of(message, "content") + notice_of(ask, why)
        return True


class _Reader:
    """Reads one event (or with ``whole`` one body, in which every text stands alone)."""

    def __init__(self, *, whole: bool) -> None:
        self.reading = Reading()
        self._whole = whole
        self._ending = False

    def top(self, event: JsonObject) -> Reading:
        reading = self.reading
        reading.keys = unknown_keys(event)
        leaves, whole = Leaves(reading, whole=self._whole), Leaves(reading, whole=True)
        for key, value in event.items():
            if key == "choices" and isinstance(value, list):
                for entry, index, path in numbered(self.reading, key, value, whole=self._whole):
                    self._choice(entry, index, path)
                continue
            if key in _PADDING:
                self._padding(event, key, (key,))
                continue
            if value is None or isinstance(value, (str, int, float)):
                reading.constants[key] = value
            elif value:
                reading.news = True
            if isinstance(value, dict) and isinstance(value.get("tokens"), list):  # llama.cpp's __verbose
                self._padding(value, "tokens", (key, "tokens"))
            (whole if key in _WHOLE_AT_TOP else leaves).collect(
                event, key, (key,), key, kind_of(key, ChannelKind.OTHER)
            )
        reading.error = bool(event.get("error"))
        model, usage = event.get("model"), event.get("usage")
        reading.model = model if isinstance(model, str) else None
        reading.usage = numbers(usage)
        return reading

    def _padding(self, holder: JsonObject, key: str, path: Path) -> None:
        value = holder[key]
        if value:
            self.reading.padding.append((holder, key))
            self.reading.revealing |= _PADDING.get(key, True)
        if not (isinstance(value, str) and value.isalnum()):
            # It is not what it should be, so it may be anything.
            Leaves(self.reading, whole=True).collect(holder, key, path, f"top.{key}")

    def _choice(self, entry: JsonObject, index: int, path: Path) -> None:
        reading = self.reading
        leaves = Leaves(reading, choice=index, whole=self._whole)
        name = f"choice.{index}"
        reading.opened.setdefault(index, False)
        self._ending = _reason(entry)
        says = "message" if self._whole or not isinstance(entry.get("delta"), dict) else "delta"
        for key, value in entry.items():
            if key == says and isinstance(value, dict):
                self._message(value, index, (*path, key))
            elif key == "message" and not self._whole and isinstance(value, dict):
                self._repeats(entry, key, index, path)
            elif key == "finish_reason":
                self._finish(entry, index, value, (*path, key))
            elif key == "logprobs" and isinstance(value, dict):
                self._logprobs(value, index, (*path, key))
            elif key in _PADDING:
                self._padding(entry, key, (*path, key))
            elif key != "index":
                reading.news |= not is_empty(value)
                # Set apart from the channels inside the delta, which may have a key of the same name.
                leaves.collect(entry, key, (*path, key), f"{name}.beside.{key}", kind_of(key, ChannelKind.OTHER))

    def _repeats(self, entry: JsonObject, key: str, index: int, path: Path) -> None:
        """The answer so far, sent again with every delta (Perplexity)."""
        inner = Reading()
        Leaves(inner, choice=index, whole=True).collect(entry, key, (*path, key), f"choice.{index}.{key}")
        for slot in inner.slots:
            slot.mode = Mode.REPEAT
        self.reading.slots += inner.slots

    def _finish(self, entry: JsonObject, index: int, value: Any, path: Path) -> None:
        if isinstance(value, str) and value:
            self.reading.finishes.append(Finish(index, value, entry, "finish_reason"))
        # Text, if it does not look like a reason.
        Leaves(self.reading, choice=index, whole=True).collect(entry, "finish_reason", path, "finish_reason")

    def _message(self, message: JsonObject, index: int, path: Path) -> None:
        """A delta, or a whole message."""
        for key in thought_first(message):
            value, at = message[key], (*path, key)
            if isinstance(value, str):
                self._string(message, key, index, at)
            elif isinstance(value, list):
                self._list(message, key, index, at)
            elif key == "function_call" and isinstance(value, dict):
                self._call(value, f"choice.{index}.function_call", index, at)
            elif key == "audio" and isinstance(value, dict):
                self._audio(value, index, at)
            elif value is not None:
                self._other(message, key, index, at)

    def _string(self, message: JsonObject, key: str, index: int, path: Path) -> None:
        if key == "role" and is_exempt(key, message[key]):
            self.reading.opened[index] = True
        elif key == "content":
            self._text(message, key, f"choice.{index}.content", ChannelKind.CONTENT, path, index)
        elif key in _PADDING:
            self._padding(message, key, path)
        else:
            self._other(message, key, index, path)

    def _list(self, message: JsonObject, key: str, index: int, path: Path) -> None:
        value = message[key]
        if key == "content":
            self._parts(value, index, path)
        elif key in ("reasoning_details", "thinking_blocks"):
            self._details(value, key, index, path)
        elif key == "tool_calls":
            self._calls(value, index, path)
        elif key in _PADDING:
            self._padding(message, key, path)
        else:
            self._other(message, key, index, path)
            if key == "annotations":
                self.reading.anchors.append(Anchor(f"choice.{index}.content", message, key))

    def _other(self, message: JsonObject, key: str, index: int, path: Path) -> None:
        """A field of no known shape: unless it is known to come whole, its strings go on from delta to delta."""
        name = f"choice.{index}"
        self.reading.news |= informs(key, message[key])
        leaves = Leaves(self.reading, choice=index, delta=True, whole=self._whole or key in _WHOLE_IN_DELTA)
        leaves.collect(message, key, path, f"{name}.{key}", kind_of(key, ChannelKind.OTHER))

    def _parts(self, content: list[Any], index: int, path: Path) -> None:
        """Content in parts (Mistral)."""
        name = f"choice.{index}"
        leaves = Leaves(self.reading, choice=index, whole=self._whole)
        for position, part in enumerate(content):
            at = (*path, position)
            for key in part if isinstance(part, dict) else ():
                if key == "text" and isinstance(part[key], str):
                    self._text(part, key, f"{name}.content", ChannelKind.CONTENT, (*at, key), index)
                elif key == "thinking" and isinstance(part[key], list):
                    self._thinking(part[key], f"{name}.thinking", (*at, key), index)
                else:
                    self.reading.news |= informs(key, part[key])
                    leaves.collect(part, key, (*at, key), f"{name}.content.{key}", kind_of(key, ChannelKind.CONTENT))
            if not isinstance(part, dict):
                leaves.collect(content, position, at, f"{name}.content", ChannelKind.CONTENT)

    def _thinking(self, parts: list[Any], channel: str, path: Path, index: int) -> None:
        leaves = Leaves(self.reading, choice=index, delta=True, whole=self._whole)
        for position, part in enumerate(parts):
            at = (*path, position)
            if isinstance(part, dict) and isinstance(part.get("text"), str) and part.keys() <= {"type", "text"}:
                self._text(part, "text", channel, ChannelKind.REASONING, (*at, "text"), index)
                if "type" in part:
                    leaves.collect(part, "type", (*at, "type"), f"{channel}.other", ChannelKind.REASONING)
            else:
                leaves.collect(parts, position, at, f"{channel}.other", ChannelKind.REASONING)

    def _text(self, holder: Any, key: str, channel: str, kind: ChannelKind, path: Path, index: int) -> None:
        if holder[key]:
            mode = Mode.WHOLE if self._whole else Mode.DELTA
            self.reading.slots.append(Slot(channel, channel, kind, mode, holder, key, path, index))

    def _details(self, entries: list[Any], key: str, index: int, path: Path) -> None:
        """OpenRouter's and LiteLLM's reasoning in parts; encrypted parts are left alone."""
        leaves = Leaves(self.reading, choice=index, delta=True, whole=self._whole)
        for position, entry in enumerate(entries):
            name = f"choice.{index}.{key}.{entry_index(entry, position)}"
            at = (*path, position)
            if not isinstance(entry, dict):
                leaves.collect(entries, position, at, name, ChannelKind.REASONING)
                continue
            kind = entry.get("type")
            sealed = isinstance(kind, str) and kind.endswith(("encrypted", "redacted_thinking"))
            if key == "thinking_blocks" and text_of(entry, "signature"):
                thinking = f"{name}.thinking"
                self.reading.closes.append(thinking)
                self.reading.seals.append(Seal(thinking, entry, "signature", restorable=False))
            for field in entry:
                if field == "data" and sealed and is_exempt("signature", str(entry[field])):
                    self.reading.news = True
                    continue
                self.reading.news |= informs(field, entry[field])
                leaves.collect(entry, field, (*at, field), f"{name}.{field}", ChannelKind.REASONING)

    def _calls(self, calls: list[Any], index: int, path: Path) -> None:
        for position, call in enumerate(calls):
            at = (*path, position)
            if isinstance(call, dict):
                number = entry_index(call, position)
                self._call(call, f"choice.{index}.tool.{number}", index, at)
            else:
                leaves = Leaves(self.reading, choice=index, delta=True, whole=self._whole)
                leaves.collect(calls, position, at, f"choice.{index}.tool")

    def _call(self, call: JsonObject, name: str, index: int, path: Path) -> None:
        """One call: standing alone if it is whole or ends here (see `split`), else a piece of it."""
        ends = self._whole or self._ending
        inner = Reading()
        leaves = Leaves(inner, choice=index, delta=True)
        for key in call:
            leaves.collect(call, key, (*path, key), name, ChannelKind.TOOL_ARGUMENTS)
        for slot in inner.slots:
            slot.name = f"{name}.{slot.key}" if slot.key in ("arguments", "input", "name") else f"{name}.other"
            slot.channel = name + "." + ".".join(map(str, slot.path[len(path) :]))
            if slot.key == "arguments":
                slot.mode = Mode.JSON
            elif ends:
                slot.mode = Mode.WHOLE
        self.reading.slots += inner.slots
        self.reading.news = True
        if not ends:
            known = call.get("id")
            self.reading.call = CallPiece(name, index, known if isinstance(known, str) and known else None, inner.slots)

    def _audio(self, audio: JsonObject, index: int, path: Path) -> None:
        name = f"choice.{index}.audio"
        leaves = Leaves(self.reading, choice=index, delta=True, whole=self._whole)
        for key, value in audio.items():
            if key == "transcript" and isinstance(value, str):
                self._text(audio, key, name, ChannelKind.AUDIO, (*path, key), index)
            elif key == "data" and isinstance(value, str) and is_base64(value):
                slot = Slot(name, name, ChannelKind.AUDIO, Mode.GATED, audio, key, (*path, key), index)
                self.reading.slots.append(slot)
            else:
                self.reading.news |= informs(key, value)
                leaves.collect(audio, key, (*path, key), f"{name}.{key}", ChannelKind.AUDIO)

    def _logprobs(self, logprobs: JsonObject, index: int, path: Path) -> None:
        kinds = {"content": ChannelKind.CONTENT, "refusal": ChannelKind.REFUSAL}
        for key, value in logprobs.items():
            channel = f"choice.{index}.{key}"
            if key in kinds and isinstance(value, list):
                if value:
                    name = f"choice.{index}.logprobs.{key}"
                    self.reading.tokens.append(Tokens(channel, name, kinds[key], index, logprobs, key))
            elif value is not None:
                # Token by token, in lists of whatever shape: it goes with the text.
                self._padding(logprobs, key, (*path, key))


def _reason(choice: Any) -> bool:
    reason = choice.get("finish_reason") if isinstance(choice, dict) else None
    return isinstance(reason, str) and bool(reason)


def _calls(choice: Any) -> bool:
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict):
        return False
    calls = delta.get("tool_calls")
    return (isinstance(calls, list) and any(isinstance(call, dict) for call in calls)) or isinstance(
        delta.get("function_call"), dict
    )


def _is_pure_piece(event: JsonObject, choice: JsonObject) -> bool:
    """Whether the event says nothing but a piece of one call, and perhaps the role."""
    delta = choice["delta"]
    calls = delta.get("tool_calls")
    if not isinstance(calls, list) and not is_empty(calls):
        return False
    pieces = len(calls or ()) + isinstance(delta.get("function_call"), dict)
    says = {key for key, value in delta.items() if not is_empty(value)}
    extra = {key for key, value in choice.items() if not is_empty(value)} - {"index", "delta", "content_filter_results"}
    top = {key for key, value in event.items() if isinstance(value, (dict, list)) and value}
    if pieces != 1 or not says <= {"role", "tool_calls", "function_call"} or extra or top != {"choices"}:
        return False
    reading = _Reader(whole=False).top(event)
    own = {id(slot) for slot in reading.call.slots} if reading.call is not None else set()
    return all(slot.mode is Mode.WHOLE for slot in reading.slots if id(slot) not in own)


def _parts(choice: Any, held: Callable[[int], bool]) -> list[Any]:
    """A choice as: all but its calls, each call's piece, its finish."""
    if not _calls(choice) or (_reason(choice) and not held(index_of(choice))):
        return [choice]
    delta = choice["delta"]
    others = {key: value for key, value in delta.items() if key not in ("tool_calls", "function_call")}
    calls = delta.get("tool_calls")
    rest = {**choice, "delta": others}
    pieces: list[JsonObject] = []
    if isinstance(calls, list):
        odd = [call for call in calls if not isinstance(call, dict)]
        if odd:
            others["tool_calls"] = odd
        # Where entries have no number their position is it, so it must not get lost.
        pieces += [
            {"tool_calls": [{"index": position, **call} if call.get("index") is None else call]}
            for position, call in enumerate(calls)
            if isinstance(call, dict)
        ]
    elif calls is not None:
        others["tool_calls"] = calls
    if isinstance(delta.get("function_call"), dict):
        pieces.append({"function_call": delta["function_call"]})
    elif delta.get("function_call") is not None:
        others["function_call"] = delta["function_call"]
    parts: list[JsonObject] = [{"index": index_of(choice), "delta": piece, "finish_reason": None} for piece in pieces]
    if _reason(choice):
        parts.append({"index": index_of(choice), "delta": {}, "finish_reason": choice["finish_reason"]})
        rest["finish_reason"] = None
    return [rest, *parts]
