"""What happens while text is held and nothing can be sent: signs of life where the API has one, else an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

#: How often, within the time that text may be held, it is looked whether it still is.
_LOOKS = 8


async def send_keep_alives(
    interval: float, last_sent: Callable[[], float], send: Callable[[], Awaitable[None]]
) -> None:
    """Call ``send`` whenever nothing was sent for ``interval`` seconds; runs until it is cancelled.

    ``last_sent`` tells when something was sent last, read off `time.perf_counter`; what ``send`` itself sends is
    remembered here, so that it does not count as part of the answer.
    """
    latest = time.perf_counter()
    while True:
        latest = max(latest, last_sent())
        rest = latest + interval - time.perf_counter()
        if rest > 0:
            await asyncio.sleep(rest)
        else:
            await send()
            latest = time.perf_counter()


async def held_too_long(limit: float, last_sent: Callable[[], float], events: Callable[[], int]) -> None:
    """Return once events have come for ``limit`` seconds and nothing was sent: what they say is held.

    ``events`` tells how many have come. An upstream that is silent is another matter, with a limit of its own. The
    answer is never early, and late by a quarter at most.
    """
    sent, seen, since = last_sent(), events(), None
    while True:
        await asyncio.sleep(limit / _LOOKS)
        now = time.perf_counter()
        if last_sent() != sent:
            sent, seen, since = last_sent(), events(), None
        elif events() > seen:
            if since is None:
                seen, since = events(), now
            elif now - since >= limit:
                return
