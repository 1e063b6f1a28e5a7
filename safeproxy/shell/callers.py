"""Who asks: the client's address, its virtual key with the tenant, and its tags."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import structlog
from aiohttp import web
from multidict import CIMultiDict

from safeproxy.errors import ConfigError
from safeproxy.ledger.record import Caller
from safeproxy.observers.log import operational_logger
from safeproxy.shell import client_keys, credentials
from safeproxy.shell.headers import Headers
from safeproxy.shell.refusal import Refusal
from safeproxy.shell.reloaded import Reloaded
from safeproxy.shell.sections import NAME
from safeproxy.shell.settings import Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: A port behind an address, as some proxies write it.
_WITH_PORT = re.compile(r"\[(?P<v6>[^]]+)\](?::\d+)?|(?P<v4>[^:]+):\d+")
#: Tags that could hold anything else than a short name are kept as this.
_OTHER = "other"


class Callers:
    """Identifies clients as the settings say. Raises ConfigError for settings and for a key file that cannot be used.

    ``log`` is told when the key file was changed and cannot be used; ``now`` is the time of day, in UTC.
    """

    def __init__(
        self,
        settings: Settings,
        log: structlog.typing.FilteringBoundLogger | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._proxies = _networks(settings.trusted_proxies)
        self._tag_headers = _tag_names(settings.tag_headers)
        self._now = now
        self._log = log or operational_logger()
        self._keys: Reloaded[client_keys.Keys] | None = None
        if settings.client_keys is not None:
            self._keys = Reloaded(settings.client_keys, client_keys.read, self._broken)

    def address(self, request: web.BaseRequest) -> str | None:
        """The client's address: the peer's, or if that is a trusted proxy the one it was told of."""
        return _client_address(request.remote, request.headers.getall("x-forwarded-for", []), self._proxies)

    async def identify(self, request: web.BaseRequest) -> Caller:
        """Who asks. Raises Refusal (401) where a virtual key is wanted and none that is good was presented."""
        key = None if self._keys is None else self._checked(await self._keys.value(), request)
        tags = _tags(request.headers, self._tag_headers)
        if key is None:
            return Caller(address=self.address(request), tags=tags)
        return Caller(
            address=self.address(request),
            key=key.id,
            name=key.name,
            tenant=key.tenant,
            tags=tags | key.tags,
        )

    def conceal(self, headers: CIMultiDict[str], raw_query: str) -> str:
        """Take out of ``headers``, in place, what is for the proxy alone: tags, and its own keys. Gives the query."""
        for name in self._tag_headers:
            headers.popall(name, None)
        return raw_query if self._keys is None else credentials.remove(headers, raw_query)

    def _broken(self, error: ConfigError) -> None:
        self._log.error("keys", fault=f"{error}; the keys read before stay in force")

    def _checked(self, keys: client_keys.Keys, request: web.BaseRequest) -> client_keys.VirtualKey:
        presented = [key for _, key in credentials.every(request.headers, request.rel_url.raw_query_string)]
        # Some SDKs send a second key that is only there because they want one.
        likely = next(filter(client_keys.id_of, presented), "")
        found = client_keys.check(keys, likely, self._now())
        if found is None:
            raise _unauthorized()
        return found


def _unauthorized() -> Refusal:
    """The same for a key that is missing, wrong, expired or revoked: strangers learn nothing of keys."""
    message = "Incorrect API key provided: this proxy wants a key that its operator has issued and not withdrawn."
    return Refusal(401, "invalid_api_key", message, headers=CIMultiDict({"WWW-Authenticate": "Bearer"}))


def _networks(values: Iterable[str]) -> tuple[Network, ...]:
    networks = []
    for value in values:
        try:
            networks.append(ip_network(value))
        except ValueError as error:
            raise ConfigError(
                f"setting 'trusted_proxies': {value!r} is no address and no network ({error}); "
                "write them as 10.0.0.7, 10.0.0.0/8 or fd00::/8"
            ) from None
    return tuple(networks)


def _tag_names(values: Iterable[str]) -> tuple[str, ...]:
    names = tuple(value.lower() for value in values)
    for name in names:
        if not re.fullmatch(NAME, name):
            raise ConfigError(
                f"setting 'tag_headers': {name!r} is not the name of a tag; use up to 64 letters, digits, '.', '-', '_'"
            )
        if name in credentials.HEADERS:
            raise ConfigError(
                f"setting 'tag_headers': {name!r} carries credentials, which records never hold; take it out"
            )
    return names


def _tags(headers: Headers, names: Iterable[str]) -> dict[str, str]:
    said = {name: headers[name].strip() for name in names if headers.get(name, "").strip()}
    return {name: value if re.fullmatch(NAME, value) else _OTHER for name, value in said.items()}


def _client_address(peer: str | None, forwarded: Sequence[str], proxies: Sequence[Network]) -> str | None:
    """The last address of the way here that is no trusted proxy's; what stands before it anybody may have written."""
    nearest = None if peer is None else _address(peer)
    if nearest is None or not _is_within(nearest, proxies):
        return peer
    hops = [hop for value in forwarded for hop in value.split(",")]
    for hop in reversed(hops):
        told = _address(hop.strip())
        if told is None:
            break
        nearest = told
        if not _is_within(told, proxies):
            break
    return str(nearest)


def _address(text: str) -> Address | None:
    """An address, without its port; one of IPv4 written as one of IPv6 is one of IPv4."""
    match = _WITH_PORT.fullmatch(text)
    try:
        found = ip_address(text if match is None else match["v6"] or match["v4"])
    except ValueError:
        return None
    if "%" in text:  # what stands behind it may be anything, and it means nothing on another machine
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
