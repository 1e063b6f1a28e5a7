"""What the process asks of the operating system and of the libraries that calculate, before it begins."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from contextlib import suppress

#: Where the libraries below numpy read how many threads they may start.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def calculate_on_one_core(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let models calculate in one thread, unless the environment says otherwise. To be called before any is loaded.

    What they multiply here is so small that further threads spend a second core on waiting for each other; whoever
    wants more cores starts more processes.
    """
    for name in _THREADS:
        environment.setdefault(name, "1")


def allow_many_files() -> None:
    """Raise the soft limit of open files to the hard one: a stream needs two, and 1,024 in all is usual."""
    with suppress(ImportError, OSError, ValueError):  # Windows has none; some systems refuse what they call unlimited
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
