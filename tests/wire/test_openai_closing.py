"""How a response is brought to an end in its middle."""

from __future__ import annotations

from typing import Any

import pytest

from safeproxy.wire.dialect import Ask
from safeproxy.wire.openai_closing import Closing

PLACE = {"item_id": "m", "output_index": 0, "content_index": 0}
ITEM = {"id": "m", "type": "message", "status": "in_progress", "content": []}
PART = {"type": "output_text", "text": "", "annotations": [1], "logprobs": []}


def closed(*events: tuple[str, dict[str, Any]], ask: Ask | None = None, realtime: bool = False) -> list[dict[str, Any]]:
    """The events that end a response of which these were sent; "said" was delivered of every channel."""
    closing = Closing(ask or Ask(), realtime=realtime)
    for kind, fields in events:
        closing.note({"type": f"response.{kind}", **fields})
    return closing.events(lambda channel: "" if "interpreter" in channel else "said")


CREATED = ("created", {"response": {"id": "r", "status": "in_progress", "output": []}})
ADDED = ("output_item.added", {"output_index": 0, "item": ITEM})
OPENED = ("content_part.added", {**PLACE, "part": PART})


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Their types, without what all of them begin with."""
    return [event["type"].removeprefix("response.") for event in events]


def test_what_was_never_begun_needs_no_end() -> None:
    """Only the response ends."""
    (last,) = closed()
    assert last["response"]["output"] == []
    assert last["response"]["incomplete_details"] == {"reason": "content_filter"}


def test_everything_open_is_closed_from_the_inside() -> None:
    """With what was delivered, and without what pointed into more of it."""
    events = closed(CREATED, ADDED, OPENED)
    assert kinds(events) == ["output_text.done", "content_part.done", "output_item.done", "incomplete"]
    assert events[1]["part"] == {"type": "output_text", "text": "said", "annotations": [], "logprobs": []}
    assert events[-1]["response"]["id"] == "r"
    assert events[-1]["response"]["output"] == [events[2]["item"]]


def test_what_has_ended_is_not_ended_again() -> None:
    """Neither an item, nor a text that was said whole before its part ended."""
    done = {"output_index": 0, "item": {**ITEM, "status": "completed"}}
    assert kinds(closed(CREATED, ADDED, OPENED, ("output_item.done", done))) == ["incomplete"]
    told = ("output_text.done", {**PLACE, "text": "said"})
    assert "output_text.done" not in kinds(closed(CREATED, ADDED, OPENED, told))


def test_no_half_of_a_json_text_is_said_whole() -> None:
    """A client would parse it."""
    events = closed(CREATED, ADDED, OPENED, ask=Ask(json=True))
    assert kinds(events) == ["output_item.done", "incomplete"]


@pytest.mark.parametrize(
    ("ask", "realtime", "last", "status"),
    [
        (Ask(), False, "incomplete", "incomplete"),
        (Ask(failed=True), False, "failed", "failed"),
        (Ask(), True, "done", "incomplete"),
    ],
)
def test_each_client_is_told_in_its_words(ask: Ask, realtime: bool, last: str, status: str) -> None:
    """The realtime API has one word for every end."""
    events = closed(CREATED, ADDED, OPENED, ask=ask, realtime=realtime)
    assert kinds(events)[-1] == last
    assert events[-1]["response"]["status"] == status
    assert all(("response_id" in event) is realtime for event in events[:-1])


def test_a_notice_goes_into_the_open_text_or_gets_its_own() -> None:
    """It is the last thing said."""
    ask = Ask(notice="[stopped]")
    events = closed(CREATED, ADDED, OPENED, ask=ask)
    assert (kinds(events)[0], events[0]["delta"]) == ("output_text.delta", "[stopped]")
    assert events[1]["text"] == "said[stopped]"
    alone = closed(CREATED, ask=ask)
    assert kinds(alone)[:2] == ["output_item.added", "content_part.added"]
    assert alone[-1]["response"]["output"][0]["content"][0]["text"].endswith("[stopped]")
