"""A worker process: loads a judge once and judges the sentences that come through a pipe.

Messages are JSON. The first that comes names the judge, as ``[import path, argument, ...]``; the first that goes is
what the judge says of itself, or why there is none. Then for each text that comes ``{"found": [...]}`` or
``{"raised": type}`` goes.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


def imported(path: str) -> Any:
    """What ``package.module:name`` names. Raises ImportError, AttributeError, ValueError."""
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise ValueError(f"{path!r} is no import path; expected package.module:name")
    return getattr(importlib.import_module(module), name)


def main() -> None:
    """Serve the pipe whose file descriptor is the first argument, until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the pipe
    pipe = Connection(int(sys.argv[1]))
    asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, asked), daemon=True).start()
    try:
        judge = _load(json.loads(asked.get()))
    except Exception as error:  # noqa: BLE001 - the parent tells the operator; no text has come yet
        _send(pipe, {"failed": f"{type(error).__name__}: {error}"})
        return
    _send(pipe, _facts(judge))
    while True:
        _send(pipe, _answer(judge, json.loads(asked.get())))


def _receive(pipe: Connection, asked: queue.SimpleQueue[bytes]) -> None:
    """Hand on what comes; end the process with the parent, however that ended and whatever is being judged."""
    try:
        while True:
            asked.put(pipe.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)


def _load(named: list[Any]) -> Any:
    factory, *arguments = named
    return imported(factory)(*arguments)


def _facts(judge: Any) -> dict[str, Any]:
    return {
        "labels": [str(label) for label in judge.labels],
        "version": str(judge.version),
        "digest": str(judge.digest),
        "window": int(getattr(judge, "window", 0)),
    }


def _answer(judge: Callable[[str], Any], text: str) -> dict[str, Any]:
    try:
        found = [(int(start), int(end), str(label), float(score)) for start, end, label, score in judge(text)]
    except Exception as error:  # noqa: BLE001 - a stranger's code, which may have broken on the text it would show
        return {"raised": type(error).__name__}
    return {"found": found}


def _send(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message).encode())


if __name__ == "__main__":
    main()
