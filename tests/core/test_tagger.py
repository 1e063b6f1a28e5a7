"""The tagger decides token by token what it would decide of the whole text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.tagger import Decision, Job, Tagger
from tests.core.networks import MOVES, WIDTH, decided_at_once, tagger

Text = tuple[np.ndarray, list[bool]]


@st.composite
def texts(draw: st.DrawFn) -> Text:
    """Tokens as rows of numbers, some of them white space."""
    count = draw(st.integers(0, 14))
    rows = np.random.default_rng(draw(st.integers(0, 2**16))).normal(size=(count, WIDTH)).astype(np.float32)
    return rows, draw(st.lists(st.booleans(), min_size=count, max_size=count))


def names(decided: list[Decision]) -> list[str]:
    return [f"{one.kind}-{one.label}" if one.label else one.kind for one in decided]


def told(network: Tagger, text: Text, cuts: list[int]) -> list[str]:
    """What is decided of a text that is told in pieces."""
    rows, spaces = text
    state = network.begin()
    decided: list[Decision] = []
    borders = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in pairwise(borders):
        job = Job(state, rows[start:end], spaces[start:end], ended=False)
        network.advance([job])
        decided += job.decided
    last = Job(state, rows[:0], [], ended=True)
    network.advance([last])
    return names(decided + last.decided)


@given(texts(), st.lists(st.integers(0, 14), max_size=5), st.integers(0, 20), st.integers(1, 4))
def test_pieces_are_decided_as_the_whole(text: Text, cuts: list[int], seed: int, depth: int) -> None:
    """However the tokens arrive, the moves are those of the definition."""
    assert told(tagger(seed, depth), text, cuts) == decided_at_once(seed, depth, *text)


@given(st.lists(texts(), min_size=1, max_size=5), st.integers(0, 20), st.data())
def test_streams_do_not_touch_each_other(several: list[Text], seed: int, data: st.DataObject) -> None:
    """Texts that go through the network together are decided as each alone."""
    network = tagger(seed, 3)
    states = [network.begin() for _ in several]
    decided: list[list[Decision]] = [[] for _ in several]
    at = [0] * len(several)
    while any(at[n] < len(rows) for n, (rows, _) in enumerate(several)):
        steps = [data.draw(st.integers(0, 3)) for _ in several]
        jobs = []
        for n, (rows, spaces) in enumerate(several):
            end = min(at[n] + steps[n], len(rows))
            jobs.append(Job(states[n], rows[at[n] : end], spaces[at[n] : end], ended=False, decided=decided[n]))
            at[n] = end
        network.advance(jobs)
        if not any(steps):
            break
    rest = [
        Job(states[n], rows[at[n] :], spaces[at[n] :], ended=True, decided=decided[n])
        for n, (rows, spaces) in enumerate(several)
    ]
    network.advance(rest)
    assert [names(one) for one in decided] == [decided_at_once(seed, 3, *text) for text in several]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_token_is_decided_as_soon_as_its_context_is_there(depth: int) -> None:
    """As many tokens as there are layers must follow it, not one more."""
    network = tagger(0, depth)
    state = network.begin()
    rows = np.ones((1, WIDTH), np.float32)
    counts = []
    for _ in range(depth + 3):
        job = Job(state, rows, [False], ended=False)
        network.advance([job])
        counts.append(len(job.decided))
    assert counts == [0] * depth + [1, 1, 1]


def test_an_empty_text_has_no_decisions() -> None:
    """The padding alone is no token."""
    assert told(tagger(1, 2), (np.zeros((0, WIDTH), np.float32), []), []) == []


def test_a_probability_is_a_share_of_the_scores() -> None:
    """The first move of an entity tells how sure the network is of it; the later ones follow from it."""
    network = tagger(3, 2)
    rows = np.random.default_rng(5).normal(size=(200, WIDTH)).astype(np.float32)
    job = Job(network.begin(), rows, [False] * 200, ended=True)
    network.advance([job])
    begun = [one.probability for one in job.decided if one.kind in "BU"]
    assert len(begun) > 10
    assert all(1 / len(MOVES) < probability <= 1 for probability in begun)
    assert network.labels == ("A", "B")
