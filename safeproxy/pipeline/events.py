"""A streamed answer, event by event: events in, frames out.

Each upstream event is the template of what is sent in its place; only its text changes. Events of which nothing
changes pass byte for byte. State is kept per channel. What is held of a channel leaves with a later event of that
channel, or, when its choice ends, in an event of its own before the finish.
"""

from __future__ import annotations

import dataclasses

from safeproxy.errors import DetectorError
from safeproxy.pipeline.acts import Acts
from safeproxy.pipeline.answer import Answer
from safeproxy.pipeline.blocks import HeldBlock, Line, Waiting
from safeproxy.pipeline.calls import HeldCall, HeldCalls, Taken
from safeproxy.pipeline.channel import Channel
from safeproxy.pipeline.companions import Companions
from safeproxy.pipeline.policy import FAULT_TOO_LONG, Policy, Report, common_reason, plain_reason
from safeproxy.pipeline.rename import rename_keys
from safeproxy.pipeline.shortcut import Shortcuts, Template
from safeproxy.pipeline.step import Step, parted, put, put_tokens, release_tokens
from safeproxy.pipeline.whole import HaltError, Scanner, TooLongError, sealed
from safeproxy.wire import jsontext
from safeproxy.wire.dialect import Ask, Dialect, Finish, JsonObject, Mode, Reading, Slot, Stop
from safeproxy.wire.sse import Frame, is_event_name

_BROKEN = "The answer could not be carried to its end."


class Events:
    """Filters the events of one answer. Its methods never raise on any event.

    Once ``done`` is true nothing more will leave.
    """

    def __init__(self, dialect: Dialect, policy: Policy, ask: Ask, report: Report) -> None:
        self.report = report
        self.done = False
        self.in_order = True
        """Whether events may be taken as they come: none has to wait behind a call, and no call behind text."""
        self.voice = self._voice = dialect.voice(dataclasses.replace(ask, notice="") if ask.json else ask)
        self.scanner = self._scanner = Scanner(policy, report)
        self.shortcuts = self._shortcuts = Shortcuts(self._voice.tick)
        self._ask = ask
        self._dialect = dialect
        self._policy = policy
        self._answer = Answer(policy, report, self._scanner, json_content=ask.json, keep=self._voice.echoes)
        self._companions = Companions(self._answer, self._voice, self._scanner, policy, report)
        self._calls = HeldCalls()
        self._line = Line()
        self._acts = Acts()
        self._latest: JsonObject = {}
        self._constants: JsonObject = {}
        if self._voice.echoes:
            self._scanner.keep_echoes()

    @property
    def finished(self) -> bool:
        """Whether every choice there was has ended."""
        return self._answer.finished

    @property
    def begun(self) -> bool:
        """Whether any choice is known."""
        return bool(self._answer.choices)

    def split(self, event: JsonObject) -> list[JsonObject]:
        """The event as one or more that each carry one call's piece or none."""
        return self._voice.split(event, self._calls.holds)

    def fail(self, fault: str) -> bytes:
        """The upstream broke; the API's error event, and nothing of what is held. ``fault`` is a short code."""
        if self.done:
            return b""
        self.report.fault(fault)
        return self.break_off("upstream_error", _BROKEN)

    def break_off(self, ended: str, message: str) -> bytes:
        """End the answer with the API's error event."""
        self.end(ended)
        return self._voice.error_frame(message, ended)

    def go_on(self, template: Template, text: str, raw: bytes, number: int | None) -> bytes:
        """Take an event that follows a template, and differs in its text only, or in its number if it has one."""
        channel = template.owner
        if isinstance(channel, HeldCall):
            assert template.whole is not None
            self._calls.go_on(channel, template.whole, text, raw)
            if template.whole.is_longer_than(self._policy.answer_chars):
                return self.cut()
            return b"" if self._calls.size <= self._policy.max_event_bytes else self.fail("call_too_large")
        try:
            out = channel.feed(text)
        except DetectorError:
            return self.halt("detector_error")
        if out == text and jsontext.is_safe(raw):
            sent = raw if number is None else self._numbered(template, None, number, raw)
        elif out or not (template.bare or channel.halted):
            sent = template.frame(raw, out) if number is None else self._numbered(template, out, number, raw)
        else:
            sent = b""
            self._voice.dropped({})
        if template.scanned:
            passed = template.scanned if sent else 0
            self.report.count(template.scanned, template.scanned - passed, passed)
            self.report.commit()
        if channel.halted:
            return sent + self.halt("content_filter")
        if channel.full:
            return sent + self.cut()
        return sent + b"".join(channel.ungate()) if channel.gated else sent

    def _numbered(self, template: Template, text: str | None, number: int, raw: bytes) -> bytes:
        """The frame that the template met, with the text if it is another, and with the number that is due."""
        due = self._voice.renumber(number)
        return raw if text is None and due == number else template.frame(raw, text, due)

    def part(self, event: JsonObject, frame: Frame, verbatim: bool) -> bytes:
        """Take an event; give what may be sent. ``verbatim`` says that the frame's bytes may be, if nothing changes."""
        step = Step(event, self._voice.read(event), frame, verbatim)
        if self._line and self._must_wait(step.reading):
            self._line.wait(event, frame, verbatim=verbatim)
            return self._bounded(b"")
        out = self._guarded(step)
        self.in_order = not self._line and not self._acts
        return out

    def _guarded(self, step: Step) -> bytes:
        """Take an event whose turn it is; end the answer if anything in it says so."""
        mark = self.report.mark()
        try:
            out = self._take(step)
        except HaltError:
            self.report.withhold(mark)
            return self.halt("content_filter", step)
        except DetectorError:
            self.report.withhold(mark)
            return self.halt("detector_error", step)
        except TooLongError:
            self.report.withhold(mark)
            return self.cut(step)
        self.report.commit(mark)
        return out

    def _take(self, step: Step) -> bytes:
        if not self._answer.admit(step.reading, self._calls.count()):
            return self.fail("too_many_texts")
        if step.reading.keys and rename_keys(step.reading.keys, self._scanner):
            step.changed = True
            step.reading = self._voice.read(step.event)
        self.report.note(step.reading)
        self._latest = step.event
        if step.reading.call is not None:
            return self._hold(step)
        if step.reading.block is not None:
            return self._hold_block(step)
        if self._line and step.reading.finishes:
            # Held calls leave as they are; what this event closes and ends comes after them.
            step.before.append(self._advance(force=True))
            return step.before[0] if self.done else self._pass(step)
        return self._pass(step)

    # ---- an event that is no piece of a call

    def _pass(self, step: Step) -> bytes:
        reading = step.reading
        self._suppress(step)
        whole = not step.changed
        for name in reading.closes:
            self._close_named(step, name)
        self._seal(step, early=True)
        for tokens in reading.tokens:
            self._companions.queue_tokens(step, tokens)
        for slot in reading.slots:
            self._slot(step, slot)
        self._seal(step, early=False)
        for finish in reading.finishes:
            self._finish_choice(step, finish)
        if whole:
            self._learn(step)
        release_tokens(step)
        self._companions.drop_anchors(step)
        for channel, _ in step.fed.values():
            step.after += channel.ungate()
        sent = self._sent(step)
        if self._acts or reading.acts:
            sent = self._in_turn(step, sent)
        out = b"".join([*step.before, *self._roles(reading), sent, *step.after])
        if reading.error:
            self.report.fault("upstream_error_event")
            self.end("upstream_error")
        return out

    def _in_turn(self, step: Step, sent: bytes) -> bytes:
        """The event, if it need not wait for text before it, and the events that need not any more."""
        if step.reading.finishes:  # the text has ended, and stands before this event
            step.before += self._acts.all()
            return sent
        ready = self._acts.ready(self._answer)
        if step.reading.acts and sent and self._acts.wait(sent, self._answer):
            sent = b""
        out = b"".join((sent, *ready))
        return out if self._acts.size <= self._policy.max_event_bytes else out + self.fail("call_too_large")

    def _sent(self, step: Step) -> bytes:
        """The event itself, as it may be sent; nothing if there is nothing left in it."""
        reading = step.reading
        if step.void or (step.changed and self._says_nothing(step)):
            self._voice.dropped(step.event)
            return b""
        for index, has_role in reading.opened.items():
            self._answer.choices[index].opened |= has_role
        self._constants = reading.constants
        stamped = self._voice.stamp(step.event, own=False)
        self._voice.sent(step.event)
        if step.verbatim and not step.changed and not stamped:
            return step.frame.raw if step.frame.plain else self._dialect.encode(step.frame.data or b"", step.frame)
        for holder, key in reading.padding if step.changed else ():
            holder.pop(key, None)
        return self._encode(step.event, step.frame)

    def _says_nothing(self, step: Step) -> bool:
        reading = step.reading
        return (
            step.withheld
            and not reading.news
            and not reading.finishes
            and reading.constants == self._constants
            and not any(slot.holder[slot.key] for slot in reading.slots if slot.mode is Mode.DELTA)
            and not any(tokens.holder[tokens.key] for tokens in reading.tokens)
            and not any(role and not self._answer.choices[index].opened for index, role in reading.opened.items())
        )

    def _learn(self, step: Step) -> None:
        """Remember the frame, of which nothing but text has changed, if one delta is all that matters in it."""
        reading = step.reading
        deltas = [slot for slot in reading.slots if slot.mode is Mode.DELTA]
        others = {slot.mode for slot in reading.slots} - {Mode.DELTA, Mode.WHOLE}
        special = reading.finishes or reading.tokens or reading.anchors or reading.revealing or reading.error
        marked = step.frame.id or (self._voice.tick is None and self._voice.mark(step.event) is not None)
        if not (step.verbatim and step.frame.plain and len(deltas) == 1) or marked:
            return
        if others or special or reading.usage or step.found:
            return
        (slot,) = deltas
        channel = self._answer.channel(slot.choice, slot.channel)
        assert channel is not None
        self._shortcuts.learn(step.frame, slot.path, channel, bare=not reading.news, scanned=step.scanned)

    def _suppress(self, step: Step) -> None:
        """Take out what must not follow a choice's finish: its text, and another finish."""
        reading = step.reading
        ended = {index for index in reading.opened if self._answer.choices[index].finished}
        kept, late = parted(reading.slots, self._answer.is_late)
        once, again = parted(reading.finishes, lambda finish: finish.choice in ended)
        for slot in late:
            slot.holder[slot.key] = ""
        tokens_kept, tokens_late = parted(reading.tokens, lambda tokens: tokens.choice in ended)
        for tokens in tokens_late:
            put_tokens(tokens, [])
        for finish in again:
            finish.holder[finish.key] = None
        if late:
            self.report.fault("text_after_finish")
        if again:
            self.report.fault("duplicate_finish")
        if late or again or tokens_late:
            step.changed = step.withheld = True
            reading.slots, reading.finishes, reading.tokens = kept, once, tokens_kept

    # ---- text

    def _slot(self, step: Step, slot: Slot) -> None:
        if slot.mode is Mode.DELTA:
            self._delta(step, slot)
        elif slot.mode is Mode.GATED:
            self._companions.gate(step, slot, self._encode)
        elif slot.mode is Mode.REPEAT:
            slot.holder[slot.key] = ""
            step.changed = True
        else:
            before = slot.holder[slot.key]
            if before is None:  # a finish that came twice
                return
            if self._scanner.is_too_long(slot) and not step.reading.error:
                raise TooLongError
            step.scanned += len(before) if isinstance(before, str) else 0
            verdict = self._scanner.place(slot, json_content=self._ask.json)
            if verdict.halted:
                raise HaltError
            if slot.holder[slot.key] != before:
                step.changed = True
                step.touched.add(id(slot.holder))
            step.found |= verdict.found

    def _delta(self, step: Step, slot: Slot) -> None:
        text = slot.holder[slot.key]
        channel = self._channel(step, slot)
        held = channel.held
        slot.holder[slot.key] = ""
        out = channel.feed(text)
        slot.holder[slot.key] = out
        step.passed.append(slot)
        step.fed[slot.channel] = (channel, slot)
        revealing = step.reading.revealing and (held or channel.held)
        if out != text or revealing:
            step.changed = step.withheld = True
        if channel.halted:
            raise HaltError
        if channel.full:
            raise TooLongError

    def _channel(self, step: Step, slot: Slot) -> Channel:
        channel = self._answer.channel(slot.choice, slot.channel)
        if channel is None:
            channel = self._answer.open(slot.channel, slot.name, slot.kind, slot.choice)
        if not channel.path:
            channel.template, channel.path = self._voice.text_event(step.event, slot.path)
            channel.frame = Frame(b"", None, event=_name_of(channel.template, step))
        return channel

    def _text_event(self, channel: Channel, text: str) -> JsonObject:
        """The channel's own event, saying ``text`` (the same object every time)."""
        put(channel.template, channel.path, text)
        return channel.template

    # ---- ends

    def _finish_choice(self, step: Step, finish: Finish) -> None:
        choice = self._answer.choices[finish.choice]
        if choice.finished:  # the event holds the choice twice
            finish.holder[finish.key] = None
            step.changed = True
            self.report.fault("duplicate_finish")
            return
        for key, channel in self._answer.of_choice(finish.choice):
            self._close(step, key, channel)
        self._shortcuts.forget_calls()
        for call in self._calls.all(finish.choice):
            step.before.append(self._release_call(call))
        choice.finished = True
        self.report.upstream_finish[finish.choice] = plain_reason(finish.reason)
        self.report.delivered_finish[finish.choice] = plain_reason(finish.reason)

    def _close_named(self, step: Step, name: str) -> None:
        """End the channels of that name, or whose names begin with it."""
        for key, channel in self._answer.named(name):
            self._close(step, key, channel)
            self._answer.end(key)

    def _close(self, step: Step, key: str, channel: Channel) -> None:
        """End a channel; its tail goes into the step's event if that carries the channel's text, else before it."""
        fed = step.fed.get(key)
        tail = channel.finish()
        if fed is not None and tail:
            fed[1].holder[fed[1].key] += tail
            step.changed = True
        elif tail:
            step.before.append(self._emit(self._text_event(channel, tail), channel.frame))
        self._answer.note(key, channel)
        if channel.halted:
            raise HaltError
        if channel.tokens is not None:
            channel.tokens.finish()
            if channel.path and not any(waiting is channel for _, waiting in step.tokens):
                self._send_tokens(step, channel, key, had_tail=bool(tail) and fed is None)
        step.before += channel.ungate()
        self._shortcuts.forget(channel)
        self._answer.close(key, channel)

    def _send_tokens(self, step: Step, channel: Channel, key: str, *, had_tail: bool) -> None:
        """Send the log probabilities of an ended channel with its tail, or by themselves."""
        assert channel.tokens is not None
        entries = channel.tokens.take(channel.released)
        if not entries:
            return
        event = channel.template if had_tail else self._text_event(channel, "")
        self._voice.attach_tokens(event, key.rpartition(".")[2], entries)
        frame = self._emit(event, channel.frame)
        if had_tail:
            step.before[-1] = frame
        else:
            step.before.append(frame)

    def close_all(self, ended: str, last: bytes = b"", *, with_calls: bool = False) -> bytes:
        """End the answer whose text has ended: the tails, then ``last``."""
        step = _empty_step()
        why = self._close_channels(step, with_calls=with_calls)
        if why is not None:
            return self.halt(why, step)
        self.end(ended)
        return b"".join((*step.before, last))

    def _close_channels(self, step: Step, *, with_calls: bool) -> str | None:
        """End all channels; their tails go before the step's event. Why that halts the answer, None if it does not."""
        try:
            for index in self._answer.choices:
                for key, channel in self._answer.of_choice(index):
                    self._close(step, key, channel)
                for call in self._calls.all(index) if with_calls else ():
                    if call.is_complete() and not call.is_longer_than(self._policy.answer_chars):
                        step.before.append(self._release_call(call))  # half a call is a wrong call
            for key, channel in self._answer.of_choice(None):
                self._close(step, key, channel)
            step.before += self._acts.all()
        except HaltError:
            return "content_filter"
        except DetectorError:
            return "detector_error"
        return None

    def end(self, ended: str) -> None:
        """Nothing more leaves. What is still held never does: its fate hung on text that will not come."""
        self.report.ended = ended
        self.done = True
        self._answer.break_off()

    def halt(self, why: str, step: Step | None = None) -> bytes:
        """What of the step came before the finding, then the API's own end."""
        out = self._before_end(step or _empty_step())
        if why == "detector_error":
            self.report.fault(why)
        return b"".join((*out, *self._stopped(Stop.FILTERED, why)))

    def cut(self, step: Step | None = None) -> bytes:
        """A text has reached its length: what is held of the answer is decided as at an end, then the API's own end."""
        self.report.fault(FAULT_TOO_LONG)
        out = b"".join(self._before_end(step or _empty_step()))
        tails = _empty_step()
        why = self._close_channels(tails, with_calls=True)
        if why is not None:
            return out + self.halt(why, tails)
        return b"".join((out, *tails.before, *self._stopped(Stop.LENGTH, "length")))

    def _before_end(self, step: Step) -> list[bytes]:
        """What of a step may leave though the answer ends in it."""
        out = list(step.before)
        for slot in step.passed:
            text = slot.holder[slot.key]
            if text:
                out.append(self._as_its_own(step, slot, text))
        return out

    def _stopped(self, why: Stop, ended: str) -> list[bytes]:
        """The API's own end in the middle of an answer."""
        still_open = {index: choice.opened for index, choice in self._answer.choices.items() if not choice.finished}
        if not self._answer.choices:
            still_open = {0: False}
        frames = self._voice.halt(self._latest, still_open, self._answer.said, why)
        self.report.delivered_finish.update(dict.fromkeys(still_open, why.value))
        self.end(ended)
        return frames

    def _as_its_own(self, step: Step, slot: Slot, text: str) -> bytes:
        event, path = self._voice.text_event(step.event, slot.path)
        put(event, path, text)
        if slot.choice is not None and step.reading.opened.get(slot.choice):
            choice = self._answer.choices[slot.choice]
            if not choice.opened:
                self._voice.add_role(event)
                choice.opened = True
        return self._emit(event, dataclasses.replace(step.frame, event=_name_of(event, step)))

    def reason(self) -> str:
        """How an answer ended of which every choice was finished: as its first choice did."""
        return common_reason(self.report.upstream_finish[min(self.report.upstream_finish)])

    # ---- tool calls

    def _hold(self, step: Step) -> bytes:
        """Hold a piece of a call; give the calls it shows to be complete."""
        piece = step.reading.call
        assert piece is not None
        choice = self._answer.choices[piece.choice]
        if choice.finished:
            self.report.fault("text_after_finish")
            return b""
        own = {id(slot) for slot in piece.slots}
        for slot in step.reading.slots:
            if id(slot) not in own:
                self._slot(step, slot)
        as_it_came = step.verbatim and step.frame.plain and not step.changed
        raw = step.frame.raw if as_it_came else self._encode(step.event, step.frame)
        brings_role = step.reading.opened[piece.choice] and not choice.opened
        taken = self._calls.take(piece, step.event, step.frame, raw, brings_role=brings_role)
        if taken is Taken.TOO_LATE:
            if any(slot.holder[slot.key].strip() for slot in piece.slots):
                self.report.fault("arguments_after_call")
            return b""
        if self._calls.size > self._policy.max_event_bytes:
            return self.fail("call_too_large")
        self._check_length(self._calls.latest(piece))
        if taken is Taken.BEGUN:
            self._shortcuts.forget_calls()
            held = any(channel.held for _, channel in self._answer.of_choice(piece.choice))
            for call in () if held else self._calls.complete(piece.choice):
                step.before.append(self._release_call(call))
        elif as_it_came and len(piece.slots) == 1 and not piece.id and not step.found:
            (slot,) = piece.slots
            call = self._calls.latest(piece)
            self._shortcuts.learn_call(step.frame, slot.path, call, call.texts[slot.channel], scanned=step.scanned)
        return b"".join([*self._roles(step.reading), *step.before])

    def _check_length(self, call: HeldCall | HeldBlock) -> None:
        """End the answer if a text of a call is too long: cut off it would be a wrong one. Raises TooLongError."""
        if call.is_longer_than(self._policy.answer_chars):
            raise TooLongError

    def _release_call(self, call: HeldCall) -> bytes:
        mark = self.report.mark()
        try:
            event = call.filtered(self._scanner)
        except (HaltError, DetectorError):
            self.report.withhold(mark)
            raise
        self.report.commit(mark)
        if call.brings_role:
            self._answer.choices[call.choice].opened = True
        return b"".join(call.raw) if event is None else self._encode(event, call.frame)

    def _roles(self, reading: Reading) -> list[bytes]:
        """The roles that are held with a call, for choices that must be opened before others go on."""
        frames = []
        for call in self._calls.roles():
            if call.choice not in reading.opened:
                event = self._voice.role_event(call.first, call.choice)
                call.brings_role = False
                if event is not None:
                    self._answer.choices[call.choice].opened = True
                    call.raw[0] = self._encode(call.first, call.frame)
                    frames.append(self._encode(event, call.frame))
        return frames

    # ---- calls that several kinds of events make up

    def _must_wait(self, reading: Reading) -> bool:
        """Whether an event may not overtake the calls that are held, and is no part of one."""
        free = reading.unordered or reading.error or reading.finishes
        return not free and not reading.block_begins and self._line.find(reading.block) is None

    def _hold_block(self, step: Step) -> bytes:
        key = step.reading.block or ""
        block = self._line.find(key)
        if block is None:
            if step.reading.block_begins:
                self._answer.begin(key)
            if self._answer.has_ended(key) or self._answer.is_over(step.reading):
                return self._after_end(step)
            self._shortcuts.forget_all()
            block = self._line.begin(key)
        self._line.add(block, step)
        self._check_length(block)
        if any(map(self._scanner.is_too_long, step.reading.slots)):
            raise TooLongError
        if block.ended:
            self._answer.end(key)
        return self._bounded(self._advance())

    def _after_end(self, step: Step) -> bytes:
        """An event of a call that has ended: it leaves if it says nothing more of it."""
        if step.reading.pieces or self._answer.is_over(step.reading):
            self.report.fault("arguments_after_call")
            self._voice.dropped(step.event)
            return b""
        return self._pass(step)

    def _bounded(self, out: bytes) -> bytes:
        return out + self.fail("call_too_large") if self._line.size > self._policy.max_event_bytes else out

    def _advance(self, *, force: bool = False) -> bytes:
        """What may leave of the line now; with ``force`` all of it."""
        out: list[bytes] = []
        while not self.done:
            first = self._line.next(force=force)
            if first is None:
                break
            if isinstance(first, Waiting):
                step = Step(first.event, self._voice.read(first.event), first.frame, first.verbatim)
                out.append(self._guarded(step))
            else:
                frames = self._released(first)
                # What was said before the call must be decided before it.
                if self.done or force or not self._acts.wait(frames, self._answer):
                    out.append(frames)
        return b"".join(out)

    def _released(self, block: HeldBlock) -> bytes:
        """The events of a held call, filtered."""
        self._answer.end(block.key)
        mark = self.report.mark()
        try:
            block.filter(self._scanner)
        except (HaltError, DetectorError) as error:
            self.report.withhold(mark)
            return self.halt("content_filter" if isinstance(error, HaltError) else "detector_error")
        self.report.commit(mark)
        return b"".join([self._sent(step) for step in block.steps])

    # ---- small things

    def _encode(self, event: JsonObject, frame: Frame | None) -> bytes:
        ascii_only = frame is None or frame.data is None or frame.data.isascii()
        return self._dialect.encode(jsontext.dump(event, ascii_only=ascii_only), frame)

    def _emit(self, event: JsonObject, frame: Frame | None) -> bytes:
        """An event that the upstream did not send."""
        self._voice.stamp(event, own=True)
        self._voice.sent(event)
        return self._encode(event, frame)

    def _seal(self, step: Step, *, early: bool) -> None:
        """Where the text under a signature was changed, put the original in the signature, sealed. Raises HaltError.

        ``early`` is before the event's own texts are read: a signature commonly comes after its text, but may come
        with it.
        """
        for seal in step.reading.seals:
            fed = step.fed.get(seal.channel)
            if fed is not None:
                self._close(step, seal.channel, fed[0])
                self._answer.end(seal.channel)
            if id(seal.holder) in step.touched and fed is None:
                raise HaltError  # a whole text, of which no original is kept
            if (early or fed is not None) and self._answer.is_edited(seal.channel):
                if not seal.restorable:
                    raise HaltError
                original = self._answer.original(seal.channel)
                seal.holder[seal.key] = sealed(self._policy, original, seal.holder[seal.key])
                step.changed = True


def _name_of(made: JsonObject, step: Step) -> bytes:
    """The event name of an event made after the step's: its type, where the upstream's name is the type."""
    kind, name = step.event.get("type"), step.frame.event
    made_kind = made.get("type")
    if isinstance(kind, str) and isinstance(made_kind, str) and kind == name.decode() and is_event_name(made_kind):
        return made_kind.encode()
    return name


def _empty_step() -> Step:
    """For what is sent with no event of the upstream."""
    return Step({}, Reading(), Frame(b"", None), verbatim=False)
