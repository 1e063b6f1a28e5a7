"""What identifies a model: a digest of its files."""

from __future__ import annotations

import hashlib
from pathlib import Path

_IDLE = frozenset({".pyc", ".md"})


def digest_of(folder: Path) -> str:
    """SHA-256 over the folder's files, names and contents, in the order of their names; hex.

    What Python leaves there and what only tells of the model do not count.
    """
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in _IDLE):
        data = file.read_bytes()
        digest.update(f"{file.relative_to(folder).as_posix()}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()
