"""Who asks: addresses behind proxies, virtual keys, tags."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from safeproxy.errors import ConfigError
from safeproxy.observers.log import operational_logger
from safeproxy.shell import reloaded
from safeproxy.shell.callers import Callers
from safeproxy.shell.client_keys import add, changing
from safeproxy.shell.refusal import Refusal
from safeproxy.shell.settings import Settings

NOW = datetime(2030, 6, 1, tzinfo=UTC)


def callers(log: StringIO | None = None, **settings: Any) -> Callers:
    """Callers under these settings, at a time that stands still."""
    made = Settings(**{"upstream": "http://upstream", **settings})
    return Callers(made, operational_logger(log or StringIO()), lambda: NOW)


def request(path: str = "/v1/x", peer: str | None = "192.0.2.1", **headers: str) -> web.Request:
    """A request from ``peer`` with these headers, underscores for hyphens."""
    transport = Mock(**{"get_extra_info.return_value": None if peer is None else (peer, 1234)})
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return make_mocked_request("POST", path, headers=named, transport=transport)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file without any key yet."""
    with changing(tmp_path / "keys.yaml"):
        pass
    return tmp_path / "keys.yaml"


def issued(file: Path, name: str = "app", **facts: Any) -> str:
    """A key that stands in the file."""
    return add(file, name, now=NOW, **facts)[0]


def revoke(file: Path) -> None:
    """All keys of the file, from now on."""
    with changing(file) as keys:
        for id_, kept in keys.items():
            keys[id_] = kept.model_copy(update={"revoked": NOW})


def replaced(file: Path, text: str) -> str:
    """Put a text into the file; gives what stood there."""
    before = file.read_text()
    file.write_text(text)
    return before


async def refused(found: Callers, asked: web.Request) -> Refusal:
    """How the request is refused."""
    with pytest.raises(Refusal) as caught:
        await found.identify(asked)
    return caught.value


async def test_without_a_key_file_anybody_may_ask() -> None:
    """Clients bring the upstream's own credentials, which say nothing here and are not touched."""
    found = callers()
    caller = await found.identify(request(Authorization="Bearer sk-own"))
    assert (caller.address, caller.key, caller.name, caller.tenant, caller.tags) == ("192.0.2.1", None, None, None, {})
    headers = CIMultiDict({"Authorization": "Bearer sk-own", "x-team": "a", "Cookie": "b"})
    assert found.conceal(headers, "key=abc&%41=") == "key=abc&%41="
    assert list(headers) == ["Authorization", "x-team", "Cookie"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/x", {"Authorization": "Bearer KEY"}),
        ("/v1/x", {"x_api_key": "KEY"}),
        ("/v1/x", {"api_key": "KEY"}),
        ("/v1/x", {"x_goog_api_key": "KEY"}),
        ("/v1/x?alt=sse&key=KEY", {}),
        ("/v1/realtime", {"Sec_WebSocket_Protocol": "realtime, openai-insecure-api-key.KEY"}),
        ("/v1/x", {"Authorization": "Bearer KEY", "x_api_key": "placeholder"}),
    ],
)
async def test_a_good_key_tells_who_asks(file: Path, path: str, headers: dict[str, str]) -> None:
    """Wherever its SDK puts it, and though another one that says nothing stands first."""
    key = issued(file, tenant="acme", tags={"team": "search"})
    found = callers(client_keys=file)
    asked = request(path.replace("KEY", key), **{name: value.replace("KEY", key) for name, value in headers.items()})
    caller = await found.identify(asked)
    assert (caller.key, caller.name, caller.tenant) == (key.split("-")[1], "app", "acme")
    assert caller.tags == {"team": "search"}


async def test_nothing_tells_one_failure_from_another(file: Path) -> None:
    """Missing, wrong, unknown, expired and revoked keys get the very same answer, which repeats none of them."""
    revoked = issued(file, "gone")
    revoke(file)
    expired = issued(file, "late", expires=NOW)
    good = issued(file, "good", expires=NOW + timedelta(days=1))
    wrong = good[:-1] + ("A" if good[-1] != "A" else "B")
    found = callers(client_keys=file)
    await found.identify(request(x_api_key=good))
    answers = [await refused(found, request())]
    for key in (revoked, expired, wrong, f"sp-{'0' * 12}-{good[-43:]}", "sk-other", good.upper()):
        answers.append(await refused(found, request(Authorization=f"Bearer {key}")))
    assert len({(one.status, one.body(None), tuple(one.headers.items()), one.retry) for one in answers}) == 1
    first = answers[0]
    assert (first.status, first.code, first.ended, first.retry) == (401, "invalid_api_key", "refused", False)
    assert first.headers["WWW-Authenticate"] == "Bearer"
    assert "sp-" not in first.message


async def test_changes_of_the_file_count_without_a_restart(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is issued or revoked while the proxy runs; a broken file changes nothing and is logged once."""
    monkeypatch.setattr(reloaded, "LOOK_INTERVAL", 0.0)
    log = StringIO()
    found = callers(log, client_keys=file)
    key = issued(file)
    asked = request(x_api_key=key)
    assert (await found.identify(asked)).name == "app"
    whole = replaced(file, "keys: [{secret: sp-hidden}]")
    for _ in range(3):
        assert (await found.identify(asked)).name == "app"
    replaced(file, whole)
    revoke(file)
    await refused(found, asked)
    (line,) = log.getvalue().splitlines()
    assert json.loads(line)["level"] == "error"
    assert str(file) in json.loads(line)["fault"]
    assert "hidden" not in line


async def test_no_upstream_sees_a_key_or_a_tag(file: Path) -> None:
    """Where keys are the proxy's own, all credentials of the request stay here, and so do the tags."""
    found = callers(client_keys=file, tag_headers="X-Team")
    headers = CIMultiDict({"Authorization": "Bearer sp-1", "x-team": "a", "x-other": "b", "Cookie": "c=d"})
    assert found.conceal(headers, "key=sp-1&alt=sse") == "alt=sse"
    assert dict(headers) == {"x-other": "b"}


async def test_a_key_file_that_is_missing_is_an_error_at_the_start(tmp_path: Path) -> None:
    """The proxy does not start with a file that it cannot read."""
    with pytest.raises(ConfigError, match="safeproxy keys create"):
        callers(client_keys=tmp_path / "none.yaml")


async def test_tags_are_short_names_and_the_key_s_own_win(file: Path) -> None:
    """Values that could be anything else are kept as `other`, empty and unasked ones not at all."""
    key = issued(file, tags={"X-Team": "search"})
    found = callers(client_keys=file, tag_headers=("X-Team", "x-project", "x-user", "x-empty"))
    asked = request(x_api_key=key, X_TEAM="ads", X_Project=" p-1 ", x_user="ada@example.com", x_empty=" ", x_more="a")
    assert (await found.identify(asked)).tags == {"x-team": "search", "x-project": "p-1", "x-user": "other"}


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "cookie", "a b", "", "x" * 65])
def test_headers_that_are_no_tags_are_refused(name: str) -> None:
    """Credentials would stand in records, and other names in none."""
    with pytest.raises(ConfigError, match="setting 'tag_headers'"):
        callers(tag_headers=(name,))


PROXIES = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.1", "203.0.113.9", "198.51.100.1"),
        ("10.1.2.3", "203.0.113.9", "203.0.113.9"),
        ("192.0.2.7", "203.0.113.9", "203.0.113.9"),
        ("10.1.2.3", "198.51.100.66, 203.0.113.9", "203.0.113.9"),
        ("10.1.2.3", "198.51.100.66, 203.0.113.9, 10.9.9.9,192.0.2.7", "203.0.113.9"),
        ("10.1.2.3", "10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("10.1.2.3", "203.0.113.9:5555", "203.0.113.9"),
        ("2001:db8::1", "[2620:0::9]:443", "2620::9"),
        ("2001:db8::1", "2620:0:0::9", "2620::9"),
        ("::ffff:10.1.2.3", "::ffff:203.0.113.9", "203.0.113.9"),
        ("10.1.2.3", "203.0.113.9, unknown", "10.1.2.3"),
        ("10.1.2.3", "203.0.113.9, _hidden, 10.0.0.9", "10.0.0.9"),
        ("10.1.2.3", "fe80::1%anything at all", "10.1.2.3"),
        ("10.1.2.3", "", "10.1.2.3"),
        (None, "203.0.113.9", None),
    ],
)
async def test_only_trusted_proxies_are_believed(peer: str | None, forwarded: str, client: str | None) -> None:
    """The last address that is no trusted proxy's is the client's; what stands before it may be invented."""
    asked = request(peer=peer, X_Forwarded_For=forwarded)
    found = callers(trusted_proxies=PROXIES)
    assert found.address(asked) == client
    assert (await found.identify(asked)).address == client


def test_repeated_headers_are_one_list() -> None:
    """A proxy may add a line of its own instead of lengthening the one it got."""
    asked = make_mocked_request(
        "GET",
        "/",
        headers=CIMultiDict([("X-Forwarded-For", "198.51.100.66"), ("x-forwarded-for", "203.0.113.9")]),
        transport=Mock(**{"get_extra_info.return_value": ("10.0.0.1", 1)}),
    )
    assert callers(trusted_proxies=PROXIES).address(asked) == "203.0.113.9"
    assert callers().address(asked) == "10.0.0.1"


@pytest.mark.parametrize("value", ["proxy.local", "10.0.0.1/8", "10.0.0.0/33", "*"])
def test_a_proxy_that_is_no_address_is_refused(value: str) -> None:
    """The message says which and how to write one."""
    with pytest.raises(ConfigError, match=r"setting 'trusted_proxies'.*10\.0\.0\.0/8"):
        callers(trusted_proxies=(value,))
