"""The collector's configurations. No registry has the collector or a schema of it: what refers to what is checked."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.deploy import tools

#: What the image `opentelemetry-collector` holds of what is used here.
KNOWN = {
    "receivers": {"otlp"},
    "processors": {"memory_limiter", "batch"},
    "exporters": {"debug", "otlphttp"},
    "extensions": {"health_check"},
}


def configuration(which: str) -> dict[str, Any]:
    """One of the configurations."""
    if which == "compose":
        return yaml.safe_load((tools.COMPOSE / "otel-collector.yaml").read_text(encoding="utf-8"))
    endpoint = "https://otlp.example.com" if which == "helm to a system" else ""
    values = {"collector": {"enabled": True, "endpoint": endpoint}}
    return yaml.safe_load(tools.manifests(values)["collector.yaml"][0]["data"]["config.yaml"])


@pytest.mark.parametrize("which", ["compose", "helm", "helm to a system"])
def test_pipelines_are_made_of_what_is_configured(which: str) -> None:
    """Each part is known, each that is configured is used, each that is used is configured."""
    config = configuration(which)
    used: dict[str, set[str]] = {kind: set() for kind in KNOWN}
    used["extensions"] = set(config["service"].get("extensions", ()))
    for pipeline in config["service"]["pipelines"].values():
        assert pipeline["processors"] == ["memory_limiter", "batch"]
        for kind in ("receivers", "processors", "exporters"):
            used[kind] |= set(pipeline[kind])
    assert config["service"]["pipelines"].keys() == {"traces", "metrics"}
    for kind, known in KNOWN.items():
        assert used[kind] == set(config.get(kind, {})), kind
        assert {name.partition("/")[0] for name in used[kind]} <= known, kind
    assert config["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(":4318")
