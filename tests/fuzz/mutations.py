"""Streams gone wrong: events of every API, mutated, with a secret planted in them; and what must not come of it.

Everything takes its decisions from a `random.Random`, so that hypothesis, atheris and a plain seed can drive it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from safeproxy.bench.apis import Place, Voice, is_finish, texts
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Action
from safeproxy.pipeline import Policy, StreamPipeline
from safeproxy.pipeline.shortcut import Shortcuts
from safeproxy.wire import registry
from safeproxy.wire.dialect import Ask, Dialect
from safeproxy.wire.leaves import is_exempt

DIALECTS: tuple[Dialect, ...] = (
    registry.CHAT,
    registry.RESPONSES,
    registry.ANTHROPIC,
    registry.COHERE,
    registry.COMPLETIONS,
    registry.GEMINI,
    registry.GEMINI_ARRAY,
    registry.OLLAMA,
    registry.REALTIME,
    registry.SOCKET,
    registry.TRANSCRIPTION,
    registry.GENERIC,
    registry.GENERIC_LINES,
)
MAIL = "qzjxkv@vwkqzj.qzx"
STOP = "sk-qzjxkvwq"
SECRETS = (MAIL, STOP)
#: Four characters in a row of a secret stand nowhere else.
PIECES = frozenset(secret[at : at + 4] for secret in SECRETS for at in range(len(secret) - 3))
POLICY = Policy(
    RuleSet(
        [
            Rule(id="email", entity="EMAIL", pattern=r"qzjxkv@vwkqzj\.qzx"),
            Rule(id="key", entity="KEY", pattern=r"sk-qzjxkvwq", action=Action.HALT),
        ]
    ),
    seal=lambda text: f"safeproxy1.{len(text)}",
    max_event_bytes=2**20,
)
HALTED = "content_filter"

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    7,
    99_999,
    100_000,
    10**30,
    0.5,
    -1e300,
    "",
    "0",
    "stop",
    "some text",
    "\ud83d",
    "\udca9",
    "\u2028",
    "\x00",
    "{",
    '{"a": 1}',
    [],
    {},
    [[]],
    [None],
    [{}],
    [0, "x", {"text": "x"}],
    {"": ""},
    {"text": "x", "index": 0, "type": "text"},
    {"content": [{"type": "text", "text": "x"}]},
    {"error": "x"},
)
_ODD_KEYS = """
    index type text content delta id role finish_reason stop_reason error message choices candidates logprobs usage
    output item part output_index content_index sequence_number response arguments name function tool_calls data input
    thinking signature citations annotations obfuscation token_ids refusal audio transcript parts args x event done
    done_reason finishReason stop object model input_json partial_json bytes token top_logprobs tokens created
    """
ODD_KEYS = tuple(_ODD_KEYS.split())


def mutate(events: Sequence[Any], random_: Random, times: int, others: Sequence[Any] = ()) -> list[Any]:
    """The events with so many things changed about them; ``others`` may be mixed in."""
    made = copy.deepcopy(list(events))
    for _ in range(times):
        random_.choice(_MUTATIONS)(made, random_, others)
    return made


def _drop(events: list[Any], random_: Random, others: Sequence[Any]) -> None:
    if events:
        del events[random_.randrange(len(events))]


def _double(events: list[Any], random_: Random, others: Sequence[Any]) -> None:
    if events:
        events.insert(random_.randrange(len(events) + 1), copy.deepcopy(random_.choice(events)))


def _swap(events: list[Any], random_: Random, others: Sequence[Any]) -> None:
    if len(events) > 1:
        one, other = random_.randrange(len(events)), random_.randrange(len(events))
        events[one], events[other] = events[other], events[one]


def _insert(events: list[Any], random_: Random, others: Sequence[Any]) -> None:
    if others:
        events.insert(random_.randrange(len(events) + 1), copy.deepcopy(random_.choice(others)))


def _replace(events: list[Any], random_: Random, others: Sequence[Any]) -> None:
    places = list(all_places(events))
    if places:
        holder, key = random_.choice(places)
        holder[key] = copy.deepcopy(random_.choice(ODD_VALUES))


def _rename(events: list[Any], random_: Random, others: Sequence[Any]) -> None:
    places = [(holder, key) for holder, key in all_places(events) if isinstance(holder, dict)]
    if places:
        holder, key = random_.choice(places)
        new = random_.choice(ODD_KEYS)
        items = [(new if old == key else old, value) for old, value in holder.items()]
        holder.clear()
        holder.update(items)


def _add(events: list[Any], random_: Random, others: Sequence[Any]) -> None:
    holders = [one for one in all_holders(events) if isinstance(one, dict)]
    if holders:
        random_.choice(holders)[random_.choice(ODD_KEYS)] = copy.deepcopy(random_.choice(ODD_VALUES))


def _remove(events: list[Any], random_: Random, others: Sequence[Any]) -> None:
    places = list(all_places(events))
    if places:
        holder, key = random_.choice(places)
        del holder[key]


def _transplant(events: list[Any], random_: Random, others: Sequence[Any]) -> None:
    sources = list(all_places([*others, *events]))
    places = list(all_places(events))
    if sources and places:
        holder, key = random_.choice(sources)
        value = copy.deepcopy(holder[key])
        holder, key = random_.choice(places)
        holder[key] = value


_Mutation = Callable[[list[Any], Random, Sequence[Any]], None]
_MUTATIONS: tuple[_Mutation, ...] = (
    _drop, _double, _double, _swap, _insert, _replace, _replace, _rename, _add, _remove, _transplant,
)  # fmt: skip


def all_holders(value: Any) -> Iterator[Any]:
    """Every object and list at and below a value, but the outermost."""
    for child in value.values() if isinstance(value, dict) else value:
        if isinstance(child, (dict, list)):
            yield child
            yield from all_holders(child)


def all_places(events: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Every place of a value within the events, as its holder and key."""
    for holder in all_holders(events):
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, key


def plant_whole(events: list[Any], random_: Random, secret: str) -> None:
    """Put the secret in place of some value, beside others, into a string, or as a key."""
    dressed = random_.choice(
        [secret, f"so {secret}.", f"{secret} {secret}", json.dumps({"a": [secret]}), json.dumps(json.dumps([secret]))]
    )
    holders = list(all_holders(events))
    if not holders:
        events.append({"x": dressed})
        return
    way = random_.randrange(6)
    places = list(all_places(events))
    if way == 0 or not places:
        holder = random_.choice(holders)
        if isinstance(holder, dict):
            holder[random_.choice([*ODD_KEYS, secret, "x_id", "created_x", "encrypted_x", "url"])] = dressed
        else:
            holder.insert(random_.randrange(len(holder) + 1), dressed)
        return
    strings = [(holder, key) for holder, key in places if isinstance(holder[key], str)]
    holder, key = random_.choice(strings if strings and way < 4 else places)
    if way == 4 and isinstance(holder, dict):
        holder[dressed] = holder.pop(key)
    elif way == 5:
        holder[key] = random_.choice(
            [[dressed], {"x": dressed}, {dressed: 1}, [[{"text": dressed}]], {"index": 0, "text": dressed}]
        )
    else:
        holder[key] = dressed


def frames_of(dialect: Dialect, events: Sequence[Any], random_: Random, *, named: bool, done: bool) -> list[bytes]:
    """The events as an upstream sends them, one frame each; sometimes oddly spelled."""
    frames: list[bytes] = []
    array = dialect.media_type == "application/json"
    for number, event in enumerate(events):
        spaced = random_.random() < 0.2
        data = json.dumps(event, ensure_ascii=random_.random() < 0.8, separators=(", ", ": ") if spaced else (",", ":"))
        frame = data.encode("utf-8", "surrogatepass")
        if array:
            frames.append((b"[" if not number else b",\r\n") + frame)
        elif dialect.media_type == "text/event-stream":
            kind = event.get("type") if isinstance(event, dict) else None
            name = b"event: " + kind.encode("utf-8", "replace") + b"\n" if named and isinstance(kind, str) else b""
            end = b"\r\n\r\n" if random_.random() < 0.1 else b"\n\n"
            frames.append(name.replace(b"\n", end[: len(end) // 2]) + b"data: " + frame + end)
        else:
            frames.append(frame + b"\n")
    if done and random_.random() < 0.8:
        frames.append(b"data: [DONE]\n\n")
    if array:
        frames.append(b"]" if events else b"[]")
    return frames


class NoShortcuts(Shortcuts):
    """Takes the place of the pipeline's shortcuts: with and without them it must say the same."""

    def find(self, frame: bytes) -> None:
        """Nothing is ever found."""


def run(
    dialect: Dialect, frames: Sequence[bytes], ask: Ask, *, policy: Policy = POLICY, deltas: Sequence[Place] = ()
) -> tuple[bytes, StreamPipeline]:
    """What a client gets of the frames; the same must come without shortcuts, and in one piece."""
    pipeline = StreamPipeline(dialect, policy, ask)
    out = b"".join(map(pipeline.feed, frames)) + pipeline.finish()
    assert pipeline.done
    again = StreamPipeline(dialect, policy, ask)
    assert again.feed(b"".join(frames)) + again.finish() == out, "the cutting makes a difference"
    slow = StreamPipeline(dialect, policy, ask)
    slow._shortcuts = NoShortcuts()
    same = b"".join(map(slow.feed, frames)) + slow.finish()
    assert told(dialect, same, deltas) == told(dialect, out, deltas), "shortcuts make a difference"
    writer = dialect.writer()
    return (out if writer is None else writer(out, True)), pipeline


def told(dialect: Dialect, frames: bytes, deltas: Sequence[Place]) -> list[str]:
    """The texts at these places of all events together."""
    writer = dialect.writer()
    events = parsed(dialect, frames if writer is None else writer(frames, True))
    return ["".join(text for event in events for text in texts(event, place)) for place in deltas]


def parsed(dialect: Dialect, out: bytes) -> list[Any]:
    """The events of an answer, whose framing must be valid."""
    if dialect.media_type == "application/json":
        value = json.loads(out)
        assert isinstance(value, list)
        return value
    if dialect.media_type != "text/event-stream":
        assert not out or out.endswith(b"\n")
        lines = out.split(b"\n")[:-1]
        assert all(line.strip() for line in lines), "a blank line"
        return [_object(line) for line in lines if not dialect.is_end(line)]
    assert not out or out.endswith((b"\n\n", b"\r\n\r\n"))
    events = []
    for block in out.replace(b"\r\n", b"\n").split(b"\n\n"):
        events += _block(dialect, block)
    return events


def _block(dialect: Dialect, block: bytes) -> list[Any]:
    if not block:
        return []
    data = []
    for line in block.split(b"\n"):
        name, colon, value = line.partition(b":")
        assert colon, line
        assert name in (b"", b"data", b"event", b"id", b"retry"), line
        assert dialect.comments or (name == b"data" and value.startswith(b" ")), line
        value = value.removeprefix(b" ")
        if name == b"data" and not dialect.is_end(value):
            data.append(_object(value))
    assert len(data) <= 1, "several lines of data"
    return data


def _object(data: bytes) -> Any:
    text = data.decode()
    assert not {"\x85", "\u2028", "\u2029"} & set(text), "a line end to some"
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


def strings(value: Any) -> Iterator[str]:
    """Every string a client may find in a value: keys, JSON inside strings, lists of UTF-8 bytes, joined texts."""
    if isinstance(value, str):
        yield value
        if value[:1] in ("{", "[", '"'):
            try:
                inner = json.loads(value)
            except ValueError:
                return
            yield from strings(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        if value and all(type(one) is int and 0 <= one < 256 for one in value):
            yield bytes(value).decode(errors="replace")
        for inner in value:
            yield from strings(inner)


def leaked(events: Sequence[Any], raw: bytes = b"") -> str | None:
    """A piece of a secret that stands in the events or their bytes."""
    found = "\n".join(strings(list(events))) + raw.decode(errors="replace")
    return next((piece for piece in PIECES if piece in found), None)


def joined(events: Sequence[Any]) -> Iterator[str]:
    """What a client has that adds up the strings at every place, event by event."""
    texts: dict[tuple[Any, ...], str] = {}
    for event in events:
        layer: list[tuple[tuple[Any, ...], Any]] = [((), event)]
        for path, value in layer:
            if isinstance(value, str):
                texts[path] = texts.get(path, "") + value
            elif isinstance(value, dict):
                layer += [((*path, key), inner) for key, inner in value.items()]
            elif isinstance(value, list):
                layer += [((*path, at), inner) for at, inner in enumerate(value)]
    return iter(texts.values())


def exposed(events: Sequence[Any]) -> bool:
    """Whether a piece of a secret stands where no text is looked for, as an id may."""
    return any(
        isinstance(holder[key], str) and is_exempt(key, holder[key]) and any(piece in holder[key] for piece in PIECES)
        for holder, key in all_places(events)
    )


def says(voice: Voice, event: Any) -> bool:
    """Whether the event is a delta of the voice's channel."""
    if not isinstance(event, dict):
        return False
    place = voice.deltas.get(str(event.get("type", "")), voice.deltas.get("", ()))
    return any(texts(event, place)) if place else False


def ends(event: Any) -> bool:
    """Whether the event ends an answer, or a text in it, in whatever API."""
    if not isinstance(event, dict):
        return False
    kind = str(event.get("type", ""))
    last = event.get("done") is True or event.get("stop") is True
    return last or is_finish(event) or kind.endswith((".done", "stop", "end", "error"))


def ended(dialect: Dialect, events: Sequence[Any], out: bytes) -> bool:
    """Whether an answer has the API's own end, or says that it failed."""
    refused = bool(events) and "promptFeedback" in events[-1]
    return not dialect.ends_itself or refused or out.endswith(b"data: [DONE]\n\n") or any(map(ends, events))


def around(
    voice: Voice, pieces: Sequence[str], random_: Random, times: int, others: Sequence[Any], *, apart: bool = False
) -> list[Any]:
    """The events of the pieces, with all but those that say them changed so many times.

    Between the pieces nothing ends: what comes after an end is no part of a text. ``apart`` says that nothing stands
    between them at all.
    """
    events = [(event, says(voice, event)) for event in voice.events(pieces)]
    for _ in range(times):
        plain = [at for at, (_, text) in enumerate(events) if not text]
        strange: list[Any] = [random_.choice(others)] if others else []
        if plain and random_.randrange(3):
            at = random_.choice(plain)
            strange = mutate([events[at][0]], random_, 1, others)
            if random_.randrange(2):
                del events[at]
        for event in strange:
            said = [at for at, (_, text) in enumerate(events) if text]
            first, last = (said[0], said[-1]) if said else (0, -1)
            places = [*range(first + 1), *range(last + 1, len(events) + 1)] if apart else list(range(len(events) + 1))
            if ends(event):
                places = [place for place in places if place > last]
            events.insert(random_.choice(places), (copy.deepcopy(event), False))
    return [event for event, _ in events]
