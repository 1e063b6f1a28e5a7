"""The server as a process of its own: start, uvloop, signals."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.e2e.harness import CHAT, LIMIT, RULES, Upstream, Wait, error_of, event, stream, text, upstream

PROGRAM = """
import sys
from pathlib import Path
from safeproxy.shell.serve import serve
from safeproxy.shell.settings import Settings
upstream, rules, audit = sys.argv[1:]
settings = Settings(
    upstream=upstream, rules=(Path(rules),), audit=Path(audit), port=0, shutdown_grace=0.2, unknown_paths="refuse"
)
serve(settings, announce=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Upstream, str, asyncio.subprocess.Process]]:
    """A proxy process in front of a scripted upstream."""
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    async with asyncio.timeout(LIMIT), upstream() as played:
        arguments = (played.url, str(folder / "rules.yaml"), str(folder / "audit"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            yield played, (await process.stdout.readline()).decode().strip(), process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """A running answer is ended in order, the process exits with 0, and the log names no path and no text."""
    async with served(tmp_path) as (played, url, process), aiohttp.ClientSession() as session:
        played.says(*stream("to ada@", "example.com"))
        async with session.post(url + CHAT, json={}) as response:
            assert text(await response.read()) == "to [EMAIL_ADDRESS]"
        played.says(event("Hello, world. ", role="assistant"), Wait())
        async with session.post(url + CHAT, json={}) as response:
            await response.content.readany()
            process.terminate()
            assert error_of(await response.read())["message"]
        out, err = await process.communicate()
        assert (process.returncode, out) == (0, b"stopped\n")
        assert b"chat" not in err
        assert b"ada@" not in err


async def test_a_client_that_leaves_is_noticed_on_the_fast_loop_too(tmp_path: Path) -> None:
    """The same as in the other tests, on uvloop where it is installed."""
    async with served(tmp_path) as (played, url, _):
        played.says(event("Hello, world. ", role="assistant"), Wait())
        async with aiohttp.ClientSession() as session:
            response = await session.post(url + CHAT, json={})
            await response.content.readany()
            response.close()
        await played.left.wait()


async def test_what_is_not_http_is_answered_and_survived(tmp_path: Path) -> None:
    """Garbage, odd targets and odd methods get an answer or a closed connection; the proxy goes on."""
    requests = [
        b"garbage\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://elsewhere/v1/threads HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/threads HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/th\xffreads HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    async with served(tmp_path) as (played, url, process):
        port = int(url.rsplit(":", 1)[1])
        for request in requests:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            head = await reader.read(1000)
            assert (
                head.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5", b"HTTP/1.0 4")) or not head or b"OPTIONS" in request
            ), head
            writer.close()
        played.says(*stream("Fine."))
        async with aiohttp.ClientSession() as session, session.post(url + CHAT, json={}) as response:
            assert text(await response.read()) == "Fine."
        process.terminate()
        _, err = await process.communicate()
        assert b"Traceback" not in err
