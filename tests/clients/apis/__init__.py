"""What each API's wire looks like: for every one a module with ``stream``, ``whole`` and ``refusal``.

``stream`` gives the events of a streamed answer, ``whole`` the body of one that is not streamed, and ``refusal`` the
body of an answer with status 400.
"""

from __future__ import annotations

import json
from typing import Any

Body = dict[str, Any]

TOOL = "send"
USAGE = (11, 7)


def data(value: object) -> bytes:
    """One server-sent event without a name."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def named(value: Body) -> bytes:
    """One server-sent event, named after its ``type``."""
    return f"event: {value['type']}\n".encode() + data(value)
