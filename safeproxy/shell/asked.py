"""What a request asks for, as far as that matters for the answer. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from safeproxy.pipeline import BodyPipeline, LinesPipeline, Policy, Reframed, StreamPipeline
from safeproxy.wire import jsontext
from safeproxy.wire.caps import Caps, cap
from safeproxy.wire.dialect import Ask, Dialect
from safeproxy.wire.ndjson import SseToNdjson
from safeproxy.wire.registry import CHAT, GENERIC, GENERIC_LINES, Route, dialect_of

SSE = "text/event-stream"
LINES = "application/x-ndjson"
#: The names under which lines of JSON travel.
_LINES = frozenset({LINES, "application/ndjson", "application/jsonl", "application/x-jsonl", "application/jsonlines"})


@dataclass(frozen=True, slots=True)
class Asked:
    """How the answer is read: in which dialect, to what ends, and whether the client wants events as lines."""

    dialect: Dialect
    ask: Ask
    file: bool = False
    """Whether the answer is a file of answers, one a line."""
    as_lines: bool = False
    streams: bool = False
    """Whether the path itself asks for a stream."""
    generates: bool = False
    """Whether the request may say how much is to be said."""

    @classmethod
    def of(
        cls,
        route: Route | None,
        headers: Mapping[str, str],
        body: Any,
        *,
        notice: str,
        style: str,
        usage: bool = False,
    ) -> Asked:
        """``body`` is the decoded request body, None if it is no JSON; ``style`` is the setting ``halt_style``.

        ``usage`` says that a stream's usage is wanted, whatever the client asks.
        """
        dialect = GENERIC if route is None else route.dialect
        failed = style == "failed" or (style == "auto" and headers.get("originator", "").lower().startswith("codex"))
        as_lines = dialect is CHAT and (wants_lines(headers) or bool(route and route.stands_for))
        hides = usage and route is not None and route.usage_on_demand and _leaves_usage_out(body, as_lines)
        ask = replace(dialect.ask(body), notice=notice, failed=failed, hides_usage=hides)
        streams = bool(route and route.streams)
        generates = bool(route and route.generates)
        return cls(
            dialect, ask, file=bool(route and route.lines), as_lines=as_lines, streams=streams, generates=generates
        )

    def cap(self, body: Any, caps: Caps) -> list[str]:
        """Bring a request within the caps, in place; short codes of what was changed."""
        return cap(body, self.dialect.name, caps) if self.generates else []

    def is_stream(self, kind: str, status: int) -> bool:
        """Whether an answer of this content type is read piece by piece."""
        if self.file and status < 400:
            return True
        return kind in {SSE, *_LINES} or (kind == self.dialect.media_type and status < 400)

    def stream(self, kind: str, policy: Policy) -> StreamPipeline | LinesPipeline | Reframed:
        """What filters a streamed answer of this content type."""
        if self.file:
            return LinesPipeline(dialect_of, policy)
        pipeline = StreamPipeline(self.spoken(kind), policy, self.ask)
        if self.as_lines and kind == SSE:
            lines = SseToNdjson()
            return Reframed(pipeline, lambda data, _: lines.feed(data))
        writer = pipeline.dialect.writer()
        return pipeline if writer is None else Reframed(pipeline, writer)

    def spoken(self, kind: str) -> Dialect:
        """The dialect of a stream of this content type: servers do not always send what they were asked for."""
        if self.dialect.media_type == kind or (kind in _LINES and self.dialect.media_type in _LINES):
            return self.dialect
        if kind == SSE:
            return self.dialect.over_events or GENERIC
        return GENERIC_LINES

    def body(self, policy: Policy) -> BodyPipeline:
        """What filters an answer that is not streamed."""
        return BodyPipeline(self.dialect, policy, self.ask)

    def refused_prompt(self, message: str) -> tuple[int, str, bytes] | None:
        """Status, content type and body with which the API itself refuses a prompt; None if that is an error."""
        native = self.dialect.refused_prompt(message)
        if native is None or not self.streams:
            return None if native is None else (native[0], "application/json", native[1])
        frame, writer = self.dialect.encode(native[1]), self.dialect.writer()
        return native[0], self.dialect.media_type, frame if writer is None else writer(frame, True)

    def media_type(self, kind: str) -> str:
        """The content type to answer with."""
        return LINES if self.as_lines and kind == SSE else kind


def wants_lines(headers: Mapping[str, str]) -> bool:
    """Whether a client asks for lines rather than events."""
    accept = headers.get("accept", "").lower()
    return LINES in accept and not any(other in accept for other in (SSE, "application/json"))


def _leaves_usage_out(body: Any, as_lines: bool) -> bool:
    """Whether a request asks for a stream and not for its usage, in a way that leaves room for that."""
    if not isinstance(body, dict) or not (body.get("stream") is True or as_lines):
        return False
    options = body.get("stream_options")
    return options is None or (isinstance(options, dict) and options.get("include_usage") in (None, False))


def prepared(
    asked: Asked, body: bytes, value: Any, unseal: Callable[[str], str | None], *, changed: bool = False
) -> bytes:
    """The request body as the upstream must see it: sealed texts restored, a stream and its usage asked for if wanted.

    ``changed`` says that ``value`` is not what ``body`` says any more. Raises ClientError when a sealed text cannot be
    restored.
    """
    changed |= asked.dialect.restore(value, unseal)
    if asked.as_lines and isinstance(value, dict) and value.get("stream") is not True:
        value["stream"] = changed = True
    if asked.ask.hides_usage:
        value["stream_options"] = {**(value.get("stream_options") or {}), "include_usage": True}
        changed = True
    return jsontext.dump(value, ascii_only=body.isascii()) if changed else body
