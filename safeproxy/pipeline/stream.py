"""A streamed answer: bytes in, safe bytes out.

Each upstream event is the template of what is sent in its place; only its text changes. Events of which nothing
changes pass byte for byte. State is kept per channel. What is held of a channel leaves with a later event of that
channel, or, when its choice ends, in an event of its own before the finish.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from safeproxy.core.filter import StreamFilter
from safeproxy.errors import DetectorError, UpstreamError
from safeproxy.events import ChannelKind
from safeproxy.pipeline.blocks import HeldBlock
from safeproxy.pipeline.calls import HeldCall, HeldCalls, Taken
from safeproxy.pipeline.channel import Channel
from safeproxy.pipeline.json_channel import JsonChannel
from safeproxy.pipeline.policy import Policy, Report, common_reason, plain_reason
from safeproxy.pipeline.rename import rename_keys
from safeproxy.pipeline.repeats import Repeats
from safeproxy.pipeline.shortcut import Shortcuts, Template
from safeproxy.pipeline.step import Choice, Step, parted, put, put_tokens, release_tokens
from safeproxy.pipeline.tokens import TokenQueue
from safeproxy.pipeline.whole import TEXTS_LIMIT, HaltError, Scanner, sealed
from safeproxy.wire import jsontext
from safeproxy.wire.dialect import Ask, Dialect, Finish, JsonObject, Mode, Reading, Slot, Tokens
from safeproxy.wire.sse import Frame, encode_comment

#: Longer comments are dropped: keep-alives are short.
_COMMENT_LIMIT = 256

_BROKEN = "The answer could not be carried to its end."
_INCOMPLETE = "The upstream ended its answer before it was finished."


class StreamPipeline:
    """Filters one streamed answer. `feed`, `finish` and `fail` never raise on any input.

    Once ``done`` is true nothing more will leave, and the upstream may be closed.
    """

    def __init__(
        self, dialect: Dialect, policy: Policy, ask: Ask | None = None, *, report: Report | None = None
    ) -> None:
        self.report = Report() if report is None else report
        self.done = False
        self._ask = ask = ask or Ask()
        self.dialect = self._dialect = dialect
        self._voice = dialect.voice(dataclasses.replace(ask, notice="") if ask.json else ask)
        self._policy = policy
        self._decoder = dialect.decoder(policy.max_event_bytes)
        self._scanner = Scanner(policy, self.report)
        self._loose: dict[str, Channel] = {}  # channels of no choice
        self._choices: dict[int, Choice] = {}
        self._calls = HeldCalls()
        self._block: HeldBlock | None = None
        self._closed: set[str] = set()  # channels and calls that have ended before their choice did
        self._repeats = Repeats()
        self._texts: dict[str, tuple[str, str]] = {}  # ended channels, original and delivered, if the voice echoes
        self._shortcuts = Shortcuts(self._voice.tick)
        self._opened_channels = 0
        self._latest: JsonObject = {}
        self._constants: JsonObject = {}
        if self._voice.echoes:
            self._scanner.keep_echoes()

    @property
    def finished(self) -> bool:
        """Whether every choice there was has ended."""
        return bool(self._choices) and all(choice.finished for choice in self._choices.values())

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the body, cut anywhere; give what may be sent now."""
        if self.done:
            return b""
        if self._block is None and self._decoder.idle and len(data) <= self._policy.max_event_bytes:
            # What follows a template is one frame and nothing else, so it need not be cut.
            found = self._shortcuts.find(data)
            if found is not None:
                return self._take_shortcut(*found, data)
        return self._run(self._decoder.feed(data))

    def finish(self) -> bytes:
        """The upstream ended its body; give what is left to be sent."""
        if self.done:
            return b""
        out = self._run(self._decoder.finish())
        if self.done:
            return out
        if not self._dialect.ends_itself:
            return out + self._close_all("stop")
        if self.finished:
            return out + self._close_all(self._reason())
        self.report.fault("no_finish")
        self._end("upstream_incomplete")
        return out + self._error(_INCOMPLETE, "upstream_incomplete")

    def fail(self, fault: str) -> bytes:
        """The upstream broke; give the API's error event, and nothing of what is held. ``fault`` is a short code."""
        if self.done:
            return b""
        self.report.fault(fault)
        self._end("upstream_error")
        return self._error(_BROKEN, "upstream_error")

    # ---- frames

    def _run(self, frames: Iterable[Frame]) -> bytes:
        out: list[bytes] = []
        try:
            for frame in frames:
                out.append(self._take(frame))
                if self.done:
                    break
        except UpstreamError as error:
            out.append(self.fail(error.fault))
        return out[0] if len(out) == 1 else b"".join(out)

    def _take(self, frame: Frame) -> bytes:
        if frame.plain and self._block is None:
            found = self._shortcuts.find(frame.raw)
            if found is not None:
                return self._take_shortcut(*found, frame.raw)
        speak = self._dialect.comments
        out = b"".join(map(self._comment, frame.comments)) if frame.comments and speak else b""
        if not frame.data:
            return out + self._without_data(frame)
        self.report.events += 1
        if self._dialect.is_end(frame.data):
            return out + self._end_marker(frame)
        try:
            event, certain = jsontext.parse(frame.data)
        except ValueError:
            return out + self.fail("malformed_event")
        if not isinstance(event, dict):
            return out + self.fail("malformed_event")
        return out + self._event(event, frame, certain and jsontext.is_safe(frame.data))

    def _take_shortcut(self, template: Template, text: str, raw: bytes) -> bytes:
        self.report.events += 1
        number = template.number
        if number is not None and self._repeats.is_one(number, raw):
            self.report.fault("repeated_event")
            return b""
        if template.scanned:
            self.report.count(template.scanned, 0, template.scanned)
        channel = template.owner
        if isinstance(channel, HeldCall):
            assert template.pieces is not None
            self._calls.go_on(channel, template.pieces, text, raw)
            return b"" if self._calls.size <= self._policy.max_event_bytes else self.fail("call_too_large")
        try:
            out = channel.feed(text)
        except DetectorError:
            return self._halt("detector_error")
        if out == text and jsontext.is_safe(raw):
            sent = raw if number is None else self._numbered(template, None, number, raw)
        elif out or not (template.bare or channel.halted):
            sent = template.frame(out) if number is None else self._numbered(template, out, number, raw)
        else:
            sent = b""
            self._voice.dropped({})
        if channel.halted:
            return sent + self._halt("content_filter")
        return sent + b"".join(channel.ungate()) if channel.gated else sent

    def _numbered(self, template: Template, text: str | None, number: int, raw: bytes) -> bytes:
        """The frame that the template met, with the text if it is another, and with the number that is due."""
        due = self._voice.renumber(number)
        return raw if text is None and due == number else template.frame(text, due)

    def _without_data(self, frame: Frame) -> bytes:
        return b"retry: " + frame.retry + b"\n\n" if frame.retry and self._dialect.comments else b""

    def _comment(self, comment: bytes) -> bytes:
        """The comment if it is short and nothing is found in it."""
        try:
            text = comment.decode()
            if len(comment) > _COMMENT_LIMIT or not self._scanner.is_clean(text, "comment", ChannelKind.OTHER):
                return b""
        except (UnicodeDecodeError, DetectorError):
            return b""
        return encode_comment(comment)

    def _end_marker(self, frame: Frame) -> bytes:
        raw = frame.raw if frame.plain else self._dialect.encode(frame.data or b"", frame)
        if self.finished:
            return self._close_all(self._reason(), raw)
        if not self._dialect.ends_itself:
            return self._close_all("stop", raw)
        self.report.fault("no_finish")
        return self._close_all("upstream_incomplete", raw, with_calls=True)

    def _event(self, event: JsonObject, frame: Frame, certain: bool) -> bytes:
        if self._repeats.is_one(self._mark(event, frame), frame.raw):
            self.report.fault("repeated_event")
            return b""
        parts = self._voice.split(event, self._calls.holds)
        out = []
        for part in parts:
            out.append(self._part(part, frame, certain and len(parts) == 1))
            if self.done:
                break
        return b"".join(out)

    def _mark(self, event: JsonObject, frame: Frame) -> object:
        """What numbers the event within the stream."""
        return self._voice.mark(event) or frame.id or None

    def _part(self, event: JsonObject, frame: Frame, verbatim: bool) -> bytes:
        step = Step(event, self._voice.read(event), frame, verbatim)
        if self._block is not None and self._must_wait(step.reading):
            self._block.wait(event, frame, verbatim=verbatim)
            return self._bounded(b"")
        try:
            if not self._admit(step.reading):
                return self.fail("too_many_texts")
            if step.reading.keys and rename_keys(step.reading.keys, self._scanner):
                step.changed = True
                step.reading = self._voice.read(event)
            self.report.note(step.reading)
            self._latest = event
            if step.reading.call is not None:
                return self._hold(step)
            if step.reading.block is not None:
                return self._hold_block(step)
            if self._block is not None and step.reading.finishes:
                return self._release_block() + self._after_block(event, frame, verbatim and not step.changed)
            return self._pass(step)
        except HaltError:
            return self._halt("content_filter", step)
        except DetectorError:
            return self._halt("detector_error", step)

    def _admit(self, reading: Reading) -> bool:
        """Make the event's choices known; False when it would be too many things to keep state of."""
        if len(reading.slots) + len(reading.keys) > TEXTS_LIMIT:
            return False
        choices = reading.opened.keys() - self._choices.keys()
        channels = {
            (slot.choice, slot.channel)
            for slot in reading.slots
            if slot.mode is Mode.DELTA and (slot.choice in choices or slot.channel not in self._home(slot.choice))
        }
        known = self._opened_channels + len(self._choices) + self._calls.count()
        if known + len(choices) + len(channels) > self._policy.max_channels:
            return False
        self._choices.update((index, Choice()) for index in sorted(choices))
        return True

    def _home(self, choice: int | None) -> dict[str, Channel]:
        return self._loose if choice is None else self._choices[choice].channels

    # ---- an event that is no piece of a call

    def _pass(self, step: Step) -> bytes:
        reading = step.reading
        self._suppress(step)
        whole = not step.changed
        for name in reading.closes:
            self._close_named(step, name)
        self._seal(step)
        for tokens in reading.tokens:
            self._queue_tokens(step, tokens)
        for slot in reading.slots:
            self._slot(step, slot)
        for finish in reading.finishes:
            self._finish_choice(step, finish)
        if whole:
            self._learn(step)
        release_tokens(step)
        self._drop_anchors(step)
        for channel, _ in step.fed.values():
            step.after += channel.ungate()
        sent = self._sent(step)
        out = b"".join([*step.before, *self._roles(reading), sent, *step.after])
        if reading.error:
            self.report.fault("upstream_error_event")
            self._end("upstream_error")
        return out

    def _sent(self, step: Step) -> bytes:
        """The event itself, as it may be sent; nothing if there is nothing left in it."""
        reading = step.reading
        if step.void or (step.changed and self._says_nothing(step)):
            self._voice.dropped(step.event)
            return b""
        for index, has_role in reading.opened.items():
            self._choices[index].opened |= has_role
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
            and not any(role and not self._choices[index].opened for index, role in reading.opened.items())
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
        channel = self._home(slot.choice)[slot.channel]
        self._shortcuts.learn(step.frame, slot.path, channel, bare=not reading.news, scanned=step.scanned)

    def _suppress(self, step: Step) -> None:
        """Take out what must not follow a choice's finish: its text, and another finish."""
        reading = step.reading
        ended = {index for index in reading.opened if self._choices[index].finished}
        if not ended and not self._closed:
            return
        kept, late = parted(reading.slots, lambda slot: self._is_late(slot, ended))
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

    def _is_late(self, slot: Slot, ended: set[int]) -> bool:
        """Whether a text comes after its end: clients would put the two halves of a finding together."""
        if slot.choice in ended and slot.mode is not Mode.WHOLE:
            return True
        return slot.mode is Mode.DELTA and slot.channel in self._closed

    # ---- text

    def _slot(self, step: Step, slot: Slot) -> None:
        if slot.mode is Mode.DELTA:
            self._delta(step, slot)
        elif slot.mode is Mode.GATED:
            self._gate(step, slot)
        elif slot.mode is Mode.REPEAT:
            slot.holder[slot.key] = ""
            step.changed = True
        else:
            before = slot.holder[slot.key]
            if before is None:  # a finish that came twice
                return
            step.scanned += len(before) if isinstance(before, str) else 0
            verdict = self._scanner.place(slot, json_content=self._ask.json)
            if verdict.halted:
                raise HaltError
            step.changed |= slot.holder[slot.key] != before
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

    def _channel(self, step: Step, slot: Slot) -> Channel:
        home = self._home(slot.choice)
        channel = home.get(slot.channel)
        if channel is None:
            channel = self._new_channel(slot.channel, slot.name, slot.kind, slot.choice)
        if not channel.path:
            channel.template, channel.path = self._voice.text_event(step.event, slot.path)
            channel.frame = Frame(b"", None, event=_name_of(channel.template, step))
        return channel

    def _new_channel(self, key: str, name: str, kind: ChannelKind, choice: int | None) -> Channel:
        if self._ask.json and kind is ChannelKind.CONTENT and choice is not None:
            channel: Channel = JsonChannel(name, kind, choice, self._policy, self.report, self._scanner)
        else:
            channel = Channel(name, kind, choice, self._policy, self.report, keep=self._voice.echoes)
        self._home(choice)[key] = channel
        self._opened_channels += 1
        self.report.watch(channel)
        return channel

    def _text_event(self, channel: Channel, text: str) -> JsonObject:
        """The channel's own event, saying ``text`` (the same object every time)."""
        put(channel.template, channel.path, text)
        return channel.template

    # ---- audio, which waits for its transcript

    def _gate(self, step: Step, slot: Slot) -> None:
        channel = self._home(slot.choice).get(slot.channel)
        if channel is None:
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
        frame = self._encode(event, step.frame)
        if not channel.gate(frame, self._policy.max_event_bytes):
            self.report.fault("audio_dropped")

    # ---- log probabilities

    def _queue_tokens(self, step: Step, tokens: Tokens) -> None:
        """Let log probabilities wait for the text they repeat: before it is fed, so that no edit of it is missed."""
        channel = self._home(tokens.choice).get(tokens.channel)
        if channel is None:
            channel = self._new_channel(tokens.channel, tokens.channel, tokens.kind, tokens.choice)
        if channel.tokens is None:
            side = StreamFilter(
                self._policy.rules, channel=tokens.name, kind=tokens.kind, hash_key=self._policy.hash_key
            )
            channel.tokens = TokenQueue(lambda token: self._scanner.is_clean(token, tokens.name, tokens.kind), side)
        slots = [s for s in step.reading.slots if s.channel == tokens.channel and s.choice == tokens.choice]
        channel.expect(tokens.holder[tokens.key], "".join(slot.holder[slot.key] for slot in slots))
        step.tokens.append((tokens, channel))

    # ---- ends

    def _finish_choice(self, step: Step, finish: Finish) -> None:
        choice = self._choices[finish.choice]
        if choice.finished:  # the event holds the choice twice
            finish.holder[finish.key] = None
            step.changed = True
            self.report.fault("duplicate_finish")
            return
        for key, channel in list(choice.channels.items()):
            self._close(step, key, channel)
        self._shortcuts.forget_calls()
        for call in self._calls.all(finish.choice):
            step.before.append(self._release_call(call))
        choice.finished = True
        self.report.upstream_finish[finish.choice] = plain_reason(finish.reason)
        self.report.delivered_finish[finish.choice] = plain_reason(finish.reason)

    def _close_named(self, step: Step, name: str) -> None:
        """End the channels of that name, or whose names begin with it."""
        homes = [self._loose, *(choice.channels for choice in self._choices.values())]
        for home in homes:
            for key in [key for key in home if key == name or key.startswith(name + ".")]:
                self._close(step, key, home[key])
                self._closed.add(key)

    def _close(self, step: Step, key: str, channel: Channel) -> None:
        """End a channel; its tail goes into the step's event if that carries the channel's text, else before it."""
        fed = step.fed.get(key)
        tail = channel.finish()
        if channel.edited and channel.choice is not None:
            self._choices[channel.choice].edited.add(key)
        if fed is not None and tail:
            fed[1].holder[fed[1].key] += tail
            step.changed = True
        elif tail:
            step.before.append(self._emit(self._text_event(channel, tail), channel.frame))
        if self._voice.echoes:
            as_json = isinstance(channel, JsonChannel)
            self._texts[key] = channel.original, channel.said
            self._scanner.remember(channel.original, channel.said, channel.kind, as_json=as_json)
        if channel.halted:
            raise HaltError
        if channel.tokens is not None:
            channel.tokens.finish()
            if channel.path and not any(waiting is channel for _, waiting in step.tokens):
                self._send_tokens(step, channel, key, had_tail=bool(tail) and fed is None)
        step.before += channel.ungate()
        del self._home(channel.choice)[key]
        self._shortcuts.forget(channel)
        self.report.settle(channel)

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

    def _close_all(self, ended: str, last: bytes = b"", *, with_calls: bool = False) -> bytes:
        """End the answer whose text has ended: the tails, then ``last``."""
        step = _empty_step()
        try:
            for index, choice in self._choices.items():
                for key, channel in list(choice.channels.items()):
                    self._close(step, key, channel)
                for call in self._calls.all(index) if with_calls else ():
                    step.before.append(self._release_call(call))
            if self._block is not None and with_calls:
                step.before.append(self._release_block())
            for key, channel in list(self._loose.items()):
                self._close(step, key, channel)
        except HaltError:
            return self._halt("content_filter", step)
        except DetectorError:
            return self._halt("detector_error", step)
        self._end(ended)
        return b"".join((*step.before, last))

    def _end(self, ended: str) -> None:
        """Nothing more leaves. What is still held never does: its fate hung on text that will not come."""
        self.report.ended = ended
        self.done = True
        for home in (self._loose, *(choice.channels for choice in self._choices.values())):
            for channel in home.values():
                channel.break_off()
                self.report.settle(channel)
            home.clear()

    def _halt(self, why: str, step: Step | None = None) -> bytes:
        """What of the step came before the finding, then the API's own end."""
        step = step or _empty_step()
        out = list(step.before)
        for slot in step.passed:
            text = slot.holder[slot.key]
            if text:
                out.append(self._before_halt(step, slot, text))
        still_open = {index: choice.opened for index, choice in self._choices.items() if not choice.finished}
        if not self._choices:
            still_open = {0: False}
        out += self._voice.halt(self._latest, still_open, self._said)
        self.report.delivered_finish.update(dict.fromkeys(still_open, "content_filter"))
        if why == "detector_error":
            self.report.fault(why)
        self._end(why)
        return b"".join(out)

    def _before_halt(self, step: Step, slot: Slot, text: str) -> bytes:
        event, path = self._voice.text_event(step.event, slot.path)
        put(event, path, text)
        if slot.choice is not None and step.reading.opened.get(slot.choice):
            choice = self._choices[slot.choice]
            if not choice.opened:
                self._voice.add_role(event)
                choice.opened = True
        return self._emit(event, dataclasses.replace(step.frame, event=_name_of(event, step)))

    def _said(self, key: str) -> str:
        """What was delivered of a channel, of one that has ended, too."""
        for home in (self._loose, *(choice.channels for choice in self._choices.values())):
            if key in home:
                return home[key].said
        return self._texts.get(key, ("", ""))[1]

    def _error(self, message: str, code: str) -> bytes:
        return self._voice.error_frame(message, code)

    def _reason(self) -> str:
        """How an answer ended of which every choice was finished: as its first choice did."""
        return common_reason(self.report.upstream_finish[min(self.report.upstream_finish)])

    # ---- tool calls

    def _hold(self, step: Step) -> bytes:
        """Hold a piece of a call; give the calls it shows to be complete."""
        piece = step.reading.call
        assert piece is not None
        choice = self._choices[piece.choice]
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
        if taken is Taken.BEGUN:
            self._shortcuts.forget_calls()
            for call in self._calls.complete(piece.choice):
                step.before.append(self._release_call(call))
        elif as_it_came and len(piece.slots) == 1 and not piece.id and not step.found:
            (slot,) = piece.slots
            call = self._calls.latest(piece)
            pieces = call.texts[slot.channel].pieces
            self._shortcuts.learn_call(step.frame, slot.path, call, pieces, scanned=step.scanned)
        return b"".join([*self._roles(step.reading), *step.before])

    def _release_call(self, call: HeldCall) -> bytes:
        event = call.filtered(self._scanner)
        if call.brings_role:
            self._choices[call.choice].opened = True
        return b"".join(call.raw) if event is None else self._encode(event, call.frame)

    def _roles(self, reading: Reading) -> list[bytes]:
        """The roles that are held with a call, for choices that must be opened before others go on."""
        frames = []
        for call in self._calls.roles():
            if call.choice not in reading.opened:
                event = self._voice.role_event(call.first, call.choice)
                call.brings_role = False
                if event is not None:
                    self._choices[call.choice].opened = True
                    call.raw[0] = self._encode(call.first, call.frame)
                    frames.append(self._encode(event, call.frame))
        return frames

    # ---- calls that several kinds of events make up

    def _must_wait(self, reading: Reading) -> bool:
        """Whether an event may not overtake the call that is held."""
        assert self._block is not None
        free = reading.unordered or reading.error or reading.finishes
        return reading.block != self._block.key and not free

    def _hold_block(self, step: Step) -> bytes:
        if self._block is None:
            key = step.reading.block or ""
            if step.reading.block_begins:
                self._closed.discard(key)
            if key in self._closed or self._is_over(step.reading):
                return self._after_end(step)
            self._shortcuts.forget_all()
            self._block = HeldBlock(key)
        self._block.add(step)
        return self._bounded(self._release_block() if step.reading.block_ends else b"")

    def _is_over(self, reading: Reading) -> bool:
        """Whether a choice that the event belongs to has ended."""
        choices = {slot.choice for slot in (*reading.pieces, *reading.slots)} | reading.opened.keys()
        return any(index is not None and self._choices[index].finished for index in choices if index in self._choices)

    def _after_end(self, step: Step) -> bytes:
        """An event of a call that has ended: it leaves if it says nothing more of it."""
        if step.reading.pieces or self._is_over(step.reading):
            self.report.fault("arguments_after_call")
            self._voice.dropped(step.event)
            return b""
        return self._pass(step)

    def _bounded(self, out: bytes) -> bytes:
        if self._block is not None and self._block.size > self._policy.max_event_bytes:
            return out + self.fail("call_too_large")
        return out

    def _release_block(self) -> bytes:
        """The events of the held call, filtered, and those that waited for them. Raises HaltError."""
        block, self._block = self._block, None
        assert block is not None
        self._closed.add(block.key)
        block.filter(self._scanner)
        out = [self._sent(step) for step in block.steps]
        for one in block.behind:
            if self.done:
                break
            out.append(self._part(one.event, one.frame, one.verbatim))
        return b"".join(out)

    def _after_block(self, event: JsonObject, frame: Frame, verbatim: bool) -> bytes:
        return b"" if self.done else self._part(event, frame, verbatim)

    # ---- small things

    def _encode(self, event: JsonObject, frame: Frame | None) -> bytes:
        ascii_only = frame is None or frame.data is None or frame.data.isascii()
        return self._dialect.encode(jsontext.dump(event, ascii_only=ascii_only), frame)

    def _emit(self, event: JsonObject, frame: Frame | None) -> bytes:
        """An event that the upstream did not send."""
        self._voice.stamp(event, own=True)
        self._voice.sent(event)
        return self._encode(event, frame)

    def _drop_anchors(self, step: Step) -> None:
        for anchor in step.reading.anchors:
            if self._is_edited(anchor.channel) and anchor.holder[anchor.key]:
                step.void |= not isinstance(anchor.holder[anchor.key], list)
                anchor.holder[anchor.key] = []
                step.changed = True

    def _seal(self, step: Step) -> None:
        """Where the text under a signature was changed, put the original in the signature, sealed. Raises HaltError."""
        for seal in step.reading.seals:
            if self._is_edited(seal.channel):
                original = self._texts.get(seal.channel, ("", ""))[0]
                seal.holder[seal.key] = sealed(self._policy, original, seal.holder[seal.key])
                step.changed = True

    def _is_edited(self, channel: str) -> bool:
        return any(
            channel in choice.edited or (channel in choice.channels and choice.channels[channel].edited)
            for choice in self._choices.values()
        )


def _name_of(made: JsonObject, step: Step) -> bytes:
    """The event name of an event made after the step's: its type, where the upstream's name is the type."""
    kind, name = step.event.get("type"), step.frame.event
    made_kind = made.get("type")
    same = isinstance(kind, str) and isinstance(made_kind, str) and kind.encode() == name
    return made_kind.encode() if same and made_kind else name


def _empty_step() -> Step:
    """For what is sent with no event of the upstream."""
    return Step({}, Reading(), Frame(b"", None), verbatim=False)
