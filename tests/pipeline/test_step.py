"""An event on its way: setting a value in it, and giving it the tokens that may leave."""

from __future__ import annotations

from typing import Any

import pytest

from safeproxy.core.filter import StreamFilter
from safeproxy.events import ChannelKind
from safeproxy.pipeline.channel import Channel
from safeproxy.pipeline.policy import Report
from safeproxy.pipeline.step import Step, parted, put, release_tokens
from safeproxy.pipeline.tokens import TokenQueue
from safeproxy.wire.dialect import Reading, Tokens
from safeproxy.wire.sse import Frame
from tests.wire.chat import POLICY, RULES, entries


def step_with(*tokens: str) -> tuple[Step, Channel]:
    """An event that brings these tokens and their text, which is yet to be fed."""
    channel = Channel("content", ChannelKind.CONTENT, 0, POLICY, Report())
    channel.tokens = TokenQueue(lambda token: True, StreamFilter(RULES))
    event = {"logprobs": entries(*tokens)}
    channel.expect(event["logprobs"]["content"], "".join(tokens))
    place = Tokens("content", "content", ChannelKind.CONTENT, 0, event["logprobs"], "content")
    step = Step(event, Reading(), Frame(b"", b""), verbatim=True)
    step.tokens.append((place, channel))
    return step, channel


def left(step: Step) -> list[str]:
    """The tokens in the event."""
    return [entry["token"] for entry in step.event["logprobs"]["content"]]


def test_a_value_is_set_at_its_path() -> None:
    """Through objects and lists, and nothing else is touched."""
    event: Any = {"choices": [{"text": "a"}, {"text": "b", "n": 1}]}
    put(event, ("choices", 1, "text"), "new")
    assert event == {"choices": [{"text": "a"}, {"text": "new", "n": 1}]}


@pytest.mark.parametrize("path", [("no", "text"), ("choices", 5, "text")])
def test_a_path_that_is_not_there_is_an_error(path: tuple[str | int, ...]) -> None:
    """A value must not be set somewhere else."""
    event: Any = {"choices": [{"text": "a"}]}
    with pytest.raises(LookupError):
        put(event, path, "new")
    assert event == {"choices": [{"text": "a"}]}


def test_items_are_parted_in_order() -> None:
    """What stays first, then what is set apart."""
    assert parted([5, 2, 3, 8, 1], lambda item: item > 2) == ([2, 1], [5, 3, 8])


def test_tokens_whose_text_has_left_stay_and_the_event_is_as_it_was() -> None:
    """Its bytes may be sent as they came."""
    step, channel = step_with("Hi", ". ")
    channel.feed("Hi. ")
    release_tokens(step)
    assert left(step) == ["Hi", ". "]
    assert not step.changed
    assert not step.withheld


def test_tokens_whose_text_is_held_wait_for_a_later_event() -> None:
    """The event is changed then, and something of it is withheld."""
    step, channel = step_with("Hi ", "ada")
    channel.feed("Hi ada")
    release_tokens(step)
    assert left(step) == ["Hi "]
    assert step.changed
    assert step.withheld
    later, _ = step_with()
    later.tokens = [(later.tokens[0][0], channel)]
    channel.feed(" is")
    release_tokens(later)
    assert left(later) == ["ada"]
    assert later.changed
