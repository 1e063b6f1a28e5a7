"""The items of OpenAI's Responses API: what an answer, a stored response and a conversation are made of.

Source: the item types of OpenAI's published schemas. A text's kind must be the same wherever it is said again.
"""

from __future__ import annotations

from typing import Any

from safeproxy.events import ChannelKind
from safeproxy.wire.base import text_of
from safeproxy.wire.dialect import Anchor, JsonObject, Mode, Path, Reading, Slot, Tokens
from safeproxy.wire.leaves import Leaves, is_media

#: Calls that the client carries out, or may show: half of one must never be seen.
CALLS = frozenset(
    {
        "apply_patch_call",
        "computer_call",
        "custom_tool_call",
        "function_call",
        "local_shell_call",
        "mcp_approval_request",
        "mcp_call",
        "shell_call",
        "tool_search_call",
    }
)

#: Texts that events bring piece by piece and say again: the last key of the place in the item that holds them.
_KINDS = {
    "output_text": ChannelKind.CONTENT,
    "refusal": ChannelKind.REFUSAL,
    "reasoning_text": ChannelKind.REASONING,
    "summary_text": ChannelKind.REASONING,
    "reasoning_summary_text": ChannelKind.REASONING,
    "function_call_arguments": ChannelKind.TOOL_ARGUMENTS,
    "mcp_call_arguments": ChannelKind.TOOL_ARGUMENTS,
    "custom_tool_call_input": ChannelKind.TOOL_ARGUMENTS,
    "code_interpreter_call_code": ChannelKind.TOOL_ARGUMENTS,
    "shell_call_command": ChannelKind.TOOL_ARGUMENTS,
    "apply_patch_call_operation_diff": ChannelKind.TOOL_ARGUMENTS,
    "audio.transcript": ChannelKind.AUDIO,
    "output_audio_transcript": ChannelKind.AUDIO,
}
#: Parts whose events are of a family with another name.
_FAMILIES = {"summary_text": "reasoning_summary_text"}
#: Keys of a call under which its own words stand, in whatever depth.
_SPOKEN = frozenset({"arguments", "input", "code", "commands", "command", "diff", "action", "actions"})


def kind_of_family(family: str) -> ChannelKind:
    """The kind of channel that a family of events brings."""
    return _KINDS.get(family, ChannelKind.OTHER)


def read_items(reading: Reading, items: list[Any], path: Path) -> None:
    """All text of a list of items."""
    for position, item in enumerate(items):
        name = f"output.{position}"
        if isinstance(item, dict):
            read_item(reading, item, name, (*path, position))
        else:
            _alone(reading, items, position, name, ChannelKind.OTHER, (*path, position))


def read_item(reading: Reading, item: JsonObject, name: str, path: Path) -> None:
    """All text of one item, each standing alone; ``name`` is its channels' beginning."""
    kind = text_of(item, "type")
    for key, value in item.items():
        place = (*path, key)
        if key in ("content", "summary") and isinstance(value, list):
            for position in range(len(value)):
                _part_of(reading, value, position, f"{name}.{key}.{position}", (*place, position))
        elif key == "arguments" and isinstance(value, str):
            _add(reading, item, key, f"{name}.arguments", ChannelKind.TOOL_ARGUMENTS, place, Mode.JSON)
        elif key == "arguments" and isinstance(value, (dict, list)) and value:
            _add(reading, item, key, f"{name}.arguments", ChannelKind.TOOL_ARGUMENTS, place, Mode.OBJECT)
        elif not is_media(key, value):
            spoken = key in _SPOKEN and kind in CALLS | {"code_interpreter_call"}
            channel_kind = ChannelKind.TOOL_ARGUMENTS if spoken else ChannelKind.OTHER
            _alone(reading, item, key, f"{name}.{key}", channel_kind, place)


def _part_of(reading: Reading, parts: list[Any], position: int, name: str, path: Path) -> None:
    part = parts[position]
    if isinstance(part, dict):
        read_part(reading, part, name, path)
    else:
        _alone(reading, parts, position, name, ChannelKind.OTHER, path)


def read_part(reading: Reading, part: JsonObject, name: str, path: Path) -> None:
    """One part of an item: a text with its log probabilities and annotations, a refusal, a summary."""
    kind = text_of(part, "type")
    for key, value in part.items():
        place = (*path, key)
        if key in ("text", "refusal") and isinstance(value, str):
            family = kind if kind in _KINDS else "refusal" if key == "refusal" else "output_text"
            family = _FAMILIES.get(family, family)
            _add(reading, part, key, f"{name}.{family}", kind_of_family(family), place, Mode.WHOLE)
        elif key == "transcript" and isinstance(value, str):
            _add(reading, part, key, f"{name}.{key}", ChannelKind.AUDIO, place, Mode.WHOLE)
        elif not is_media(key, value):
            _alone(reading, part, key, f"{name}.{key}", ChannelKind.OTHER, place)
    anchor_part(reading, part, name)
    if "transcript" in part:
        reading.padding += [(part, key) for key in ("audio", "data") if is_media(key, part.get(key))]


def anchor_part(reading: Reading, holder: JsonObject, name: str) -> None:
    """Annotations and log probabilities that stand beside a whole text: void once the text was changed."""
    for key in ("annotations", "logprobs"):
        if isinstance(holder.get(key), list) and holder[key]:
            reading.anchors.append(Anchor(f"{name}.output_text", holder, key))


def tokens_of_parts(reading: Reading, item: Any, name: str) -> None:
    """Log probabilities of an answer that is not streamed, to be compared with its text token by token."""
    content = item.get("content") if isinstance(item, dict) else None
    for position, part in enumerate(content if isinstance(content, list) else ()):
        if isinstance(part, dict) and isinstance(part.get("logprobs"), list) and part["logprobs"]:
            channel = f"{name}.content.{position}.output_text"
            reading.tokens.append(Tokens(channel, channel, ChannelKind.CONTENT, 0, part, "logprobs"))


def _alone(reading: Reading, holder: Any, key: str | int, name: str, kind: ChannelKind, path: Path) -> None:
    Leaves(reading, choice=0, whole=True).collect(holder, key, path, name, kind)


def _add(
    reading: Reading, holder: JsonObject, key: str, channel: str, kind: ChannelKind, path: Path, mode: Mode
) -> None:
    if holder[key]:
        reading.slots.append(Slot(channel, channel, kind, mode, holder, key, path, 0))
