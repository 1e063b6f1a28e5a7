"""Object keys are text, too, where nobody knows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from safeproxy.events import ChannelKind
from safeproxy.pipeline.whole import HaltError, Scanner
from safeproxy.wire.dialect import JsonObject, Key, Reading


def rename_keys(keys: Iterable[Key], scanner: Scanner) -> bool:
    """Replace the keys in which something is found; whether there were any. Raises HaltError and DetectorError."""
    found: dict[int, tuple[JsonObject, dict[str, str]]] = {}
    for key in keys:
        if key.key not in key.holder:
            continue
        verdict = scanner.recurring(key.key, "keys", ChannelKind.OTHER)
        if verdict.halted:
            raise HaltError
        if verdict.text != key.key:
            found.setdefault(id(key.holder), (key.holder, {}))[1][key.key] = verdict.text
    for holder, names in found.values():
        _rename(holder, names)
    return bool(found)


def filter_alone(reading: Reading, again: Callable[[], Reading], scanner: Scanner) -> bool:
    """Filter keys and texts of which each stands alone, in place; whether any was changed.

    ``again`` reads anew once keys were renamed. Raises HaltError and DetectorError.
    """
    changed = rename_keys(reading.keys, scanner)
    if changed:
        reading = again()
    for slot in reading.slots:
        before = slot.holder[slot.key]
        if scanner.place(slot).halted:
            raise HaltError
        changed |= slot.holder[slot.key] != before
    return changed


def _rename(holder: JsonObject, names: dict[str, str]) -> None:
    """Rename keys, their places kept; a key that is there already is not overwritten."""
    taken = set(holder)
    last: dict[str, int] = {}
    items = []
    for key, value in holder.items():
        new = names.get(key, key)
        if new != key:
            while new + "_" * last.get(new, 0) in taken:
                last[new] = last.get(new, 0) + 1
            new += "_" * last.get(new, 0)
            taken.add(new)
        items.append((new, value))
    holder.clear()
    holder.update(items)
