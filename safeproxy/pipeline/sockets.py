"""The messages that come down a WebSocket: one response after the other, each filtered as a stream of its own."""

from __future__ import annotations

from safeproxy.pipeline.policy import Policy, Report
from safeproxy.pipeline.stream import StreamPipeline
from safeproxy.wire.dialect import Ask, Dialect
from safeproxy.wire.ndjson import encode_line


class SocketPipeline:
    """Filters the messages of one connection. `feed`, `finish` and `fail` never raise on any input.

    ``dialect`` frames by lines, a line a message. Once ``done`` is true the connection must be closed: after a halt
    the upstream would go on with what was halted.
    """

    def __init__(self, dialect: Dialect, policy: Policy, ask: Ask) -> None:
        self.report = Report()
        self.done = False
        self._about = dialect, policy, ask
        self._response = self._next()

    def feed(self, message: str) -> list[str]:
        """Take a message; give those that may be sent now."""
        if self.done:
            return []
        out = self._response.feed(encode_line(message.encode("utf-8", "replace")))
        self.done = self._response.done
        if self._response.finished and not self.done:
            out += self._response.finish()
            self._response = self._next()
        return _messages(out)

    def _next(self) -> StreamPipeline:
        return StreamPipeline(*self._about, report=self.report)

    def finish(self) -> list[str]:
        """The upstream has closed the connection; an answer that was not finished is not sent to its end."""
        if self.done:
            return []
        self.done = True
        if not self.report.held:
            self.report.ended = self.report.ended or "stop"
            return []
        return _messages(self._response.fail("no_finish"))

    def fail(self, fault: str) -> list[str]:
        """The connection broke."""
        if self.done:
            return []
        self.done = True
        return _messages(self._response.fail(fault))


def _messages(lines: bytes) -> list[str]:
    return [line.decode() for line in lines.split(b"\n") if line]
