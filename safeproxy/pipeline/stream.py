"""A streamed answer: bytes in, safe bytes out.

Bytes become frames, frames events; most frames need not be parsed, see `safeproxy.pipeline.shortcut`. What becomes of
the events is said in `safeproxy.pipeline.events`.
"""

from __future__ import annotations

from collections.abc import Iterable

from safeproxy.errors import DetectorError, UpstreamError
from safeproxy.events import ChannelKind
from safeproxy.pipeline.events import Events
from safeproxy.pipeline.hidden import HiddenUsage
from safeproxy.pipeline.policy import Policy, Report
from safeproxy.pipeline.repeats import Repeats
from safeproxy.pipeline.shortcut import Template
from safeproxy.wire import jsontext
from safeproxy.wire.dialect import Ask, Dialect, JsonObject
from safeproxy.wire.sse import Frame, encode_comment

#: Longer comments are dropped: keep-alives are short.
_COMMENT_LIMIT = 256

_INCOMPLETE = "The upstream ended its answer before it was finished."


class StreamPipeline:
    """Filters one streamed answer. `feed`, `finish` and `fail` never raise on any input.

    Once ``done`` is true nothing more will leave, and the upstream may be closed.
    """

    def __init__(
        self, dialect: Dialect, policy: Policy, ask: Ask | None = None, *, report: Report | None = None
    ) -> None:
        self.report = Report() if report is None else report
        self.dialect = dialect
        self._events = Events(dialect, policy, ask or Ask(), self.report)
        self._voice = self._events.voice
        self._shortcuts = self._events.shortcuts
        self._decoder = dialect.decoder(policy.max_event_bytes)
        self._limit = policy.max_event_bytes
        self._repeats = Repeats()
        self._hidden = HiddenUsage(self.report) if ask is not None and ask.hides_usage else None

    @property
    def done(self) -> bool:
        """Whether nothing more will leave."""
        return self._events.done

    @property
    def finished(self) -> bool:
        """Whether every choice there was has ended."""
        return self._events.finished

    @property
    def begun(self) -> bool:
        """Whether an answer has begun that has not ended."""
        return self._events.begun and not self.finished

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the body, cut anywhere; give what may be sent now."""
        events = self._events
        if events.done:
            return b""
        if events.in_order and self._decoder.idle and len(data) <= self._limit:
            # What follows a template is one frame and nothing else, so it need not be cut.
            shown = data if self._hidden is None else self._hidden.shown(data)
            found = self._shortcuts.find(shown)
            if found is not None:
                return self._follow(*found, shown)
        return self._run(self._decoder.feed(data))

    def finish(self) -> bytes:
        """The upstream ended its body; give what is left to be sent."""
        events = self._events
        if events.done:
            return b""
        out = self._run(self._decoder.finish())
        if events.done:
            return out
        if not self.dialect.ends_itself and self.report.events:
            return out + events.close_all("stop")
        if events.finished:
            return out + events.close_all(events.reason())
        self.report.fault("no_finish")
        return out + events.break_off("upstream_incomplete", _INCOMPLETE)

    def fail(self, fault: str) -> bytes:
        """The upstream broke; give the API's error event, and nothing of what is held. ``fault`` is a short code."""
        return self._events.fail(fault)

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
        if frame.plain and self._events.in_order:
            raw = frame.raw if self._hidden is None else self._hidden.shown(frame.raw)
            found = self._shortcuts.find(raw)
            if found is not None:
                return self._follow(*found, raw)
        speak = self.dialect.comments
        out = b"".join(map(self._comment, frame.comments)) if frame.comments and speak else b""
        if not frame.data:
            return out + self._without_data(frame)
        self.report.events += 1
        if self.dialect.is_end(frame.data):
            return out + self._end_marker(frame)
        try:
            event, certain = jsontext.parse(frame.data)
        except ValueError:
            return out + self.fail("malformed_event")
        if not isinstance(event, dict):
            return out + self.fail("malformed_event")
        if self._hidden is not None:
            shown = self._hidden.take(event, frame)
            if shown is None:
                return out
            frame, certain = shown[0], certain and shown[1]
        return out + self._event(event, frame, certain and jsontext.is_safe(frame.data or b""))

    def _follow(self, template: Template, text: str, raw: bytes) -> bytes:
        self.report.events += 1
        number = template.number(raw)
        if number is not None:
            mark = self._voice.mark({self._voice.tick or "": number})
            if mark is not None and self._repeats.is_one(mark, raw):
                self.report.fault("repeated_event")
                return b""
        return self._events.go_on(template, text, raw, number)

    def _without_data(self, frame: Frame) -> bytes:
        return b"retry: " + frame.retry + b"\n\n" if frame.retry and self.dialect.comments else b""

    def _comment(self, comment: bytes) -> bytes:
        """The comment if it is short and nothing is found in it."""
        try:
            text = comment.decode()
            if len(comment) > _COMMENT_LIMIT or not self._events.scanner.is_clean(text, "comment", ChannelKind.OTHER):
                return b""
        except (UnicodeDecodeError, DetectorError):
            return b""
        return encode_comment(comment)

    def _end_marker(self, frame: Frame) -> bytes:
        events = self._events
        raw = frame.raw if frame.plain else self.dialect.encode(frame.data or b"", frame)
        if events.finished:
            return events.close_all(events.reason(), raw)
        if not self.dialect.ends_itself:
            return events.close_all("stop", raw)
        # The text has ended, so its tail leaves; that the answer was not finished must be told all the same.
        self.report.fault("no_finish")
        error = self._voice.error_frame(_INCOMPLETE, "upstream_incomplete")
        return events.close_all("upstream_incomplete", error, with_calls=True)

    def _event(self, event: JsonObject, frame: Frame, certain: bool) -> bytes:
        if self._repeats.is_one(self._mark(event, frame), frame.raw):
            self.report.fault("repeated_event")
            return b""
        if self.dialect.typed and frame.event and "type" not in event:
            event = {"type": frame.event.decode(), **event}
        parts = self._events.split(event)
        out = []
        for part in parts:
            out.append(self._events.part(part, frame, certain and len(parts) == 1))
            if self.done:
                break
        return b"".join(out)

    def _mark(self, event: JsonObject, frame: Frame) -> object:
        """What numbers the event within the stream."""
        return self._voice.mark(event) or frame.id or None
