"""Sentences from templates."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeproxy.errors import ConfigError
from safeproxy.training.toxicity_data import CATEGORIES
from safeproxy.training.toxicity_phrases import phrases

FILE = """
; a remark
@who: cats; dogs
# kind, 40, toxicity=1 sexual=?
[I|we] like {who}[.|!]
"""


def made(tmp_path: Path, text: str, seed: int = 1) -> list[str]:
    file = tmp_path / "templates.txt"
    file.write_text(text, encoding="utf-8")
    return [example.text for example in phrases(seed, file)]


def test_holes_are_filled(tmp_path: Path) -> None:
    """Choices and slots are filled, every sentence comes once, and the same seed gives the same ones."""
    texts = made(tmp_path, FILE)
    assert 4 < len(texts) <= 8
    assert not any(set(text) & set("[]{}|") for text in texts)
    assert texts == made(tmp_path, FILE)


def test_labels(tmp_path: Path) -> None:
    """What a heading does not name is 0, what it marks with a question mark is unknown."""
    made(tmp_path, FILE)
    labels = next(iter(phrases(1, tmp_path / "templates.txt"))).labels
    assert labels == {"toxicity": 1.0} | {name: 0.0 for name in CATEGORIES if name not in ("toxicity", "sexual")}


def test_an_unknown_slot_is_named(tmp_path: Path) -> None:
    """The error shows the template and the line that is missing."""
    with pytest.raises(ConfigError, match="@who:"):
        made(tmp_path, "# kind, 1,\nI like {who}")


def test_the_shipped_templates_can_be_filled() -> None:
    """All templates work, and harmful and harmless sentences are both there for most categories."""
    examples = list(phrases(2))
    assert len(examples) > 15_000
    for category in CATEGORIES:
        values = {round(example.labels[category]) for example in examples if category in example.labels}
        assert values == {0, 1}
