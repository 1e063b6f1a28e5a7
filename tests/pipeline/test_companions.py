"""What travels beside a text."""

from __future__ import annotations

from typing import Any

import pytest

from safeproxy.events import ChannelKind
from safeproxy.pipeline.answer import Answer
from safeproxy.pipeline.companions import Companions
from safeproxy.pipeline.policy import Report
from safeproxy.pipeline.step import Step
from safeproxy.pipeline.whole import Scanner
from safeproxy.wire.dialect import Anchor, Reading
from safeproxy.wire.sse import Frame
from tests.wire.chat import CHAT, POLICY


def dropped(text: str, *, repeats: bool = False, value: Any = None) -> tuple[bool, bool]:
    """Whether an annotation of this text is taken out, and whether its event must not be sent at all."""
    report = Report()
    scanner = Scanner(POLICY, report)
    answer = Answer(POLICY, report, scanner, json_content=False, keep=False)
    answer.admit(Reading(opened={0: True}), 0)
    answer.open("c", "c", ChannelKind.CONTENT, 0).feed(text)
    holder: dict[str, Any] = {"notes": [1] if value is None else value}
    step = Step({}, Reading(anchors=[Anchor("c", holder, "notes", repeats)]), Frame(b"", None), verbatim=True)
    Companions(answer, CHAT, scanner, POLICY, report).drop_anchors(step)
    return holder["notes"] == [], step.void


@pytest.mark.parametrize(
    ("text", "repeats", "gone"),
    [
        ("Hello. ", False, False),
        ("Hello. ", True, False),
        ("Hello ada", False, False),
        ("Hello ada", True, True),
        ("ada@example.com. ", False, True),
    ],
)
def test_annotations_go_with_their_text(text: str, repeats: bool, gone: bool) -> None:
    """Once it was changed; what says some of it again also while any is held."""
    assert dropped(text, repeats=repeats) == (gone, False)


def test_an_event_that_is_one_annotation_goes_whole() -> None:
    """There is nothing left to say."""
    assert dropped("ada@example.com. ", value={"start": 1}) == (True, True)
