"""Running the server: loop, logs, garbage collector."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator

import pytest

from safeproxy.shell.serve import loop_factory, quiet_logs, settle_memory


@pytest.fixture
def _collector() -> Iterator[None]:
    """Put the garbage collector back."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("_collector")
def test_the_collector_leaves_the_warmed_up_caches_alone() -> None:
    """What stands when serving begins is never traversed again."""
    settle_memory()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] > 2000


def test_the_loop_factory_makes_a_loop() -> None:
    """With or without uvloop there is something to run on."""
    loop = loop_factory()()
    assert isinstance(loop, asyncio.AbstractEventLoop)
    loop.close()


def test_aiohttps_log_keeps_clients_headers_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    """An error in a client's request is logged by kind, without what the client sent."""
    quiet_logs()
    logger = logging.getLogger("aiohttp.server")
    error = ValueError("Authorization: Bearer sk-secret")
    logger.error("Error handling request from %s", "127.0.0.1", exc_info=error)
    assert "sk-secret" not in caplog.text
    assert "ValueError" in caplog.text
