"""The performance: scripted upstream and real proxy on loopback, a client that streams, and the screen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession, web

from safeproxy.core.filter import StreamFilter
from safeproxy.core.ruleset import RuleSet
from safeproxy.demo import chat, screen
from safeproxy.demo.script import SCENES, Scene
from safeproxy.demo.upstream import create_upstream
from safeproxy.errors import SafeproxyError
from safeproxy.rulesets import shipped
from safeproxy.shell.app import create_app
from safeproxy.shell.serve import running
from safeproxy.shell.settings import Settings

#: Seconds between tokens: a slow model, so that the eye can follow.
PACE = 0.09
#: For rules that hash, in this demonstration only.
HASH_KEY = "the key of the demonstration"

Echo = Callable[[str], None]


class Board:
    """Writes the table of one scene: a row is complete when the next token is sent."""

    def __init__(self, echo: Echo, width: int, rules: RuleSet) -> None:
        self._echo = echo
        self._width = width
        # The proxy does not tell a client what it holds; the same filter, fed the same tokens, holds the same.
        self._shadow = StreamFilter(rules, hash_key=HASH_KEY.encode())
        self._arguments_held = 0
        self._token: str | None = None
        self._got = ""
        self.raw = ["", ""]
        """What the model said: its content, and its tool call's arguments."""
        self.delivered = ["", ""]
        """What the client got of each."""

    def sent(self, token: str, arguments: bool) -> None:
        """The upstream is about to send a token, of its content or of a tool call's arguments."""
        self.flush()
        self._token = token
        self.raw[arguments] += token
        if arguments:
            self._arguments_held += len(token)
        else:
            self._shadow.feed(token)

    def got(self, text: str, arguments: bool) -> None:
        """Text has reached the client. Arguments arrive whole, for half a call must never be acted on."""
        self._got += text
        self.delivered[arguments] += text
        if arguments:
            self._arguments_held = 0

    def flush(self) -> None:
        """Write the row of the last token, if there is one."""
        if self._token is None and not self._got:
            return
        held = self._shadow.held + self._arguments_held
        for line in screen.token_row(self._token or "", self._got, held, self._width):
            self._echo(line)
        self._token, self._got = None, ""

    def end(self) -> None:
        """The client's stream has ended: what was held has left, or never will."""
        self._shadow.finish()
        self._arguments_held = 0
        self.flush()


class Performance:
    """The scripted upstream and the proxy in front of it, on free loopback ports; a context manager."""

    def __init__(self, echo: Echo, width: int, pace: float) -> None:
        self._echo = echo
        self._width = width
        self._pace = pace
        self._board: Board | None = None
        self.audit = Path()
        self.base = ""
        """The proxy's base URL, as an SDK wants it."""

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="safeproxy-demo-")))
            self.audit = folder / "audit"
            origin = await stack.enter_async_context(self._upstream())
            settings = Settings(upstream=origin, audit=self.audit, rules=(), hash_key=HASH_KEY)
            # The proxy's log would run through the table; it is not what is shown here.
            log = stack.enter_context((folder / "proxy.log").open("w", encoding="utf-8"))
            with contextlib.redirect_stderr(log):
                app = create_app(settings)
            self.base = f"{await stack.enter_async_context(running(app, '127.0.0.1', 0))}/v1"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @contextlib.asynccontextmanager
    async def _upstream(self) -> AsyncIterator[str]:
        app = create_upstream(self._pace, self._told)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    def _told(self, token: str, arguments: bool) -> None:
        if self._board is not None:
            self._board.sent(token, arguments)

    async def play(self, scene: Scene) -> None:
        """Stream one scene through the proxy, and show it."""
        echo, width = self._echo, self._width
        echo(screen.heading(scene.title, width))
        echo(screen.columns(width))
        board = self._board = Board(echo, width, shipped())
        finish = None
        async with ClientSession() as session:
            asked = {"model": scene.model, "stream": True, "messages": [{"role": "user", "content": scene.prompt}]}
            async with session.post(f"{self.base}/chat/completions", json=asked) as answer:
                if answer.status != 200:
                    raise SafeproxyError(f"the proxy answered {answer.status}: {await answer.text()}")
                reader = chat.EventReader()
                async for data in answer.content.iter_any():
                    for event in reader.feed(data):
                        if text := chat.content(event):
                            board.got(text, arguments=False)
                        if text := chat.arguments(event):
                            board.got(text, arguments=True)
                        finish = chat.finish_reason(event) or finish
        self._board = None
        board.end()
        echo("")
        texts = [("the model said", board.raw[0]), ("the client got", board.delivered[0])]
        if scene.arguments:
            texts += [(f"the model called {scene.tool} with", board.raw[1])]
            texts += [(f"the client got {scene.tool} with", board.delivered[1])]
        for label, text in (*texts, ("finish_reason", str(finish))):
            for line in screen.paragraph(label, text, width):
                echo(line)
        echo("")


async def perform(*, keep: bool, echo: Echo, pace: float = PACE) -> None:
    """Show all scenes and what the audit trail says of them; with ``keep`` stay up until interrupted."""
    width = screen.fit(shutil.get_terminal_size().columns)
    async with Performance(echo, width, pace) as performance:
        echo(f"A scripted model behind safeproxy at {performance.base}, with {len(shipped().rules)} shipped rules.")
        echo("held: characters kept back because what comes next can still change their fate")
        echo("")
        for scene in SCENES:
            await performance.play(scene)
        echo(screen.heading("what the audit trail says", width))
        for line in screen.record_lines(read_records(performance.audit), width):
            echo(line)
        if keep:
            echo("")
            echo(screen.invitation(performance.base, str(performance.audit)))
            await _told_to_stop()


async def _told_to_stop() -> None:
    """Wait for Ctrl-C or a polite kill, so that the folder with the audit trail is cleared away after either."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt
            loop.add_signal_handler(number, stopped.set)
    await stopped.wait()


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The audit records of the files in the folder, in order."""
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_text(encoding="utf-8").splitlines()]
    return [json.loads(line) for line in lines]
