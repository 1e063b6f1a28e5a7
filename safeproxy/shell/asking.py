"""Asks the upstreams: one key after the other, again after a while, then the next upstream, as far as that is safe.

All of it happens before the client is sent anything. What repeats a request leaves a mark in the record: `retried`,
`failed_over`, and the code of each fault.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt, wait_random_exponential
from yarl import URL

from safeproxy.errors import ClientError
from safeproxy.shell import credentials, relay
from safeproxy.shell.backoff import FAILING_OVER, LONGEST_WAIT, PASSING_FAULTS, SOON, wanted_wait
from safeproxy.shell.exchange import Exchange
from safeproxy.shell.keyring import REFUSED_FOR, AllAsideError, Key
from safeproxy.shell.refusal import Refusal
from safeproxy.shell.service import Service
from safeproxy.shell.upstream import FAULTS, NOT_CONNECTED, TotalTimeoutError, Upstream, fault_of
from safeproxy.wire.dialect import Dialect

A = TypeVar("A", aiohttp.ClientResponse, aiohttp.ClientWebSocketResponse)
Send = Callable[[Upstream, URL, CIMultiDict[str]], Awaitable[A]]
"""Sends the request to an upstream, at this address and with these headers."""

#: Statuses that say that a key is not taken, or at its limit: the request itself was not looked at.
_KEY_REFUSED = frozenset({401, 403})
_LIMITED = 429
#: Headers that name an account of the client's: they go with its own key only.
_ACCOUNT = ("OpenAI-Organization", "OpenAI-Project", "x-goog-user-project")


class Upload:
    """A request body that is passed on while it arrives: it can be sent once, from its beginning."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self.begun = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun = True
        async for piece in self._pieces:
            yield piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request as the upstreams are to see it, but for their keys."""

    raw_path: str
    raw_query: str
    headers: CIMultiDict[str]
    key_place: credentials.Place
    """Where a key belongs, by the API and by where the client has put its own."""
    repeatable: bool
    """Whether sending it twice does no more than sending it once."""
    upload: Upload | None = None
    """Its body, where that is not at hand."""

    @classmethod
    def of(
        cls,
        request: web.Request,
        raw_path: str,
        headers: CIMultiDict[str],
        dialect: Dialect | None,
        *,
        repeatable: bool,
        upload: Upload | None = None,
    ) -> Question:
        """The client's ``request``, at this path and with these headers."""
        raw_query = request.rel_url.raw_query_string
        presented = credentials.find(request.headers, raw_query)
        return cls(
            raw_path=raw_path,
            raw_query=raw_query,
            headers=headers,
            key_place=credentials.native_place(
                None if dialect is None else dialect.name, None if presented is None else presented[0], None
            ),
            repeatable=repeatable,
            upload=upload,
        )

    @property
    def fresh(self) -> bool:
        """Whether nothing of it can be lost by sending it again, as long as no upstream has heard of it."""
        return self.upload is None or not self.upload.begun


@dataclass(slots=True)
class _Outcome(Generic[A]):
    """What came of sending a request once; `status` is None where no answer came, and then `error` says why."""

    upstream: Upstream
    key: Key | None = None
    reply: A | None = None
    error: BaseException | None = None
    status: int | None = None
    heard: bool = True
    """Whether the upstream may have heard of the request."""
    wait: float | None = None
    """Seconds that must pass before the upstream can be asked again."""
    hint: str = ""
    """What the upstream says of asking again: ``true``, ``false`` or nothing."""

    @property
    def failed(self) -> bool:
        return self.status is None or self.status >= 400

    @property
    def key_refused(self) -> bool:
        """Whether it was a key of ours that was not taken."""
        return self.key is not None and self.status in _KEY_REFUSED

    def begins(self, status: int, headers: Mapping[str, str] | None) -> None:
        """An answer is there, its head read."""
        self.status = status
        if headers is not None and self.failed:
            self.wait = wanted_wait(headers)
            self.hint = headers.get("x-should-retry", "").lower()

    def drop(self) -> None:
        """Nobody needs it any more: its connection is closed unless the answer is over, its key given back."""
        if isinstance(self.reply, aiohttp.ClientResponse):
            self.reply.close()
        if self.key is not None and self.upstream.keyring is not None:
            worked = self.status is not None and self.status not in _KEY_REFUSED
            self.upstream.keyring.give_back(self.key, worked=worked)
            self.key = None


@asynccontextmanager
async def asked(
    service: Service, exchange: Exchange, first: Upstream, question: Question, send: Send[A]
) -> AsyncIterator[A]:
    """The answer, its head read, of ``first`` or of one that stands in for it; closed at the end of the block.

    From the request's arrival on it may take `total_timeout` seconds: then reading it raises `TotalTimeoutError`
    (messages of a WebSocket excepted). Raises Refusal where there is none.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + first.total_timeout - (time.perf_counter() - exchange.started)
    asking = _Asking(service, exchange, first, question, send)
    try:
        async with asyncio.timeout_at(deadline):
            outcome = await asking.outcome()
    except TimeoutError:
        raise relay.upstream_refusal(TotalTimeoutError(), exchange) from None
    try:
        reply = asking.reply(outcome)
        if isinstance(reply, aiohttp.ClientResponse):
            over = loop.call_at(deadline, reply.content.set_exception, TotalTimeoutError())
            try:
                yield reply
            finally:
                over.cancel()
        else:
            yield reply
    finally:
        outcome.drop()


@dataclass(slots=True)
class _Asking(Generic[A]):
    """One request on its way to an answer."""

    service: Service
    exchange: Exchange
    first: Upstream
    question: Question
    send: Send[A]
    repeats: int = field(default=0, init=False)
    """How often it was sent again, another key for the same upstream not counted."""

    async def outcome(self) -> _Outcome[A]:
        """What came of it at last."""
        following = (*self.service.upstreams.after(self.first), None)
        upstream = self.first
        for other in following:
            outcome = await self._persistently(upstream, patience=LONGEST_WAIT if other is None else SOON)
            if other is None or not self._fails_over(outcome):
                return outcome
            self._again("failed_over", outcome)
            upstream = other
        raise AssertionError

    def reply(self, outcome: _Outcome[A]) -> A:
        """The answer to read. Raises Refusal."""
        exchange = self.exchange
        if self.repeats and outcome.failed and (outcome.wait or 0) <= LONGEST_WAIT:
            # SDKs ask again as well: each of their requests would be repeated here as often as this one.
            exchange.headers["x-should-retry"] = "false"
        if outcome.key_refused and outcome.status == 401:
            # Not the client's key, so not the client's 401; and what the upstream says of it may quote it.
            exchange.faults.append("upstream_key_refused")
            message = "The upstream does not take the proxy's key."
            raise Refusal(502, "upstream_key_refused", message, ended="upstream_error")
        if outcome.reply is not None:
            return outcome.reply
        if isinstance(outcome.error, aiohttp.WSServerHandshakeError):
            message = "The upstream refused the WebSocket connection."
            status = outcome.error.status if outcome.error.status >= 400 else 502
            raise Refusal(status, "upstream_refused", message, ended="upstream_error")
        if outcome.error is not None:
            raise relay.upstream_refusal(outcome.error, exchange)
        exchange.faults.append("upstream_keys_limited")
        headers = CIMultiDict({"Retry-After": str(math.ceil(outcome.wait or 1))})
        message = "All keys of the upstream are at their limits; ask again later."
        raise Refusal(_LIMITED, "upstream_keys_limited", message, ended="upstream_error", retry=True, headers=headers)

    async def _persistently(self, upstream: Upstream, patience: float) -> _Outcome[A]:
        """Ask one upstream as often as the settings say, as long as that may help and is safe."""
        first = await self._once(upstream)
        if not self._may_repeat(first, patience):
            return first  # as good as always: what follows costs as much as all the rest of the asking
        return await self._repeatedly(upstream, first, patience)

    async def _repeatedly(self, upstream: Upstream, first: _Outcome[A], patience: float) -> _Outcome[A]:
        """What comes of it at last, after the ``first`` time."""
        settings, there = self.service.settings, [first]

        async def once() -> _Outcome[A]:
            return there.pop() if there else await self._once(upstream)

        jitter = wait_random_exponential(multiplier=settings.retry_base_delay, max=LONGEST_WAIT)

        def wait(state: RetryCallState) -> float:
            return max(jitter(state), _result(state).wait or 0)

        retrying = AsyncRetrying(
            sleep=asyncio.sleep,
            stop=stop_after_attempt(settings.retry_attempts + 1),
            wait=wait,
            retry=retry_if_result(lambda outcome: self._may_repeat(outcome, patience)),
            before_sleep=lambda state: self._again("retried", _result(state)),
            retry_error_callback=_result,
        )
        outcome: _Outcome[A] = await retrying(once)
        return outcome

    async def _once(self, upstream: Upstream) -> _Outcome[A]:
        """Ask with one key after the other until one is taken that is not at its limit."""
        keyring = upstream.keyring
        if keyring is None:
            return await self._sent(upstream, None)
        try:
            key = keyring.take()
        except AllAsideError as aside:
            return _Outcome(upstream, status=_LIMITED, heard=False, wait=aside.seconds)
        tried: list[Key] = []
        while True:
            outcome = await self._sent(upstream, key)
            if not (outcome.key_refused or outcome.status == _LIMITED):
                return outcome
            self._set_aside(upstream, key, outcome)
            tried.append(key)
            try:
                key = keyring.take(tried)
            except AllAsideError as aside:
                if outcome.status == _LIMITED:
                    outcome.wait = aside.seconds
                return outcome
            if self.question.upload is not None:
                keyring.give_back(key, worked=False)
                return outcome
            outcome.drop()

    async def _sent(self, upstream: Upstream, key: Key | None) -> _Outcome[A]:
        """Send the request once."""
        exchange = self.exchange
        exchange.attempts += 1
        exchange.asked_upstream, exchange.idle_timeout = upstream.name, upstream.idle_timeout
        outcome: _Outcome[A] = _Outcome(upstream, key)
        try:
            url, headers = self._addressed(upstream, key)
            outcome.reply = reply = await self.send(upstream, url, headers)
            if isinstance(reply, aiohttp.ClientResponse):
                outcome.begins(reply.status, reply.headers)
            else:
                outcome.status = 101
        except aiohttp.WSServerHandshakeError as error:
            outcome.error = error
            outcome.begins(error.status, error.headers)
        except NOT_CONNECTED as error:
            outcome.error, outcome.heard = error, False
        except FAULTS as error:
            outcome.error = error
        except BaseException:
            outcome.drop()
            raise
        exchange.upstream_status = outcome.status
        return outcome

    def _addressed(self, upstream: Upstream, key: Key | None) -> tuple[URL, CIMultiDict[str]]:
        """Where the request goes, and its headers: the client's own credentials go to whom the client asks only.

        Raises Refusal for a path that could lead elsewhere.
        """
        question, headers = self.question, self.question.headers.copy()
        query = self.service.callers.conceal(headers, question.raw_query)
        self.service.traced(self.exchange, headers)
        if not (upstream.trusted and upstream is self.first):
            query = credentials.remove(headers, query)
            for name in _ACCOUNT:
                headers.popall(name, None)
            if key is not None:
                place = credentials.native_place(None, question.key_place, upstream.key_header)
                credentials.put(headers, key.secret, place)
        try:
            return upstream.origin.url(question.raw_path, query), headers
        except ClientError as error:
            raise Refusal(400, "bad_path", f"This request cannot be sent on: {error}.") from None

    def _set_aside(self, upstream: Upstream, key: Key, outcome: _Outcome[A]) -> None:
        keyring = upstream.keyring
        assert keyring is not None
        if outcome.status == _LIMITED:
            keyring.limit(key, outcome.wait)
            return
        if not key.refused:
            what = f"key {key.number} of {len(keyring)} was refused with status {outcome.status}"
            self.service.upstreams.complain(upstream, f"{what}; others are used before it for {REFUSED_FOR:.0f} s")
        keyring.refuse(key)

    def _may_repeat(self, outcome: _Outcome[A], patience: float) -> bool:
        """Whether the same upstream may be asked again: it may help, is not too long to wait for, and is safe."""
        if not outcome.failed or (outcome.wait or 0) > patience or isinstance(outcome.error, aiohttp.ClientSSLError):
            return False
        passing = outcome.status is None or outcome.status in PASSING_FAULTS or outcome.hint == "true"
        return passing and outcome.hint != "false" and self._is_safe(outcome)

    def _fails_over(self, outcome: _Outcome[A]) -> bool:
        """Whether another upstream may be asked instead."""
        ours = outcome.key_refused and outcome.status == 401
        return (outcome.status is None or outcome.status in FAILING_OVER or ours) and self._is_safe(outcome)

    def _is_safe(self, outcome: _Outcome[A]) -> bool:
        """Whether the request may be sent once more, after this."""
        if not outcome.heard:
            return self.question.fresh
        unseen = outcome.status == _LIMITED or outcome.key_refused
        return self.question.upload is None and (self.question.repeatable or unseen)

    def _again(self, mark: str, outcome: _Outcome[A]) -> None:
        """The request is going to be sent once more."""
        self.repeats += 1
        self.exchange.faults.append(mark)
        if outcome.status is None and outcome.error is not None:
            self.exchange.faults.append(fault_of(outcome.error).code)
        outcome.drop()


def _result(state: RetryCallState) -> _Outcome[A]:
    assert state.outcome is not None
    outcome: _Outcome[A] = state.outcome.result()
    return outcome
