"""The Helm chart: linted and rendered by Helm's own library, its objects held against Kubernetes' schemas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from safeproxy.shell.settings import Settings
from tests.deploy import tools
from tests.deploy.test_compose import loaded

#: The chart as it comes, with everything, and with next to nothing.
EVERYTHING: dict[str, Any] = {
    "settings": {
        "upstreams": [
            {"name": "a", "url": "https://a.example", "keys_file": "/etc/safeproxy/upstream-keys/a", "failover": ["b"]},
            {"name": "b", "url": "https://b.example", "path": "/b"},
        ],
        "limits": [{"per": "key", "requests": 60}],
        "shutdown_grace": 120,
    },
    "rules": {"acme.yaml": "[]\n"},
    "secrets": {"settings": "s", "upstreamKeys": "u", "clientKeys": "c"},
    "audit": {"storageClass": "fast"},
    "autoscaling": {"enabled": True},
    "collector": {"enabled": True, "endpoint": "https://otlp.example.com"},
    "metrics": {"serviceMonitor": {"enabled": True}},
    "imagePullSecrets": [{"name": "registry"}],
}
LITTLE: dict[str, Any] = {
    "audit": {"storage": False},
    "envoy": {"enabled": False},
    "redis": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "metrics": {"annotations": False},
}
WAYS = {"as it comes": {}, "everything": EVERYTHING, "little": LITTLE}
#: Kubernetes versions: the oldest that the chart is for that the schemas know well, and the newest.
VERSIONS = ["1.30", "1.37"]

ways = pytest.mark.parametrize("values", WAYS.values(), ids=WAYS.keys())


def objects(values: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """What is rendered of a kind, by name."""
    found = [one for some in tools.manifests(values).values() for one in some if one["kind"] == kind]
    return {one["metadata"]["name"]: one for one in found}


def pods(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The pods' specifications, by the name of what makes them."""
    makers = objects(values, "StatefulSet") | objects(values, "Deployment")
    return {name: one["spec"]["template"]["spec"] for name, one in makers.items()}


def test_the_readme_s_values_are_taken() -> None:
    """Who copies them gets a release."""
    page = (tools.DEPLOY / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(# my-values.yaml\n.*?)```", page, re.DOTALL)
    assert tools.helm(yaml.safe_load(text))["lint"] == tools.helm({})["lint"]


@ways
def test_helm_lint_has_nothing_to_say(values: dict[str, Any]) -> None:
    """No error and no warning, with warnings taken as errors."""
    said = tools.helm(values)
    assert "refused" not in said, said["refused"]
    assert said["lint"]["errors"] == []
    assert [one for one in said["lint"]["messages"] if one["severity"] > 1] == []


@pytest.mark.parametrize("version", VERSIONS)
@ways
def test_objects_are_what_kubernetes_takes(values: dict[str, Any], version: str, tmp_path: Path) -> None:
    """Held against the published schemas, in which unknown fields are errors."""
    validate = tools.ours("bin/kubernetes-validate")
    known = [
        one for some in tools.manifests(values).values() for one in some if one["kind"] != "ServiceMonitor"
    ]  # an object of the Prometheus operator
    assert known
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(known), encoding="utf-8")
    tools.run(validate, "--strict", "--quiet", "-k", version, tmp_path / "all.yaml")


@ways
def test_the_settings_are_taken(values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeproxy reads the rendered settings file with the container's environment, and has time to end what runs."""
    text = objects(values, "ConfigMap")["demo-safeproxy"]["data"]["safeproxy.yaml"]
    (tmp_path / "safeproxy.yaml").write_text(text, encoding="utf-8")
    pod = pods(values)["demo-safeproxy"]
    container = pod["containers"][0]
    environment = {one["name"]: one["value"] for one in container.get("env", ())}
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    loaded(secrets, monkeypatch, environment, {"safeproxy_admin_token": "0123456789abcdef"})
    settings = Settings.load(tmp_path / "safeproxy.yaml")
    assert (settings.admin_token is not None) == bool(values.get("secrets"))
    assert settings.workers == 1
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"http": settings.port, "admin": settings.admin_port}
    needed = container["lifecycle"]["preStop"]["sleep"]["seconds"] + settings.shutdown_grace
    assert pod["terminationGracePeriodSeconds"] > needed
    mounts = {one["mountPath"] for one in container["volumeMounts"]}
    wanted = [settings.audit.parent, *settings.rules[1:]]
    wanted += [file.parent for file in (settings.client_keys, *(one.keys_file for one in settings.upstreams)) if file]
    assert {str(path) for path in wanted} <= mounts


@ways
def test_every_pod_has_few_rights(values: dict[str, Any]) -> None:
    """No root, no token, a read-only file system, a pinned image, probes, and memory within limits."""
    for name, pod in pods(values).items():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"], name
            assert rights["allowPrivilegeEscalation"] is False, name
            assert rights["capabilities"]["drop"] == ["ALL"], name
            assert container["resources"]["limits"]["memory"], name
            assert container["resources"]["requests"]["cpu"], name
            assert container["image"].rpartition(":")[2][-1].isdigit() or "alpine" in container["image"], name
            assert {"readinessProbe", "livenessProbe"} <= container.keys(), name


def test_each_replica_keeps_an_audit_volume_of_its_own() -> None:
    """It outlives the pod, and the release too unless that is asked for."""
    spec = objects({}, "StatefulSet")["demo-safeproxy"]["spec"]
    assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["audit"]
    assert set(spec["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    spec = objects(LITTLE, "StatefulSet")["demo-safeproxy"]["spec"]
    assert {"name": "audit", "emptyDir": {}} in spec["template"]["spec"]["volumes"]
    assert "audit trail of a pod is lost" in tools.rendered(LITTLE)["NOTES.txt"]


@ways
def test_labels_find_what_they_are_meant_to_find(values: dict[str, Any]) -> None:
    """Every selector of a Service, budget or policy fits the labels of a pod of this release."""
    makers = (objects(values, "StatefulSet") | objects(values, "Deployment")).values()
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in makers]
    selectors = [one["spec"]["selector"] for one in objects(values, "Service").values()]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in objects(values, "PodDisruptionBudget").values()]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in objects(values, "NetworkPolicy").values()]
    assert selectors
    for selector in selectors:
        assert any(selector.items() <= one.items() for one in labels), selector


def test_only_the_front_reaches_the_proxy() -> None:
    """Envoy's pods come in at the port for clients; at the port for metrics only who is named."""
    rules = objects({}, "NetworkPolicy")["demo-safeproxy"]["spec"]["ingress"]
    [clients] = [rule for rule in rules if rule["ports"] == [{"port": "http"}]]
    assert clients["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "envoy"
    [metrics] = [rule for rule in rules if rule["ports"] == [{"port": "admin"}]]
    assert metrics["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"settings": {"admin_token": "0123456789abcdef"}}, "admin_token"),
        ({"settings": {"redis_url": "redis://:secret@redis"}}, "redis_url"),
        ({"settings": {"port": 9000}}, "port"),
        ({"settings": {"upstream": "https://a.example", "upstreams": []}}, "settings"),
        ({"replica": 3}, "replica"),
        ({"redis": {"image": "redis:latest"}}, "image"),
        ({"rules": {"../x.yaml": ""}}, "x.yaml"),
    ],
)
def test_values_that_make_no_sense_are_refused(values: dict[str, Any], named: str) -> None:
    """By values.schema.json: secrets in values, what the chart sets itself, misspelt names, versions that move."""
    assert named in tools.helm(values)["refused"]


@pytest.mark.parametrize("http3", [True, False])
def test_envoy_takes_its_configuration(tmp_path: Path, http3: bool) -> None:
    """`envoy --mode validate`, with a certificate where the pod has one."""
    config, certificate = tools.envoy_config({"envoy": {"http3": http3}})
    names = [one["name"] for one in config["static_resources"]["listeners"]]
    assert names == (["tcp", "udp", "ready"] if http3 else ["tcp", "ready"])
    for name, value in ("envoy.yaml", config), ("certificate.yaml", certificate):
        text = yaml.safe_dump(value).replace("/etc/envoy-tls", str(tmp_path)).replace("/etc/envoy/", f"{tmp_path}/")
        (tmp_path / name).write_text(text, encoding="utf-8")
    said = tools.run(tools.envoy(), "--mode", "validate", "-c", tmp_path / "envoy.yaml", "--log-level", "warn")
    assert "OK" in said


def test_envoy_neither_buffers_nor_asks_again() -> None:
    """Its only filter passes things on; there is no deadline for a stream as a whole and no repetition."""
    config, _ = tools.envoy_config({})
    for listener in config["static_resources"]["listeners"][:2]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        assert [one["name"] for one in manager["http_filters"]] == ["envoy.filters.http.router"]
        route = manager["route_config"]["virtual_hosts"][0]["routes"][-1]["route"]
        assert route["timeout"] == "0s"
        assert "retry_policy" not in route
        silence = float(manager["stream_idle_timeout"].removesuffix("s"))
        assert silence > Settings(upstream="https://a.example").first_byte_timeout
