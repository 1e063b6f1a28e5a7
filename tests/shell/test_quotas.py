"""What is left of a limit, how long to wait for more, and how each API's clients are told."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from safeproxy.shell.quotas import MINUTE, Quota, Window, headers, is_ratelimit_header, whole_seconds

REQUESTS = Quota("requests", "key", "requests/key/k1/10", 10)
TOKENS = Quota("tokens", "key", "tokens/key/k1/1000", 1000)


def test_a_window_slides() -> None:
    """Of the minute before counts the part that is less than a minute ago."""
    assert Window(10, 30.0, 2, 90.0).used == 7
    assert Window().used == 0


def test_reset_is_when_nothing_counts() -> None:
    """The current minute counts until the end of the next one, the one before until the end of this one."""
    assert Window(10, 30.0, 2, 90.0).reset == 90
    assert Window(10, 30.0, 0, 0.0).reset == 30
    assert Window().reset == 0


def later(window: Window, seconds: float) -> Window:
    """The same window after so many seconds in which nothing came."""
    rest = window.current_left - MINUTE - seconds
    if rest > 0:
        return Window(window.previous, window.previous_left - seconds, window.current, window.current_left - seconds)
    return Window(window.current, max(0.0, MINUTE + rest), 0, 0.0)


@given(
    most=st.integers(1, 1000),
    previous=st.integers(0, 5000),
    current=st.integers(0, 5000),
    left=st.floats(0.01, 60),
)
def test_who_waits_as_told_finds_room(most: int, previous: int, current: int, left: float) -> None:
    """After retry-after there is room, and two seconds earlier there was none."""
    window = Window(previous, left, current, left + MINUTE)
    wait = window.wait(most)
    if window.used < most:
        assert wait == 0
        return
    assert later(window, whole_seconds(wait)).used < most
    if wait > 2:
        assert later(window, math.floor(wait) - 1).used >= most


def test_headers_are_openais() -> None:
    """Limit, rest and a duration as OpenAI writes it."""
    told = headers([(REQUESTS, Window(0, 0, 3, 119.2)), (TOKENS, Window(500, 0.4, 0, 0))], anthropic=False, now=0)
    assert dict(told) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "7",
        "x-ratelimit-reset-requests": "2m0s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "997",
        "x-ratelimit-reset-tokens": "1s",
    }


def test_headers_are_anthropics() -> None:
    """The same by other names, with a moment of RFC 3339."""
    told = headers([(REQUESTS, Window(0, 0, 12, 60.5))], anthropic=True, now=1_700_000_000)
    assert dict(told) == {
        "anthropic-ratelimit-requests-limit": "10",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2023-11-14T22:14:21Z",
    }


def test_the_tightest_is_shown() -> None:
    """Of two limits on requests the one with less left."""
    wide = Quota("requests", "all", "requests/all/100", 100)
    for order in ([REQUESTS, wide], [wide, REQUESTS]):
        told = headers([(one, Window(0, 0, 5, 100)) for one in order], anthropic=False, now=0)
        assert told["x-ratelimit-remaining-requests"] == "5"


def test_headers_of_limits_are_known() -> None:
    """Whichever API they are of, and no others."""
    assert is_ratelimit_header("X-RateLimit-Limit-Requests")
    assert is_ratelimit_header("anthropic-ratelimit-input-tokens-reset")
    assert not is_ratelimit_header("retry-after")
