"""One upstream: its address, keys, timeouts and connections, one request to it, and what its failures are called."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from safeproxy.errors import ConfigError
from safeproxy.shell.keyring import Keyring
from safeproxy.shell.paths import Origin
from safeproxy.shell.sections import UpstreamSettings
from safeproxy.shell.settings import Settings
from safeproxy.wire.registry import DIALECTS, Route

#: Everything that reading from, or writing to, the upstream may raise when the fault is not ours.
FAULTS = (aiohttp.ClientError, TimeoutError, OSError)
#: The same, where nothing of the request has been sent.
NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
#: Headers that aiohttp would add by itself; the client's own, or none, are to be seen.
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

#: A longer body is sent piece by piece, in bytes.
_AT_ONCE = 2**18


class FirstByteTimeoutError(TimeoutError):
    """The request was sent, and no answer began in time."""


class TotalTimeoutError(TimeoutError):
    """The whole answer has not come in time."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong at the upstream: a fixed code, a status for the client and a sentence."""

    code: str
    status: int
    message: str


#: Kinds of errors, what is more special first.
_FAULTS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Fault], ...] = (
    (
        aiohttp.ConnectionTimeoutError,
        Fault("upstream_connect_timeout", 504, "The upstream did not accept a connection in time."),
    ),
    (
        FirstByteTimeoutError,
        Fault("upstream_first_byte_timeout", 504, "The upstream did not answer in time."),
    ),
    (TotalTimeoutError, Fault("total_timeout", 504, "The answer took longer than is allowed here.")),
    (TimeoutError, Fault("upstream_idle_timeout", 504, "The upstream fell silent in the middle of its answer.")),
    (
        aiohttp.ClientConnectorDNSError,
        Fault("upstream_unknown_host", 502, "The upstream's name cannot be resolved."),
    ),
    (aiohttp.ClientSSLError, Fault("upstream_tls", 502, "No secure connection to the upstream could be made.")),
    (aiohttp.ClientConnectorError, Fault("upstream_unreachable", 502, "The upstream cannot be reached.")),
    (
        (OSError, aiohttp.ServerDisconnectedError),
        Fault("upstream_reset", 502, "The upstream closed the connection."),
    ),
    (
        aiohttp.ClientPayloadError,
        Fault("upstream_cut", 502, "The upstream's answer broke off or cannot be decoded."),
    ),
)
_GARBLED = Fault("upstream_garbled", 502, "The upstream's answer is not readable HTTP.")


def fault_of(error: BaseException, *, begun: bool = True) -> Fault:
    """Name ``error``; addresses and messages of the upstream's own are left out.

    ``begun`` says whether any of the answer's body has come.
    """
    if isinstance(error, aiohttp.SocketTimeoutError) and not begun:
        error = FirstByteTimeoutError()
    return next((fault for kinds, fault in _FAULTS if isinstance(error, kinds)), _GARBLED)


class Upstream:
    """One LLM API, as the settings say. Raises ConfigError for a dialect or a file that cannot be used."""

    def __init__(self, one: UpstreamSettings, settings: Settings, keyring: Keyring | None) -> None:
        self.name = one.name
        self.origin = Origin.parse(one.url)
        self.prefix = one.path
        self.models = one.models
        self.route = _route(one)
        self.keyring = keyring
        self.key_header = one.key_header
        self.failover = one.failover
        #: Whether the client's own credentials may go there, if it is this upstream that the client asks.
        self.trusted = keyring is None and one.credentials == "pass" and settings.client_keys is None
        self.total_timeout = one.total_timeout or settings.total_timeout
        self._connect_timeout = one.connect_timeout or settings.connect_timeout
        self._first_byte_timeout = one.first_byte_timeout or settings.first_byte_timeout
        self.idle_timeout = one.idle_timeout or settings.idle_timeout
        self._keep_alive = settings.pool_keep_alive
        self._max_header = settings.max_header_bytes
        self._max_message = settings.max_event_bytes
        self._tls = _trust(one.ca_file or settings.upstream_ca)
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connections can be made while this lasts; none is left open after it."""
        async with self._made_session() as session:
            self._session = session
            try:
                yield
            finally:
                self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The client session; there is one while the application runs."""
        assert self._session is not None, "the application has not been started"
        return self._session

    async def send(
        self,
        method: str,
        url: URL,
        headers: CIMultiDict[str],
        body: bytes | AsyncIterator[bytes] | None,
        *,
        decode: bool,
    ) -> aiohttp.ClientResponse:
        """Send a request and wait for the head of the answer. Raises one of `FAULTS`.

        Its first byte may take `first_byte_timeout`, whether the head is there or not: servers of streams send that at
        once, and then a model may think for long. When it comes, `begins` must be called.

        ``decode`` says whether gzip and deflate are to be undone. Redirects are the client's business.
        """
        data = io.BytesIO(body) if isinstance(body, bytes) and len(body) > _AT_ONCE else body
        with _before_the_head():
            response = await self.session.request(
                method, url, headers=headers, data=data, allow_redirects=False, auto_decompress=decode
            )
        _tell_of_loss(response)
        return response

    async def connect(
        self, url: URL, headers: CIMultiDict[str], protocols: list[str]
    ) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket. Raises one of `FAULTS`, `aiohttp.WSServerHandshakeError` where the upstream will not."""
        with _before_the_head():
            return await self.session.ws_connect(
                url, headers=headers, protocols=protocols, max_msg_size=self._max_message
            )

    def _made_session(self) -> aiohttp.ClientSession:
        """A session that keeps no cookies, follows nothing from the environment and limits no connections."""
        pooling = {"keepalive_timeout": self._keep_alive} if self._keep_alive else {"force_close": True}
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, ssl=self._tls, **pooling),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            # `connect` bounds the look-up of the name, too.
            timeout=aiohttp.ClientTimeout(
                total=None, connect=self._connect_timeout, sock_read=self._first_byte_timeout
            ),
            max_line_size=self._max_header,
            max_field_size=self._max_header,
            skip_auto_headers=_NOT_ADDED,
        )


def begins(response: aiohttp.ClientResponse, idle_timeout: float) -> None:
    """The first bytes of the body have come: from now on the upstream may be silent for that many seconds only."""
    connection = response.connection
    if connection is not None and connection.protocol is not None:
        connection.protocol.read_timeout = idle_timeout
        connection.protocol.start_timeout()


def _tell_of_loss(response: aiohttp.ClientResponse) -> None:
    """Let who reads the body learn that the connection is lost, in any case.

    aiohttp 3.14 closes it at a malformed chunk and tells nobody: its reader would wait for ever.
    """
    content, connection = response.content, response.connection
    if connection is None or connection.protocol is None:
        return  # the whole body is there

    def lost(_: object) -> None:
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection was lost"))

    closed = connection.protocol.closed
    if closed is None:  # already
        lost(None)
        return
    closed.remove_done_callback(_noticed)  # of an earlier answer over the same connection
    closed.add_done_callback(_noticed)
    closed.add_done_callback(lost)

    def over() -> None:
        closed.remove_done_callback(lost)

    content.on_eof(over)


def _noticed(closed: asyncio.Future[None]) -> None:
    """A connection may break while nobody uses it: nothing to complain of."""
    if not closed.cancelled():
        closed.exception()


@contextmanager
def _before_the_head() -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError:
        raise
    except TimeoutError:
        raise FirstByteTimeoutError from None


def _route(one: UpstreamSettings) -> Route | None:
    """How answers are read on paths that tell nothing, None if that is not said."""
    if one.dialect is None:
        return None
    if one.dialect not in DIALECTS:
        raise ConfigError(
            f"setting 'upstreams': {one.name!r} has the dialect {one.dialect!r}, which nobody knows; "
            f"use one of {', '.join(DIALECTS)}"
        )
    return Route(DIALECTS[one.dialect])


def _trust(file: Path | None) -> ssl.SSLContext | bool:
    """Which authorities are trusted: those of ``file``, or the system's."""
    if file is None:
        return True
    try:
        return ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        problem = "no certificates in PEM form"
    except OSError as error:
        problem = str(error.strerror)
    raise ConfigError(f"settings 'upstream_ca' and 'ca_file': {file}: {problem}; name a file with certificates")
