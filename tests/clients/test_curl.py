"""curl, which shows the wire as it is: every API, and what HTTP lets a client do."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.running import proxied
from tests.clients.scenarios import PLACEHOLDER, RULES, SECRETS
from tests.clients.upstream import upstream
from tests.e2e import harness

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello."}]
PROMPT = [{"role": "user", "content": "Tell me something verboten."}]
PARTS = [{"role": "user", "parts": [{"text": "Hello."}]}]

#: Every API: its path, and a request without the model.
APIS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (CHAT, {"messages": HELLO}),
    "chat_without_version": ("/chat/completions", {"messages": HELLO}),
    "azure": ("/openai/deployments/{model}/chat/completions?api-version=2024-10-21", {"messages": HELLO}),
    "completions": ("/v1/completions", {"prompt": "Hello."}),
    "responses": ("/v1/responses", {"input": "Hello."}),
    "messages": ("/v1/messages?beta=true", {"messages": HELLO, "max_tokens": 100}),
    "ollama_chat": ("/api/chat", {"messages": HELLO}),
    "ollama_generate": ("/api/generate", {"prompt": "Hello."}),
    "cohere": ("/v2/chat", {"messages": HELLO}),
    "gemini_events": ("/v1beta/models/{model}:streamGenerateContent?alt=sse", {"contents": PARTS}),
    "gemini_array": ("/v1beta/models/{model}:streamGenerateContent?key=k", {"contents": PARTS}),
    "gemini_encoded": ("/v1beta/models/{model}%3AstreamGenerateContent?alt=sse", {"contents": PARTS}),
}
#: As `APIS`, where it is the path that says whether to stream.
WHOLE_APIS = {name: api for name, api in APIS.items() if not name.startswith("gemini")} | {
    "gemini": ("/v1beta/models/{model}:generateContent", {"contents": PARTS})
}


@dataclass
class Curl:
    """curl, pointed at one address."""

    base: str

    async def __call__(self, path: str, *options: str, send: Any = None, raw: bytes | None = None) -> tuple[int, str]:
        """Exit status and output of one run; a body is sent from standard input."""
        body = raw if raw is not None else b"" if send is None else json.dumps(send).encode()
        posting = ["-H", "Content-Type: application/json", "--data-binary", "@-"] if body else []
        process = await self.started(path, *posting, *options)
        async with asyncio.timeout(30):
            out, _ = await process.communicate(body or None)
        assert process.returncode is not None
        return process.returncode, out.decode()

    async def started(self, path: str, *options: str) -> asyncio.subprocess.Process:
        """A run of curl."""
        return await asyncio.create_subprocess_exec(
            *("curl", "-q", "-sS", "--noproxy", "*", "--max-time", "20", self.base + path, *options),
            env={"PATH": os.environ["PATH"]},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )


@pytest.fixture
async def direct() -> AsyncIterator[Curl]:
    """Curl without the proxy."""
    async with upstream() as played:
        yield Curl(played.url)


@pytest.fixture
async def curl(direct: Curl, tmp_path: Path) -> AsyncIterator[Curl]:
    """Curl with the proxy."""
    async with proxied(direct.base, tmp_path, RULES) as url:
        yield Curl(url)


def _request(apis: dict[str, Any], api: str, model: str, **more: Any) -> tuple[str, dict[str, Any]]:
    path, ask = apis[api]
    named = {} if api.startswith("gemini") else {"model": model}
    return path.format(model=model), {**named, **ask, **more}


def _nothing_kept_back(out: str) -> None:
    for secret in SECRETS:
        assert secret not in out


@pytest.mark.parametrize("api", APIS)
async def test_streamed(curl: Curl, api: str) -> None:
    """Every API's stream is redacted and goes on to its end."""
    path, ask = _request(APIS, api, "text-redact", stream=True)
    code, out = await curl(path, "-N", send=ask)
    assert code == 0
    assert PLACEHOLDER in out
    assert "soon." in out
    _nothing_kept_back(out)


@pytest.mark.parametrize("api", APIS)
async def test_streamed_and_halted(curl: Curl, api: str) -> None:
    """Every API's stream can be halted, and ends well-formed."""
    path, ask = _request(APIS, api, "text-halt", stream=True)
    code, out = await curl(path, "-N", send=ask)
    assert code == 0
    assert "It is " in out
    _nothing_kept_back(out)
    if api == "gemini_array":
        assert json.loads(out)[-1]["candidates"][0]["finishReason"] == "SAFETY"


@pytest.mark.parametrize("api", WHOLE_APIS)
async def test_whole(curl: Curl, direct: Curl, api: str) -> None:
    """Every API's answer that is not streamed differs in the redaction and in nothing else."""
    path, ask = _request(WHOLE_APIS, api, "text-redact", stream=False)
    code, out = await curl(path, send=ask)
    _, straight = await direct(path, send=ask)
    assert code == 0
    assert json.loads(out) == json.loads(straight.replace("ada@example.com", PLACEHOLDER))


@pytest.mark.parametrize("api", WHOLE_APIS)
async def test_whole_and_clean(curl: Curl, direct: Curl, api: str) -> None:
    """An answer in which nothing is found arrives byte for byte."""
    path, ask = _request(WHOLE_APIS, api, "tool-clean", stream=False)
    assert await curl(path, send=ask) == await direct(path, send=ask)


async def test_streams_while_the_model_speaks(tmp_path: Path) -> None:
    """What is cleared is there before the upstream says more."""
    async with harness.proxied(tmp_path) as (played, proxy):
        played.says(harness.event("Well then, "), harness.Wait())
        process = await Curl(proxy.url).started(CHAT, "-N", "-d", json.dumps({"model": "m", "messages": HELLO}))
        assert process.stdout is not None
        line = await process.stdout.readline()
        process.terminate()
        await process.communicate()
        assert b"Well then," in line


@pytest.mark.parametrize("stream", [True, False])
async def test_http_1_0(curl: Curl, stream: bool) -> None:
    """A client of HTTP/1.0 gets the same, without chunks."""
    ask = {"model": "text-redact", "messages": HELLO, "stream": stream}
    code, out = await curl(CHAT, "--http1.0", "-i", "-N", send=ask)
    head, _, body = out.partition("\r\n\r\n")
    assert code == 0
    assert "200" in head.splitlines()[0]
    assert "chunked" not in head.lower()
    assert PLACEHOLDER in body
    assert not stream or body.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
async def test_compressed(curl: Curl, stream: bool) -> None:
    """With --compressed the same arrives."""
    ask = {"model": "text-redact", "messages": HELLO, "stream": stream}
    assert await curl(CHAT, "--compressed", "-N", send=ask) == await curl(CHAT, "-N", send=ask)


async def test_expect_100_continue(curl: Curl) -> None:
    """A client that waits to be told to go on is told so."""
    ask = {"model": "text-redact", "messages": [{"role": "user", "content": "Hello. " * 300_000}]}
    code, out = await curl(CHAT, "-i", "-H", "Expect: 100-continue", "--expect100-timeout", "15", send=ask)
    assert code == 0
    assert out.startswith("HTTP/1.1 100 Continue")
    assert PLACEHOLDER in out


async def test_chunked_request(curl: Curl) -> None:
    """A request body in chunks is read whole."""
    ask = {"model": "text-redact", "messages": HELLO}
    code, out = await curl(CHAT, "-H", "Transfer-Encoding: chunked", send=ask)
    assert code == 0
    assert PLACEHOLDER in out


async def test_options(curl: Curl) -> None:
    """OPTIONS reaches the upstream, whose word on other origins comes back."""
    code, out = await curl(CHAT, "-i", "-X", "OPTIONS", "-H", "Origin: http://localhost")
    assert code == 0
    assert "access-control-allow-origin: *" in out.lower()


async def test_head(curl: Curl) -> None:
    """HEAD gives a head and no body."""
    code, out = await curl(CHAT, "-I")
    assert code == 0
    assert out.startswith("HTTP/1.1 200")


async def test_two_on_one_connection(curl: Curl) -> None:
    """A connection goes on after a halted stream."""
    ask = json.dumps({"model": "text-halt", "messages": HELLO, "stream": True})
    again = [curl.base + CHAT, "-sS", "-d", json.dumps({"model": "text-redact", "messages": HELLO})]
    code, out = await curl(
        CHAT, "-d", ask, "-w", "connections: %{num_connects}\n", "--next", *again, "-w", "%{num_connects}"
    )
    assert code == 0
    assert "content_filter" in out
    assert PLACEHOLDER in out
    assert out.endswith("0")


@pytest.mark.parametrize("stream", [True, False])
async def test_blocked_prompt(curl: Curl, stream: bool) -> None:
    """A blocked prompt is an error of the client's, and not one to retry."""
    ask = {"model": "text-clean", "messages": PROMPT, "stream": stream}
    code, out = await curl(CHAT, "-i", send=ask)
    assert code == 0
    assert out.startswith("HTTP/1.1 400")
    assert "x-should-retry: false" in out.lower()
    assert json.loads(out.partition("\r\n\r\n")[2])["error"]["code"] == "content_filter"


async def test_body_that_is_no_json(curl: Curl) -> None:
    """A request that cannot be read is refused before it can do harm."""
    code, out = await curl(CHAT, "-o", "/dev/null", "-w", "%{http_code}", raw=b"{never")
    assert (code, out) == (0, "400")
