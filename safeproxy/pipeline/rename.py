"""Object keys are text, too, where nobody knows them."""

from __future__ import annotations

from collections.abc import Iterable

from safeproxy.events import ChannelKind
from safeproxy.pipeline.whole import HaltError, Scanner
from safeproxy.wire.dialect import JsonObject, Key


def rename_keys(keys: Iterable[Key], scanner: Scanner) -> bool:
    """Replace the keys in which something is found; whether there were any. Raises HaltError and DetectorError."""
    renamed = False
    for key in keys:
        if key.key not in key.holder:
            continue
        verdict = scanner.recurring(key.key, "keys", ChannelKind.OTHER)
        if verdict.halted:
            raise HaltError
        if verdict.text != key.key:
            renamed = True
            _rename(key.holder, key.key, verdict.text)
    return renamed


def _rename(holder: JsonObject, old: str, new: str) -> None:
    """Rename a key, its place kept; a key that is there already is not overwritten."""
    while new in holder:
        new += "_"
    items = [(new if key == old else key, value) for key, value in holder.items()]
    holder.clear()
    holder.update(items)
