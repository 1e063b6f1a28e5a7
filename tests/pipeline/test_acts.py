"""Whole calls wait for what was said before them."""

from __future__ import annotations

from safeproxy.events import ChannelKind
from safeproxy.pipeline.acts import Acts
from safeproxy.pipeline.answer import Answer
from safeproxy.pipeline.channel import Channel
from safeproxy.pipeline.policy import Report
from safeproxy.pipeline.whole import Scanner
from safeproxy.wire.dialect import Reading
from tests.wire.chat import POLICY


def talking(text: str) -> tuple[Answer, Channel]:
    """An answer that has said this much, some of which may be held."""
    report = Report()
    answer = Answer(POLICY, report, Scanner(POLICY, report), json_content=False, keep=False)
    answer.admit(Reading(opened={0: True}), 0)
    channel = answer.open("c", "c", ChannelKind.CONTENT, 0)
    channel.feed(text)
    return answer, channel


def test_where_nothing_is_held_nothing_waits() -> None:
    """The call leaves at once."""
    answer, _ = talking("Done. ")
    acts = Acts()
    assert not acts.wait(b"call", answer)
    assert not acts


def test_a_call_leaves_once_the_text_before_it_has() -> None:
    """What comes later is none of its business; a second call waits behind it."""
    answer, channel = talking("Now ada")
    acts = Acts()
    assert acts.wait(b"one", answer)
    assert acts.wait(b"two", answer)
    assert acts.size == 6
    assert acts.ready(answer) == []
    channel.feed(" and eve")
    assert acts.ready(answer) == [b"one", b"two"]
    assert acts.size == 0


def test_all_leave_when_the_text_has_ended() -> None:
    """In order."""
    answer, _ = talking("ada")
    acts = Acts()
    acts.wait(b"one", answer)
    acts.wait(b"two", answer)
    assert acts.all() == [b"one", b"two"]
    assert not acts
