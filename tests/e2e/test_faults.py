"""Every way an upstream can fail, at every stage of a stream, with and without a finding in the hold, for two APIs.

The clients are the real SDKs, without retries of their own. In each cell the client sees an error and never a normal
end; what it was given is a beginning of the filtered text, with nothing of the finding; the record says what happened;
and nothing is left open.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from safeproxy.shell.service import SERVICE
from tests.e2e.harness import Proxy, event, proxied, until, upstream

#: Text that may be released as it comes, and a beginning of a finding.
CLEARED = "Hello, dear friend. "
HELD = "ada@exam"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Reset:
    """A step of a raw script: the connection is reset."""


class Silence:
    """A step of a raw script: nothing more is said."""


Step = bytes | Reset | Silence


@dataclass
class RawUpstream:
    """An upstream that plays bytes, as no HTTP server would send them."""

    script: list[Step] = field(default_factory=list)
    url: str = ""
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the proxy has closed a connection that was silent."""

    async def over(self) -> None:
        """Wait until no connection is open any more."""
        await until(lambda: not self.open)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read a request, play the script, close."""
        self.open.add(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            (length,) = (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            for step in self.script:
                match step:
                    case bytes():
                        writer.write(step)
                        await writer.drain()
                        await asyncio.sleep(0.01)  # so that it arrives by itself
                    case Reset():
                        linger = struct.pack("ii", 1, 0)  # closing resets
                        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        writer.transport.abort()
                    case Silence():
                        await reader.read()
                        self.left.set()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            self.open.discard(writer)
            writer.close()


@asynccontextmanager
async def raw_upstream() -> AsyncIterator[RawUpstream]:
    """Such an upstream on loopback."""
    played = RawUpstream()
    server = await asyncio.start_server(played.serve, "127.0.0.1", 0)
    played.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield played


# The two APIs: what they send, and how their real clients read it.


def openai_events(*texts: str) -> list[bytes]:
    """Chunks of a chat completion, not finished."""
    return [event("", role="assistant"), *(event(text) for text in texts)]


def anthropic_events(*texts: str) -> list[bytes]:
    """Events of a message, not finished."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-1",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in texts
    ]
    said: list[dict[str, Any]] = [{"type": "message_start", "message": message}, block, *deltas]
    return [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in said]


async def ask_openai(url: str, told: list[str]) -> None:
    """Stream a completion, noting its text; raises what the SDK raises."""
    async with openai.AsyncOpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        async for chunk in answer:
            told.extend(choice.delta.content or "" for choice in chunk.choices)


async def ask_anthropic(url: str, told: list[str]) -> None:
    """Stream a message, noting its text; raises what the SDK raises."""
    async with anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0) as client:
        answer = await client.messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        async for one in answer:
            if one.type == "content_block_delta" and one.delta.type == "text_delta":
                told.append(one.delta.text)


@dataclass(frozen=True)
class Api:
    """How an API says things, and its SDK's errors."""

    events: Callable[..., list[bytes]]
    ask: Callable[[str, list[str]], Any]
    status_error: type[Exception]
    """Raised for an answer with an error status."""
    stream_error: type[Exception]
    """Raised for an error event in a stream."""


APIS = {
    "openai": Api(openai_events, ask_openai, openai.APIStatusError, openai.APIError),
    "anthropic": Api(anthropic_events, ask_anthropic, anthropic.APIStatusError, anthropic.APIStatusError),
}
apis = pytest.mark.parametrize("api", APIS.values(), ids=APIS.keys())


def chunked(data: bytes) -> bytes:
    """One piece of a body in chunks."""
    return b"%x\r\n%s\r\n" % (len(data), data)


async def recorded(proxy: Proxy, status: int, ended: str, code: str | None) -> None:
    """The one request is recorded so, counted so, and nothing of it runs any more.

    ``code`` names the fault; None where the upstream's own status says it all.
    """
    closed = await proxy.closed()
    assert (closed["status"], closed["ended"]) == (status, ended)
    refused = closed.get("refusal")
    if status != 200 and code is not None:
        assert refused == code
    assert closed["faults"] == [code for code in (code,) if code not in (None, "upstream_content_type")]
    service = proxy.app[SERVICE]
    await until(lambda: not service.running)
    assert service.metrics is not None
    counted = service.metrics.registry.get_sample_value
    for fault in closed["faults"]:
        assert counted("safeproxy_faults_total", {"code": fault}) == 1
    if refused is not None:
        assert counted("safeproxy_refusals_total", {"code": refused, "status": str(status)}) == 1
    api = next(record for record in proxy.records() if record["event"] == "request.opened")["api"]
    labels = {"api": api, "upstream": "default", "status": f"{status // 100}xx", "ended": ended}
    streamed = str(closed["stream"]).lower()
    assert counted("safeproxy_requests_total", {**labels, "stream": streamed}) == 1
    assert HELD not in str(proxy.records())


# Before the head: the client gets the API's own error, with a status.

JSON_400 = b'{"error": {"message": "no", "type": "invalid_request_error"}}'


def answered(status: bytes, kind: bytes, content: bytes) -> bytes:
    """A whole answer."""
    head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (status, kind, len(content))
    return head + content


#: What the upstream plays, further settings, the status that the client gets, how it ended, and the fault's code.
BEFORE_HEAD: dict[str, tuple[list[Step], dict[str, Any], int, str, str | None]] = {
    "reset": ([Reset()], {}, 502, "upstream_error", "upstream_reset"),
    "closed": ([], {}, 502, "upstream_error", "upstream_reset"),
    "silent": ([Silence()], {"first_byte_timeout": 0.2}, 504, "upstream_error", "upstream_first_byte_timeout"),
    "too long in all": ([Silence()], {"total_timeout": 0.2}, 504, "upstream_error", "total_timeout"),
    "garbage": ([b"What?\r\n\r\n"], {}, 502, "upstream_error", "upstream_garbled"),
    "half a head": ([b"HTTP/1.1 200 OK\r\nContent-Ty"], {}, 502, "upstream_error", "upstream_reset"),
    "400": ([answered(b"400 No", b"application/json", JSON_400)], {}, 400, "upstream_error", None),
    "500": ([answered(b"500 No", b"application/json", JSON_400)], {}, 500, "upstream_error", None),
    "529": ([answered(b"529 No", b"application/json", JSON_400)], {}, 529, "upstream_error", None),
    "HTML": ([answered(b"502 No", b"text/html", b"<h1>No</h1>")], {}, 502, "upstream_error", None),
    "HTML as success": (
        [answered(b"200 OK", b"text/html", b"<h1>No</h1>")],
        {},
        502,
        "upstream_error",
        "upstream_content_type",
    ),
}


@apis
@pytest.mark.parametrize("fault", BEFORE_HEAD)
async def test_a_fault_before_the_head(tmp_path: Path, api: Api, fault: str) -> None:
    """The SDK raises its error for a status, and the text is empty."""
    script, settings, status, ended, code = BEFORE_HEAD[fault]
    async with raw_upstream() as played, proxied(tmp_path, upstream=played.url, **settings) as (_, proxy):
        played.script = script
        told: list[str] = []
        with pytest.raises(api.status_error) as raised:
            await api.ask(proxy.url, told)
        assert getattr(raised.value, "status_code", None) == status
        assert not told
        await recorded(proxy, status, ended, code)
        if Silence in map(type, script):
            await played.left.wait()
        await played.over()


def nobody_listens() -> tuple[str, list[socket.socket]]:
    """An address where connections are refused."""
    return "http://127.0.0.1:9", []


def nobody_accepts() -> tuple[str, list[socket.socket]]:
    """An address where connections are never made: the queue of those that wait is full."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    waiting = [socket.socket() for _ in range(8)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(listening.getsockname())
    return f"http://127.0.0.1:{listening.getsockname()[1]}", [listening, *waiting]


def nobody_is_named_so() -> tuple[str, list[socket.socket]]:
    """A name that cannot be resolved, as far as the test's resolver goes."""
    return "http://upstream.invalid", []


NO_CONNECTION: dict[str, tuple[Callable[[], tuple[str, list[socket.socket]]], int, str]] = {
    "refused": (nobody_listens, 502, "upstream_unreachable"),
    "connect timeout": (nobody_accepts, 504, "upstream_connect_timeout"),
    "unknown name": (nobody_is_named_so, 502, "upstream_unknown_host"),
}


@apis
@pytest.mark.parametrize("fault", NO_CONNECTION)
async def test_a_fault_before_the_connection(
    tmp_path: Path, api: Api, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one before the head."""
    resolve = asyncio.get_running_loop().getaddrinfo

    async def resolved(host: str, *rest: Any, **options: Any) -> Any:
        if host == "upstream.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return await resolve(host, *rest, **options)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
    make, status, code = NO_CONNECTION[fault]
    url, sockets = make()
    try:
        async with proxied(tmp_path, upstream=url, connect_timeout=0.2) as (_, proxy):
            with pytest.raises(api.status_error) as raised:
                await api.ask(proxy.url, [])
            assert getattr(raised.value, "status_code", None) == status
            await recorded(proxy, status, "upstream_error", code)
    finally:
        for one in sockets:
            one.close()


@apis
async def test_no_secure_connection(tmp_path: Path, api: Api) -> None:
    """An upstream that does not speak TLS where it should."""
    async with upstream() as plain:
        secure = plain.url.replace("http:", "https:")
        async with proxied(tmp_path, upstream=secure) as (_, proxy):
            with pytest.raises(api.status_error) as raised:
                await api.ask(proxy.url, [])
            assert getattr(raised.value, "status_code", None) == 502
            await recorded(proxy, 502, "upstream_error", "upstream_tls")


# After the head: the client gets the API's error event, and never a normal end.

STAGES = ("after the head", "between events", "mid-event", "before the finish")
#: What the upstream does, further settings, how it ended, and the fault's code.
AFTER_HEAD: dict[str, tuple[list[Step], dict[str, Any], str, str]] = {
    "reset": ([Reset()], {}, "upstream_error", "upstream_cut"),
    "cut": ([], {}, "upstream_error", "upstream_cut"),
    "silent": (
        [Silence()],
        {"idle_timeout": 0.2, "first_byte_timeout": 0.2},
        "upstream_error",
        "upstream_idle_timeout",
    ),
    "too long in all": ([Silence()], {"total_timeout": 0.3}, "upstream_error", "total_timeout"),
    "malformed chunk": ([b"zz\r\nwhat\r\n"], {}, "upstream_error", "upstream_cut"),
    "clean end": ([b"0\r\n\r\n"], {}, "upstream_incomplete", "no_finish"),
}


def script_until(api: Api, stage: str, texts: Iterable[str]) -> list[Step]:
    """What the upstream says before it fails."""
    events = api.events(*texts)
    if stage == "after the head":
        return [HEAD]
    if stage == "between events":
        return [HEAD, *(chunked(one) for one in events)]
    if stage == "mid-event":
        # A further event of which all but its end has come.
        further = api.events("more")[-1]
        return [HEAD, *(chunked(one) for one in events), chunked(further[:-20])]
    # All the text is there, in one piece.
    return [HEAD, chunked(b"".join(events))]


@apis
@pytest.mark.parametrize("hold", [False, True], ids=["nothing held", "a finding held"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", AFTER_HEAD)
async def test_a_fault_in_the_stream(tmp_path: Path, api: Api, fault: str, stage: str, hold: bool) -> None:
    """What is cleared arrives, what is held never does, and the end is an error."""
    steps, settings, ended, code = AFTER_HEAD[fault]
    texts = (CLEARED, f"Write to {HELD}") if hold else (CLEARED,)
    if fault == "silent" and stage == "after the head":
        code = "upstream_first_byte_timeout"
    if fault == "clean end" and stage == "mid-event":
        ended, code = "upstream_error", "malformed_event"
    async with raw_upstream() as played, proxied(tmp_path, upstream=played.url, **settings) as (_, proxy):
        played.script = [*script_until(api, stage, texts), *steps]
        told: list[str] = []
        with pytest.raises(api.stream_error):
            await api.ask(proxy.url, told)
        text = "".join(told)
        whole = CLEARED + ("Write to " if hold else "")
        assert text == ("" if stage == "after the head" else whole)
        assert (await proxy.closed())["upstream_status"] == 200
        await recorded(proxy, 200, ended, code)
        if Silence in map(type, steps):
            await played.left.wait()
        await played.over()


async def test_a_pooled_connection_breaks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that is reset while nobody uses it disturbs no one, and nobody complains."""
    async with raw_upstream() as played, proxied(tmp_path, upstream=played.url) as (_, proxy):
        whole = answered(b"200 OK", b"application/json", b"{}")
        played.script = [whole[:-1], whole[-1:], Reset()]
        for count in (1, 2):
            status, _, content = await proxy.post()
            assert (status, content) == (200, b"{}")
            await proxy.closed(count)
            await played.over()
        await asyncio.sleep(0.05)  # until the proxy has seen the reset
    gc.collect()
    assert not caplog.records
