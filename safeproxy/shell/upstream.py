"""Talking to the upstream: the client session, one request, and what its failures are called."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from safeproxy.shell.settings import Settings

#: Everything that reading from, or writing to, the upstream may raise when the fault is not ours.
FAULTS = (aiohttp.ClientError, TimeoutError, OSError)
#: Headers that aiohttp would add by itself; the client's own, or none, are to be seen.
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

#: A longer body is sent piece by piece, in bytes.
_AT_ONCE = 2**18


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong at the upstream: a fixed code, a status for the client and a sentence."""

    code: str
    status: int
    message: str


def fault_of(error: BaseException) -> Fault:
    """Name ``error``; addresses and messages of the upstream's own are left out."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Fault("upstream_connect_timeout", 504, "The upstream did not accept a connection in time.")
    if isinstance(error, TimeoutError):
        return Fault("upstream_timeout", 504, "The upstream did not answer in time.")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Fault("upstream_unknown_host", 502, "The upstream's name cannot be resolved.")
    if isinstance(error, aiohttp.ClientSSLError):
        return Fault("upstream_tls", 502, "No secure connection to the upstream could be made.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Fault("upstream_unreachable", 502, "The upstream cannot be reached.")
    if isinstance(error, OSError | aiohttp.ServerDisconnectedError):
        return Fault("upstream_reset", 502, "The upstream closed the connection.")
    if isinstance(error, aiohttp.ClientPayloadError):
        return Fault("upstream_cut", 502, "The upstream's answer broke off or cannot be decoded.")
    return Fault("upstream_garbled", 502, "The upstream's answer is not readable HTTP.")


def make_session(settings: Settings) -> aiohttp.ClientSession:
    """A session that keeps no cookies, follows nothing from the environment and limits no connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=15),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=settings.connect_timeout, sock_read=settings.first_byte_timeout
        ),
        max_line_size=65_536,
        max_field_size=65_536,
        skip_auto_headers=_NOT_ADDED,
    )


async def send(
    session: aiohttp.ClientSession,
    settings: Settings,
    method: str,
    url: URL,
    headers: CIMultiDict[str],
    body: bytes | AsyncIterator[bytes] | None,
    *,
    decode: bool,
) -> aiohttp.ClientResponse:
    """Send a request and wait for the head of the answer. Raises one of `FAULTS`.

    ``decode`` says whether gzip and deflate are to be undone. Redirects are the client's business.
    """
    data = io.BytesIO(body) if isinstance(body, bytes) and len(body) > _AT_ONCE else body
    response = await session.request(
        method, url, headers=headers, data=data, allow_redirects=False, auto_decompress=decode
    )
    connection = response.connection
    if connection is not None and connection.protocol is not None:
        connection.protocol.read_timeout = settings.idle_timeout
        connection.protocol.start_timeout()
    return response
