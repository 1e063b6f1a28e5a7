"""The messages that come down a WebSocket: each response is filtered as a stream of its own."""

from __future__ import annotations

from safeproxy.pipeline.policy import Policy, Report
from safeproxy.pipeline.stream import StreamPipeline
from safeproxy.wire import jsontext
from safeproxy.wire.base import at
from safeproxy.wire.dialect import Ask, Dialect
from safeproxy.wire.ndjson import encode_line

#: Responses that may run at the same time.
_AT_ONCE = 64


class SocketPipeline:
    """Filters the messages of one connection. `feed`, `finish` and `fail` never raise on any input.

    ``dialect`` frames by lines, a line a message. Responses that run at the same time are told apart by their ids,
    where messages have them. Once ``done`` is true the connection must be closed: after a halt the upstream would go
    on with what was halted.
    """

    def __init__(self, dialect: Dialect, policy: Policy, ask: Ask) -> None:
        self.report = Report()
        self.done = False
        self._about = dialect, policy, ask
        self._beside = self._next()  # for messages of no response
        self._responses: dict[str, StreamPipeline] = {}

    def feed(self, message: str) -> list[str]:
        """Take a message; give those that may be sent now."""
        if self.done:
            return []
        response = self._response_of(message)
        if response is None:
            return self.fail("too_many_texts")
        line = encode_line(message.encode("utf-8", "replace"))
        out = response.feed(line)
        self.done = response.done
        if response.finished and not self.done:
            out += response.finish()
            self._forget(response)
        # Line ends within a message are none of the filter's business.
        return [message] if out == line else _messages(out)

    def finish(self) -> list[str]:
        """The upstream has closed the connection; an answer that was not finished is not sent to its end."""
        if self.done:
            return []
        # Beside the responses of a concurrent dialect there is nothing that would have to end.
        running = (*self._responses.values(), *(() if self._about[0].concurrent else (self._beside,)))
        broken = next((one for one in running if one.begun), None)
        if broken is not None:
            return self._ended(broken, "no_finish")
        self.done = True
        self.report.ended = self.report.ended or "stop"
        return []

    def fail(self, fault: str) -> list[str]:
        """The connection broke."""
        return [] if self.done else self._ended(self._beside, fault)

    def _ended(self, response: StreamPipeline, fault: str) -> list[str]:
        self.done = True
        out = response.fail(fault)
        for other in (*self._responses.values(), self._beside):
            other.fail(fault)  # what they hold is withheld, and counted so
        return _messages(out)

    def _response_of(self, message: str) -> StreamPipeline | None:
        """The response a message belongs to; None if there are too many."""
        try:
            event, _ = jsontext.parse(message.encode("utf-8", "replace"))
        except ValueError:
            return self._beside
        name = at(event, "response_id") or at(event, "response", "id")
        if not isinstance(name, str) or not self._about[0].concurrent:
            return self._beside
        if name not in self._responses and len(self._responses) >= _AT_ONCE:
            return None
        if name not in self._responses:
            self._responses[name] = self._next()
        return self._responses[name]

    def _forget(self, response: StreamPipeline) -> None:
        self.report.next_answer()
        if response is self._beside:
            self._beside = self._next()
        self._responses = {name: one for name, one in self._responses.items() if one is not response}

    def _next(self) -> StreamPipeline:
        return StreamPipeline(*self._about, report=self.report)


def _messages(lines: bytes) -> list[str]:
    return [line.decode() for line in lines.split(b"\n") if line]
