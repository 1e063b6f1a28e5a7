"""Who is counted with whom, what a refusal says, what is charged afterwards, and what happens when Redis fails."""

from __future__ import annotations

import asyncio
import builtins
import json
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from safeproxy.errors import ConfigError
from safeproxy.ledger.record import Caller
from safeproxy.observers.base import Observers
from safeproxy.pipeline import Report
from safeproxy.shell import limits as module
from safeproxy.shell.counters import LocalCounters
from safeproxy.shell.exchange import Exchange
from safeproxy.shell.limits import Limits
from safeproxy.shell.refusal import Refusal
from safeproxy.shell.settings import Settings
from safeproxy.wire.dialect import Reading
from safeproxy.wire.registry import dialect_for
from tests.observers.test_base import Notes
from tests.shell.test_counters import START, Clock, moved_clock


class Log:
    """Takes what is said."""

    def __init__(self) -> None:
        self.said: list[Mapping[str, Any]] = []

    def _note(self, event: str, **facts: Any) -> None:
        self.said.append({"event": event, **facts})

    info = error = critical = _note


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The time of day and the monotonic one in our hands."""
    with moved_clock() as moved:
        monkeypatch.setattr(
            module, "time", SimpleNamespace(time=lambda: moved.now, monotonic=lambda: moved.now - START)
        )
        yield moved


def limits(*each: Mapping[str, Any], log: Log | None = None, **settings: Any) -> Limits:
    """Limits by these settings."""
    given = Settings(upstream="http://upstream", limits=each, **settings)
    return Limits(given, cast("structlog.typing.FilteringBoundLogger", log or Log()))


def exchange(address: str | None = "192.0.2.1", **caller: Any) -> Exchange:
    """A request from there."""
    path = "/v1/chat/completions"
    made = Exchange(observers=Observers(Notes()), rules="ab" * 32, client=address, method="POST", path=path)
    made.caller = Caller(address=address, **caller)
    return made


async def refused(counted: Limits, one: Exchange, path: str = "/v1/chat/completions") -> tuple[Refusal, Any]:
    """The refusal of this request, and its body."""
    dialect = dialect_for("POST", path)
    with pytest.raises(Refusal) as caught:
        await counted.admit(one, dialect)
    return caught.value, json.loads(caught.value.body(dialect))


async def admits(counted: Limits, one: Exchange) -> bool:
    """Whether this request is let in."""
    try:
        await counted.admit(one)
    except Refusal:
        return False
    return True


def over(counted: Limits, one: Exchange, *, usage: dict[str, int] | None = None, text: int = 0) -> None:
    """The request ends with that answer."""
    one.upstream_status, one.report = 200, Report()
    one.report.note(Reading(usage=usage))
    one.report._scanned = text
    counted.release(one)


async def settled(counted: Limits) -> None:
    """What was to be counted is."""
    await counted._settle()


@pytest.mark.parametrize(
    ("limit", "complaint"),
    [
        ({"per": "address"}, "limits.0': limits nothing; give requests, tokens or streams"),
        ({"per": "all", "only": "x", "requests": 1}, "limits.0': per all counts everybody"),
        ({"per": "address", "only": ["10.0.0.1/8"], "requests": 1}, "'10.0.0.1/8' is no address or network"),
        ({"per": "key", "requests": 1}, "limits.0': per key needs virtual keys"),
        ({"per": "tenant", "requests": 1}, "limits.0': per tenant needs virtual keys"),
    ],
)
def test_what_cannot_be_meant_is_refused(limit: dict[str, Any], complaint: str) -> None:
    """A limit that counts nothing or nobody names its fault and the remedy."""
    with pytest.raises(ConfigError) as caught:
        limits(limit)
    assert complaint in str(caught.value)


def test_a_bad_address_of_redis_is_refused_at_the_start() -> None:
    """Not at the first request."""
    with pytest.raises(ConfigError, match="redis_url"):
        limits({"per": "all", "requests": 1}, redis_url="http://host")


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is wanted and its package is missing."""
    real = builtins.__import__

    def importing(name: str, *rest: Any) -> Any:
        if name.startswith(("redis", "safeproxy.shell.redis_counters")):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(ConfigError, match=r"pip install 'safeproxy\[redis\]'"):
        limits({"per": "all", "requests": 1}, redis_url="redis://host")


async def test_without_limits_nothing_happens() -> None:
    """No header, no task."""
    counted, one = limits(), exchange()
    await counted.admit(one)
    counted.release(one)
    assert not one.headers
    assert not one.limited
    assert counted._worker is None
    await counted.close()


async def test_over_the_limit_is_429(clock: Clock) -> None:
    """In the API's shape, with the time to wait and what is left; recorded; and again admitted after the wait."""
    counted = limits({"per": "address", "requests": 2})
    for left in ("1", "0"):
        one = exchange()
        await counted.admit(one)
        assert one.headers["x-ratelimit-remaining-requests"] == left
    last = exchange()
    refusal, body = await refused(counted, last)
    assert (refusal.status, refusal.retry, refusal.ended) == (429, True, "refused")
    assert body["error"]["type"] == "rate_limit_error"
    assert body["error"]["code"] == "rate_limit_exceeded"
    assert "2 requests a minute per address" in body["error"]["message"]
    assert last.faults == ["limit_requests"]
    assert last.headers["x-ratelimit-limit-requests"] == "2"
    assert last.headers["x-ratelimit-remaining-requests"] == "0"
    assert refusal.headers["retry-after"] == "61"
    clock.now += 61
    assert await admits(counted, exchange())
    await counted.close()


async def test_anthropics_clients_get_their_own_headers(clock: Clock) -> None:
    """Other names, and a moment instead of a duration."""
    counted, one = limits({"per": "address", "requests": 2}), exchange()
    await counted.admit(one, dialect_for("POST", "/v1/messages"))
    assert one.headers == {
        "anthropic-ratelimit-requests-limit": "2",
        "anthropic-ratelimit-requests-remaining": "1",
        "anthropic-ratelimit-requests-reset": "2023-11-14T22:16:00Z",
    }
    await counted.close()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/chat/completions", ("error", "type", "rate_limit_error")),
        ("/v1/responses", ("error", "type", "rate_limit_error")),
        ("/v1/messages", ("error", "type", "rate_limit_error")),
        ("/v1beta/models/m:generateContent", ("error", "status", "RESOURCE_EXHAUSTED")),
    ],
)
async def test_the_error_has_the_kind_of_its_api(path: str, kind: tuple[str, str, str], clock: Clock) -> None:
    """Each SDK knows it as its rate limit error."""
    counted = limits({"per": "address", "requests": 1})
    await counted.admit(exchange())
    _, body = await refused(counted, exchange(), path)
    assert body[kind[0]][kind[1]] == kind[2]
    await counted.close()


async def test_max_streams_is_503(clock: Clock) -> None:
    """Only so many requests at a time; the next waits a second; one that ended makes room."""
    counted, first = limits(max_streams=1), exchange()
    await counted.admit(first)
    last = exchange()
    refusal, body = await refused(counted, last, "/v1/messages")
    assert (refusal.status, refusal.headers["retry-after"], refusal.retry) == (503, "1", True)
    assert body["error"]["type"] == "overloaded_error"
    assert last.faults == ["max_streams"]
    counted.release(last)
    assert not await admits(counted, exchange())
    counted.release(first)
    assert await admits(counted, exchange())
    await counted.close()


async def test_requests_at_the_same_time(clock: Clock) -> None:
    """A place is free again when a request ends, and a refused one has none and is not counted as a request."""
    counted = limits({"per": "address", "streams": 1, "requests": 3})
    first = exchange()
    await counted.admit(first)
    last = exchange()
    refusal, body = await refused(counted, last)
    assert (refusal.status, refusal.headers["retry-after"]) == (429, "1")
    assert "1 requests at the same time per address" in body["error"]["message"]
    assert last.faults == ["limit_streams"]
    counted.release(last)
    counted.release(first)
    second = exchange()
    await counted.admit(second)
    assert second.headers["x-ratelimit-remaining-requests"] == "1"
    await counted.close()


async def test_all_limits_must_admit(clock: Clock) -> None:
    """One that is full refuses, whatever room the others have, and they do not count the request."""
    counted = limits({"per": "all", "requests": 3}, {"per": "address", "requests": 1})
    assert await admits(counted, exchange("192.0.2.1"))
    for _ in range(5):
        assert not await admits(counted, exchange("192.0.2.1"))
    assert await admits(counted, exchange("192.0.2.2"))
    assert await admits(counted, exchange("192.0.2.3"))
    assert not await admits(counted, exchange("192.0.2.4"))
    await counted.close()


async def test_a_limit_that_is_set_twice_counts_once(clock: Clock) -> None:
    """Two settings with the same words are one."""
    counted = limits({"per": "all", "requests": 2}, {"per": "all", "requests": 2})
    assert [await admits(counted, exchange()) for _ in range(3)] == [True, True, False]
    await counted.close()


@pytest.mark.parametrize(
    ("per", "only", "callers"),
    [
        ("key", ["build"], [{"key": "k1", "name": "build"}, {"key": "k2", "name": "other"}]),
        ("key", "k1", [{"key": "k1"}, {"key": "k2"}]),
        ("tenant", "red", [{"key": "k1", "tenant": "red"}, {"key": "k1", "tenant": "blue"}]),
        ("address", "10.0.0.0/8", [{"address": "10.1.2.3"}, {"address": "192.0.2.1"}]),
        ("address", "2001:db8::/32", [{"address": "2001:db8::7"}, {"address": None}]),
        ("address", "10.1.2.3", [{"address": "::ffff:10.1.2.3"}, {"address": "10.1.2.4"}]),
    ],
)
async def test_a_limit_may_be_for_some(per: str, only: Any, callers: list[dict[str, Any]], clock: Clock) -> None:
    """The first caller is meant, the other is not."""
    counted = limits({"per": per, "only": only, "requests": 1}, client_keys="keys")
    meant, other = callers
    assert [await admits(counted, exchange(**meant)) for _ in range(2)] == [True, False]
    assert [await admits(counted, exchange(**other)) for _ in range(2)] == [True, True]
    await counted.close()


@pytest.mark.parametrize(
    ("per", "one", "same", "other"),
    [
        ("key", {"key": "k1"}, {"key": "k1", "address": "192.0.2.9"}, {"key": "k2"}),
        ("tenant", {"tenant": "red"}, {"tenant": "red", "key": "k2"}, {"tenant": "blue"}),
        ("tenant", {"key": "k1"}, {"key": "k2"}, {"tenant": "-x"}),
        ("address", {"address": "192.0.2.1"}, {"address": "::ffff:192.0.2.1"}, {"address": "192.0.2.2"}),
        ("address", {"address": "2001:db8::1"}, {"address": "2001:db8::2:1"}, {"address": "2001:db8:0:1::1"}),
        ("address", {"address": None}, {"address": "unix:"}, {"address": "192.0.2.2"}),
    ],
)
async def test_who_is_counted_together(
    per: str, one: dict[str, Any], same: dict[str, Any], other: dict[str, Any], clock: Clock
) -> None:
    """By id, name or address; an IPv6 client has 64 bits to choose from; those without a name are one."""
    counted = limits({"per": per, "requests": 1}, client_keys="keys")
    assert await admits(counted, exchange(**one))
    assert not await admits(counted, exchange(**same))
    assert await admits(counted, exchange(**other))
    await counted.close()


async def test_names_of_counts_hold_no_credentials() -> None:
    """Key id, tenant or address, what is counted and how many; anything strange in them is escaped."""
    counted = limits({"per": "tenant", "requests": 5}, {"per": "address", "streams": 2}, client_keys="keys")
    names = [
        quota.name
        for limit in counted._limits
        for quota in limit.quotas(Caller(address="192.0.2.1", key="k", tenant="a/{b}\n"))
    ]
    assert names == ["requests/tenant/a%2F%7Bb%7D%0A/5", "streams/address/192.0.2.1/2"]


async def test_tokens_are_charged_afterwards_and_in_full(clock: Clock) -> None:
    """A request is let in while there are tokens, may use more than there are, and others wait for it."""
    counted = limits({"per": "address", "tokens": 100})
    one, other = exchange(), exchange()
    await counted.admit(one)
    assert one.headers["x-ratelimit-remaining-tokens"] == "100"
    over(counted, one, usage={"prompt_tokens": 60, "completion_tokens": 30})
    await settled(counted)
    await counted.admit(other)
    assert other.headers["x-ratelimit-remaining-tokens"] == "10"
    over(counted, other, usage={"prompt_tokens": 60, "completion_tokens": 50})
    await settled(counted)
    refusal, body = await refused(counted, exchange())
    assert "100 tokens a minute" in body["error"]["message"]
    # 200 in this minute: the half of it counts no longer 30 seconds into the next.
    assert refusal.headers["retry-after"] == "91"
    assert one.faults == other.faults == []
    await counted.close()


async def test_tokens_that_nobody_counted_are_estimated(clock: Clock) -> None:
    """Four characters for one, rounded up, and marked; nothing for an error, nor where no answer came."""
    counted = limits({"per": "address", "tokens": 100})
    one = exchange()
    await counted.admit(one)
    over(counted, one, text=41)
    assert one.faults == ["tokens_estimated"]
    for text, status in [(0, 200), (400, 500), (400, None)]:
        free = exchange()
        await counted.admit(free)
        free.upstream_status, free.report = status, Report()
        free.report._scanned = text
        counted.release(free)
        assert free.faults == []
    await settled(counted)
    last = exchange()
    await counted.admit(last)
    assert last.headers["x-ratelimit-remaining-tokens"] == "89"
    await counted.close()


async def test_release_takes_whatever_comes() -> None:
    """A request that was never admitted, twice the same, absurd numbers."""
    counted = limits({"per": "address", "tokens": 100})
    one = exchange()
    counted.release(one)
    await counted.admit(one)
    over(counted, one, usage={"prompt_tokens": -5, "completion_tokens": -1})
    counted.release(one)
    assert not counted._charges
    await counted.admit(one)
    over(counted, one, usage={"prompt_tokens": 10**30, "completion_tokens": 1})
    await counted.close()
    assert not counted._charges


async def test_close_counts_what_is_left() -> None:
    """Nothing is forgotten when the process stops, and the counters can be used again."""
    counted = limits({"per": "address", "tokens": 10})
    one = exchange()
    await counted.admit(one)
    over(counted, one, usage={"prompt_tokens": 10, "completion_tokens": 1})
    await counted.close()
    assert not counted._charges
    assert not await admits(counted, exchange())
    await counted.close()


class Shared(LocalCounters):
    """Stands for Redis: may be gone, or lose the race for the last place."""

    failures = (OSError, TimeoutError)
    at_once = 1

    def __init__(self) -> None:
        super().__init__()
        self.gone = False
        self.asked = 0
        self.renewed: list[Any] = []
        self.dropped: list[Any] = []
        self.closed = False

    async def look(self, quotas: Any) -> Any:
        """Fails first."""
        self.asked += 1
        self._answer()
        return await super().look(quotas)

    async def charge(self, name: str, amount: int) -> None:
        """Count, or fail."""
        self._answer()
        await super().charge(name, amount)

    async def renew(self, running: Mapping[str, Sequence[str]]) -> None:
        """Note it."""
        self._answer()
        self.renewed.append(running)

    def drop(self, name: str, requests: Any) -> Any:
        """Note it."""

        async def dropping() -> None:
            self._answer()
            self.dropped.append((name, requests))
            for one in requests:
                LocalCounters.drop(self, name, one)

        return dropping()

    async def close(self) -> None:
        """Note it."""
        self.closed = True

    def _answer(self) -> None:
        if self.gone:
            raise ConnectionRefusedError("redis://:hunter2@host")


def with_redis(*each: Mapping[str, Any], log: Log | None = None, **settings: Any) -> tuple[Limits, Shared]:
    """Limits in what stands for Redis."""
    counted, shared = limits(*each, log=log, **settings), Shared()
    counted._shared = shared  # type: ignore[assignment]
    return counted, shared


async def test_it_is_counted_in_redis(clock: Clock) -> None:
    """Requests, tokens and places; ends are told; connections closed."""
    counted, shared = with_redis({"per": "all", "requests": 5, "tokens": 50, "streams": 5})
    one = exchange()
    await counted.admit(one)
    assert shared.running == counted._local.running == {"streams/all/all/5": {one.id}}
    over(counted, one, usage={"prompt_tokens": 40, "completion_tokens": 2})
    await settled(counted)
    await counted.close()
    assert shared.running == counted._local.running == {}
    assert shared.closed
    windows = {quota.kind: window.used for quota, window in await shared.look(counted._limits[0].quotas(Caller()))}
    assert (windows["requests"], windows["tokens"]) == (1, 42)
    assert one.faults == []


async def test_redis_gone_is_local(clock: Clock) -> None:
    """Each request is marked, the outage is logged once, and after a pause one request finds Redis back."""
    log = Log()
    counted, shared = with_redis({"per": "all", "requests": 3, "streams": 9}, log=log)
    shared.gone = True
    requests = [exchange() for _ in range(4)]
    assert [await admits(counted, one) for one in requests] == [True, True, True, False]
    assert [one.faults for one in requests] == [["limits_local"]] * 3 + [["limits_local", "limit_requests"]]
    assert shared.asked == 1
    assert log.said == [{"event": "limits", "fault": "redis_gone", "kind": "ConnectionRefusedError"}]
    shared.gone = False
    clock.now += 1.5
    again = exchange()
    assert await admits(counted, again)
    assert again.faults == []
    assert log.said[1:] == [{"event": "limits", "state": "redis_back"}]
    clock.now += 10
    counted._wake.set()
    await settled(counted)
    assert shared.renewed[-1] == {"streams/all/all/9": tuple(counted._local.running["streams/all/all/9"])}
    assert len(counted._local.running["streams/all/all/9"]) == 4
    await counted.close()


def test_an_old_answer_says_nothing_of_now(clock: Clock) -> None:
    """What was asked before Redis went does not bring it back, nor does an old failure take it away again."""
    log = Log()
    outage = module._Outage(cast("structlog.typing.FilteringBoundLogger", log))
    early, late = outage.ask(), outage.ask()
    assert early is not None
    assert late is not None
    outage.failed(early, OSError())
    outage.answered(late)
    assert outage.ask() is None
    clock.now += 2
    probe = outage.ask()
    assert probe is not None
    assert outage.ask() is None
    outage.answered(probe)
    outage.failed(late, OSError())
    assert outage.ask() is not None
    assert [one.get("fault") or one.get("state") for one in log.said] == ["redis_gone", "redis_back"]


async def test_redis_gone_is_refused_if_set(clock: Clock) -> None:
    """503 with a code of its own, to be tried again."""
    counted, shared = with_redis({"per": "all", "requests": 3}, on_limits_error="refuse")
    shared.gone = True
    for _ in range(2):
        one = exchange()
        refusal, body = await refused(counted, one)
        assert (refusal.status, body["error"]["code"], refusal.headers["retry-after"]) == (
            503,
            "limits_unavailable",
            "1",
        )
        assert one.faults == ["limits_unavailable"]
    assert counted._held == {}
    await counted.close()


async def test_what_redis_does_not_take_is_counted_here(clock: Clock) -> None:
    """Tokens of an answer that ends while Redis is gone."""
    counted, shared = with_redis({"per": "all", "tokens": 50})
    one = exchange()
    await counted.admit(one)
    shared.gone = True
    over(counted, one, usage={"prompt_tokens": 40, "completion_tokens": 10})
    await settled(counted)
    assert not await admits(counted, exchange())
    await counted.close()


async def test_the_loser_of_a_race_gives_back_its_place(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process took the last request between the look and the grasp."""
    counted, shared = with_redis({"per": "all", "requests": 1, "streams": 5})

    async def take(quotas: Any) -> Any:
        return quotas[0]

    monkeypatch.setattr(shared, "take", take)
    last = exchange()
    assert not await admits(counted, last)
    assert last.faults == ["limit_requests"]
    await settled(counted)
    assert shared.running == counted._local.running == {}
    await counted.close()


async def test_a_client_that_leaves_while_redis_is_asked_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis may have noted the request: it is told that it is over."""
    counted, shared = with_redis({"per": "all", "streams": 5})
    asked = asyncio.Event()

    async def hold(quota: Any, request: str) -> bool:
        shared.note(quota.name, request)
        asked.set()
        return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(shared, "hold", hold)
    one = exchange()
    task = asyncio.create_task(counted.admit(one))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    counted.release(one)
    await settled(counted)
    await counted.close()
    assert shared.running == {}


async def test_a_bug_at_work_is_logged_and_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next charge is counted."""
    log = Log()
    counted = limits({"per": "all", "tokens": 5}, log=log)
    real = counted._local.charge

    async def charge(name: str, amount: int) -> None:
        monkeypatch.setattr(counted._local, "charge", real)
        raise ValueError("of text")

    monkeypatch.setattr(counted._local, "charge", charge)
    for _ in range(2):
        one = exchange()
        await counted.admit(one)
        over(counted, one, usage={"prompt_tokens": 9, "completion_tokens": 0})
        await settled(counted)
    assert log.said == [{"event": "limits", "fault": "bug", "kind": "ValueError"}]
    assert not await admits(counted, exchange())
    await counted.close()
