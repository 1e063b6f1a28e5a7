"""Tests of `safeproxy.plugins.settings`."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeproxy.errors import RuleError
from safeproxy.plugins.settings import WorkerSettings, worker_settings


def test_a_name_has_the_usual_settings() -> None:
    """What is no settings file is the model's name."""
    assert worker_settings("some_model") == WorkerSettings(model="some_model")
    assert worker_settings("").model == ""


@pytest.mark.parametrize("name", ["m.yaml", "m.yml", "m.json"])
def test_a_file_has_its_own(tmp_path: Path, name: str) -> None:
    """YAML and JSON are read alike."""
    file = tmp_path / name
    file.write_text('{"model": "some_model", "deadline": 1.5}')
    settings = worker_settings(str(file))
    assert (settings.model, settings.deadline, settings.workers) == ("some_model", 1.5, 1)


def test_a_wrong_key_is_named(tmp_path: Path) -> None:
    """The error names file and key."""
    file = tmp_path / "m.yaml"
    file.write_text("workers: 0")
    with pytest.raises(
        RuleError, match=r"the settings file '.*m.yaml': workers: Input should be greater than or equal"
    ):
        worker_settings(str(file))
