"""A scripted upstream and the proxy in front of it, both on loopback sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from safeproxy.shell.app import create_app
from safeproxy.shell.serve import running
from safeproxy.shell.settings import Settings

CHAT = "/v1/chat/completions"
#: Our own path for the same as lines.
LINES_PATH = "/api/v1/chat/stream"
SSE = "text/event-stream"
#: No test may last longer, in seconds.
LIMIT = 30.0

RULES = r"""
- id: email
  title: E-mail address
  entity: EMAIL_ADDRESS
  category: personal
  pattern: '[a-z0-9]+@[a-z0-9]+\.com'
- id: forbidden
  title: A word that ends the answer
  entity: FORBIDDEN
  category: toxicity
  action: halt
  words: [forbidden]
- id: watched
  title: A word that is only counted
  entity: WATCHED
  category: other
  action: observe
  words: [watched]
"""


class Abort:
    """A step of a script: the upstream resets the connection."""


class Wait:
    """A step of a script: the upstream says nothing more and waits until it is left."""


Step = bytes | float | Abort | Wait | asyncio.Event
"""What to send, how long to pause, or what to wait for."""


@dataclass
class Upstream:
    """An LLM API that plays a script; it notes what it was asked and whether it was left."""

    script: list[Step] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": SSE})
    turns: list[Callable[[], None]] = field(default_factory=list)
    """What is done before each of the next requests is answered, such as choosing another script."""
    connections: set[object] = field(default_factory=set)
    """The connections that requests came over."""
    mute: bool = False
    """Never answer, not even with a head."""
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at the first request."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the proxy has closed a connection before the script was over."""

    def says(self, *steps: Step, status: int = 200, **headers: str) -> None:
        """Play these steps from now on."""
        self.script, self.status = list(steps), status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()} or {"Content-Type": SSE}

    def answers(self, body: object, status: int = 200, **headers: str) -> None:
        """Give this JSON body from now on."""
        self.says(json.dumps(body).encode(), status=status, Content_Type="application/json", **headers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Play the script."""
        body = await request.read()
        self.connections.add(request.transport)
        if self.turns:
            self.turns.pop(0)()
        self.asked.append(
            {
                "method": request.method,
                "target": request.raw_path,
                "headers": request.headers.copy(),
                "body": body,
            }
        )
        self.heard.set()
        response = web.StreamResponse(status=self.status, headers=self.headers)
        try:
            if self.mute:
                await asyncio.sleep(LIMIT)
            await response.prepare(request)
            for step in self.script if request.method != "HEAD" else ():
                match step:
                    case bytes():
                        await response.write(step)
                    case float():
                        await asyncio.sleep(step)
                    case asyncio.Event():
                        await step.wait()
                    case Abort():
                        assert request.transport is not None
                        request.transport.abort()
                        return response
                    case Wait():
                        await asyncio.sleep(LIMIT)
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise
        return response


@dataclass
class Proxy:
    """The running proxy."""

    url: str
    audit: Path
    app: web.Application
    session: aiohttp.ClientSession

    async def post(self, path: str = CHAT, body: object = None, **options: Any) -> tuple[int, Any, bytes]:
        """Status, headers and whole body of an answer."""
        if "data" not in options:
            options["json"] = {"model": "m", "messages": []} if body is None else body
        async with self.session.post(self.at(path), **options) as response:
            return response.status, response.headers, await response.read()

    def at(self, path: str) -> URL:
        """The address of ``path``, with its percent-encoding left alone."""
        return URL(self.url + path, encoded=True)

    def records(self) -> list[dict[str, Any]]:
        """The audit trail."""
        files = sorted(self.audit.glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text(encoding="ascii").splitlines()]

    async def closed(self, count: int = 1) -> dict[str, Any]:
        """The record of the last request, once ``count`` requests are over."""
        while True:
            closed = [record for record in self.records() if record["event"] == "request.closed"]
            if len(closed) >= count:
                assert len(closed) == count
                return closed[-1]
            await asyncio.sleep(0.01)


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    """A scripted upstream."""
    played = Upstream()
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{tail:.*}", played.handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    played.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield played
    finally:
        await runner.cleanup()


@asynccontextmanager
async def proxied(folder: Path, rules: str = RULES, **settings: Any) -> AsyncIterator[tuple[Upstream, Proxy]]:
    """A scripted upstream with the proxy in front of it; all of it ends within `LIMIT`.

    It is asked once, unless the settings say otherwise: most tests are about what becomes of that answer.
    """
    file = folder / "rules.yaml"
    file.write_text(rules, encoding="utf-8")
    given: dict[str, Any] = {
        "rules": (file,),
        "audit": folder / "audit",
        "shutdown_grace": 0.1,
        "retry_attempts": 0,
        **settings,
    }
    async with asyncio.timeout(LIMIT), upstream() as played:
        app = create_app(Settings(**given if "upstreams" in given else {"upstream": played.url, **given}))
        async with running(app, "127.0.0.1", 0) as url, aiohttp.ClientSession() as session:
            yield played, Proxy(url, given["audit"], app, session)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what nobody tells; the test's own time bounds it."""
    while not holds():  # noqa: ASYNC110 - as said
        await asyncio.sleep(0.01)


def event(content: str | None = None, finish: str | None = None, *, index: int = 0, **delta: Any) -> bytes:
    """One chunk of a chat completion, as a server-sent event."""
    if content is not None:
        delta["content"] = content
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-1",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def stream(*pieces: str, finish: str | None = "stop", done: bool = True) -> list[Step]:
    """A whole streamed answer, one event a piece."""
    steps: list[Step] = [event("", role="assistant"), *(event(piece) for piece in pieces)]
    if finish is not None:
        steps.append(event(finish=finish))
    return [*steps, DONE] if done else steps


def body(content: str, finish: str = "stop") -> dict[str, Any]:
    """A whole answer that is not streamed."""
    message = {"role": "assistant", "content": content, "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-1",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }


def events(raw: bytes) -> list[Any]:
    """The events of a streamed answer, decoded; fails if the stream is not made of whole events."""
    assert raw.endswith(b"\n\n"), raw[-100:]
    data = [line.removeprefix(b"data: ") for line in raw.split(b"\n") if line.startswith(b"data: ")]
    return [one.decode() if one == b"[DONE]" else json.loads(one) for one in data]


def text(raw: bytes, index: int = 0) -> str:
    """What a client reads as the content of one choice."""
    return "".join(choice["delta"].get("content") or "" for choice in choices(raw) if choice["index"] == index)


def finishes(raw: bytes, index: int = 0) -> list[str]:
    """Every finish reason that a client sees for one choice."""
    return [c["finish_reason"] for c in choices(raw) if c["index"] == index and c["finish_reason"]]


def choices(raw: bytes) -> list[Any]:
    """All choices of all events."""
    return [choice for one in events(raw) if isinstance(one, dict) for choice in one.get("choices", ())]


def error_of(raw: bytes) -> Any:
    """The error object of an error body, or of the last event of a stream that has one."""
    if raw.startswith(b"{"):
        return json.loads(raw)["error"]
    return [one["error"] for one in events(raw) if isinstance(one, dict) and "error" in one][-1]
