"""Files that are read again when they change."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from safeproxy.errors import ConfigError
from safeproxy.shell.reloaded import Reloaded


class Watched:
    """A file of one line, looked at by a clock that stands still until told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 0.0
        self.reads = 0
        self.complaints: list[str] = []
        self.write("one")
        self.file = Reloaded(path, self.read, lambda error: self.complaints.append(str(error)), lambda: self.now)

    def write(self, text: str) -> None:
        """As editors do it: another file takes the place of the old one."""
        made = self.path.with_suffix(".new")
        made.write_text(text)
        made.replace(self.path)

    def read(self, path: Path) -> str:
        """The text, which must not say `bad`."""
        self.reads += 1
        try:
            text = path.read_text()
        except OSError:
            raise ConfigError("gone") from None
        if text == "bad":
            raise ConfigError("bad text")
        return text

    async def later(self) -> str:
        """The value a second on."""
        self.now += 1
        return await self.file.value()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A file that says `one`."""
    return Watched(tmp_path / "file")


async def test_a_change_is_seen_within_a_second(watched: Watched) -> None:
    """What was written is not looked for before its time, and then it is there."""
    watched.write("two")
    watched.now = 0.99
    assert await watched.file.value() == "one"
    watched.now = 1.0
    assert await watched.file.value() == "two"


async def test_a_file_that_stays_is_not_read_again(watched: Watched) -> None:
    """It is looked at, but read once."""
    assert [await watched.later() for _ in range(5)] == ["one"] * 5
    assert watched.reads == 1


async def test_a_file_written_in_place_is_read_again(watched: Watched) -> None:
    """The time of its last change is enough, though its length and its place stay the same."""
    watched.path.write_text("two")
    os.utime(watched.path, ns=(1, 1))
    assert await watched.later() == "two"


async def test_a_broken_file_leaves_things_as_they_were(watched: Watched) -> None:
    """It is told once, not at every look; when it is mended it counts again."""
    watched.write("bad")
    assert [await watched.later() for _ in range(3)] == ["one"] * 3
    watched.write("three")
    assert await watched.later() == "three"
    assert watched.complaints == ["bad text"]


async def test_a_file_that_is_gone_leaves_things_as_they_were(watched: Watched) -> None:
    """The same for one that is not there for a while."""
    watched.path.unlink()
    assert [await watched.later(), await watched.later()] == ["one", "one"]
    watched.write("four")
    assert await watched.later() == "four"
    assert watched.complaints == ["gone"]


async def test_all_who_ask_meanwhile_wait_for_one_reading(watched: Watched) -> None:
    """Nobody is told the old state once a look is due, and the file is read once for all of them."""
    watched.write("two")
    watched.now = 1.0
    assert await asyncio.gather(*(watched.file.value() for _ in range(10))) == ["two"] * 10
    assert watched.reads == 2


async def test_one_who_leaves_takes_no_change_along(watched: Watched) -> None:
    """Where the request that had the file read is cancelled, the next one reads it."""
    watched.write("two")
    watched.now = 1.0
    first = asyncio.create_task(watched.file.value())
    await asyncio.sleep(0)
    first.cancel()
    assert await watched.file.value() == "two"


def test_a_file_that_is_broken_from_the_start_is_an_error(tmp_path: Path) -> None:
    """Without a state before it there is nothing to go on with."""
    path = tmp_path / "file"
    path.write_text("bad")
    with pytest.raises(ConfigError, match="bad text"):
        Reloaded(path, lambda _: (_ for _ in ()).throw(ConfigError("bad text")), lambda _: None)
