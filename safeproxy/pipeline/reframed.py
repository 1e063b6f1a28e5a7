"""A stream whose frames are put into another framing at last: events as lines, or as one JSON array."""

from __future__ import annotations

from collections.abc import Callable

from safeproxy.pipeline.policy import Report
from safeproxy.pipeline.stream import StreamPipeline


class Reframed:
    """A `StreamPipeline` whose output goes through ``rewrite(data, last)``; ``last`` is true once, at the end."""

    def __init__(self, pipeline: StreamPipeline, rewrite: Callable[[bytes, bool], bytes]) -> None:
        self._pipeline = pipeline
        self._rewrite = rewrite
        self._ended = False

    @property
    def report(self) -> Report:
        """What has become of the answer so far."""
        return self._pipeline.report

    @property
    def done(self) -> bool:
        """Whether nothing more will leave."""
        return self._pipeline.done

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the body."""
        return self._out(self._pipeline.feed(data))

    def finish(self) -> bytes:
        """The upstream ended its body."""
        return self._out(self._pipeline.finish())

    def fail(self, fault: str) -> bytes:
        """The upstream broke."""
        return self._out(self._pipeline.fail(fault))

    def _out(self, data: bytes) -> bytes:
        if self._ended:
            return b""
        self._ended = self._pipeline.done
        return self._rewrite(data, self._ended)
