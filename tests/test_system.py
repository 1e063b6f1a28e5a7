"""What the process asks of the operating system."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from safeproxy.system import allow_many_files, calculate_on_one_core

resource = pytest.importorskip("resource")


def test_libraries_calculate_in_one_thread_unless_told_otherwise() -> None:
    """What the environment says stands; what it leaves open is one."""
    environment = {"OMP_NUM_THREADS": "3", "HOME": "x"}
    calculate_on_one_core(environment)
    assert environment == {
        "OMP_NUM_THREADS": "3",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "HOME": "x",
    }


def test_the_command_has_said_so_before_anything_that_calculates_is_loaded() -> None:
    """Numpy reads it once, when it is imported; importing the command line does not do that."""
    script = "import sys, safeproxy.cli; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    shown = [sys.executable, "-c", "import os, safeproxy.cli as c; c.main(['rules', 'list'], standalone_mode=False);"]
    shown[-1] += "print(os.environ['OPENBLAS_NUM_THREADS'])"
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    said = subprocess.run(shown, check=True, capture_output=True, text=True, env=environment)
    assert said.stdout.splitlines()[-1] == "1"


def test_as_many_files_as_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The soft limit becomes the hard one; a system that refuses is left as it is."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    allow_many_files()
    assert asked == [(4096, 4096)]

    def refused(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(resource, "setrlimit", refused)
    allow_many_files()
