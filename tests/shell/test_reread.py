"""A file that is read again when it changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from safeproxy.errors import ConfigError
from safeproxy.shell.reread import Reread


class Watched:
    """A file of one number, what is read of it and what is complained of; time passes by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 0.0
        self.reads = 0
        self.complaints: list[str] = []
        self.write("1")
        self.file = Reread(path, self.read, lambda error: self.complaints.append(str(error)), lambda: self.now)

    def read(self, path: Path) -> int:
        """The number."""
        self.reads += 1
        try:
            return int(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ConfigError("no number") from None

    def write(self, text: str, *, at: int = 1) -> None:
        """Change the file; ``at`` is when, in seconds since 1970."""
        self.path.write_text(text, encoding="utf-8")
        os.utime(self.path, (at, at))

    def later(self, seconds: float = 1.0) -> int:
        """What it says after a while."""
        self.now += seconds
        return self.file.value


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A file that says 1."""
    return Watched(tmp_path / "file")


def test_a_change_is_seen_after_a_second_and_not_before(watched: Watched) -> None:
    """And what did not change is not read again."""
    assert [watched.file.value, watched.later(5), watched.reads] == [1, 1, 1]
    watched.write("2", at=2)
    assert [watched.later(0.9), watched.later(0.1), watched.later(), watched.reads] == [1, 2, 2, 2]


def test_a_broken_file_changes_nothing_and_is_told_once(watched: Watched) -> None:
    """The next good one counts again."""
    watched.write("x", at=2)
    assert [watched.later(), watched.later(), watched.complaints] == [1, 1, ["no number"]]
    watched.path.unlink()
    assert [watched.later(), watched.later(), len(watched.complaints)] == [1, 1, 2]
    watched.write("3", at=3)
    assert [watched.later(), len(watched.complaints)] == [3, 2]


def test_a_file_that_cannot_be_used_at_first_is_an_error(tmp_path: Path) -> None:
    """Of its reader's."""

    def read(_: Path) -> int:
        raise ConfigError("no number")

    with pytest.raises(ConfigError, match="no number"):
        Reread(tmp_path / "none", read, lambda _: None)
