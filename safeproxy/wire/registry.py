"""Which dialect a request speaks, by its method, path and query; and which an answer speaks, by its shape."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from safeproxy.wire.anthropic import Anthropic
from safeproxy.wire.base import text_of
from safeproxy.wire.cohere import Cohere
from safeproxy.wire.dialect import Dialect
from safeproxy.wire.gemini import Gemini, GeminiArray
from safeproxy.wire.generic import Generic, GenericLines
from safeproxy.wire.ollama import Ollama
from safeproxy.wire.openai_chat import OpenAIChat
from safeproxy.wire.openai_completions import OpenAICompletions
from safeproxy.wire.openai_responses import OpenAIRealtime, OpenAIResponses, OpenAISocket
from safeproxy.wire.transcription import Transcription

CHAT = OpenAIChat()
RESPONSES = OpenAIResponses()
ANTHROPIC = Anthropic()
COHERE = Cohere()
COMPLETIONS = OpenAICompletions()
GEMINI = Gemini()
GEMINI_ARRAY = GeminiArray()
OLLAMA = Ollama()
REALTIME = OpenAIRealtime()
SOCKET = OpenAISocket()
TRANSCRIPTION = Transcription()
#: For what no route names: over server-sent events, and over lines.
GENERIC = Generic()
GENERIC_LINES = GenericLines()


@dataclass(frozen=True, slots=True)
class Route:
    """What is known of a path: how its answers are read.

    ``lines`` says that an answer is a file of whole answers, one a line. ``stands_for`` is the path to ask upstream
    for, where the path is one of our own: such an answer is always streamed, as lines.
    """

    dialect: Dialect
    lines: bool = False
    stands_for: str | None = None
    streams: bool = False
    """Whether the path itself asks for a stream."""
    events: Route | None = None
    """What it is with ``alt=sse`` in the query."""
    usage_on_demand: bool = False
    """Whether streams report their usage only if ``stream_options`` ask for it."""
    generates: bool = False
    """Whether it asks for an answer and, unless the request says otherwise, for nothing besides."""


_OPENAI = r"(?:/v1|/v1beta/openai|/openai/v1|/openai/deployments/[^/]+|/api/v1|/openai)?"
_ID = r"/[^/]+"
#: A model of the Gemini API or of Vertex AI.
_GEMINI = (
    r"/v1[a-z0-9]*(?:/projects/[^/]+/locations/[^/]+)?(?:/publishers/[^/]+)?/(?:models|tunedModels|endpoints)/[^/:]+"
)

_SSE = re.compile(r"(?:^|&)(?:alt|%24alt|\$alt)=sse(?:&|$)")
#: Paths as clients are known to send them, the trailing slash taken off, by the methods that ask for answers there.
_ROUTES: tuple[tuple[str, re.Pattern[str], Route], ...] = tuple(
    (methods, re.compile(path), route)
    for methods, path, route in (
        (
            "POST",
            "/api/v1/chat/stream",
            Route(CHAT, stands_for="/v1/chat/completions", usage_on_demand=True, generates=True),
        ),
        ("POST", f"{_OPENAI}/chat/completions", Route(CHAT, usage_on_demand=True, generates=True)),
        ("GET|POST|DELETE", f"{_OPENAI}/chat/completions(?:{_ID}(?:/messages)?)?", Route(CHAT)),
        ("POST", f"{_OPENAI}/responses", Route(RESPONSES, generates=True)),
        ("GET|POST|DELETE", f"{_OPENAI}/responses(?:{_ID}(?:/input_items|/cancel)?)?", Route(RESPONSES)),
        ("GET|POST|DELETE", f"{_OPENAI}/conversations(?:{_ID}(?:/items(?:{_ID})?)?)?", Route(RESPONSES)),
        ("GET", f"{_OPENAI}/files{_ID}/content", Route(GENERIC, lines=True)),
        ("POST", f"{_OPENAI}/completions", Route(COMPLETIONS, usage_on_demand=True, generates=True)),
        ("POST", "/completion", Route(COMPLETIONS, generates=True)),
        ("POST", f"{_GEMINI}:generateContent", Route(GEMINI, generates=True)),
        (
            "POST",
            f"{_GEMINI}:streamGenerateContent",
            Route(GEMINI_ARRAY, streams=True, generates=True, events=Route(GEMINI, streams=True, generates=True)),
        ),
        ("POST", "/api/(?:chat|generate)", Route(OLLAMA, generates=True)),
        ("POST", "(?:/compatibility)?/v2/chat", Route(COHERE, generates=True)),
        ("POST", f"{_OPENAI}/audio/(?:transcriptions|translations)", Route(TRANSCRIPTION)),
        ("POST", "(?:/v1|/anthropic/v1)?/messages/(?:count_tokens|batches)", Route(ANTHROPIC)),
        ("POST", "(?:/v1|/anthropic/v1|/api/v1)?/messages", Route(ANTHROPIC, generates=True)),
        ("GET", f"(?:/v1|/anthropic/v1)?/messages/batches{_ID}/results", Route(ANTHROPIC, lines=True)),
    )
)

#: Whose paths begin like this, OpenAI-compatible ones of the same server excepted.
_FAMILIES = (
    (re.compile(r"/v1(?:alpha|beta)\d*/(?!openai/)"), GEMINI),
    (re.compile(r"/api/(?!v1/)"), OLLAMA),
    (re.compile(r"(?:/compatibility)?/v2/"), COHERE),
)
#: Dialects that an operator can name, for servers whose paths do not tell which one they speak.
DIALECTS: dict[str, Dialect] = {
    dialect.name.replace("_", "-"): dialect
    for dialect in (CHAT, RESPONSES, COMPLETIONS, ANTHROPIC, GEMINI, OLLAMA, COHERE, TRANSCRIPTION)
}


def route_for(method: str, path: str, query: str = "") -> Route | None:
    """How the answer to this request is read, None if nobody has said. ``path`` is decoded and without its query."""
    path = path.rstrip("/")
    for methods, pattern, route in _ROUTES:
        if method.upper() in methods.split("|") and pattern.fullmatch(path):
            return route.events if route.events and _SSE.search(query) else route
    return None


def socket_dialect(path: str) -> Dialect | None:
    """The dialect of the messages on a WebSocket at this path, None if none is known."""
    path = path.rstrip("/")
    if re.fullmatch(f"{_OPENAI}/realtime|/openai/realtime", path):
        return REALTIME
    return SOCKET if re.fullmatch(f"{_OPENAI}/responses", path) else None


def error_dialect(path: str, headers: Container[str]) -> Dialect | None:
    """The API whose errors a client understands at a path that no route names, by what else is known of that API.

    ``headers`` holds the names of those sent, without regard to case. None is OpenAI's and most others'.
    """
    if "anthropic-version" in headers:
        return ANTHROPIC
    return next((dialect for pattern, dialect in _FAMILIES if pattern.match(path)), None)


def dialect_for(method: str, path: str) -> Dialect | None:
    """The dialect of the answer to this request, None if none is known."""
    route = route_for(method, path)
    return None if route is None else route.dialect


def dialect_of(answer: Any) -> Dialect:
    """The dialect of a whole answer, by what it says of itself."""
    if text_of(answer, "object").startswith("chat.completion"):
        return CHAT
    if text_of(answer, "object") == "response":
        return RESPONSES
    if text_of(answer, "object") == "text_completion":
        return COMPLETIONS
    if isinstance(answer, dict) and isinstance(answer.get("candidates"), list):
        return GEMINI
    return ANTHROPIC if text_of(answer, "type") == "message" else GENERIC
