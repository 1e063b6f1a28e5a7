"""Caddy and Envoy in front of the proxy, configured by the files of deploy/, each a process of its own on loopback."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
import yaml

from tests.deploy import tools

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Front:
    """A front that runs."""

    port: int
    """For TCP and UDP."""
    authority: Path
    """Certificate of the authority that signed the front's, PEM."""

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://{HOST}:{self.port}"


@dataclass(frozen=True)
class _Start:
    command: tuple[str | Path, ...]
    environment: dict[str, str] = field(default_factory=dict)


def caddy(binary: Path, folder: Path, port: int, proxy: int) -> _Start:
    """Caddy with the Caddyfile of deploy/compose."""
    environment = {
        "SITE": HOST,
        "TLS": f"{folder / 'tls.crt'} {folder / 'tls.key'}",
        "PROXY": f"{HOST}:{proxy}",
        "BIND": HOST,
        "HTTP_PORT": str(free_port()),
        "HTTPS_PORT": str(port),
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    return _Start((binary, "run", "--config", tools.COMPOSE / "Caddyfile", "--adapter", "caddyfile"), environment)


def envoy(binary: Path, folder: Path, port: int, proxy: int) -> _Start:
    """Envoy with the configuration of the Helm chart, other ports and other folders."""
    config, certificate = tools.envoy_config({})
    for listener in config["static_resources"]["listeners"]:
        address = listener["address"]["socket_address"]
        address.update(address=HOST, port_value=port if address["port_value"] == 8443 else free_port())
    endpoint = config["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    endpoint["endpoint"]["address"]["socket_address"] = {"address": HOST, "port_value": proxy}
    for name, value in ("envoy.yaml", config), ("certificate.yaml", certificate):
        text = yaml.safe_dump(value).replace("/etc/envoy-tls", str(folder)).replace("/etc/envoy/", f"{folder}/")
        (folder / name).write_text(text, encoding="utf-8")
    return _Start(
        (binary, "-c", folder / "envoy.yaml", "--log-level", "warn", "--disable-hot-restart", "--concurrency", "1")
    )


def free_port() -> int:
    """A port that nobody listens on, neither over TCP nor over UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((HOST, 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind((HOST, port))
            except OSError:
                continue
            return port


def start(kind: str, folder: Path, port: int, proxy: int) -> _Start:
    """How to start a front; skips the test where it is not installed."""
    if kind == "envoy":
        return envoy(tools.envoy(), folder, port, proxy)
    binary = tools.on_path("caddy") if kind == "caddy of Debian" else tools.ours("bin/caddy")
    return caddy(binary, folder, port, proxy)


@asynccontextmanager
async def fronted(kind: str, folder: Path, proxy_url: str) -> AsyncIterator[Front]:
    """A front of this kind before the proxy at ``proxy_url``; it ends with the block."""
    folder.mkdir()  # noqa: ASYNC240 - before anything runs
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    certificate = authority.issue_cert(HOST, "localhost")
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    _write(folder / "tls.crt", certificate.cert_chain_pems)
    front = Front(free_port(), folder / "authority.pem")
    started = start(kind, folder, front.port, int(proxy_url.rpartition(":")[2]))
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *map(str, started.command),
            env={**os.environ, **started.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        await _listening(process, front.port, folder / "log")
        yield front
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _write(path: Path, pems: Iterable[Any]) -> None:
    path.write_bytes(b"".join(pem.bytes() for pem in pems))


def _said(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


async def _listening(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    """Waits until the front takes connections; fails with its log if it ends."""
    while True:
        assert process.returncode is None, _said(log)
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except ConnectionError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        return
