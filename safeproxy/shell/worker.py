"""One of several processes that share a port: ``python -m safeproxy.shell.worker``, started by `workers`.

The settings are the first line of its standard input. It writes one line of JSON to its standard output: the address
that it listens on, or why it cannot. When its input is closed it stops as it does at SIGTERM.
"""

from __future__ import annotations

import json
import os
import sys

from safeproxy.errors import SafeproxyError
from safeproxy.shell import workers
from safeproxy.shell.serve import serve_here
from safeproxy.system import calculate_on_one_core


def main() -> None:
    """Serve until told to stop, or until the parent is gone."""
    # Whatever a library prints goes to standard error: standard output is the line to the parent.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(**said: str) -> None:
        answers.write(json.dumps(said) + "\n")
        answers.flush()

    calculate_on_one_core()
    try:
        settings = workers.load(_first_line(sys.stdin.fileno()))
        serve_here(settings, lambda url: tell(listens=url), parent=sys.stdin)
    except SafeproxyError as error:
        tell(failed=str(error))
        sys.exit(1)


def _first_line(descriptor: int) -> bytes:
    """Not a byte more: what follows, its end, is read by the event loop."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(descriptor, 1)):
        line += byte
    return line


if __name__ == "__main__":
    main()
