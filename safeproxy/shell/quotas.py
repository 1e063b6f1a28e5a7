"""What a limit allows, what of it is used, and the headers that tell a client so. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from multidict import CIMultiDict

#: Seconds that requests and tokens are counted over.
MINUTE = 60

Kind = Literal["requests", "tokens", "streams"]


@dataclass(frozen=True, slots=True)
class Quota:
    """One count and the most that it may reach. ``name`` is the same in every process that counts the same."""

    kind: Kind
    per: str
    name: str
    most: int


@dataclass(frozen=True, slots=True)
class Window:
    """A count that slides: what came in this minute, and of the one before the part that is less than a minute ago.

    ``previous_left`` and ``current_left`` are the seconds until either counts no longer.
    """

    previous: int = 0
    previous_left: float = 0.0
    current: int = 0
    current_left: float = 0.0

    @property
    def used(self) -> int:
        """What counts now, in whole numbers."""
        return math.floor(self.previous * self.previous_left / MINUTE) + self.current

    @property
    def reset(self) -> float:
        """Seconds until nothing counts any more, if nothing new comes."""
        if self.current > 0:
            return self.current_left
        return self.previous_left if self.previous > 0 else 0.0

    def wait(self, most: int) -> float:
        """Seconds until there is room for one more below ``most``; 0 if there is."""
        if self.used < most:
            return 0.0
        if self.current < most:
            return self.previous_left - (most - self.current) * MINUTE / self.previous
        # Only once this minute is the one before does it become less.
        return max(self.current_left - MINUTE, 0.0) + MINUTE * (1 - most / self.current)


def whole_seconds(wait: float) -> int:
    """``wait`` as a retry-after that is not too early: the next whole second."""
    return math.floor(wait) + 1


def headers(windows: Iterable[tuple[Quota, Window]], *, anthropic: bool, now: float) -> CIMultiDict[str]:
    """The headers for the tightest limit on requests and on tokens; ``now`` in seconds since 1970.

    Sources: https://platform.openai.com/docs/guides/rate-limits, https://docs.anthropic.com/en/api/rate-limits.
    """
    told: CIMultiDict[str] = CIMultiDict()
    tightest: dict[Kind, tuple[int, Quota, Window]] = {}
    for quota, window in windows:
        remaining = max(0, quota.most - window.used)
        if quota.kind not in tightest or remaining < tightest[quota.kind][0]:
            tightest[quota.kind] = (remaining, quota, window)
    for kind, (remaining, quota, window) in tightest.items():
        if anthropic:
            told[f"anthropic-ratelimit-{kind}-limit"] = str(quota.most)
            told[f"anthropic-ratelimit-{kind}-remaining"] = str(remaining)
            told[f"anthropic-ratelimit-{kind}-reset"] = _moment(now + window.reset)
        else:
            told[f"x-ratelimit-limit-{kind}"] = str(quota.most)
            told[f"x-ratelimit-remaining-{kind}"] = str(remaining)
            told[f"x-ratelimit-reset-{kind}"] = _duration(window.reset)
    return told


def is_ratelimit_header(name: str) -> bool:
    """Whether a header of the upstream's tells of the limits of the account there."""
    return "ratelimit" in name.lower()


def _moment(seconds: float) -> str:
    """RFC 3339, the next whole second."""
    return datetime.fromtimestamp(math.ceil(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _duration(seconds: float) -> str:
    """As OpenAI writes it: ``1s``, ``6m0s``; in whole seconds, rounded up."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
