"""Whether a request may be sent again, and how long the upstream wants that to wait. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from safeproxy.wire.registry import RESPONSES, Route

#: Statuses after which SDKs ask again as well, conflicts (409) excepted: they are about what the client asked.
PASSING_FAULTS = frozenset({408, 429, 500, 502, 503, 504, 529})
#: The same that speak of the upstream and not of the request, so that another upstream may do better.
FAILING_OVER = frozenset({429, *range(500, 600)}) - {501, 505}
#: Longest time that the upstream may ask for and that is waited here, in seconds; beyond it the client is told.
LONGEST_WAIT = 20.0
#: The same where another upstream could be asked instead.
SOON = 2.0

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_LIMITS = ("requests", "tokens")


def is_repeatable(method: str, headers: Mapping[str, str], route: Route | None, value: Any) -> bool:
    """Whether sending the request twice does no more than sending it once.

    ``value`` is the decoded body. So it is by its method (RFC 9110, 9.2.2), by an idempotency key of the client's, or
    because it asks for an answer that nobody keeps.
    """
    return method in _SAFE_METHODS or "idempotency-key" in headers or _keeps_nothing(route, value)


def _keeps_nothing(route: Route | None, value: Any) -> bool:
    if route is None or not route.generates or not isinstance(value, dict):
        return False
    store = value.get("store")
    if store is None:
        store = route.dialect is RESPONSES  # which stores unless it is told not to; all others do if they are told to
    return not (store or value.get("background") or value.get("conversation"))


def wanted_wait(headers: Mapping[str, str], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Seconds until the upstream wants to be asked again, None if it does not say; never negative.

    ``retry-after-ms`` (OpenAI, Azure), ``retry-after`` in seconds or as a date (RFC 9110, 10.2.3), or the reset of
    the limit that is used up (``x-ratelimit-reset-requests: 6m0s``, OpenAI).
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after", "").strip()
    if said:
        seconds = _number(said)
        return _until(said, now) if seconds is None else seconds
    resets = [
        _duration(headers.get(f"x-ratelimit-reset-{limit}", ""))
        for limit in _LIMITS
        if headers.get(f"x-ratelimit-remaining-{limit}") == "0"
    ]
    return max((reset for reset in resets if reset is not None), default=None)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text.strip()) else None


def _until(text: str, now: Callable[[], datetime]) -> float | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)  # HTTP's dates are in GMT, also in the old form that does not say so
    return max(0.0, (date - now()).total_seconds())


def _duration(text: str) -> float | None:
    match = _DURATION.fullmatch(text.strip()) if len(text) < 40 else None
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
