"""What a worker reads before it serves; the rest is tested from end to end."""

from __future__ import annotations

import os

from safeproxy.shell.worker import _first_line


def test_no_more_than_the_line_is_read() -> None:
    """What follows is the event loop's to read; an end before the line is whole is no reason to wait."""
    read, write = os.pipe()
    try:
        os.write(write, b'{"port": 1}\nmore')
        assert _first_line(read) == b'{"port": 1}\n'
        assert os.read(read, 10) == b"more"
        os.close(write)
        assert _first_line(read) == b""
    finally:
        os.close(read)
