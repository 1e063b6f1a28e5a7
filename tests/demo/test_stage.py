"""The performance: the board alone, and the whole on loopback."""

from __future__ import annotations

import click
import pytest

from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.demo import stage

RULES = RuleSet([Rule(id="key", entity="KEY", pattern=r"\bkey-[a-z]{3}\b")])


def rows(lines: list[str]) -> list[list[str]]:
    """The cells of the table's lines."""
    return [[cell.strip() for cell in click.unstyle(line).split("|")] for line in lines]


def test_board_writes_a_row_when_the_next_token_comes() -> None:
    """What arrived between two tokens stands beside the first, with the characters held then."""
    lines: list[str] = []
    board = stage.Board(lines.append, 60, RULES)
    board.sent("the k", arguments=False)
    board.got("the ", arguments=False)
    board.sent("ey-abc", arguments=False)
    assert rows(lines) == [["'the k'", "'the '", "1"]]
    board.got("[KEY]", arguments=False)
    board.end()
    assert rows(lines)[1] == ["'ey-abc'", "'[KEY]'", ""]
    assert (board.raw, board.delivered) == (["the key-abc", ""], ["the [KEY]", ""])


def test_board_counts_arguments_as_held_until_they_arrive_whole() -> None:
    """A tool call is released complete or not at all."""
    lines: list[str] = []
    board = stage.Board(lines.append, 60, RULES)
    board.sent('{"a":', arguments=True)
    board.sent(" 1}", arguments=True)
    assert rows(lines) == [["'{\"a\":'", "", "5"]]
    board.got('{"a": 1}', arguments=True)
    board.end()
    assert rows(lines)[1][2] == ""


def test_board_without_tokens_writes_nothing() -> None:
    """The end of an empty stream is no row."""
    lines: list[str] = []
    stage.Board(lines.append, 60, RULES).end()
    assert lines == []


@pytest.mark.e2e
@pytest.mark.enable_socket
@pytest.mark.asyncio
async def test_the_whole_performance() -> None:
    """Redaction, halt and audit records come through the real path, and nothing secret reaches the client."""
    lines: list[str] = []
    await stage.perform(keep=False, echo=lines.append, pace=0)
    screen = click.unstyle("\n".join(lines))
    got = [line for line in screen.splitlines() if line.startswith("the client got")]
    assert "[EMAIL_ADDRESS]" in got[0]
    assert "finish_reason: tool_calls" in screen
    assert "finish_reason: content_filter" in screen
    assert "ended=content_filter" in screen
    assert "ended=tool_calls" in screen
    assert screen.count("  opened ") == screen.count("  closed ") == 2
