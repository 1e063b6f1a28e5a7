"""Runs the proxy on a host and port until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import IO

from aiohttp import web

from safeproxy.errors import ConfigError
from safeproxy.shell.admin import Admin
from safeproxy.shell.app import create_app, stop
from safeproxy.shell.connections import Runner
from safeproxy.shell.reload import reload
from safeproxy.shell.service import SERVICE
from safeproxy.shell.settings import Settings
from safeproxy.shell.tls import Certificate
from safeproxy.shell.workers import supervise
from safeproxy.system import allow_many_files

#: After the warm-up the automaton's caches are frozen; what streams allocate dies young, so the full
#: collections, which stall all streams, may be rare.
_GC_THRESHOLDS = (20_000, 50, 100)


def serve(settings: Settings, announce: Callable[[str], None] = lambda _: None) -> None:
    """Run the proxy until SIGINT or SIGTERM, on uvloop where it is installed, in as many processes as is set.

    ``announce`` is called with the address once it accepts connections. SIGHUP loads the rules anew. Raises
    ConfigError.
    """
    if settings.workers > 1:
        supervise(settings, announce)
    else:
        serve_here(settings, announce)


def serve_here(settings: Settings, announce: Callable[[str], None], parent: IO[str] | None = None) -> None:
    """Run the proxy in this process, until ``parent`` is closed if that is given. Raises ConfigError."""
    app = create_app(settings)
    allow_many_files()
    settle_memory()
    quiet_logs()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_until_stopped(app, settings, announce, parent))


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
        # Several workers share the port; what keeps it for them has seen to it that nobody else has it.
        context = None if certificate is None else certificate.context
        site = web.TCPSite(runner, host, port, ssl_context=context, reuse_port=settings.workers > 1)
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


async def _until_stopped(
    app: web.Application, settings: Settings, announce: Callable[[str], None], parent: IO[str] | None
) -> None:
    stopped, reload_wanted = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # Windows has no signal handlers on its loops
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        loop.add_signal_handler(signal.SIGHUP, reload_wanted.set)
    if parent is not None:
        await loop.connect_read_pipe(lambda: _End(stopped), parent)
    async with running(app, settings.host, settings.port) as url:
        reloading = asyncio.create_task(_reload_whenever(app, reload_wanted))
        announce(url)
        await stopped.wait()
        reloading.cancel()
        # It still listens: who comes too late, and who asks whether it is ready, is told.
        await stop(app)


class _End(asyncio.Protocol):
    """Sets an event when the other side of a pipe is closed."""

    def __init__(self, ended: asyncio.Event) -> None:
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        """It is."""
        self._ended.set()


async def _reload_whenever(app: web.Application, wanted: asyncio.Event) -> None:
    """One at a time; what is wanted meanwhile is done once."""
    while await wanted.wait():
        wanted.clear()
        app[SERVICE].upstreams.reload()
        await reload(app[SERVICE])
