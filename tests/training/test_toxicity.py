"""Training on a toy data folder, from files to a model that can be loaded."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from safeproxy.models.toxicity import load, save
from safeproxy.training import toxicity
from safeproxy.training.toxicity import Plan, examples_of, main, platt, train

RUDE = ("you {} fool", "what a {} idiot", "shut up you {} moron")
KIND = ("you {} friend", "what a {} day", "thank you {} helper")
FILLERS = ("big", "little", "old", "new", "silly", "red", "green", "tired")


def write(file: Path, records: list[dict[str, object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with rude and kind texts, and no made sentences beside them."""
    monkeypatch.setattr(toxicity, "phrases", lambda _seed: iter(()))
    records = [
        {"text": template.format(filler), "labels": {"toxic": value, "other": 1.0, "threat": None}}
        for templates, value in ((RUDE, 1.0), (KIND, 0.0))
        for template in templates
        for filler in FILLERS
    ]
    write(tmp_path / "toxicity" / "toy.jsonl.gz", records)
    write(tmp_path / "development" / "toy.jsonl.gz", [{"text": "You RED fool!", "labels": {"toxic": 1.0}}])
    return tmp_path


def test_a_toy_set_is_learnt(folder: Path, tmp_path: Path) -> None:
    """After some rounds rude words score higher than kind ones, in company they were not seen in."""
    examples = examples_of(folder, seed=1) * 30
    arrays = train(examples, Plan(width=8, buckets=64, filters=8, epochs=12, rate=0.02, vector_rate=0.2))
    save(tmp_path / "model.npz", arrays, "toy")
    model = load(tmp_path / "model.npz")
    rude, kind = (model.scores(f"hello there, {text}")["toxicity"] for text in ("you idiot", "you helper"))
    assert rude > 0.7 > 0.3 > kind


def test_what_is_held_out_is_not_learnt(folder: Path) -> None:
    """A text of the development folder, however it is written, is no example."""
    texts = [example.text for example in examples_of(folder, seed=1)]
    assert "you red fool" not in texts
    assert "you big fool" in texts


def test_training_is_repeatable(folder: Path) -> None:
    """The same seed gives the same model."""
    plan = Plan(width=4, buckets=16, filters=4, epochs=1)
    first, second = (train(examples_of(folder, seed=1), plan) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_the_command_writes_a_model(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the command line to the file."""
    out = tmp_path / "model.npz"
    main([str(folder), str(out), "--epochs", "1"])
    assert load(out).version == toxicity.VERSION


def test_a_folder_without_data_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says what is missing and what to give."""
    with pytest.raises(SystemExit):
        main([str(tmp_path), str(tmp_path / "model.npz")])
    assert "give the folder that holds toxicity/" in capsys.readouterr().err


def test_platt_scaling_recovers_its_line() -> None:
    """Targets drawn with a known slope and intercept give these back."""
    chance = np.random.default_rng(1)
    logits = chance.normal(0, 3, 4000).astype(np.float32)
    targets = 1 / (1 + np.exp(-(0.6 * logits - 0.4)))
    slope, intercept = platt(logits, targets.astype(np.float32), np.ones(4000, np.float32))
    assert (slope, intercept) == pytest.approx((0.6, -0.4), abs=0.02)


def test_too_little_to_calibrate_on_changes_nothing() -> None:
    """Labels that contradict the logits are not believed."""
    logits = np.array([-2, -1, 1, 2], np.float32)
    assert platt(logits, np.array([1, 1, 0, 0], np.float32), np.ones(4, np.float32)) == (1.0, 0.0)
