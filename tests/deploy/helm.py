"""Lints and renders a chart with Helm's own library: `helm.py CHART`, values as JSON on standard input.

Runs in the environment of the tools, as a process of its own. Prints JSON.
"""

from __future__ import annotations

import json
import sys

import helm_python as helm


def main(chart: str) -> dict[str, object]:
    """What Helm says."""
    values = json.load(sys.stdin)
    try:
        with helm.Chart.load(chart) as loaded:
            loaded.validate_schema(values)
            rendered = loaded.render(values, name="demo", namespace="prod")
    except helm.HelmError as error:
        return {"refused": str(error)}
    return {"rendered": rendered, "lint": helm.lint(chart, values, strict=True, namespace="prod")}


json.dump(main(sys.argv[1]), sys.stdout)
