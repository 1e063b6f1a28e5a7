"""Every API's way to say a text in each of its channels, streamed and not, for the leak test.

The shapes are those of the APIs' documentation, with nothing in them but what clients need. A channel says where its
text stands in events, and where later events or the whole body say it again: each saying is judged by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from safeproxy.events import ChannelKind
from safeproxy.wire.dialect import Ask, Dialect
from safeproxy.wire.registry import GENERIC, GENERIC_LINES, route_for

MODEL = "bench-model"
Event = dict[str, Any]
#: Keys and list positions to a text; ``*`` is every position.
Place = tuple[str | int, ...]
_PLAIN = Ask()


@dataclass(frozen=True, slots=True)
class Talk:
    """What a client has of one answer: the channel's text as deltas spell it and as it is said again, and the end."""

    spelled: str
    again: tuple[str, ...]
    halted: bool
    finished: bool


@dataclass(frozen=True, slots=True)
class Voice:
    """One channel of one API.

    ``events`` makes a stream's events of the pieces of a text, ``body`` a whole answer. ``deltas`` and ``wholes`` are
    where an event holds a piece and the whole, by its type (``""`` where events have none); ``told`` is where the body
    does. ``encode`` and ``decode`` are between what is meant and what is written.
    """

    name: str
    kind: ChannelKind
    dialect: Dialect
    events: Callable[[Sequence[str]], list[Event]]
    body: Callable[[str], Event] | None
    deltas: dict[str, Place]
    told: Place
    wholes: tuple[tuple[str, Place], ...] = ()
    ask: Ask = _PLAIN
    at_once: bool = False
    """Whether the API says such a text in one event, so that it cannot be cut."""
    named: bool = False
    done: bool = False
    """Whether ``[DONE]`` ends the stream."""

    def encode(self, text: str) -> str:
        """What stands in the answer where a text is meant."""
        return json.dumps({"text": text}) if self.in_json else text

    def decode(self, written: str) -> str:
        """What a client takes it for; raises ValueError where it is no longer the JSON it should be."""
        return str(json.loads(written)["text"]) if self.in_json and written else written

    @property
    def in_json(self) -> bool:
        """Whether the text stands in JSON, which is sent whole or not at all."""
        return self.ask.json or (self.kind is ChannelKind.TOOL_ARGUMENTS and not self.name.endswith("free"))

    def stream(self, pieces: Sequence[str]) -> list[bytes]:
        """The frames of a streamed answer."""
        frames: list[bytes] = []
        for event in self.events(pieces):
            data = json.dumps(event).encode()
            named = b"event: " + str(event["type"]).encode() + b"\n" if self.named else b""
            if self.dialect.media_type == "application/json":
                frames.append((b"[" if not frames else b",\r\n") + data)
            elif self.dialect.media_type == "text/event-stream":
                frames.append(named + b"data: " + data + b"\n\n")
            else:
                frames.append(data + b"\n")
        if self.done:
            frames.append(b"data: [DONE]\n\n")
        elif self.dialect.media_type == "application/json":
            frames.append(b"]")
        return frames

    def hear(self, out: bytes) -> Talk:
        """Read a streamed answer as a client does."""
        spelled: list[str] = []
        again: list[str] = []
        halted, finished = False, not self.dialect.ends_itself
        for event in self._parsed(out):
            kind = str(event.get("type", ""))
            if kind in self.deltas or "" in self.deltas:
                spelled += texts(event, self.deltas.get(kind, self.deltas.get("", ())))
            for of, place in self.wholes:
                if of in ("", kind):
                    again += texts(event, place)
            halted |= is_halt(event)
            finished |= is_finish(event)
        return Talk("".join(spelled), tuple(again), halted, finished)

    def hear_body(self, body: bytes) -> Talk:
        """Read a whole answer."""
        value = json.loads(body)
        return Talk("".join(texts(value, self.told)), (), is_halt(value), True)

    def _parsed(self, out: bytes) -> Iterator[Event]:
        if self.dialect.media_type == "application/json":
            yield from json.loads(out or b"[]")
        elif self.dialect.media_type == "text/event-stream":
            lines = (line for line in out.split(b"\n") if line.startswith(b"data: ") and line != b"data: [DONE]")
            yield from (json.loads(line[6:]) for line in lines)
        else:
            yield from (json.loads(line) for line in out.splitlines())


def texts(value: Any, place: Place) -> list[str]:
    """The strings at a place; an object there as its JSON text."""
    if not place:
        return [value] if isinstance(value, str) else [json.dumps(value)] if isinstance(value, dict) else []
    step, rest = place[0], place[1:]
    if isinstance(value, list):
        chosen = value if step == "*" else value[step : step + 1] if isinstance(step, int) else []
        return [text for one in chosen for text in texts(one, rest)]
    return texts(value[step], rest) if isinstance(value, dict) and step in value else []


#: The words with which the APIs' own filters end an answer.
_HALTS = frozenset({"content_filter", "refusal", "SAFETY", "ERROR"})


def is_halt(event: Any) -> bool:
    """Whether an event or a body says that the answer was stopped for its content."""
    found = [*_reasons(event)]
    error = event.get("error") if isinstance(event, dict) else None
    return any(reason in _HALTS for reason in found) or (
        isinstance(error, dict) and error.get("code") == "content_filter"
    )


def is_finish(event: Any) -> bool:
    """Whether an event ends the answer, in whatever way."""
    return bool(_reasons(event)) or bool(event.get("error")) or event.get("type") == "transcript.text.done"


def _reasons(event: Any) -> list[str]:
    if not isinstance(event, dict):
        return []
    places: tuple[Place, ...] = (
        ("choices", "*", "finish_reason"),
        ("response", "incomplete_details", "reason"),
        ("incomplete_details", "reason"),
        ("delta", "stop_reason"),
        ("stop_reason",),
        ("candidates", "*", "finishReason"),
        ("done_reason",),
        ("delta", "finish_reason"),
        ("finish_reason",),
    )
    found = [reason for place in places for reason in texts(event, place)]
    if event.get("type") in ("response.completed", "response.incomplete"):
        found.append("completed")
    return found


def _route(path: str, query: str = "") -> Dialect:
    route = route_for("POST", path, query)
    assert route is not None, path
    return route.dialect


# ---- OpenAI chat completions

_HEAD = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}


def _chat(name: str, kind: ChannelKind, *, ask: Ask | None = None, label: str = "") -> Voice:
    def choice(delta: Event, finish: str | None = None) -> Event:
        return {**_HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    def events(pieces: Sequence[str]) -> list[Event]:
        return [choice({"role": "assistant"}), *(choice({name: piece}) for piece in pieces), choice({}, "stop")]

    def body(text: str) -> Event:
        message = {"role": "assistant", name: text}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return {**_HEAD, "object": "chat.completion", "choices": choices}

    return Voice(
        f"chat {label or name}",
        kind,
        _route("/v1/chat/completions"),
        events,
        body,
        {"": ("choices", "*", "delta", name)},
        ("choices", "*", "message", name),
        ask=ask or Ask(),
        done=True,
    )


def _chat_tool() -> Voice:
    def call(piece: str, first: bool) -> Event:
        more = {"id": "call_1", "type": "function"} if first else {}
        function = {"name": "note", "arguments": piece} if first else {"arguments": piece}
        delta = {"tool_calls": [{"index": 0, **more, "function": function}]}
        return {**_HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}

    def events(pieces: Sequence[str]) -> list[Event]:
        opening = {**_HEAD, "choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]}
        end = {**_HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
        return [opening, *(call(piece, not at) for at, piece in enumerate(pieces)), end]

    def body(text: str) -> Event:
        function = {"name": "note", "arguments": text}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        }
        choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
        return {**_HEAD, "object": "chat.completion", "choices": choices}

    place: Place = ("tool_calls", "*", "function", "arguments")
    return Voice(
        "chat tool arguments",
        ChannelKind.TOOL_ARGUMENTS,
        _route("/v1/chat/completions"),
        events,
        body,
        {"": ("choices", "*", "delta", *place)},
        ("choices", "*", "message", *place),
        done=True,
    )


def _completions() -> Voice:
    def choice(text: str, finish: str | None = None) -> Event:
        choices = [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]
        return {**_HEAD, "object": "text_completion", "choices": choices}

    return Voice(
        "completions text",
        ChannelKind.CONTENT,
        _route("/v1/completions"),
        lambda pieces: [*(choice(piece) for piece in pieces), choice("", "stop")],
        lambda text: choice(text, "stop"),
        {"": ("choices", "*", "text")},
        ("choices", "*", "text"),
        done=True,
    )


# ---- OpenAI responses


class _Response:
    """Numbers the events of one response."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def say(self, kind: str, **fields: Any) -> None:
        self.events.append({"type": f"response.{kind}", "sequence_number": len(self.events), **fields})

    def whole(self, status: str, *items: Event) -> Event:
        return {"id": "resp_1", "object": "response", "model": MODEL, "status": status, "output": list(items)}


def _responses(item: Callable[[str, str], Event], family: str, again: str, part: str, **more: Any) -> Voice:
    """One family; ``item(text, status)`` is the item around it, ``part`` the kind of part it stands in, if any."""
    where = {"content": "content_index", "summary": "summary_index"}.get(more.pop("where", ""))
    part_family = {"content_index": "content_part", "summary_index": "reasoning_summary_part"}.get(where or "", "")
    key = "refusal" if part == "refusal" else "text"
    extra: Event = {"annotations": [], "logprobs": []} if part == "output_text" else {}

    def events(pieces: Sequence[str]) -> list[Event]:
        said, text = _Response(), "".join(pieces)
        place: Event = {"item_id": "item_1", "output_index": 0}
        said.say("created", response=said.whole("in_progress"))
        said.say("output_item.added", output_index=0, item=item("", "in_progress"))
        if where:
            place[where] = 0
            said.say(f"{part_family}.added", **place, part={"type": part, key: "", **extra})
        for piece in pieces:
            said.say(f"{family}.delta", **place, delta=piece)
        said.say(f"{family}.done", **place, **{again: text})
        if where:
            said.say(f"{part_family}.done", **place, part={"type": part, key: text, **extra})
        said.say("output_item.done", output_index=0, item=item(text, "completed"))
        said.say("completed", response=said.whole("completed", item(text, "completed")))
        return said.events

    inside: Place = more.pop("inside")
    return Voice(
        f"responses {family}{more.pop('suffix', '')}",
        more.pop("kind"),
        _route("/v1/responses"),
        events,
        lambda text: _Response().whole("completed", item(text, "completed")),
        {f"response.{family}.delta": ("delta",)},
        ("output", "*", *inside),
        wholes=(
            (f"response.{family}.done", (again,)),
            (f"response.{part_family}.done", ("part", key)),
            ("response.output_item.done", ("item", *inside)),
            ("response.completed", ("response", "output", "*", *inside)),
            ("response.incomplete", ("response", "output", "*", *inside)),
        ),
        named=True,
        **more,
    )


def _message(part: str, key: str) -> Callable[[str, str], Event]:
    def item(text: str, status: str) -> Event:
        content = [{"type": part, key: text, "annotations": []}] if status == "completed" else []
        return {"id": "item_1", "type": "message", "role": "assistant", "status": status, "content": content}

    return item


def _reasoning(where: str, part: str) -> Callable[[str, str], Event]:
    def item(text: str, status: str) -> Event:
        made: Event = {"id": "item_1", "type": "reasoning", "status": status, "summary": [], "content": []}
        made[where] = [{"type": part, "text": text}] if status == "completed" else []
        return made

    return item


def _call(kind: str, key: str) -> Callable[[str, str], Event]:
    return lambda text, status: {"id": "item_1", "type": kind, "status": status, "name": "note", key: text}


def _all_responses() -> Iterator[Voice]:
    text: Place = ("content", "*", "text")
    for ask, suffix in ((Ask(), ""), (Ask(json=True), " as JSON")):
        yield _responses(
            _message("output_text", "text"),
            "output_text",
            "text",
            "output_text",
            where="content",
            kind=ChannelKind.CONTENT,
            inside=text,
            ask=ask,
            suffix=suffix,
        )
    yield _responses(
        _message("refusal", "refusal"),
        "refusal",
        "refusal",
        "refusal",
        where="content",
        kind=ChannelKind.REFUSAL,
        inside=("content", "*", "refusal"),
    )
    for where, part, family in (
        ("content", "reasoning_text", "reasoning_text"),
        ("summary", "summary_text", "reasoning_summary_text"),
    ):
        yield _responses(
            _reasoning(where, part),
            family,
            "text",
            part,
            where=where,
            kind=ChannelKind.REASONING,
            inside=(where, "*", "text"),
        )
    for kind, key, family, suffix in (
        ("function_call", "arguments", "function_call_arguments", ""),
        ("mcp_call", "arguments", "mcp_call_arguments", ""),
        ("custom_tool_call", "input", "custom_tool_call_input", ", free"),
        ("code_interpreter_call", "code", "code_interpreter_call_code", ", free"),
    ):
        yield _responses(
            _call(kind, key), family, key, "", kind=ChannelKind.TOOL_ARGUMENTS, inside=(key,), suffix=suffix
        )


# ---- Anthropic messages


def _anthropic(block: str, key: str, delta: str, kind: ChannelKind) -> Voice:
    empty: Any = {} if key == "input" else ""
    more = {"id": "toolu_1", "name": "note"} if block == "tool_use" else {}
    delta_key = "partial_json" if key == "input" else key

    def message(content: list[Event], stop: str | None) -> Event:
        usage = {"input_tokens": 3, "output_tokens": 1}
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL}
        return {**head, "content": content, "stop_reason": stop, "stop_sequence": None, "usage": usage}

    def events(pieces: Sequence[str]) -> list[Event]:
        return [
            {"type": "message_start", "message": message([], None)},
            {"type": "content_block_start", "index": 0, "content_block": {"type": block, **more, key: empty}},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"type": delta, delta_key: piece}}
                for piece in pieces
            ),
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 9},
            },
            {"type": "message_stop"},
        ]

    def body(text: str) -> Event:
        value = json.loads(text) if key == "input" else text
        return message([{"type": block, **more, key: value}], "end_turn")

    return Voice(
        f"anthropic {block}",
        kind,
        _route("/v1/messages"),
        events,
        body,
        {"content_block_delta": ("delta", delta_key)},
        ("content", "*", key),
        named=True,
    )


# ---- Gemini


def _gemini(name: str, kind: ChannelKind, *, query: str = "alt=sse") -> Voice:
    def part(text: str) -> Event:
        if kind is ChannelKind.TOOL_ARGUMENTS:
            return {"functionCall": {"name": "note", "args": json.loads(text)}}
        return {"text": text, "thought": True} if name == "thought" else {"text": text}

    def response(text: str | None, finish: str | None = None) -> Event:
        candidate: Event = {"index": 0}
        if text is not None:
            candidate["content"] = {"role": "model", "parts": [part(text)]}
        if finish:
            candidate["finishReason"] = finish
        return {"candidates": [candidate], "modelVersion": MODEL, "responseId": "r-1"}

    def events(pieces: Sequence[str]) -> list[Event]:
        if kind is ChannelKind.TOOL_ARGUMENTS:
            pieces = ["".join(pieces)]
        return [*(response(piece) for piece in pieces), response(None, "STOP")]

    place: Place = ("functionCall", "args") if kind is ChannelKind.TOOL_ARGUMENTS else ("text",)
    inside: Place = ("candidates", "*", "content", "parts", "*", *place)
    return Voice(
        f"gemini {name}{'' if query else ', JSON array'}",
        kind,
        _route("/v1beta/models/m:streamGenerateContent", query),
        events,
        lambda text: response(text, "STOP"),
        {"": inside},
        inside,
        at_once=kind is ChannelKind.TOOL_ARGUMENTS,
    )


# ---- Ollama


def _ollama(path: str, name: str, kind: ChannelKind) -> Voice:
    chat = path == "/api/chat"

    def line(field: Event, done: bool = False) -> Event:
        head: Event = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z"}
        told = {"message": {"role": "assistant", "content": "", **field}} if chat else {"response": "", **field}
        return {**head, **told, "done": done, **({"done_reason": "stop"} if done else {})}

    def field(text: str) -> Event:
        if kind is ChannelKind.TOOL_ARGUMENTS:
            return {"tool_calls": [{"function": {"name": "note", "arguments": json.loads(text)}}]}
        return {name: text}

    def events(pieces: Sequence[str]) -> list[Event]:
        if kind is ChannelKind.TOOL_ARGUMENTS:
            pieces = ["".join(pieces)]
        return [*(line(field(piece)) for piece in pieces), line({}, done=True)]

    place: Place = ("tool_calls", "*", "function", "arguments") if kind is ChannelKind.TOOL_ARGUMENTS else (name,)
    inside: Place = ("message", *place) if chat else place
    return Voice(
        f"ollama {path.rpartition('/')[2]} {name}",
        kind,
        _route(path),
        events,
        lambda text: line(field(text), done=True),
        {"": inside},
        inside,
        at_once=kind is ChannelKind.TOOL_ARGUMENTS,
    )


# ---- Cohere


def _cohere(name: str, kind: ChannelKind) -> Voice:
    ends = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {}}}
    starts = {"type": "message-start", "id": "m-1", "delta": {"message": {"role": "assistant", "content": []}}}

    def events(pieces: Sequence[str]) -> list[Event]:
        if kind is ChannelKind.TOOL_ARGUMENTS:
            call = {"id": "t-1", "type": "function", "function": {"name": "note", "arguments": ""}}
            said = [
                {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": call}}},
                *(
                    {
                        "type": "tool-call-delta",
                        "index": 0,
                        "delta": {"message": {"tool_calls": {"function": {"arguments": piece}}}},
                    }
                    for piece in pieces
                ),
                {"type": "tool-call-end", "index": 0},
            ]
        elif name == "tool_plan":
            said = [{"type": "tool-plan-delta", "delta": {"message": {"tool_plan": piece}}} for piece in pieces]
        else:
            part = {"type": name, name: ""}
            said = [
                {"type": "content-start", "index": 0, "delta": {"message": {"content": part}}},
                *(
                    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {name: piece}}}}
                    for piece in pieces
                ),
                {"type": "content-end", "index": 0},
            ]
        return [starts, *said, ends]

    def body(text: str) -> Event:
        message: Event = {"role": "assistant"}
        if kind is ChannelKind.TOOL_ARGUMENTS:
            message["tool_calls"] = [{"id": "t-1", "type": "function", "function": {"name": "note", "arguments": text}}]
        elif name == "tool_plan":
            message["tool_plan"] = text
        else:
            message["content"] = [{"type": name, name: text}]
        return {"id": "m-1", "finish_reason": "COMPLETE", "message": message}

    key: Place = ("tool_calls", "function", "arguments") if kind is ChannelKind.TOOL_ARGUMENTS else ("content", name)
    whole: Place = (key[0], "*", *key[1:])
    said_by = {"tool_plan": "tool-plan-delta", "tool arguments": "tool-call-delta"}.get(name, "content-delta")
    if name == "tool_plan":
        key = whole = (name,)
    deltas: dict[str, Place] = {said_by: ("delta", "message", *key)}
    told: Place = ("message", *whole)
    return Voice(f"cohere {name}", kind, _route("/v2/chat"), events, body, deltas, told, named=True)


def _transcription() -> Voice:
    def events(pieces: Sequence[str]) -> list[Event]:
        deltas = [{"type": "transcript.text.delta", "delta": piece} for piece in pieces]
        return [*deltas, {"type": "transcript.text.done", "text": "".join(pieces)}]

    return Voice(
        "transcription text",
        ChannelKind.AUDIO,
        _route("/v1/audio/transcriptions"),
        events,
        lambda text: {"text": text},
        {"transcript.text.delta": ("delta",)},
        ("text",),
        wholes=(("transcript.text.done", ("text",)),),
    )


def _unknown(dialect: Dialect, name: str) -> Voice:
    return Voice(
        f"unknown API, {name}",
        ChannelKind.OTHER,
        dialect,
        lambda pieces: [{"kind": "bit", "n": 1, "deep": [{"words": piece}]} for piece in pieces],
        lambda text: {"kind": "all", "deep": [{"words": text}]},
        {"": ("deep", "*", "words")},
        ("deep", "*", "words"),
    )


def voices() -> list[Voice]:
    """Every channel of every API."""
    content, reasoning, tool = ChannelKind.CONTENT, ChannelKind.REASONING, ChannelKind.TOOL_ARGUMENTS
    return [
        _chat("content", content),
        _chat("content", content, ask=Ask(json=True), label="content as JSON"),
        _chat("refusal", ChannelKind.REFUSAL),
        _chat("reasoning_content", reasoning),
        _chat("reasoning", reasoning),
        _chat_tool(),
        _completions(),
        *_all_responses(),
        _anthropic("text", "text", "text_delta", content),
        _anthropic("thinking", "thinking", "thinking_delta", reasoning),
        _anthropic("tool_use", "input", "input_json_delta", tool),
        _gemini("text", content),
        _gemini("text", content, query=""),
        _gemini("thought", reasoning),
        _gemini("args", tool),
        _ollama("/api/chat", "content", content),
        _ollama("/api/chat", "thinking", reasoning),
        _ollama("/api/chat", "tool arguments", tool),
        _ollama("/api/generate", "response", content),
        _cohere("text", content),
        _cohere("thinking", reasoning),
        _cohere("tool_plan", reasoning),
        _cohere("tool arguments", tool),
        _transcription(),
        _unknown(GENERIC, "events"),
        _unknown(GENERIC_LINES, "lines"),
    ]
