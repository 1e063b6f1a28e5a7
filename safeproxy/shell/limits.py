"""How much a client, a tenant or an address may ask for."""

from __future__ import annotations

from safeproxy.shell.exchange import Exchange
from safeproxy.shell.settings import Settings


class Limits:
    """Counts requests, tokens and running requests, in this process or in Redis."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def admit(self, exchange: Exchange) -> None:
        """Count the request in. Raises Refusal (429, 503). Puts the usual headers into ``exchange.headers``."""

    def release(self, exchange: Exchange) -> None:
        """The request is over: count its tokens, and it is no longer one that runs. Never waits, never raises."""

    async def close(self) -> None:
        """Finish what is still to be counted, and close the connections."""
