"""How much a client, a tenant or an address may ask for."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import structlog
from multidict import CIMultiDict

from safeproxy.errors import ConfigError
from safeproxy.ledger.record import Caller
from safeproxy.ledger.usage import tokens_of
from safeproxy.observers.log import operational_logger
from safeproxy.shell.counters import LocalCounters
from safeproxy.shell.exchange import Exchange
from safeproxy.shell.quotas import MINUTE, Kind, Quota, Window, headers, whole_seconds
from safeproxy.shell.refusal import Refusal
from safeproxy.shell.sections import LimitSettings
from safeproxy.shell.settings import Settings
from safeproxy.wire.dialect import Dialect

if TYPE_CHECKING:
    from safeproxy.shell.redis_counters import RedisCounters

#: Seconds between two renewals of the leases of this process: a third of a lease.
RENEWAL = 10.0
#: Longest time that Redis may add to a request, in seconds.
_PATIENCE = 1.0
#: Seconds without asking Redis after it failed.
_PAUSE = 1.0
#: Longest time for what is left to be counted when the process stops, in seconds.
_GOODBYE = 2.0
#: Characters of an answer that are taken for a token where the API does not count them.
_TOKEN_CHARS = 4
#: Most tokens that one answer is charged, lest a number out of all bounds break the counters.
_MOST_TOKENS = 2**40


class Limits:
    """Counts requests, tokens and running requests, in this process or in Redis."""

    def __init__(self, settings: Settings, log: structlog.typing.FilteringBoundLogger | None = None) -> None:
        """``log`` is told of outages, by default on standard error. Raises ConfigError naming setting and remedy."""
        log = operational_logger() if log is None else log
        for position, one in enumerate(settings.limits):
            if one.per in ("key", "tenant") and settings.client_keys is None:
                raise ConfigError(
                    f"setting 'limits.{position}': per {one.per} needs virtual keys, which tell the {one.per}; give "
                    "'client_keys', or count per address"
                )
        self._limits = [_Limit(one) for one in settings.limits]
        self._most = settings.max_streams
        self._held: dict[str, tuple[Quota, ...]] = {}
        """What each running request is counted in, by its id."""
        self._local = LocalCounters()
        self._shared = None if settings.redis_url is None else _shared(settings.redis_url.get_secret_value())
        self._refuses = settings.on_limits_error == "refuse"
        self._outage = _Outage(log)
        self._turns = asyncio.Semaphore(1 if self._shared is None else self._shared.at_once)
        self._log = log
        self._charges: Counter[str] = Counter()
        self._over: dict[str, list[str]] = {}
        """Requests that run no longer, of which Redis has not heard yet, by name."""
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._closing = False
        self._renewed = 0.0

    async def admit(self, exchange: Exchange, dialect: Dialect | None = None) -> None:
        """Count the request in. Raises Refusal (429, 503). Puts the usual headers into ``exchange.headers``.

        One that is refused counts nowhere.
        """
        if self._most and len(self._held) >= self._most:
            exchange.faults.append("max_streams")
            message = f"The proxy serves {self._most} requests at a time, and no more now; try again in a second."
            raise _refusal(503, "overloaded", message, 0.0)
        if not (self._most or self._limits):
            return
        exchange.limited = bool(self._limits)
        # Two settings that say the same count once.
        quotas = tuple(dict.fromkeys(quota for limit in self._limits for quota in limit.quotas(exchange.caller)))
        self._held[exchange.id] = quotas
        if not quotas:
            return
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        try:
            verdict = await self._judged(exchange, quotas)
            _tell(exchange, verdict, dialect)
        except Refusal:
            self._leave(exchange)
            raise

    def release(self, exchange: Exchange) -> None:
        """The request is over: count its tokens, and it is no longer one that runs. Never waits, never raises."""
        counted = [quota.name for quota in self._leave(exchange) if quota.kind == "tokens"]
        tokens = _spent(exchange) if counted else 0
        if tokens:
            self._charges.update(dict.fromkeys(counted, tokens))
            self._wake.set()

    async def close(self) -> None:
        """Finish what is still to be counted, and close the connections; gives up after a moment."""
        if self._worker is not None:
            self._closing = True
            self._wake.set()
            await asyncio.wait({self._worker}, timeout=_GOODBYE)
            self._worker.cancel()
            self._worker, self._closing = None, False
        if self._shared is not None:
            with suppress(*self._shared.failures):
                async with asyncio.timeout(_PATIENCE):
                    await self._shared.close()

    def _leave(self, exchange: Exchange) -> Sequence[Quota]:
        """The request runs no longer; gives what it was counted in.

        Redis is told whether or not it knows of the request: one that was cancelled cannot tell.
        """
        quotas = self._held.pop(exchange.id, ())
        for quota in quotas:
            if quota.kind == "streams":
                self._local.drop(quota.name, exchange.id)
                if self._shared is not None:
                    self._over.setdefault(quota.name, []).append(exchange.id)
                    self._wake.set()
        return quotas

    async def _judged(self, exchange: Exchange, quotas: Sequence[Quota]) -> _Verdict:
        if self._shared is None:
            return await _judge(self._local, quotas, exchange.id)
        verdict = await self._judged_by_all(self._shared, exchange, quotas)
        if verdict is not None:
            return verdict
        if self._refuses:
            exchange.faults.append("limits_unavailable")
            message = "The proxy cannot count requests now, so it refuses them; try again soon."
            raise _refusal(503, "limits_unavailable", message, 0.0)
        exchange.faults.append("limits_local")
        return await _judge(self._local, quotas, exchange.id)

    async def _judged_by_all(
        self, shared: RedisCounters, exchange: Exchange, quotas: Sequence[Quota]
    ) -> _Verdict | None:
        """What Redis says, None if it is gone."""
        async with self._turns:
            asked = self._outage.ask()
            if asked is None:
                return None
            try:
                async with asyncio.timeout(_PATIENCE):
                    verdict = await _judge(shared, quotas, exchange.id)
            except shared.failures as error:
                self._outage.failed(asked, error)
                return None
        self._outage.answered(asked)
        for quota in quotas if verdict.full is None else ():
            if quota.kind == "streams":
                self._local.note(quota.name, exchange.id)
        return verdict

    async def _work(self) -> None:
        """What requests need not wait for: charges, ends and renewals, one after the other."""
        while not self._closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self._shared is None else RENEWAL):
                    await self._wake.wait()
            self._wake.clear()
            await self._settle()
        await self._settle()

    async def _settle(self) -> None:
        try:
            if self._shared is not None and (asked := self._outage.ask()) is not None:
                try:
                    await self._settle_shared(self._shared)
                except self._shared.failures as error:
                    self._outage.failed(asked, error)
                else:
                    self._outage.answered(asked)
                    return
            # What Redis did not take is counted here; leases that it still has end by themselves.
            self._over.clear()
            while self._charges:
                await self._local.charge(*self._charges.popitem())
        except Exception as error:  # noqa: BLE001 - the next request must find somebody at work
            self._log.critical("limits", fault="bug", kind=type(error).__name__)

    async def _settle_shared(self, shared: RedisCounters) -> None:
        over, self._over = self._over, {}
        for name, requests in over.items():
            await shared.drop(name, requests)
        while self._charges:
            name, amount = self._charges.popitem()
            try:
                await shared.charge(name, amount)
            except shared.failures:
                self._charges[name] += amount
                raise
        now = time.monotonic()
        if now - self._renewed >= RENEWAL:
            await shared.renew({name: tuple(requests) for name, requests in self._local.running.items()})
            self._renewed = now


class _Counters(Protocol):
    """Where it is counted."""

    async def look(self, quotas: Sequence[Quota]) -> list[tuple[Quota, Window]]: ...

    async def take(self, quotas: Sequence[Quota]) -> Quota | None: ...

    async def hold(self, quota: Quota, request: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Verdict:
    """How full everything is, and what has no room for the request, None if all have."""

    windows: list[tuple[Quota, Window]]
    full: Quota | None = None
    wait: float = 0.0


class _Limit:
    """One of the limits that are set."""

    def __init__(self, settings: LimitSettings) -> None:
        self._per = settings.per
        self._only = frozenset(settings.only)
        self._networks = [ipaddress.ip_network(one) for one in settings.only] if settings.per == "address" else []
        kinds: list[tuple[Kind, int | None]] = [
            ("requests", settings.requests),
            ("tokens", settings.tokens),
            ("streams", settings.streams),
        ]
        self._kinds = [(kind, most) for kind, most in kinds if most is not None]

    def quotas(self, caller: Caller) -> list[Quota]:
        """What this caller's requests are counted in; names hold no credentials. Empty if it is not for this one."""
        if self._only and not self._means(caller):
            return []
        who = f"{self._per}/{quote(self._who(caller), safe=':')}"
        # With the number in the name, as the package does it: a limit that was changed starts afresh.
        return [Quota(kind, self._per, f"{kind}/{who}/{most}", most) for kind, most in self._kinds]

    def _means(self, caller: Caller) -> bool:
        if self._per == "address":
            address = _parsed(caller.address)
            return address is not None and any(address in network for network in self._networks)
        names = {caller.key, caller.name} if self._per == "key" else {caller.tenant}
        return not self._only.isdisjoint(names - {None})

    def _who(self, caller: Caller) -> str:
        """Those that have no name share one count: nobody gets around a limit by having none."""
        if self._per == "all":
            return "all"
        if self._per == "address":
            return _counted_address(caller.address)
        return (caller.key if self._per == "key" else caller.tenant) or "-"


class _Outage:
    """Whether Redis is gone. While it is, one request in a while finds out whether it is back."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        self._log = log
        self._again: float | None = None
        self._asked = 0
        self._changed = 0

    def ask(self) -> int | None:
        """A number for this question, None if it should not be asked now."""
        if self._again is not None:
            now = time.monotonic()
            if now < self._again:
                return None
            self._again = now + _PAUSE  # the others wait for what comes of this one
        self._asked += 1
        return self._asked

    def failed(self, asked: int, error: BaseException) -> None:
        """Logged once an outage; the kind alone, since a message may hold the address."""
        if asked <= self._changed:
            return  # asked before Redis went, or came back: says nothing of now
        if self._again is None:
            self._changed = self._asked
            with suppress(Exception):
                self._log.error("limits", fault="redis_gone", kind=type(error).__name__)
        self._again = time.monotonic() + _PAUSE

    def answered(self, asked: int) -> None:
        """Redis is there."""
        if self._again is not None and asked > self._changed:
            self._again, self._changed = None, self._asked
            with suppress(Exception):
                self._log.info("limits", state="redis_back")


async def _judge(counters: _Counters, quotas: Sequence[Quota], request: str) -> _Verdict:
    """Count the request in everywhere, or nowhere: places that it holds already are given back by `Limits._leave`."""
    windows = await counters.look([quota for quota in quotas if quota.kind != "streams"])
    waits = [(window.wait(quota.most), quota) for quota, window in windows if window.used >= quota.most]
    if waits:
        wait, quota = max(waits, key=lambda one: one[0])
        return _Verdict(windows, quota, wait)
    for quota in quotas:
        if quota.kind == "streams" and not await counters.hold(quota, request):
            return _Verdict(windows, quota)
    requests = [quota for quota in quotas if quota.kind == "requests"]
    full = await counters.take(requests)
    if full is None:
        taken = [(quota, _with_one(window) if quota.kind == "requests" else window) for quota, window in windows]
        return _Verdict(taken)
    return _Verdict(windows, full)  # another process was quicker, since the look


def _with_one(window: Window) -> Window:
    left = window.current_left or 2.0 * MINUTE
    return Window(window.previous, window.previous_left, window.current + 1, left)


def _tell(exchange: Exchange, verdict: _Verdict, dialect: Dialect | None) -> None:
    """Put the headers in. Raises Refusal if there is no room for the request."""
    anthropic = dialect is not None and dialect.name == "anthropic"
    exchange.headers.update(headers(verdict.windows, anthropic=anthropic, now=time.time()))
    full = verdict.full
    if full is None:
        return
    exchange.faults.append(f"limit_{full.kind}")
    share = "for all clients together" if full.per == "all" else f"per {full.per}"
    what = "requests at the same time" if full.kind == "streams" else f"{full.kind} a minute"
    message = f"Rate limit reached: {full.most} {what} {share}. Try again in {whole_seconds(verdict.wait)} s."
    raise _refusal(429, "rate_limit_exceeded", message, verdict.wait)


def _refusal(status: int, code: str, message: str, wait: float) -> Refusal:
    told = CIMultiDict({"Retry-After": str(whole_seconds(wait))})
    return Refusal(status, code, message, retry=True, headers=told)


def _spent(exchange: Exchange) -> int:
    """The tokens of a request: as the API counts them, else estimated from what it has said.

    The prompt is not estimated: pictures in it are long, and cost little.
    """
    report = exchange.report
    if report is None:
        return 0
    tokens = tokens_of(report.usage)
    if tokens is not None:
        return max(0, min(tokens.total, _MOST_TOKENS))
    if (exchange.upstream_status or 500) >= 400 or not report.scanned:
        return 0
    exchange.faults.append("tokens_estimated")
    return math.ceil(report.scanned / _TOKEN_CHARS)


def _parsed(address: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def _counted_address(address: str | None) -> str:
    """What is counted together: an IPv4 address, or the /64 that one IPv6 client has to itself."""
    parsed = _parsed(address)
    if parsed is None:
        return "-"
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed), 64), strict=False).network_address)
    return str(parsed)


def _shared(url: str) -> RedisCounters:
    try:
        from safeproxy.shell.redis_counters import RedisCounters
    except ImportError:
        raise ConfigError(
            "setting 'redis_url' needs an extra; install it with: pip install 'safeproxy[redis]'"
        ) from None
    return RedisCounters(url)
