"""OpenAI's legacy completions, streamed and not; and llama.cpp's own ``/completion``, which shares their path.

Sources: the OpenAI API reference (text_completion), llama.cpp's server documentation, and what compatible servers were
seen to add. Log probabilities stand in lists side by side, one of them of objects whose keys are tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from safeproxy.events import ChannelKind
from safeproxy.wire.base import (
    DONE,
    BaseDialect,
    asks_for_json,
    at,
    compact,
    empty_after,
    index_of,
    is_count,
    is_empty,
    is_plain,
    notice_of,
    numbers,
    read_anything,
    skeleton,
    text_of,
)
from safeproxy.wire.dialect import (
    Anchor,
    Ask,
    Finish,
    JsonObject,
    Mode,
    ParallelTokens,
    Path,
    Reading,
    Slot,
    Stop,
    Tokens,
)
from safeproxy.wire.leaves import Leaves, is_index, kind_of, numbered, unknown_keys

#: What a frame of our own repeats of the upstream's, by key.
_HEAD = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
_NATIVE_HEAD = ("index", "id_slot", "model")
_COUNTS = ("tokens_evaluated", "tokens_predicted")
#: Numbers of tokens: they spell the text or the prompt.
_SPELLING = frozenset({"token_ids", "prompt_token_ids", "tokens"})
_WHOLE_AT_TOP = frozenset({"error", "usage", "prompt_filter_results", "generation_settings", "timings"})
#: llama.cpp's words for why it stopped.
_STOPS = {"eos": "stop", "word": "stop", "limit": "length"}

_NATIVE_STOPS = {Stop.FILTERED: "content_filter", Stop.LENGTH: "limit"}


class OpenAICompletions(BaseDialect):
    """The dialect. Channels: ``choice.0.text``; of llama.cpp's own answers ``choice.0.content``."""

    name = "openai_completions"
    head = _HEAD

    def ask(self, body: Any) -> Ask:
        """Structured output is ``response_format``, where servers have it."""
        return Ask(json=asks_for_json(body))

    def read(self, event: JsonObject) -> Reading:
        """A piece of a completion."""
        return _Reader(whole=False).top(event)

    def read_body(self, body: Any) -> Reading:
        """A whole completion or an error body."""
        return _Reader(whole=True).top(body) if isinstance(body, dict) else read_anything(body, "body")

    def mark(self, event: JsonObject) -> object:
        """A first token's place in the text, where it is told; a server that tells none says 0 or -1 each time."""
        choice = at(event, "choices", 0)
        place = at(choice, "logprobs", "text_offset", 0)
        name = at(event, "id")
        return (name, index_of(choice), place) if is_index(place) and place and isinstance(name, str) else None

    def text_event(self, event: JsonObject, path: Path) -> tuple[JsonObject, Path]:
        """Clients want all fields of a choice."""
        if _is_native(event):
            made, place = skeleton(event, path, _NATIVE_HEAD)
            made["stop"] = False
            return made, place
        made, place = skeleton(event, path, _HEAD)
        if len(path) > 2 and path[0] == "choices" and isinstance(path[1], int) and isinstance(path[2], str):
            (choice,) = made["choices"]
            choice.setdefault("text", "")
            choice.setdefault("logprobs", None)
            choice.setdefault("finish_reason", None)
        made.setdefault("choices", [])
        return made, place

    def attach_tokens(self, event: JsonObject, key: str, entries: list[Any]) -> None:
        """As lists, side by side."""
        if _is_native(event):
            event["completion_probabilities"] = entries
            return
        logprobs: JsonObject = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": [0]}
        _write(logprobs, entries)
        event["choices"][0]["logprobs"] = logprobs

    def halt(
        self,
        like: JsonObject,
        open_choices: dict[int, bool],
        said: Callable[[str], str],
        why: Stop = Stop.FILTERED,
    ) -> list[bytes]:
        """The notice if there is one and a choice ended by the reason for each open index, then ``[DONE]``."""
        notice = [notice_of(self._ask, why)] if notice_of(self._ask, why) else []
        if _is_native(like):
            pieces = [{"content": text, "stop": False} for text in notice]
            pieces.append({"content": "", "stop": True, "stop_type": _NATIVE_STOPS[why]})
            return [self.encode(compact({"index": index, **one})) for index in sorted(open_choices) for one in pieces]
        head = {key: like[key] for key in _HEAD if key in like and is_plain(key, like[key])}
        head.setdefault("object", "text_completion")
        frames = []
        for index in sorted(open_choices):
            made = [{"text": text, "index": index, "logprobs": None, "finish_reason": None} for text in notice]
            made.append({"text": "", "index": index, "logprobs": None, "finish_reason": why.value})
            frames += [self.encode(compact({**head, "choices": [choice]})) for choice in made]
        return [*frames, self.encode(DONE)]

    def halt_body(self, body: Any, slots: list[Slot], at: int, ask: Ask, why: Stop = Stop.FILTERED) -> bool:
        """Later texts emptied, log probabilities taken out, every finish set."""
        if not isinstance(body, dict):
            return False
        halted = slots[at].choice
        passed = {slot.choice for slot in slots[:at]} - {halted, None}
        if _is_native(body):
            empty_after(slots, at)
            _halt_native(body, ask, why)
            return True
        choices = body.get("choices")
        if not isinstance(choices, list):
            return False
        empty_after(slots, at)
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            whole = index_of(choice) in passed and halted is not None
            if whole and why is Stop.LENGTH:
                continue
            choice["finish_reason"] = why.value
            for key in _SPELLING & choice.keys():
                del choice[key]
            if "logprobs" in choice:
                choice["logprobs"] = None
            if not whole:
                choice["text"] = text_of(choice, "text") + notice_of(ask, why)
        return True


def _halt_native(body: JsonObject, ask: Ask, why: Stop) -> None:
    """The end of llama.cpp's own shape, without what spells the text."""
    for key in ("tokens", "completion_probabilities"):
        body.pop(key, None)
    body["stop"], body["stop_type"] = True, _NATIVE_STOPS[why]
    body["content"] += notice_of(ask, why)


class _Reader:
    """Reads one event or (``whole``) one body."""

    def __init__(self, *, whole: bool) -> None:
        self.reading = Reading()
        self._whole = whole

    def top(self, event: JsonObject) -> Reading:
        reading = self.reading
        reading.keys = unknown_keys(event)
        native = _is_native(event)
        if native:
            self._native(event)
        leaves, whole = Leaves(reading, whole=self._whole), Leaves(reading, whole=True)
        for key, value in event.items():
            if key == "choices" and isinstance(value, list):
                for entry, index, path in numbered(self.reading, key, value, whole=self._whole):
                    self._choice(entry, index, path)
            elif native and key in ("content", "prompt", "completion_probabilities"):
                continue
            elif key in _SPELLING and isinstance(value, list):
                self._spelling(event, key, (key,), "top", None)
            else:
                if value is None or isinstance(value, (str, int, float)):
                    reading.constants[key] = value
                elif value:
                    reading.news = True
                (whole if key in _WHOLE_AT_TOP else leaves).collect(
                    event, key, (key,), f"top.{key}", kind_of(key, ChannelKind.OTHER)
                )
        reading.error = bool(event.get("error"))
        reading.model = text_of(event, "model") or None
        reading.usage = numbers(event.get("usage")) or reading.usage
        return reading

    def _text(self, holder: JsonObject, key: str, index: int, path: Path) -> None:
        if holder[key]:
            name = f"choice.{index}.{key}"
            mode = Mode.WHOLE if self._whole else Mode.DELTA
            self.reading.slots.append(Slot(name, name, ChannelKind.CONTENT, mode, holder, key, path, index))

    def _spelling(self, holder: JsonObject, key: str, path: Path, name: str, choice: int | None) -> None:
        if holder[key]:
            self.reading.padding.append((holder, key))
            self.reading.revealing = True
        Leaves(self.reading, choice=choice, whole=True).collect(holder, key, path, f"{name}.{key}")

    def _choice(self, entry: JsonObject, index: int, path: Path) -> None:
        reading, name = self.reading, f"choice.{index}"
        reading.opened.setdefault(index, False)
        leaves = Leaves(reading, choice=index, whole=self._whole)
        for key, value in entry.items():
            at = (*path, key)
            if key == "text" and isinstance(value, str):
                self._text(entry, key, index, at)
            elif key == "logprobs" and isinstance(value, dict):
                self._logprobs(value, index, at)
            elif key in _SPELLING and isinstance(value, list):
                self._spelling(entry, key, at, name, index)
            elif key == "finish_reason":
                # Text, if it does not look like a reason.
                Leaves(reading, choice=index, whole=True).collect(entry, key, at, key)
            elif key != "index":
                reading.news |= not is_empty(value)
                leaves.collect(entry, key, at, f"{name}.beside.{key}", kind_of(key, ChannelKind.OTHER))
        reason = text_of(entry, "finish_reason")
        if reason:
            reading.finishes.append(Finish(index, reason, entry, "finish_reason"))

    def _logprobs(self, logprobs: JsonObject, index: int, path: Path) -> None:
        """The lists side by side; llama.cpp's one list of entries, as in a chat."""
        channel, name, kind = f"choice.{index}.text", f"choice.{index}.logprobs", ChannelKind.CONTENT
        known = {"content"}
        if isinstance(logprobs.get("content"), list):
            if logprobs["content"]:
                self.reading.tokens.append(Tokens(channel, name, kind, index, logprobs, "content"))
        elif _is_regular(logprobs):
            known = {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
            entries: JsonObject = {"entries": _entries(logprobs)}
            write = partial(_write, logprobs)
            if entries["entries"]:
                self.reading.tokens.append(ParallelTokens(channel, name, kind, index, entries, "entries", write))
            if isinstance(logprobs.get("text_offset"), list):
                self.reading.anchors.append(Anchor(channel, logprobs, "text_offset"))
        for key in logprobs.keys() - known:
            leaves = Leaves(self.reading, choice=index, delta=True, whole=self._whole)
            leaves.collect(logprobs, key, (*path, key), f"{name}.{key}")

    def _native(self, event: JsonObject) -> None:
        """llama.cpp's own shape."""
        reading, index = self.reading, index_of(event)
        reading.opened[index] = False
        self._text(event, "content", index, ("content",))
        name, kind = f"choice.{index}.logprobs", ChannelKind.CONTENT
        for key, value in event.items():
            if key == "completion_probabilities" and isinstance(value, list):
                if value:
                    reading.tokens.append(Tokens(f"choice.{index}.content", name, kind, index, event, key))
            elif key == "prompt" and isinstance(value, str):
                if value:
                    slot = Slot("prompt", "prompt", ChannelKind.OTHER, Mode.QUOTE, event, key, (key,), index)
                    reading.slots.append(slot)
            elif key in ("prompt", "completion_probabilities"):
                Leaves(reading, choice=index, whole=True).collect(event, key, (key,), key)
        if event["stop"] is True:
            counts = {key: int(event[key]) for key in _COUNTS if is_count(event.get(key))}
            reading.usage = counts or None
            reason = text_of(event, "stop_type")
            reading.finishes.append(Finish(index, _STOPS.get(reason, reason or "stop"), event, "stop_type"))


def _is_regular(logprobs: JsonObject) -> bool:
    """Whether the lists have one entry a token each; else nobody knows what they are."""
    tokens = logprobs.get("tokens")
    if not isinstance(tokens, list):
        return False
    beside = [logprobs.get(key) for key in ("token_logprobs", "top_logprobs", "text_offset")]
    if not all(one is None or (isinstance(one, list) and len(one) == len(tokens)) for one in beside):
        return False
    _, others, offsets = beside
    return all(one is None or isinstance(one, dict) for one in others or ()) and all(
        type(one) is int for one in offsets or ()
    )


class _Entry(dict[str, Any]):
    """One token's entry, with its place in the text."""

    offset: int | None = None


def _entries(logprobs: JsonObject) -> list[Any]:
    """The lists as entries; a token that has no number has None."""
    entries: list[Any] = []
    for position, token in enumerate(logprobs["tokens"]):
        entry = _Entry(token=token, logprob=at(logprobs, "token_logprobs", position))
        others = at(logprobs, "top_logprobs", position)
        if isinstance(others, dict):
            entry["top_logprobs"] = [{"token": other, "logprob": number} for other, number in others.items()]
        offset = at(logprobs, "text_offset", position)
        entry.offset = offset if type(offset) is int else None
        entries.append(entry)
    return entries


def _write(logprobs: JsonObject, entries: list[Any]) -> None:
    """Make the lists say what the entries do; where the tokens' places are not told for all, for none."""
    logprobs["tokens"] = [entry["token"] for entry in entries]
    if "token_logprobs" in logprobs:
        logprobs["token_logprobs"] = [entry["logprob"] for entry in entries]
    if isinstance(logprobs.get("top_logprobs"), list):
        logprobs["top_logprobs"] = [
            {other["token"]: other["logprob"] for other in entry["top_logprobs"]} if "top_logprobs" in entry else None
            for entry in entries
        ]
    if logprobs.get("text_offset"):
        offsets = [getattr(entry, "offset", None) for entry in entries]
        logprobs["text_offset"] = None if None in offsets else offsets


def _is_native(event: JsonObject) -> bool:
    """Whether it is llama.cpp's own shape."""
    return "choices" not in event and isinstance(event.get("content"), str) and isinstance(event.get("stop"), bool)
