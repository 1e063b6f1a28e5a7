"""Judges for tests, loaded by worker processes."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Finding = tuple[int, int, str, float]


class Obedient:
    """Finds "secret", and does what the text says otherwise. It has the file's digest, if one is named."""

    labels = ("SECRET",)
    version = "1"
    window = 200

    def __init__(self, file: str = "") -> None:
        if file == "impossible":
            raise OSError("no such model")
        if file == "deadly":
            os._exit(9)
        if file == "endless":
            time.sleep(60)
        content = Path(file).read_bytes() if file else b""
        self.digest = hashlib.sha256(content).hexdigest()

    def __call__(self, text: str) -> Iterator[Finding]:
        sys.stdout.write(text)
        sys.stdout.flush()
        if text in DEEDS:
            yield from DEEDS[text]()
        at = text.find("secret")
        if at >= 0:
            yield at, at + 6, "SECRET", 0.9


def spin() -> list[Finding]:
    while True:
        pass


def fail() -> list[Finding]:
    raise KeyError("Raise.")


DEEDS: dict[str, Any] = {
    "Sleep.": lambda: time.sleep(60) or [],
    "Nap.": lambda: time.sleep(0.3) or [],
    "Spin.": spin,
    "Die.": lambda: os._exit(3),
    "Raise.": fail,
    "Lie.": lambda: [(0, 1000, "SECRET", 1.0)],
    "Babble.": lambda: [(0, 1, "SECRET" * 100, 1.0)] * 10_000,
    "Who?": lambda: [(0, 1, str(os.getpid()), 1.0)],
    "Threads?": lambda: [(0, 1, os.environ["OMP_NUM_THREADS"], 1.0)],
    "Keys?": lambda: [(0, 1, name, 1.0) for name in os.environ if name.startswith("SAFEPROXY_")],
}
