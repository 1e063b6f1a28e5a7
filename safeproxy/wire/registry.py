"""Which dialect a request speaks, by its method and path."""

from __future__ import annotations

import re

from safeproxy.wire.dialect import Dialect
from safeproxy.wire.openai_chat import OpenAIChat

_OPENAI_CHAT = OpenAIChat()

#: Paths as clients are known to send them, the trailing slash taken off; all of them are POST.
_ROUTES: tuple[tuple[re.Pattern[str], Dialect], ...] = (
    (
        re.compile(r"(?:/v1|/v1beta/openai|/openai/v1|/openai/deployments/[^/]+|/api/v1|/openai)?/chat/completions"),
        _OPENAI_CHAT,
    ),
)


def dialect_for(method: str, path: str) -> Dialect | None:
    """The dialect of the answer to this request, None if none is known. ``path`` is without its query."""
    if method.upper() != "POST":
        return None
    path = path.rstrip("/")
    return next((dialect for route, dialect in _ROUTES if route.fullmatch(path)), None)
