"""The usage of a chat's stream that only the proxy asked for: noted, and taken out of what the client is sent.

With ``stream_options.include_usage`` an upstream says ``"usage": null`` in every chunk, and what was used in one more
at the end, or in the last that says anything. Without these the bytes are those that the client would have got.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from safeproxy.pipeline.policy import Report
from safeproxy.wire import jsontext
from safeproxy.wire.base import numbers
from safeproxy.wire.dialect import JsonObject, Reading
from safeproxy.wire.sse import Frame

_KEY = re.compile(r',\s*"usage"\s*:\s*')
_VALUE = json.JSONDecoder()


class HiddenUsage:
    """Takes the usage out of one stream's events, into the report."""

    def __init__(self, report: Report) -> None:
        self._report = report
        # What an event without usage says of it, as this upstream writes it, once that is known.
        self._nothing: bytes | None = None

    def shown(self, raw: bytes) -> bytes:
        """A frame without what was taken out of the frames before it; the same if it has no such thing.

        It is only a guess what of the frame that is: good enough to ask whether it then follows a known template,
        which holds the bytes around the text of a frame that was taken apart.
        """
        if self._nothing is None:
            return raw
        before, found, after = raw.rpartition(self._nothing)
        return before + after if found else raw

    def take(self, event: JsonObject, frame: Frame) -> tuple[Frame, bool] | None:
        """Take the usage out of an event, in place, and give its frame without it; None if nothing is left to send.

        The truth value says whether the frame's bytes are the event's.
        """
        if "usage" not in event:
            return frame, True
        usage = event.pop("usage")
        self._report.note(Reading(usage=numbers(usage)))
        others = (value for key, value in event.items() if key != "choices")
        if usage and event.get("choices") == [] and not any(isinstance(one, (list, dict)) and one for one in others):
            return None
        assert frame.data is not None
        found = _place(frame.data, event)
        if found is None:
            return frame, False
        start, end = found
        if usage is None:
            self._nothing = frame.data[start:end]
        data = frame.data[:start] + frame.data[end:]
        whole = frame.raw.count(frame.data) == 1
        raw = frame.raw.replace(frame.data, data) if whole else frame.raw
        return dataclasses.replace(frame, raw=raw, data=data, plain=frame.plain and whole), True


def _place(data: bytes, event: JsonObject) -> tuple[int, int] | None:
    """Where in the JSON stands what has to go for it to say ``event``; None if that cannot be told for sure."""
    try:
        text = data.decode()
        for match in _KEY.finditer(text):
            _, end = _VALUE.raw_decode(text, match.end())
            if _parsed(text[: match.start()] + text[end:]) == event:
                start = len(text[: match.start()].encode())
                return start, start + len(text[match.start() : end].encode())
    except ValueError:
        return None
    return None


def _parsed(text: str) -> Any:
    try:
        return jsontext.parse(text.encode())[0]
    except ValueError:
        return None
