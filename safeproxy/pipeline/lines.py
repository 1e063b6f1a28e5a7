"""A file of answers, one JSON object a line, as batch jobs leave them: each line is a whole answer and stands alone.

A line that is halted ends as its API ends an answer; the others are none the worse for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from safeproxy.errors import DetectorError, UpstreamError
from safeproxy.pipeline.body import BodyPipeline
from safeproxy.pipeline.policy import Policy, Report
from safeproxy.pipeline.rename import filter_alone
from safeproxy.pipeline.whole import TEXTS_LIMIT, HaltError, Scanner
from safeproxy.wire import jsontext
from safeproxy.wire.base import compact, read_anything
from safeproxy.wire.dialect import Dialect, JsonObject
from safeproxy.wire.leaves import is_exempt
from safeproxy.wire.ndjson import NdjsonDecoder, encode_line
from safeproxy.wire.sse import Frame

#: Where a line holds the answer: OpenAI's batches, Anthropic's, Gemini's. Else the line is the answer.
_PLACES: tuple[tuple[str, ...], ...] = (("response", "body"), ("result", "message"), ("response",))


class LinesPipeline:
    """Filters a file of answers. `feed`, `finish` and `fail` never raise on any input.

    ``dialect_of`` tells the dialect of an answer by its shape.
    """

    def __init__(self, dialect_of: Callable[[Any], Dialect], policy: Policy) -> None:
        self.report = Report()
        self.done = False
        self._dialect_of = dialect_of
        self._policy = policy
        self._decoder = NdjsonDecoder(policy.max_event_bytes)
        self._scanner = Scanner(policy, self.report)
        self._first = True
        self._cut = False  # whether any line was halted or withheld

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the file; give the lines they complete, filtered."""
        return b"" if self.done else self._run(self._decoder.feed(data))

    def finish(self) -> bytes:
        """The file has ended; give what is left of it."""
        if self.done:
            return b""
        out = self._run(self._decoder.finish())
        if not self.done:
            self._end("content_filter" if self._cut else "stop")
        return out

    def fail(self, fault: str) -> bytes:
        """The upstream broke; a last line says so."""
        if self.done:
            return b""
        self.report.fault(fault)
        self._end("upstream_error")
        return encode_line(compact({"error": {"message": "The file could not be read to its end.", "code": fault}}))

    def _run(self, frames: Iterable[Frame]) -> bytes:
        out: list[bytes] = []
        try:
            for frame in frames:
                out.append(self._line(frame))
                if self.done:
                    break
        except UpstreamError as error:
            out.append(self.fail(error.fault))
        return b"".join(out)

    def _line(self, frame: Frame) -> bytes:
        first, self._first = self._first, False
        try:
            line, certain = jsontext.parse(frame.data or b"")
        except ValueError:
            line, certain = None, True
        if not isinstance(line, dict):
            # A file whose first line is none is no file of answers; a single bad line is none of the others' fault.
            return self.fail("malformed_event") if first else self._withheld("malformed_event", {})
        names = {key: line[key] for key in ("custom_id", "key") if _is_name(line.get(key))}
        try:
            line, changed = self._filtered(line)
        except (HaltError, DetectorError):
            return self._withheld("line_withheld", names)
        data = frame.data or b""
        if not changed and certain and jsontext.is_safe(data) and frame.raw.rstrip(b"\n") == data:
            return frame.raw
        return encode_line(jsontext.dump(line, ascii_only=frame.raw.isascii()))

    def _filtered(self, line: JsonObject) -> tuple[JsonObject, bool]:
        """The line as it may be sent, and whether that changed it. Raises HaltError and DetectorError."""
        holder, key = _answer(line)
        if holder is None:
            return self._inside(line)
        answer = holder.pop(key)
        changed = self._around(line)
        holder[key], edited = self._inside(answer)
        return line, changed or edited

    def _withheld(self, fault: str, names: JsonObject) -> bytes:
        self.report.fault(fault)
        self._cut = True
        error = {"message": "This line is withheld.", "code": "content_filter"}
        return encode_line(compact({**names, "error": error}))

    def _inside(self, answer: Any) -> tuple[Any, bool]:
        """The answer, filtered as if it had come by itself, and whether that changed it."""
        pipeline = BodyPipeline(self._dialect_of(answer), self._policy, report=self.report)
        before = jsontext.dump(answer, ascii_only=True)
        _, after = pipeline.run(before, 200)
        self.report.next_answer()
        self._cut |= self.report.ended in ("content_filter", "detector_error")
        return jsontext.parse(after)[0], after != before

    def _around(self, line: JsonObject) -> bool:
        """Filter what stands beside the answer; whether that changed anything."""
        reading = read_anything(line, "line")
        if len(reading.slots) + len(reading.keys) > TEXTS_LIMIT:
            raise DetectorError("too many texts in one line")
        return filter_alone(reading, lambda: read_anything(line, "line"), self._scanner)

    def _end(self, ended: str) -> None:
        self.done = True
        self.report.ended = ended


def _answer(line: JsonObject) -> tuple[JsonObject | None, str]:
    """The object that holds the line's answer, and its key there."""
    for path in _PLACES:
        holder = line if len(path) == 1 else line.get(path[0])
        if isinstance(holder, dict) and isinstance(holder.get(path[-1]), dict):
            return holder, path[-1]
    return None, ""


def _is_name(value: Any) -> bool:
    """Whether a value is what a client calls its request."""
    return isinstance(value, str) and is_exempt("id", value)
