"""What a stream's pipeline keeps of a choice, and of an event on its way through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from safeproxy.pipeline.channel import Channel
from safeproxy.wire.dialect import JsonObject, ParallelTokens, Path, Reading, Slot, Tokens
from safeproxy.wire.sse import Frame

T = TypeVar("T")


@dataclass(slots=True)
class Choice:
    """What is known of one choice."""

    opened: bool = False
    """Whether its role has been sent."""
    finished: bool = False
    channels: dict[str, Channel] = field(default_factory=dict)
    edited: set[str] = field(default_factory=set)
    """Ended channels of which text was replaced."""


@dataclass(slots=True)
class Step:
    """One event on its way through."""

    event: JsonObject
    reading: Reading
    frame: Frame
    verbatim: bool
    """Whether the frame's bytes may be sent if nothing changes."""
    changed: bool = False
    found: bool = False
    """Whether anything was found in text that stands alone, even if it was only observed."""
    withheld: bool = False
    """Whether something of it is held back, so that it need not be sent empty."""
    void: bool = False
    """Whether it must not be sent at all."""
    before: list[bytes] = field(default_factory=list)
    after: list[bytes] = field(default_factory=list)
    fed: dict[str, tuple[Channel, Slot]] = field(default_factory=dict)
    """By channel: the last place of its text."""
    tokens: list[tuple[Tokens, Channel]] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)
    """Objects in it of which a text was changed."""
    passed: list[Slot] = field(default_factory=list)
    scanned: int = 0
    """Code points of its text that stands alone."""


def put(event: Any, path: Path, value: str) -> None:
    """Set the value at a path that is there."""
    holder = event
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value


def parted(items: list[T], apart: Callable[[T], bool]) -> tuple[list[T], list[T]]:
    """The items that are not to be set apart, and those that are."""
    return [item for item in items if not apart(item)], [item for item in items if apart(item)]


def release_tokens(step: Step) -> None:
    """Put into the event the log probabilities whose text has been released."""
    for tokens, channel in step.tokens:
        assert channel.tokens is not None
        ready = channel.tokens.take(channel.released)
        if ready != tokens.holder[tokens.key]:
            put_tokens(tokens, ready)
            step.changed = step.withheld = True


def put_tokens(tokens: Tokens, entries: list[Any]) -> None:
    """Let the event have these log probabilities."""
    tokens.holder[tokens.key] = entries
    if isinstance(tokens, ParallelTokens):
        tokens.write(entries)
