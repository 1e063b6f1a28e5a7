"""Settings on their way to a worker, and the ports kept for it; the processes are tested from end to end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from safeproxy.errors import ConfigError
from safeproxy.shell import workers
from safeproxy.shell.settings import Settings


def settings(**more: object) -> Settings:
    """Settings of many kinds."""
    return Settings(
        upstreams=({"name": "one", "url": "https://one.example", "models": "gpt-*", "keys_file": Path("keys")},),
        rules=(Path("a.yaml"),),
        workers=2,
        hash_key="a key of the tests' own",
        limits=({"per": "key", "requests": 3},),
        idle_timeout=2.5,
        **more,
    )


def test_settings_arrive_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """All kinds of them, secrets included, on one line, and whatever the worker's environment says."""
    sent = settings()
    line = workers.dump(sent)
    monkeypatch.setenv("SAFEPROXY_UPSTREAM", "https://other.example")
    monkeypatch.setenv("SAFEPROXY_PORT", "1")
    assert b"\n" not in line
    assert workers.load(line).model_dump() == sent.model_dump()
    assert workers.load(line).key == b"a key of the tests' own"


def test_what_is_no_setting_is_not_sent() -> None:
    """Never as its repr."""
    with pytest.raises(TypeError, match="a setting holds a object"):
        workers._plain(object())


@pytest.mark.enable_socket
def test_ports_are_real_and_seals_are_shared() -> None:
    """Port 0 becomes the same port for all, also that of the admin paths; a seal key that is given stays."""
    found, reserved = workers._with_ports(settings(port=0, admin_port=0))
    try:
        assert found.port
        assert found.admin_port
        assert found.port != found.admin_port
        assert found.sealing_key is not None
        assert [one.getsockname()[1] for one in reserved] == [found.port, found.admin_port]
    finally:
        for one in reserved:
            one.close()
    again, reserved = workers._with_ports(settings(port=0, seal_key="a seal key of its own"))
    reserved[0].close()
    assert again.sealing_key == b"a seal key of its own"


@pytest.mark.enable_socket
async def test_a_port_that_somebody_listens_on_is_an_error() -> None:
    """Also where that one would share it."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, reuse_port=True)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConfigError, match=f"'host' and 'port'.*port {port}"):
            workers._with_ports(settings(port=port))
