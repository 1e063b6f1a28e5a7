"""The threat model is held against the project: the tests and settings that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

from safeproxy.shell.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "audit" / "threat-model.md").read_text(encoding="utf-8")


def test_every_test_that_it_names_is_there() -> None:
    """A guard that is gone would guard nothing."""
    named = set(re.findall(r"`(tests/[^`]+)`", PAGE))
    assert len(named) > 20
    for path in named:
        assert (ROOT / path).is_file(), path


def test_every_setting_that_it_names_is_there() -> None:
    """What is written like a setting is one."""
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE))
    assert len(named) > 20
    assert named <= Settings.model_fields.keys()
