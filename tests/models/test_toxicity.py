"""Loading and storing the toxicity model."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeproxy.errors import RuleError
from safeproxy.models import registry
from safeproxy.models.toxicity import SHIPPED, load, save
from tests.core.toy_toxicity import CATEGORIES, toy_model, toy_weights


def toy_arrays() -> dict[str, Any]:
    return asdict(toy_weights()) | {"categories": np.array(CATEGORIES)}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """A model scores the same after it was stored, and its digest is that of the file."""
    file = tmp_path / "model.npz"
    save(file, toy_arrays(), "3")
    model = load(file)
    assert model.scores("you are a fool") == pytest.approx(toy_model().scores("you are a fool"))
    assert (model.version, model.labels) == ("3", CATEGORIES)
    assert model.digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_saving_is_repeatable(tmp_path: Path) -> None:
    """The same arrays give the same bytes, so the digest says whether a model is the same."""
    for name in ("a.npz", "b.npz"):
        save(tmp_path / name, toy_arrays(), "3")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(RuleError, match=r"absent\.npz is no readable numpy file"):
        load(tmp_path / "absent.npz")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """What is no numpy archive is no model."""
    file = tmp_path / "model.npz"
    file.write_text("no archive")
    with pytest.raises(RuleError, match="no readable numpy file"):
        load(file)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"keys": None}, "it has no 'keys'"),
        ({"hidden": np.zeros((3, 3))}, "'hidden' has the shape"),
        ({"out_bias": np.zeros((2, 2))}, "'out_bias' has 2 dimensions, not 1"),
        ({"format": np.array(99)}, "its format is another"),
    ],
)
def test_a_damaged_model_is_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    """The error says which array is wrong, and what to do."""
    arrays = {"format": np.array(1), "version": np.array("1")} | toy_arrays() | change
    file = tmp_path / "model.npz"
    np.savez(file, allow_pickle=False, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(RuleError, match=f"{fault}.*train one with"):
        load(file)


def test_an_incomplete_model_is_not_stored(tmp_path: Path) -> None:
    """Nothing is written that could not be loaded."""
    arrays = toy_arrays()
    del arrays["filters"]
    with pytest.raises(RuleError, match="'filters'"):
        save(tmp_path / "model.npz", arrays, "1")


def test_the_shipped_model_is_small_and_works() -> None:
    """At most 5 MB; it knows an insult from a kindness, and the registry gives it to rules."""
    assert SHIPPED.stat().st_size <= 5_000_000
    model = load()
    assert model.scores("You are a stupid idiot.")["toxicity"] > 0.8
    assert model.scores("Thank you, that was a great help.")["toxicity"] < 0.2
    assert registry.load("toxicity", "").digest == model.digest
