"""The network's gradients, and its agreement with the detector's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.training.toxicity_network import Batch, GramTable, Lexicon, Network, Shape, running_maximum

TOKENS = 30


class NoChance:
    """A generator that never drops anything, so that the loss is a plain function of the parameters."""

    def random(self, size: object) -> np.ndarray:
        return np.ones(size)  # type: ignore[call-overload]


def toy_network() -> tuple[Network, np.random.Generator]:
    chance = np.random.default_rng(0)
    row = np.where(chance.random(TOKENS) < 0.6, np.arange(TOKENS), -1)
    grams = GramTable([list(chance.integers(0, 20, chance.integers(1, 6))) for _ in range(TOKENS)])
    network = Network(Shape(TOKENS, 20, 3, width=6, reach=3, filters=5, hidden=4), Lexicon(row, grams), seed=1)
    network.parameters = {name: value.astype(np.float64) for name, value in network.parameters.items()}  # type: ignore[misc]
    network.parameters["direct"] += chance.standard_normal((5, 3)) * 0.3  # type: ignore[misc]
    return network, chance


def toy_batch(chance: np.random.Generator) -> Batch:
    sentences = [chance.integers(0, TOKENS, size) for size in (4, 1, 6, 3, 5)]
    weights = np.array([[1, 1, 0], [1, 0, 1], [0.5, 1, 1]])
    return Batch(sentences, np.array([0, 0, 1, 2, 2]), chance.random((3, 3)), weights)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["vocabulary", "buckets", "filters", "filter_bias", "hidden", "hidden_bias", "out", "direct", "out_bias"]
)
def test_gradients_are_the_slopes_of_the_loss(name: str) -> None:
    """Each gradient is what small changes of the parameter do to the loss."""
    network, chance = toy_network()
    network.rng = NoChance()  # type: ignore[assignment]
    batch = toy_batch(chance)
    _, gradients, rows = network.gradients(batch)
    value = network.parameters[name]
    gradient = np.zeros_like(value)
    gradient[rows if name == "vocabulary" else ...] = gradients[name]
    for _ in range(20):
        at = tuple(chance.integers(0, size) for size in value.shape)
        kept = value[at]
        losses = []
        for change in (1e-5, -1e-5):
            value[at] = kept + change
            losses.append(network.gradients(batch)[0])
        value[at] = kept
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(gradient[at], abs=2e-5)


def test_unknown_labels_teach_nothing() -> None:
    """Where a weight is 0 the target does not matter."""
    network, chance = toy_network()
    network.rng = NoChance()  # type: ignore[assignment]
    batch = toy_batch(chance)
    loss, gradients, _ = network.gradients(batch)
    batch.targets[batch.weights == 0] += 0.7
    other_loss, other, _ = network.gradients(batch)
    assert loss == other_loss
    assert all(np.array_equal(gradients[name], other[name]) for name in gradients)


def test_learning_lowers_the_loss() -> None:
    """Steps on one batch bring its loss down."""
    network, chance = toy_network()
    network.parameters = {name: value.astype(np.float32) for name, value in network.parameters.items()}
    batch = toy_batch(chance)
    losses = [network.step(batch, 0.02, 0.1) for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


@given(st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=9), min_size=1, max_size=5))
def test_running_maximum(sentences: list[list[int]]) -> None:
    """The highest value so far in each sentence, and where it came first."""
    values = np.array([[value] for sentence in sentences for value in sentence], np.float32)
    within = np.concatenate([np.arange(len(sentence)) for sentence in sentences])
    peak, strongest = running_maximum(values, within)
    for row in range(len(values)):
        seen = values[row - within[row] : row + 1, 0]
        assert peak[row, 0] == seen.max()
        assert strongest[row, 0] == row - within[row] + int(seen.argmax())


def test_gram_means_and_their_transpose() -> None:
    """`spread` is the transpose of `means`: both give the same inner product."""
    chance = np.random.default_rng(2)
    table = GramTable([[1, 2, 2], [0], [3, 1]])
    rows, buckets = np.array([2, 0]), chance.random((4, 5)).astype(np.float32)
    values = chance.random((2, 5)).astype(np.float32)
    assert table.means(rows, buckets)[1] == pytest.approx((buckets[1] + 2 * buckets[2]) / 3)
    assert (table.means(rows, buckets) * values).sum() == pytest.approx((table.spread(rows, values, 4) * buckets).sum())
    assert table.means(np.zeros(0, np.int64), buckets).shape == (0, 5)
