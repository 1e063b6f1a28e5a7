"""What the upstream's failures are called."""

from __future__ import annotations

import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from safeproxy.shell.upstream import FAULTS, FirstByteTimeoutError, TotalTimeoutError, fault_of

KEY = ConnectionKey("secret.host", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (aiohttp.ConnectionTimeoutError("x"), "upstream_connect_timeout", 504),
        (FirstByteTimeoutError(), "upstream_first_byte_timeout", 504),
        (TotalTimeoutError(), "total_timeout", 504),
        (aiohttp.SocketTimeoutError("x"), "upstream_idle_timeout", 504),
        (TimeoutError(), "upstream_idle_timeout", 504),
        (aiohttp.ClientConnectorDNSError(KEY, OSError("x")), "upstream_unknown_host", 502),
        (aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("x")), "upstream_tls", 502),
        (aiohttp.ClientConnectorSSLError(KEY, OSError("x")), "upstream_tls", 502),
        (aiohttp.ClientConnectorError(KEY, OSError("x")), "upstream_unreachable", 502),
        (aiohttp.ServerDisconnectedError(), "upstream_reset", 502),
        (aiohttp.ClientOSError("x"), "upstream_reset", 502),
        (ConnectionResetError("x"), "upstream_reset", 502),
        (aiohttp.ClientPayloadError("x"), "upstream_cut", 502),
        (aiohttp.ClientError("x"), "upstream_garbled", 502),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_every_failure_has_a_code_a_status_and_a_sentence(error: Exception, code: str, status: int) -> None:
    """The name follows the kind of failure; the upstream's address is not repeated."""
    assert isinstance(error, FAULTS)
    fault = fault_of(error)
    assert (fault.code, fault.status) == (code, status)
    assert fault.message.endswith(".")
    assert "secret" not in fault.message
