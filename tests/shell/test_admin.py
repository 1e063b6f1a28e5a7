"""The paths below /-/: who may know what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from safeproxy.shell.admin import EXPOSITION, Admin, is_own
from safeproxy.shell.app import create_app
from safeproxy.shell.service import SERVICE
from safeproxy.shell.settings import Settings
from tests.e2e.harness import RULES

TOKEN = "a-token-of-32-characters-or-more"


def app_with(folder: Path, **settings: Any) -> web.Application:
    """The proxy, with something to measure."""
    file = folder / "rules.yaml"
    file.write_text(RULES, encoding="utf-8")
    app = create_app(Settings(upstream="http://upstream", rules=(file,), audit=folder / "audit", **settings))
    app[EXPOSITION] = lambda: (b"streams 1\n", "text/plain; version=1.0.0; charset=utf-8")
    return app


async def asked(app: web.Application, path: str, peer: object = ("127.0.0.1", 9), **headers: str) -> web.Response:
    """What `Admin` answers to a client at ``peer``."""
    transport = Mock(get_extra_info=lambda name, default=None: peer if name == "peername" else default)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = make_mocked_request("GET", path, headers=named, app=app, transport=transport)
    answer = {"/-/health": Admin(app).health, "/-/ready": Admin(app).ready, "/-/metrics": Admin(app).metrics}[path]
    return await answer(request)


def told(response: web.Response) -> Any:
    """The answer's JSON."""
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


@pytest.mark.parametrize("peer", [("127.0.0.1", 9), ("127.8.8.8", 9), ("::1", 9, 0, 0), ("::ffff:127.0.0.1", 9, 0, 0)])
async def test_this_machine_may_know(tmp_path: Path, peer: object) -> None:
    """Without a token and a port of their own, clients of the same machine see everything."""
    app = app_with(tmp_path)
    assert told(await asked(app, "/-/ready", peer))["rules"]["count"] == 3
    metrics = await asked(app, "/-/metrics", peer)
    assert (metrics.status, metrics.body) == (200, b"streams 1\n")
    assert metrics.headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        (("10.0.0.7", 9), {}),
        (("fe80::1%eth0", 9, 0, 0), {}),
        ("", {}),
        (None, {}),
        (("127.0.0.1", 9), {"X_Forwarded_For": "127.0.0.1"}),
        (("127.0.0.1", 9), {"Forwarded": "for=127.0.0.1"}),
        (("127.0.0.1", 9), {"Origin": "https://elsewhere.example"}),
    ],
    ids=["elsewhere", "link", "unix socket", "unknown", "front", "front, standard", "web page"],
)
async def test_others_see_the_status_alone(tmp_path: Path, peer: object, headers: dict[str, str]) -> None:
    """Alive and ready is for everyone; what the proxy is made of and what it does is not, and the remedy is told."""
    app = app_with(tmp_path)
    assert told(await asked(app, "/-/health", peer, **headers)) == {"status": "ok"}
    assert told(await asked(app, "/-/ready", peer, **headers)) == {"ready": True}
    refused = await asked(app, "/-/metrics", peer, **headers)
    assert (refused.status, told(refused)["error"]["code"]) == (403, "admin_only")
    assert "admin_token" in told(refused)["error"]["message"]


@pytest.mark.parametrize("port", [None, 0])
async def test_a_token_opens_both(tmp_path: Path, port: int | None) -> None:
    """It is wanted of everyone then, this machine included, and on a port of its own too."""
    app = app_with(tmp_path, admin_token=TOKEN, admin_port=port)
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert (await asked(app, "/-/metrics", ("10.0.0.7", 9), **right)).status == 200
    assert told(await asked(app, "/-/ready", ("10.0.0.7", 9), **right))["rules"]["count"] == 3
    missing = await asked(app, "/-/metrics")
    assert (missing.status, missing.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer" in told(missing)["error"]["message"]
    assert told(await asked(app, "/-/ready")) == {"ready": True}


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer", TOKEN])
async def test_a_wrong_token_is_told(tmp_path: Path, header: str) -> None:
    """For the status too: who presents a token expects the details. The token is not repeated."""
    app = app_with(tmp_path, admin_token=TOKEN)
    for path in ("/-/metrics", "/-/ready"):
        refused = await asked(app, path, Authorization=header)
        assert (refused.status, told(refused)["error"]["code"]) == (401, "admin_token_wrong")
        assert TOKEN not in str(refused.body)


async def test_a_port_of_their_own_is_guard_enough(tmp_path: Path) -> None:
    """Whoever reaches it may know."""
    app = app_with(tmp_path, admin_port=0)
    assert (await asked(app, "/-/metrics", ("10.0.0.7", 9))).status == 200


async def test_without_anything_to_measure_there_are_no_metrics(tmp_path: Path) -> None:
    """The path is none then."""
    bare = web.Application()
    bare[SERVICE] = app_with(tmp_path)[SERVICE]
    assert (await asked(bare, "/-/metrics")).status == 404


@pytest.mark.parametrize(
    "path", ["/-/metrics", "/-/", "/-", "/-/x/y", "//-/metrics", "/./-/ready", "/v1/../-/ready", "/-//x"]
)
def test_own_paths_are_known_in_every_spelling(path: str) -> None:
    """What some server would read as one of them is one."""
    assert is_own(path)


@pytest.mark.parametrize("path", ["/", "/--", "/v1/-/x", "/-x/y", "/v1/models"])
def test_other_paths_are_the_upstreams(path: str) -> None:
    """Nothing else is taken away from it."""
    assert not is_own(path)
