"""Lists the predefined recognizers of the installed Presidio and what a rule can make of each.

python -m safeproxy.presidio
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from safeproxy.errors import RuleError, SafeproxyError
from safeproxy.presidio.model import load
from safeproxy.presidio.recognizers import predefined

_ROW = "{:<38}{:<32}{:<6}{:<8}{:<14}{}\n"


def rows() -> Iterator[tuple[str, ...]]:
    """Name, entity, language, best score without and with context, and a note, of each recognizer."""
    for name in predefined():
        try:
            model = load(name)
        except RuleError as error:
            yield name, "", "", "", "", str(error).partition("; ")[2]
            continue
        for source in model.sources(name):
            with_context = f"{model.enhancement.raised(source.most):g}" if source.context else ""
            notes = ", ".join(dict.fromkeys(p.prepared.bounded for p in source.patterns if p.prepared.bounded))
            yield name, source.entity, source.language, f"{source.most:g}", with_context, notes


def main() -> int:
    """Print the list."""
    try:
        listed = list(rows())
    except SafeproxyError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    for row in [("recognizer", "entity", "lang", "score", "with context", "note"), *listed]:
        sys.stdout.write(_ROW.format(*row).rstrip() + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
