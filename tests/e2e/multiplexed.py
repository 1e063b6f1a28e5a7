"""Clients of HTTP/2 and HTTP/3 that show what they get as they get it, and can leave a single stream."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import aioquic.h3.events as h3
import h2.events
from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3Connection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamReset
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes

from tests.e2e.fronts import HOST, Front

Headers = list[tuple[bytes, bytes]]
#: HTTP/3's name for a request that is given up.
H3_REQUEST_CANCELLED = 0x10C


@dataclass
class Stream:
    """One answer, as far as it has come."""

    id: int
    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    ended: bool = False
    """In order: with the whole answer."""
    broken: bool = False
    """Reset, or its connection lost."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def status(self) -> int:
        """The status, once it is there."""
        return int(self.headers[":status"])

    async def until(self, text: bytes) -> None:
        """Waits until ``text`` has come."""
        while text not in self.data:
            assert not self.ended, self.data
            await self._more()

    async def whole(self) -> bytes:
        """The whole answer; fails if it is broken off."""
        while not self.ended:
            await self._more()
        return self.data

    async def _more(self) -> None:
        assert not self.broken, self.data
        self.news.clear()
        await self.news.wait()

    def got(self, headers: Iterable[tuple[bytes, bytes]] = (), data: bytes = b"", **facts: bool) -> None:
        """Takes note of what came."""
        self.headers.update((name.decode(), value.decode()) for name, value in headers)
        self.data += data
        self.ended |= facts.get("ended", False)
        self.broken |= facts.get("broken", False)
        self.news.set()


class Client(Protocol):
    """A connection to a front."""

    def ask(self, path: str, body: object = None, **headers: str) -> Stream:
        """Sends a request: POST with ``body`` as JSON, or GET without one."""

    def leave(self, stream: Stream) -> None:
        """Gives one stream up; the connection stays."""


def _request(path: str, body: object, headers: dict[str, str]) -> tuple[Headers, bytes]:
    data = b"" if body is None else json.dumps(body).encode()
    fields = {":method": "GET" if body is None else "POST", ":scheme": "https", ":authority": HOST, ":path": path}
    if body is not None:
        fields |= {"content-type": "application/json", "content-length": str(len(data))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return [(name.encode(), value.encode()) for name, value in fields.items()], data


class H2Client(asyncio.Protocol):
    """A connection of HTTP/2."""

    def __init__(self) -> None:
        self._h2 = H2Connection(H2Configuration(client_side=True))
        self._streams: dict[int, Stream] = {}
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        self._transport = transport
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Hand out what came."""
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.ConnectionTerminated):
                self.connection_lost(None)
            stream = self._streams.get(getattr(event, "stream_id", 0) or 0)
            if stream is not None:
                self._note(stream, event)
        self._flush()

    def _note(self, stream: Stream, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                stream.got(headers=event.headers or ())
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream.id)
                stream.got(data=event.data or b"")
            case h2.events.StreamEnded():
                stream.got(ended=True)
            case h2.events.StreamReset():
                stream.got(broken=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        for stream in self._streams.values():
            stream.got(broken=not stream.ended)

    def ask(self, path: str, body: object = None, **headers: str) -> Stream:
        """Sends a request."""
        fields, data = _request(path, body, headers)
        stream = Stream(self._h2.get_next_available_stream_id())
        self._streams[stream.id] = stream
        self._h2.send_headers(stream.id, fields, end_stream=not data)
        if data:
            self._h2.send_data(stream.id, data, end_stream=True)
        self._flush()
        return stream

    def leave(self, stream: Stream) -> None:
        """Resets one stream."""
        self._h2.reset_stream(stream.id, ErrorCodes.CANCEL)
        self._flush()

    def _flush(self) -> None:
        self._transport.write(self._h2.data_to_send())


class H3Client(QuicConnectionProtocol):
    """A connection of HTTP/3."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._h3 = H3Connection(self._quic)
        self._answers: dict[int, Stream] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        """Hand out what came."""
        if isinstance(event, ConnectionTerminated):
            for stream in self._answers.values():
                stream.got(broken=not stream.ended)
        if isinstance(event, StreamReset) and event.stream_id in self._answers:
            self._answers[event.stream_id].got(broken=True)
        for one in self._h3.handle_event(event):
            if isinstance(one, h3.HeadersReceived):
                self._answers[one.stream_id].got(headers=one.headers, ended=one.stream_ended)
            elif isinstance(one, h3.DataReceived):
                self._answers[one.stream_id].got(data=one.data, ended=one.stream_ended)

    def ask(self, path: str, body: object = None, **headers: str) -> Stream:
        """Sends a request."""
        fields, data = _request(path, body, headers)
        stream = Stream(self._quic.get_next_available_stream_id())
        self._answers[stream.id] = stream
        self._h3.send_headers(stream.id, fields, end_stream=not data)
        if data:
            self._h3.send_data(stream.id, data, end_stream=True)
        self.transmit()
        return stream

    def leave(self, stream: Stream) -> None:
        """Asks the front to stop sending one stream."""
        self._quic.stop_stream(stream.id, H3_REQUEST_CANCELLED)
        self.transmit()


@asynccontextmanager
async def connected(protocol: str, front: Front, source: str = HOST) -> AsyncIterator[Client]:
    """A connection to ``front`` that speaks ``protocol`` (h2 or h3); with h2 from the address ``source``."""
    if protocol == "h3":
        settings = QuicConfiguration(is_client=True, alpn_protocols=["h3"], server_name=HOST)
        settings.load_verify_locations(str(front.authority))
        async with connect(HOST, front.port, configuration=settings, create_protocol=H3Client) as client:
            assert isinstance(client, H3Client)
            yield client
        return
    context = ssl.create_default_context(cafile=str(front.authority))
    context.set_alpn_protocols(["h2"])
    transport, spoken = await asyncio.get_running_loop().create_connection(
        H2Client, HOST, front.port, ssl=context, local_addr=(source, 0)
    )
    assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    try:
        yield spoken
    finally:
        with suppress(ConnectionError):
            transport.abort()
