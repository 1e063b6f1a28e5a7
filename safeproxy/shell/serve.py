"""Runs the proxy on a host and port until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from aiohttp import web

from safeproxy.errors import ConfigError
from safeproxy.shell.admin import Admin
from safeproxy.shell.app import create_app
from safeproxy.shell.connections import Runner
from safeproxy.shell.service import SERVICE
from safeproxy.shell.settings import Settings
from safeproxy.shell.tls import Certificate

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

    TLS, the port for the admin paths and the limits of clients' connections are as its settings say. Raises
    ConfigError when an address or a certificate cannot be used.
    """
    service = app[SERVICE]
    settings = service.settings
    certificate = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        certificate = Certificate(settings.tls_certificate, settings.tls_key)
    service.server_cancels = True
    async with AsyncExitStack() as stack:
        if certificate is not None:
            renewal = asyncio.create_task(certificate.keep(lambda fault: service.say("tls", fault=fault)))
            stack.callback(renewal.cancel)
        if settings.admin_port is not None:  # it listens longer: while answers end, it tells that this stops
            where = settings.admin_host, settings.admin_port
            admin, names = Admin(app).application(), ("admin_host", "admin_port")
            service.admin_url = await stack.enter_async_context(_listening(admin, settings, names, where, certificate))
        yield await stack.enter_async_context(_listening(app, settings, ("host", "port"), (host, port), certificate))


@asynccontextmanager
async def _listening(
    app: web.Application,
    settings: Settings,
    names: tuple[str, str],
    where: tuple[str, int],
    certificate: Certificate | None,
) -> AsyncIterator[str]:
    """Serve ``app`` at ``where``, set by the settings ``names``; gives its address. Raises ConfigError."""
    host, port = where
    runner = Runner(app, settings)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=None if certificate is None else certificate.context)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"settings {names[0]!r} and {names[1]!r}: cannot listen on {host} port {port}: "
                f"{error.strerror or error}; choose a free port"
            ) from None
        bound = runner.addresses[0][1]
        scheme = "http" if certificate is None else "https"
        yield f"{scheme}://{f'[{host}]' if ':' in host else host}:{bound}"
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
