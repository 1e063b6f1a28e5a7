"""What travels beside a text and says some of it: sound, log probabilities, annotations. It waits and goes with it."""

from __future__ import annotations

from collections.abc import Callable

from safeproxy.core.filter import StreamFilter
from safeproxy.pipeline.answer import Answer
from safeproxy.pipeline.policy import Policy, Report
from safeproxy.pipeline.step import Step, put
from safeproxy.pipeline.tokens import TokenQueue
from safeproxy.pipeline.whole import Scanner
from safeproxy.wire.dialect import JsonObject, Slot, Tokens, Voice
from safeproxy.wire.sse import Frame


class Companions:
    """The companions of one answer's channels."""

    def __init__(self, answer: Answer, voice: Voice, scanner: Scanner, policy: Policy, report: Report) -> None:
        self._answer = answer
        self._voice = voice
        self._scanner = scanner
        self._policy = policy
        self._report = report

    def gate(self, step: Step, slot: Slot, encode: Callable[[JsonObject, Frame | None], bytes]) -> None:
        """Let sound wait for the words it says; ``encode`` makes a frame of an event."""
        channel = self._answer.channel(slot.choice, slot.channel)
        if channel is None:
            if self._answer.is_edited(slot.channel):  # what it says has ended, and was changed
                step.changed = step.withheld = True
                del slot.holder[slot.key]
            return
        if not channel.edited and not channel.gated and not channel.held:
            return
        step.changed = step.withheld = True
        event, path = self._voice.text_event(step.event, slot.path)
        put(event, path, slot.holder.pop(slot.key))
        if channel.edited:
            return
        if "id" in slot.holder:  # once is enough: clients add strings up
            put(event, (*path[:-1], "id"), slot.holder.pop("id"))
        frame = encode(event, step.frame)
        if not channel.gate(frame, self._policy.max_event_bytes):
            self._report.fault("audio_dropped")

    def queue_tokens(self, step: Step, tokens: Tokens) -> None:
        """Let log probabilities wait for the text they repeat: before it is fed, so that no edit of it is missed."""
        channel = self._answer.channel(tokens.choice, tokens.channel)
        if channel is None:
            channel = self._answer.open(tokens.channel, tokens.channel, tokens.kind, tokens.choice)
        if channel.tokens is None:
            side = StreamFilter(
                self._policy.rules, channel=tokens.name, kind=tokens.kind, hash_key=self._policy.hash_key
            )
            channel.tokens = TokenQueue(lambda token: self._scanner.is_clean(token, tokens.name, tokens.kind), side)
        slots = [s for s in step.reading.slots if s.channel == tokens.channel and s.choice == tokens.choice]
        channel.expect(tokens.holder[tokens.key], "".join(slot.holder[slot.key] for slot in slots))
        step.tokens.append((tokens, channel))

    def drop_anchors(self, step: Step) -> None:
        """Take out what points into a text that was changed, or says again what is held."""
        for anchor in step.reading.anchors:
            void = self._answer.is_edited(anchor.channel) or id(anchor.holder) in step.touched
            if anchor.repeats:
                void |= any(channel.held for _, channel in self._answer.named(anchor.channel))
            if void and anchor.holder[anchor.key]:
                step.void |= not isinstance(anchor.holder[anchor.key], list)
                anchor.holder[anchor.key] = []
                step.changed = True
