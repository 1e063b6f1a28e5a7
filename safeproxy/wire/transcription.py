"""Transcriptions and translations of speech, streamed and not, of OpenAI's audio API.

Source: the OpenAI API reference: ``transcript.text.delta``, ``transcript.text.segment`` where speakers are told apart,
and ``transcript.text.done`` with the whole text again; not streamed, a text, perhaps with segments and words. The API
knows no filter of its own, so a halt is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from safeproxy.events import ChannelKind
from safeproxy.wire.base import BLOCKED, TOO_LONG, BaseDialect, numbers, read_anything, text_of
from safeproxy.wire.dialect import Anchor, Finish, JsonObject, Mode, Reading, Stop, Tokens
from safeproxy.wire.leaves import Leaves, unknown_keys

#: The one channel: what is said, whoever says it.
CHANNEL = "transcript"
_DELTA, _DONE = "transcript.text.delta", "transcript.text.done"
_KNOWN = frozenset({_DELTA, _DONE, "transcript.text.segment"})
_SPOKEN = (("text",), ("segments",), ("words",))


class Transcription(BaseDialect):
    """The dialect. Its one channel is ``transcript``, of choice 0; the last event says it all again."""

    name = "transcription"
    echoes = True
    head = ("type", "segment_id")

    # ---- reading

    def read(self, event: JsonObject) -> Reading:
        """One event, told by its ``type``."""
        kind = text_of(event, "type")
        reading = Reading(news=True, keys=unknown_keys(event))
        reading.opened[0] = False
        # What nobody knows may go on from event to event, if it means text.
        Leaves(reading, choice=0, whole=kind in _KNOWN).collect([event], 0, (), "top")
        if kind == _DELTA:
            reading.news = bool(event.keys() - {*self.head, "delta", "logprobs"})
            _speak(reading, "delta", Mode.DELTA)
            if isinstance(event.get("logprobs"), list) and event["logprobs"]:
                reading.slots = [slot for slot in reading.slots if slot.path[0] != "logprobs"]
                reading.tokens.append(Tokens(CHANNEL, "logprobs", ChannelKind.CONTENT, 0, event, "logprobs"))
        elif kind == "transcript.text.segment":
            for slot in reading.slots:
                if slot.path == ("text",):
                    slot.channel = slot.name = "segments"
                    slot.kind, slot.mode = ChannelKind.CONTENT, Mode.DELTA
        elif kind == _DONE:
            reading.closes.append(CHANNEL)
            reading.finishes.append(Finish(0, "stop", event, "finish_reason"))
            reading.usage = numbers(event.get("usage"))
            _speak(reading, "text", Mode.WHOLE)
            _point(reading, event)
        reading.error = bool(event.get("error"))
        return reading

    def read_body(self, body: Any) -> Reading:
        """A transcription with what it has beside its text, or an error body."""
        reading = read_anything(body, "body")
        if isinstance(body, dict):
            reading.opened[0] = False
            reading.error = bool(body.get("error"))
            reading.usage = numbers(body.get("usage"))
            for slot in reading.slots:
                slot.choice = 0
            _speak(reading, "text", Mode.WHOLE)
            _point(reading, body)
        return reading

    # ---- writing

    def halt(
        self,
        like: JsonObject,
        open_choices: dict[int, bool],
        said: Callable[[str], str],
        why: Stop = Stop.FILTERED,
    ) -> list[bytes]:
        """An error: the API has no end for what was filtered."""
        told = (TOO_LONG, "answer_too_long") if why is Stop.LENGTH else (BLOCKED, "content_filter")
        return [self.error_frame(*told)]


def _speak(reading: Reading, key: str, mode: Mode) -> None:
    """The text under the key belongs to the channel; its segments and words are content, too."""
    for slot in reading.slots:
        if slot.path == (key,):
            slot.channel = slot.name = CHANNEL
            slot.kind, slot.mode = ChannelKind.CONTENT, mode
        elif slot.path[:1] in _SPOKEN:
            slot.kind = ChannelKind.CONTENT
            if len(slot.path) == 3 and slot.path[2] == "text":  # the segments are one text
                slot.channel, slot.name = "segments", "segments"


def _point(reading: Reading, holder: JsonObject) -> None:
    """What spells the whole text: its words, its tokens. They go when it was changed."""
    for key in ("words", "logprobs"):
        if isinstance(holder.get(key), list) and holder[key]:
            reading.anchors.append(Anchor(CHANNEL, holder, key))
            reading.padding.append((holder, key))
    segments = holder.get("segments")
    for segment in segments if isinstance(segments, list) else ():
        if isinstance(segment, dict) and segment.get("tokens"):
            reading.padding.append((segment, "tokens"))
