"""What the demonstration puts on the screen: plain functions from values to lines. ASCII, so any terminal shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

#: Narrowest and widest table, in columns.
NARROWEST, WIDEST = 60, 100
_LEFT = 22
_HELD = 5
_PLACEHOLDER = re.compile(r"\[[A-Z][A-Z0-9_:-]*\]")


def fit(columns: int) -> int:
    """The width to draw at in a terminal of so many columns."""
    return max(NARROWEST, min(columns, WIDEST))


def heading(title: str, width: int) -> str:
    """A line that begins a scene."""
    return click.style(f"== {title} ".ljust(width, "="), bold=True)


def shown(text: str) -> str:
    """The text in quotes, with line breaks and the like written as escapes; nothing for no text."""
    return ascii(text) if text else ""


def columns(width: int) -> str:
    """The head of the table of tokens."""
    middle = width - _LEFT - _HELD - 4
    head = f"{'the model says':<{_LEFT}}| {'the client gets':<{middle}}| {'held':>{_HELD - 1}}"
    return click.style(head, underline=True)


def token_row(raw: str, delivered: str, held: int, width: int) -> list[str]:
    """One token, what reached the client before the next, and the characters held back then; wrapped where long."""
    middle = width - _LEFT - _HELD - 4
    left = _wrapped(shown(raw), _LEFT - 1)
    right = _wrapped(shown(delivered), middle - 1)
    lines = []
    for number in range(max(len(left), len(right))):
        cells = [side[number] if number < len(side) else "" for side in (left, right)]
        last = f"{held or '':>{_HELD - 1}}" if number == 0 else " " * (_HELD - 1)
        client = _coloured(f"{cells[1]:<{middle}}")
        lines.append(f"{cells[0]:<{_LEFT}}| {client}| {click.style(last, fg='yellow') if last.strip() else last}")
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    return [text[at : at + width] for at in range(0, len(text), width)] or [""]


def _coloured(text: str) -> str:
    return _PLACEHOLDER.sub(lambda match: click.style(match.group(), fg="green", bold=True), text)


def paragraph(label: str, text: str, width: int) -> list[str]:
    """A labelled text, wrapped between words, with its placeholders coloured."""
    lines, line = [], f"{label}:"
    printable = "".join(char if char.isprintable() else " " for char in text)
    for word in printable.split():
        if len(line) + 1 + len(word) > width:
            lines.append(line)
            line = "   "
        line += f" {word}"
    return [_coloured(one) for one in (*lines, line)]


def record_lines(records: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """The audit records in short form: one line each, or two."""
    return [line for record in records for line in _folded(_record_words(record), width)]


def _record_words(record: Mapping[str, Any]) -> list[str]:
    request = str(record["request_id"])[-8:]
    match record["event"]:
        case "finding":
            end = record["position"] + record["length"]
            return [
                f"..{request}",
                "finding",
                f"rule={record['rule']}",
                f"applied={record['applied']}",
                f"channel={record['channel']}",
                f"at={record['position']}-{end}",
            ]
        case "request.closed":
            counted = record["characters"]
            return [
                f"..{request}",
                "closed ",
                f"ended={record['ended']}",
                f"scanned={counted['scanned']}",
                f"passed={counted['passed']}",
                f"removed={counted['removed']}",
            ]
        case _:
            return [f"..{request}", "opened ", f"path={record['path']}", f"model={record['model']}"]


def _folded(words: Sequence[str], width: int) -> list[str]:
    lines = ["  " + "  ".join(words[:2])]
    indent = " " * len(lines[0])
    for word in words[2:]:
        if len(lines[-1]) + 2 + len(word) > width:
            lines.append(indent)
        lines[-1] += f"  {word}"
    return lines


def invitation(base: str, audit: str) -> str:
    """What to try while the demonstration stays up."""
    body = '{"model": "demo", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'
    return "\n".join(
        [
            f"Still running at {base} (audit trail in {audit}). Try, and press Ctrl-C to end:",
            f"  curl -N {base}/chat/completions -H 'Content-Type: application/json' -d '{body}'",
            'or any OpenAI client with this base URL and any key; the model "demo-halt" is stopped.',
        ]
    )
