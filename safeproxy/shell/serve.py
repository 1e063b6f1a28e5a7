"""Runs the proxy on a host and port until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from safeproxy.errors import ConfigError
from safeproxy.shell.app import create_app
from safeproxy.shell.service import SERVICE
from safeproxy.shell.settings import Settings

#: After the warm-up the automaton's caches are frozen; what streams allocate dies young, so the full
#: collections, which stall all streams, may be rare.
_GC_THRESHOLDS = (20_000, 50, 100)


def serve(settings: Settings, announce: Callable[[str], None] = lambda _: None) -> None:
    """Run the proxy until SIGINT or SIGTERM, on uvloop where it is installed.

    ``announce`` is called with the address once it accepts connections. Raises ConfigError.
    """
    app = create_app(settings)
    settle_memory()
    quiet_logs()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_until_stopped(app, settings, announce))


@asynccontextmanager
async def running(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """Serve ``app``, made by `create_app`, on the running loop; gives its address, such as ``http://127.0.0.1:8080``.

    Raises ConfigError when the address cannot be used.
    """
    app[SERVICE].server_cancels = True
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=1.0,
        max_line_size=65_536,
        max_field_size=65_536,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"settings 'host' and 'port': cannot listen on {host} port {port}: {error.strerror or error}; "
                "choose a free port"
            ) from None
        bound = runner.addresses[0][1]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    finally:
        await runner.cleanup()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """How to make the fastest event loop that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def settle_memory() -> None:
    """Keep the garbage collector off what the warm-up made, and from stalling the streams."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def quiet_logs() -> None:
    """Let aiohttp log what went wrong, without the details: they can hold a client's headers."""
    for name in ("aiohttp.server", "aiohttp.client", "aiohttp.internal"):
        logging.getLogger(name).addFilter(_without_details)


def _without_details(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[0] is not None:
        record.msg, record.args = f"{record.exc_info[0].__name__} while handling a connection", ()
    record.exc_info = record.exc_text = None
    return True


async def _until_stopped(app: web.Application, settings: Settings, announce: Callable[[str], None]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows has no signal handlers on its loops
            loop.add_signal_handler(number, stopped.set)
    with suppress(NotImplementedError, AttributeError):  # nor has it this signal
        loop.add_signal_handler(signal.SIGHUP, app[SERVICE].upstreams.reload)
    async with running(app, settings.host, settings.port) as url:
        announce(url)
        await stopped.wait()
