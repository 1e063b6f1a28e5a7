"""The tools that the files of deploy/ are checked with; a test is skipped where its tool is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose"
CHART = DEPLOY / "helm" / "safeproxy"
#: The environment that setup.sh makes.
PLACE = Path(os.environ.get("SAFEPROXY_DEPLOY") or ROOT / ".deploy").absolute()
#: Seconds that a tool may take.
LIMIT = 120

Manifests = dict[str, list[dict[str, Any]]]
"""What the chart renders: the objects by template."""


def ours(path: str) -> Path:
    """A program of the environment of the tools."""
    found = next(iter(PLACE.glob(path)), None)
    if found is None:
        pytest.skip(f"{path} is not installed: run tests/deploy/setup.sh")
    return found


def on_path(name: str) -> Path:
    """A program of the system."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: run tests/deploy/setup.sh as root on Debian, or install it")
    return Path(found)


def envoy() -> Path:
    """Envoy, of the version that the chart names."""
    return ours("lib/python3.*/site-packages/envoy/_bin/envoy")


def run(*command: str | Path, stdin: str = "", **environment: str) -> str:
    """What a tool prints; fails with what it says if it says no."""
    done = subprocess.run(
        command, input=stdin, text=True, capture_output=True, timeout=LIMIT, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
    return done.stdout


def helm(values: dict[str, Any]) -> dict[str, Any]:
    """What Helm says of the chart with ``values``: ``refused`` with the reason, or ``lint`` and ``rendered``."""
    said: dict[str, Any] = json.loads(run(ours("bin/python"), HERE / "helm.py", CHART, stdin=json.dumps(values)))
    return said


@cache
def _rendered(values: str) -> dict[str, str]:
    said = helm(json.loads(values))
    assert "refused" not in said, said["refused"]
    texts: dict[str, str] = said["rendered"]
    return texts


def rendered(values: dict[str, Any]) -> dict[str, str]:
    """The chart's files with ``values``, by template."""
    return {Path(name).name: text for name, text in _rendered(json.dumps(values)).items()}


def manifests(values: dict[str, Any]) -> Manifests:
    """The chart's objects with ``values``, by template."""
    texts = rendered(values)
    return {
        name: [one for one in yaml.safe_load_all(text) if one is not None]
        for name, text in texts.items()
        if name.endswith(".yaml")
    }


def envoy_config(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Envoy's configuration as the chart gives it, and the one of its certificate."""
    data = manifests(values)["envoy.yaml"][0]["data"]
    return yaml.safe_load(data["envoy.yaml"]), yaml.safe_load(data["certificate.yaml"])
