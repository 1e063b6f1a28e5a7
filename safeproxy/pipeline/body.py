"""An answer that is not streamed: the whole body is judged before any byte of it leaves."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from typing import Any

from safeproxy.core.filter import StreamFilter
from safeproxy.errors import DetectorError
from safeproxy.events import ChannelKind
from safeproxy.pipeline.channel import Channel
from safeproxy.pipeline.json_channel import JsonChannel
from safeproxy.pipeline.policy import FAULT_TOO_LONG, Policy, Report, common_reason, plain_reason
from safeproxy.pipeline.rename import rename_keys
from safeproxy.pipeline.step import put_tokens
from safeproxy.pipeline.tokens import TokenQueue
from safeproxy.pipeline.whole import SPOKEN, TEXTS_LIMIT, HaltError, Scanner, sealed
from safeproxy.wire import jsontext
from safeproxy.wire.base import BLOCKED, TOO_LONG
from safeproxy.wire.dialect import Ask, Dialect, Mode, Reading, Slot, Stop, Tokens

_UNREADABLE = "The upstream's answer could not be read."


class BodyPipeline:
    """Filters one whole JSON body, whatever its status; use a new one for each."""

    def __init__(
        self, dialect: Dialect, policy: Policy, ask: Ask | None = None, *, report: Report | None = None
    ) -> None:
        self.report = Report() if report is None else report
        self._ask = ask or Ask()
        self._dialect = dialect
        self._voice = dialect.voice(self._ask)
        self._chars = policy.answer_chars
        # Texts are measured here, for not all that is read is an answer.
        self._policy = policy = dataclasses.replace(policy, max_answer_chars=0)
        self._scanner = Scanner(policy, self.report)
        self._changed = False
        # Texts in several parts, of which not all were read yet, and those that were, as they came.
        self._parts: dict[str, tuple[Channel, list[tuple[Slot, str]]]] = {}
        # Originals and edits by channel: what repeats a channel's text is compared with them.
        self._texts: dict[str, str] = {}
        self._edits: dict[str, list[tuple[int, int]]] = {}
        self._limit = sys.maxsize
        self._sizes: Counter[str] = Counter()  # of the answer's texts, by channel
        self._touched: set[int] = set()  # objects of which a text was changed

    def run(self, body: bytes, status: int) -> tuple[int, bytes]:
        """The status and body to answer with.

        A body in which nothing is found is given back as it is. One that is no JSON object or array becomes the API's
        own error, with the upstream's status if that was an error, else 502.
        """
        self.report.events += 1
        try:
            value, certain = jsontext.parse(body)
        except ValueError:
            value, certain = None, True
        if not isinstance(value, (dict, list)):
            return self._unreadable(status, "malformed_body")
        reading = self._voice.read_body(value)
        if len(reading.slots) + len(reading.keys) > TEXTS_LIMIT:
            return self._unreadable(status, "too_many_texts")
        self._changed = not certain
        try:
            return self._filtered(value, reading, body, status)
        except HaltError:
            return self._blocked(status, "content_filter")
        except DetectorError:
            return self._blocked(status, "detector_error")

    def _unreadable(self, status: int, fault: str) -> tuple[int, bytes]:
        self.report.fault(fault)
        self._end("upstream_error")
        status = status if status >= 400 else 502
        return status, self._dialect.error_body(_UNREADABLE, status=status, code="upstream_error")

    def _filtered(self, value: Any, reading: Reading, body: bytes, status: int) -> tuple[int, bytes]:
        if rename_keys(reading.keys, self._scanner):
            self._changed = True
            reading = self._voice.read_body(value)
        self.report.note(reading)
        for finish in reading.finishes:
            self.report.upstream_finish[finish.choice] = plain_reason(finish.reason)
        failed = status >= 400 or reading.error
        # What was never said as an answer (an error, a list of what users wrote) is not measured as one.
        self._limit = self._chars if reading.opened and not failed else sys.maxsize
        halted = self._slots(reading.slots)
        if halted is not None:
            at, why = halted
            if failed:
                return self._blocked(status, why)
            self._companions(reading)
            ask = dataclasses.replace(self._ask, notice="") if self._ask.json else self._ask
            stop = Stop.LENGTH if why == "length" else Stop.FILTERED
            if not self._dialect.halt_body(value, reading.slots, at, ask, stop):
                return self._blocked(status, why)
            self.report.delivered_finish = self._finishes(reading, at, stop)
            self._end(why)
        else:
            self._companions(reading)
            self.report.delivered_finish = dict(self.report.upstream_finish)
            reason = next(iter(self.report.upstream_finish.values()), "stop")
            self._end("upstream_error" if failed else common_reason(reason))
        return status, jsontext.dump(value, ascii_only=body.isascii()) if self._changed else body

    def _slots(self, slots: list[Slot]) -> tuple[int, str] | None:
        """Filter the texts in order; where it was cut off and why, if it was."""
        last = {slot.channel: at for at, slot in enumerate(slots) if slot.mode is Mode.WHOLE}
        parts = Counter(slot.channel for slot in slots if slot.mode is Mode.WHOLE)
        for at, slot in enumerate(slots):
            if slot.mode is Mode.GATED:
                continue
            before = slot.holder[slot.key]
            fits = self._fits(slot)
            try:
                if slot.mode is Mode.WHOLE and parts[slot.channel] > 1:
                    halted = self._part(slot, ends=last[slot.channel] == at or not fits)
                else:
                    halted = self._alone(slot)
                    self._changed |= slot.holder[slot.key] != before
            except DetectorError:
                slot.holder[slot.key] = type(before)()
                self._changed = True
                return at, "detector_error"
            if halted:
                self._changed = True
                return at, "content_filter"
            if not fits:
                self._changed = True
                self.report.fault(FAULT_TOO_LONG)
                return at, "length"
        return None

    def _fits(self, slot: Slot) -> bool:
        """Whether there is room for a text of the answer; what is too long is cut, or left out if it means JSON."""
        if slot.kind is ChannelKind.OTHER or slot.mode not in SPOKEN:
            return True
        value = slot.holder[slot.key]
        size = len(json.dumps(value, ensure_ascii=False) if slot.mode is Mode.OBJECT else value)
        room = self._limit - self._sizes[slot.channel]
        self._sizes[slot.channel] += size
        if size > room:
            slot.holder[slot.key] = value[:room] if slot.mode is Mode.WHOLE else type(value)()
        return size <= room

    def _finishes(self, reading: Reading, at: int, stop: Stop) -> dict[int, str]:
        """How the choices of an answer end that is cut off after a text: at a length, those before it as they came."""
        cut = reading.slots[at].choice
        whole = {slot.choice for slot in reading.slots[:at]} - {cut, None} if stop is Stop.LENGTH else set()
        told = self.report.upstream_finish
        return {index: told.get(index, stop.value) if index in whole else stop.value for index in reading.opened}

    def _alone(self, slot: Slot) -> bool:
        """Filter a text that is all of its channel; whether it halts."""
        before = slot.holder[slot.key]
        verdict = self._scanner.place(slot, json_content=self._ask.json)
        if isinstance(before, str):
            edited = slot.holder[slot.key] != before
            # Where the edits of JSON lie is not told, nor what a halt cuts off: then nothing of it counts as unchanged.
            known = verdict.edits and not verdict.halted
            self._note(slot.channel, before, verdict.edits if known else ((0, len(before)),) if edited else ())
        if slot.holder[slot.key] != before:
            self._touched.add(id(slot.holder))
        return verdict.halted

    def _part(self, slot: Slot, *, ends: bool) -> bool:
        """Filter one of several parts that a client reads as one text, as a stream would bring them.

        What is held of one leaves in the next; where nothing was found each stays as it came. Gives whether it halts.
        """
        if slot.channel not in self._parts:
            self._parts[slot.channel] = self._new_channel(slot), []
            self.report.watch(self._parts[slot.channel][0])
        channel, came = self._parts[slot.channel]
        came.append((slot, slot.holder[slot.key]))
        text = channel.feed(slot.holder[slot.key])
        slot.holder[slot.key] = text + channel.finish() if ends and not channel.halted else text
        if not ends:
            return channel.halted
        self.report.settle(channel)
        del self._parts[slot.channel]
        self._note(slot.channel, channel.original, ((0, len(channel.original)),) if channel.edited else ())
        if not channel.edited:
            for part, before in came:
                part.holder[part.key] = before
        self._changed |= channel.edited
        return channel.halted

    def _new_channel(self, slot: Slot) -> Channel:
        about = (slot.name, slot.kind, slot.choice, self._policy, self.report)
        if self._ask.json and slot.kind is ChannelKind.CONTENT:
            return JsonChannel(*about, self._scanner)
        return Channel(*about, keep=True)

    def _note(self, channel: str, text: str, edits: tuple[tuple[int, int], ...]) -> None:
        before = self._texts.get(channel, "")
        self._texts[channel] = before + text
        shifted = [(start + len(before), end + len(before)) for start, end in edits]
        self._edits.setdefault(channel, []).extend(shifted)

    def _companions(self, reading: Reading) -> None:
        """Log probabilities, audio and annotations of the texts that were changed."""
        for slot in reading.slots:
            if slot.mode is Mode.GATED and self._edits.get(slot.channel):
                slot.holder[slot.key] = ""
                self._changed = True
        for anchor in reading.anchors:
            void = self._edits.get(anchor.channel) or id(anchor.holder) in self._touched
            if void and anchor.holder[anchor.key]:
                anchor.holder[anchor.key] = []
                self._changed = True
        self._seal(reading)
        for tokens in reading.tokens:
            self._tokens(tokens)
        if self._changed:
            for holder, key in reading.padding:
                holder.pop(key, None)

    def _seal(self, reading: Reading) -> None:
        """Where a signed text was changed put the original in the signature, sealed. Raises HaltError."""
        for seal in reading.seals:
            if self._edits.get(seal.channel):
                if not seal.restorable:
                    raise HaltError
                seal.holder[seal.key] = sealed(self._policy, self._texts[seal.channel], seal.holder[seal.key])

    def _tokens(self, tokens: Tokens) -> None:
        entries = tokens.holder[tokens.key]
        rules, key = self._policy.rules, self._policy.hash_key
        side = StreamFilter(rules, channel=tokens.name, kind=tokens.kind, hash_key=key)
        queue = TokenQueue(lambda token: self._scanner.is_clean(token, tokens.name, tokens.kind), side)
        queue.add(entries, 0, self._texts.get(tokens.channel, ""))
        queue.finish()
        queue.drop(self._edits.get(tokens.channel, ()))
        # A channel that was not read stands behind a halt, or has no text at all.
        kept = queue.take(sys.maxsize) if tokens.channel in self._texts else []
        if kept != entries:
            put_tokens(tokens, kept)
            self._changed = True

    def _blocked(self, status: int, why: str) -> tuple[int, bytes]:
        """The API's error in place of a body of which nothing may be shown."""
        self.report.withhold()
        self._end(why)
        status = status if status >= 400 else 502
        told = (TOO_LONG, "answer_too_long") if why == "length" else (BLOCKED, "content_filter")
        return status, self._dialect.error_body(told[0], status=status, code=told[1])

    def _end(self, ended: str) -> None:
        self.report.commit()
        for channel, _ in self._parts.values():  # cut off
            channel.break_off()
            self.report.settle(channel)
        self._parts.clear()
        self.report.ended = ended
        if ended == "detector_error":
            self.report.fault(ended)
