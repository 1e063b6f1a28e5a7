"""Writes the expected files of the golden cases anew, as the code makes them now: ``python -m tests.golden.make``.

It is run by hand, after a change of what is sent that was meant; look at every difference before it is committed.
"""

from __future__ import annotations

import sys

from tests.golden.cases import SECRETS, cases


def main() -> None:
    """Write what differs, and say so; arguments restrict it to the cases whose names begin with one of them."""
    wanted = tuple(sys.argv[1:])
    for case in cases():
        for variant in SECRETS if case.name.startswith(wanted or "") else ():
            file, new = case.expected(variant), case.answer(variant)
            if not file.exists() or file.read_bytes() != new:
                file.write_bytes(new)
                sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main()
