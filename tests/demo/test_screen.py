"""What the demonstration draws."""

from __future__ import annotations

import click
import pytest

from safeproxy.demo import screen


def plain(lines: list[str]) -> list[str]:
    """The lines without colours."""
    return [click.unstyle(line) for line in lines]


@pytest.mark.parametrize(("terminal", "width"), [(20, 60), (60, 60), (80, 80), (250, 100)])
def test_width_follows_the_terminal(terminal: int, width: int) -> None:
    """Never narrower than the table needs, never wider than the eye likes."""
    assert screen.fit(terminal) == width


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    """Also with long tokens, long deliveries, long names and long texts."""
    record = {"event": "finding", "request_id": "r" * 40, "rule": "a-rule", "applied": "redact", "channel": "c" * 20}
    lines = [
        screen.heading("a title", width),
        screen.columns(width),
        *screen.token_row("t" * 70, "d" * 200, 123, width),
        *screen.paragraph("label", "some words " * 30, width),
        *screen.record_lines([record | {"position": 5, "length": 9}], width),
    ]
    assert max(map(len, plain(lines))) <= width
    assert all(line.isascii() for line in lines)


def test_a_row_shows_token_delivery_and_hold() -> None:
    """Spaces are visible through the quotes; the hold stands at the end."""
    (line,) = plain(screen.token_row(" ada", "by", 4, 60))
    assert line.split("|")[0].strip() == "' ada'"
    assert line.split("|")[1].strip() == "'by'"
    assert line.split("|")[2].strip() == "4"


def test_a_row_without_delivery_is_empty_there() -> None:
    """Nothing arrived, nothing is shown; nothing held, no zero."""
    (line,) = plain(screen.token_row("x", "", 0, 60))
    assert [cell.strip() for cell in line.split("|")] == ["'x'", "", ""]


def test_a_long_delivery_is_wrapped_not_cut() -> None:
    """Every character of it is on the screen."""
    lines = plain(screen.token_row("", "0123456789" * 10, 0, 60))
    assert "".join(line.split("|")[1].strip() for line in lines) == "'" + "0123456789" * 10 + "'"


def test_placeholders_stand_out() -> None:
    """They are coloured, ordinary brackets are not."""
    (line,) = screen.paragraph("got", "by [EMAIL_ADDRESS] [sic]", 80)
    assert click.style("[EMAIL_ADDRESS]", fg="green", bold=True) in line
    assert line.endswith(" [sic]")


def test_control_characters_cannot_reach_the_terminal() -> None:
    """A model that sends escape sequences must not drive the terminal."""
    assert screen.shown("\x1b[31mx\n") == r"'\x1b[31mx\n'"
    assert "\x1b" not in screen.paragraph("said", "a \x1b]0;b", 80)[0]


def test_records_in_short_form() -> None:
    """One line each that says what happened, with the end of the request's id."""
    opened = {"event": "request.opened", "request_id": "0123456789abcdef", "path": "/v1/x", "model": "demo"}
    found = {
        "event": "finding",
        "request_id": "0123456789abcdef",
        "rule": "email",
        "applied": "redact",
        "channel": "c0",
        "position": 3,
        "length": 4,
    }
    closed = {
        "event": "request.closed",
        "request_id": "0123456789abcdef",
        "ended": "stop",
        "characters": {"scanned": 9, "passed": 5, "removed": 4},
    }
    assert screen.record_lines([opened, found, closed], 100) == [
        "  ..89abcdef  opened   path=/v1/x  model=demo",
        "  ..89abcdef  finding  rule=email  applied=redact  channel=c0  at=3-7",
        "  ..89abcdef  closed   ended=stop  scanned=9  passed=5  removed=4",
    ]


def test_invitation_has_a_command_to_try() -> None:
    """The curl command names the address and the right path."""
    text = screen.invitation("http://127.0.0.1:1/v1", "/tmp/audit")
    assert "curl -N http://127.0.0.1:1/v1/chat/completions" in text
    assert "Ctrl-C" in text
