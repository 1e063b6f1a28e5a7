"""What of Redis can be told without one; the rest is in ``tests/e2e/test_limits.py``, with a real one."""

from __future__ import annotations

import pytest

from safeproxy.errors import ConfigError
from safeproxy.shell.redis_counters import RedisCounters


@pytest.mark.parametrize(
    "url",
    [
        "http://:hunter2@host",
        "redis://:hunter2@host:port",
        "redis://:hunter2@host/0?colour=red",
        "redis://:hunter2@host/0?socket_timeout=soon",
        "hunter2",
    ],
)
def test_a_bad_address_is_refused_without_being_repeated(url: str) -> None:
    """It may hold a password, and so may the message of what it made fail."""
    with pytest.raises(ConfigError, match=r"redis_url.*write redis://host:6379/0") as caught:
        RedisCounters(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["redis://host", "rediss://:hunter2@host:6380/2", "unix:///run/redis?password=hunter2"])
def test_a_good_address_is_taken_and_not_asked_yet(url: str) -> None:
    """No connection is made, and nothing that could be printed has the password."""
    counters = RedisCounters(url)
    assert "hunter2" not in repr(vars(counters)) + repr(vars(vars(counters)["_storage"]))
