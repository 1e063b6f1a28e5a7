"""Templates and word lists, as text files: of lines, of blocks between lines of `%%`, or of lists, `key: a|b|c`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


def _content(name: str) -> str:
    return files(__package__).joinpath(f"{name}.txt").read_text("utf-8")


@cache
def lines(name: str) -> list[str]:
    r"""The lines of a file; `\n` in them is a line break."""
    return [line.replace("\\n", "\n") for line in _content(name).splitlines()]


@cache
def blocks(name: str) -> list[str]:
    """The blocks of a file."""
    return _content(name).rstrip("\n").split("\n%%\n")


@cache
def lists(name: str) -> dict[str, list[str]]:
    """The lists of a file by their keys."""
    return {key: values.split("|") for key, _, values in (line.partition(": ") for line in _content(name).splitlines())}
