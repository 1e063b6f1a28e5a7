"""Tests of `safeproxy.plugins.model`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy import suspend
from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.core.windows import Found
from safeproxy.errors import DetectorError, RuleError
from safeproxy.plugins.guard import PluginError
from safeproxy.plugins.model import Facts, WindowedModel, findings, in_process

RULE = Rule(id="r", entity="SECRET", detector="test")


class Secret:
    """Finds "secret"."""

    labels = ("SECRET",)
    version = "1"
    digest = "00"
    window = 100

    def __call__(self, text: str) -> Iterable[tuple[int, int, str, float]]:
        if "break" in text:
            raise KeyError(text)
        at = text.find("secret")
        return [(at, at + 6, "SECRET", 1)] if at >= 0 else []


class Slowly:
    """An asker whose answers come when they are told to."""

    waits = True
    at_once = 2

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.asked: list[tuple[str, Future[Sequence[Found]]]] = []
        self.most = 0

    def ask(self, text: str) -> Future[Sequence[Found]]:
        self.asked.append((text, Future()))
        self.most = max(self.most, sum(not future.done() for _, future in self.asked))
        return self.asked[-1][1]

    def close(self) -> None:
        self.asked.clear()


def filtered(model: WindowedModel) -> StreamFilter:
    return StreamFilter(RuleSet([RULE], {("test", ""): model}))


def test_a_judge_in_the_process_filters() -> None:
    """A judge's findings are redacted; what is around them is not."""
    model = in_process("test", Secret())
    stream = filtered(model)
    assert not model.waits
    assert stream.feed("A secret here. And") == "A [SECRET] here. "
    assert stream.feed(" a sec") == ""
    assert stream.feed("ret. Bye") == "And a [SECRET]. "
    assert stream.finish() == "Bye"


PIECES = ["secret", "sec", "ret", " ", ". ", "! ", "A", "b", "\n\n", "\n- ", "Dr. ", "word ", "。", "x" * 60]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.lists(st.integers(0, 500), max_size=30))
def test_what_leaves_does_not_depend_on_the_cutting(text: str, places: list[int]) -> None:
    """The filtered text is the same for every cutting, and what is to be redacted never leaves."""
    model = in_process("test", Secret())
    whole = filtered(model)
    expected = whole.feed(text) + whole.finish()
    borders = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    stream = filtered(model)
    assert "".join(stream.feed(text[start:end]) for start, end in pairwise(borders)) + stream.finish() == expected


def test_a_judge_that_raises_fails_closed_without_text() -> None:
    """Whatever a judge raises becomes a DetectorError that holds none of the text."""
    model = in_process("test", Secret())
    with pytest.raises(DetectorError, match=r"the detector 'test' .*raised.*\(KeyError\)") as caught:
        filtered(model).feed("Please break this. X")
    assert "Please" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert model.faults == {"raised": 1}


def test_a_label_that_the_model_has_not_is_refused() -> None:
    """A rule that would never find anything is refused, with the labels there are."""
    rule = Rule(id="r", entity="OTHER", detector="test")
    with pytest.raises(RuleError, match="rule 'r': the model 'test' has no label 'OTHER'; expected labels of SECRET"):
        RuleSet([rule], {("test", ""): in_process("test", Secret())})


@pytest.mark.parametrize(
    "entry",
    [
        (0, 5, "A", 0.5),
        (2, 2, "A", 0.5),
        (-1, 2, "A", 0.5),
        (0, 2, 7, 0.5),
        (0, 2, "A", 1.5),
        (0, 2, "A", float("nan")),
        (0, 2, "A"),
        ("0", 2, "A", 1),
    ],
)
def test_impossible_findings_are_refused(entry: tuple[object, ...]) -> None:
    """Ranges outside of the text, empty ones, and scores that are none do not pass."""
    with pytest.raises(ValueError):
        findings([entry], 4)


async def test_sentences_are_asked_about_together_and_the_loop_goes_on() -> None:
    """Up to `at_once` questions are open; answers keep their order whatever their time; the loop is not blocked."""
    asker = Slowly()
    model = WindowedModel("test", Facts((), "1", "00"), asker)
    stream = filtered(model)
    running = asyncio.create_task(suspend.run(stream.feed, "One. Two secret. Three. X"))
    await asyncio.sleep(0)
    assert [text for text, _ in asker.asked] == ["One.", "Two secret."]
    asker.asked[1][1].set_result([Found(4, 10, "SECRET", 1.0)])
    await asyncio.sleep(0.01)
    assert not running.done()
    asker.asked[0][1].set_result([])
    await asyncio.sleep(0.01)
    asker.asked[2][1].set_result([])
    assert await running == "One. Two [SECRET]. Three. "
    assert asker.most == 2


async def test_one_failure_fails_the_call_and_leaves_the_other_questions() -> None:
    """When one question fails nobody waits for the others."""
    asker = Slowly()
    stream = filtered(WindowedModel("test", Facts((), "1", "00"), asker))
    running = asyncio.create_task(suspend.run(stream.feed, "One. Two. X"))
    await asyncio.sleep(0)
    asker.asked[0][1].set_exception(DetectorError("no"))
    with pytest.raises(DetectorError):
        await running
    assert asker.asked[1][1].cancelled()


async def test_who_goes_away_leaves_no_question_open() -> None:
    """A cancelled stream cancels what it asked."""
    asker = Slowly()
    stream = filtered(WindowedModel("test", Facts((), "1", "00"), asker))
    running = asyncio.create_task(suspend.run(stream.feed, "One. Two. X"))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.sleep(0)
    assert all(future.cancelled() for _, future in asker.asked)


def test_an_asker_that_refuses_fails_the_call() -> None:
    """What is refused before it is asked fails closed too."""
    from safeproxy.plugins.guard import Fault

    class Refuses(Slowly):
        def ask(self, text: str) -> Future[Sequence[Found]]:
            raise PluginError("test", Fault.BUSY)

    with pytest.raises(DetectorError, match="busy"):
        filtered(WindowedModel("test", Facts((), "1", "00"), Refuses())).feed("One. X")
