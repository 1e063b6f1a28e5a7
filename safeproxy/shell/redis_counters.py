"""The same counts in Redis, for all processes and machines together. Needs the extra ``redis``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError

from safeproxy.errors import ConfigError
from safeproxy.shell.counters import NO_LIMIT, Windows
from safeproxy.shell.quotas import Quota

PREFIX = "safeproxy"
#: How long a request counts as running after its process was last heard of, in seconds.
LEASE = 30.0
#: Longest wait for one answer of Redis, in seconds.
_ANSWER = 0.25
#: Most requests of a process that ask at the same time, each over a connection. The others wait for their turn, which
#: takes as long as it takes: a burst of them is no fault of Redis.
AT_ONCE = 32

# No library does this for asyncio in a way that outlives a crash: redis-py has locks but no semaphore, and those built
# on lists or counters lose the places of a process that dies. So: a sorted set of leases by the time each ends, on the
# clock of Redis. ARGV: most, seconds, requests.
_LEASE_SCRIPT = """
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
    return 0
end
for i = 3, #ARGV do
    redis.call('ZADD', KEYS[1], string.format('%.6f', now + tonumber(ARGV[2])), ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], math.ceil(tonumber(ARGV[2]) * 1000))
return 1
"""


class RedisCounters(Windows):
    """Counts in Redis. Its methods raise one of `failures` where Redis does not answer, or not in time."""

    at_once: Final = AT_ONCE
    failures: Final = (RedisError, OSError, TimeoutError)

    def __init__(self, url: str) -> None:
        """Connects to nothing yet. Raises ConfigError for an address that is none; it never repeats the address."""
        try:
            self._pool = ConnectionPool.from_url(
                url,
                max_connections=2 * AT_ONCE,
                socket_timeout=_ANSWER,
                socket_connect_timeout=_ANSWER,
                # Once more at once: a connection that was idle may be gone though Redis is there again.
                retry=Retry(NoBackoff(), 1, (LostConnection,)),
            )
            # This opens nothing, but takes no option that it does not know.
            self._pool.make_connection()  # type: ignore[no-untyped-call]
        except Exception:  # noqa: BLE001 - what the message of any of them repeats may be the password
            raise ConfigError(
                "setting 'redis_url' is no address of a Redis; write redis://host:6379/0, rediss:// for TLS or "
                "unix:///path/to/socket, with special characters of the password percent-encoded"
            ) from None
        super().__init__(
            # The address is not given to the storage: it would keep it, password and all.
            RedisStorage("redis://", implementation="redispy", key_prefix=PREFIX, connection_pool=self._pool)  # type: ignore[arg-type]
        )
        self._redis = Redis(connection_pool=self._pool)
        self._script = self._redis.register_script(_LEASE_SCRIPT)

    async def hold(self, quota: Quota, request: str) -> bool:
        """Let ``request`` be one that runs, unless there are enough of them anywhere."""
        return bool(await self._lease(quota.name, quota.most, (request,)))

    async def renew(self, running: Mapping[str, Iterable[str]]) -> None:
        """Say that all these still run, by name; those that Redis has forgotten it learns again."""
        for name, requests in running.items():
            await self._lease(name, NO_LIMIT, requests)

    async def drop(self, name: str, requests: Iterable[str]) -> None:
        """These run no longer."""
        await self._redis.zrem(f"{PREFIX}:{name}", *requests)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.disconnect()

    async def _lease(self, name: str, most: int, requests: Iterable[str]) -> object:
        return await self._script(keys=[f"{PREFIX}:{name}"], args=[most, LEASE, *requests])
