"""What becomes of a request, decided without any socket: the upstream is played, or must not be asked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import web
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from safeproxy.shell import handler
from safeproxy.shell.app import create_app
from safeproxy.shell.exchange import Exchange
from safeproxy.shell.service import SERVICE
from safeproxy.shell.settings import Settings
from safeproxy.shell.upstream import Upstream
from tests.e2e.harness import CHAT, RULES


@pytest.fixture
def app(tmp_path: Path) -> web.Application:
    """The application, its connections left out: nothing can be sent but by a played `send`."""
    file = tmp_path / "rules.yaml"
    file.write_text(RULES, encoding="utf-8")
    return create_app(
        Settings(
            upstream="http://upstream",
            rules=(file,),
            audit=tmp_path / "audit",
            unknown_paths="refuse",
            retry_attempts=0,
        )
    )


class Body:
    """A request's body, all of it there."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def at_eof(self) -> bool:
        """Whether there is none."""
        return not self._data

    async def readany(self) -> bytes:
        """It comes in one piece."""
        piece, self._data = self._data, b""
        return piece


def plays(patch: pytest.MonkeyPatch, outcome: BaseException) -> list[str]:
    """Whatever is sent upstream comes to this; gives the list of addresses, filled as they are asked."""
    asked: list[str] = []

    async def send(_: Upstream, method: str, url: object, *__: object, **___: object) -> None:
        asked.append(f"{method} {url}")
        raise outcome

    patch.setattr(Upstream, "send", send)
    return asked


async def served(app: web.Application, path: str, method: str, *, gone: bool = False) -> web.Response:
    """The answer; ``gone`` says that the client has left."""
    transport = Mock(**{"is_closing.return_value": gone, "get_extra_info.return_value": None})
    body = cast("StreamReader", Body(b'{"model":"m"}'))
    request = make_mocked_request(method, path, app=app, payload=body, transport=transport)
    found = await app.router.resolve(request)
    found.add_app(app)
    request._match_info = found
    response = await handler.handle(request)
    assert isinstance(response, web.Response)
    return response


async def handled(
    app: web.Application, path: str = CHAT, method: str = "POST", *, gone: bool = False
) -> tuple[int, dict[str, Any], CIMultiDict[str]]:
    """Status, error object and headers of the answer."""
    response = await served(app, path, method, gone=gone)
    assert isinstance(response.body, bytes)
    return response.status, json.loads(response.body)["error"], response.headers


def recorded(app: web.Application) -> list[dict[str, Any]]:
    """The audit trail."""
    return [json.loads(line) for line in app[SERVICE].writer.path.read_text(encoding="ascii").splitlines()]


async def test_nothing_new_is_begun_while_the_proxy_is_being_stopped(
    app: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients may try again, with another process; the upstream hears nothing."""
    asked = plays(monkeypatch, AssertionError())
    app[SERVICE].stopping = True
    status, error, headers = await handled(app)
    assert (status, error["code"]) == (503, "shutting_down")
    assert "x-should-retry" not in headers
    assert asked == []


async def test_what_is_refused_is_recorded_as_opened_and_closed(app: web.Application) -> None:
    """Under the id that the client is given; it is not to try again."""
    status, error, headers = await handled(app, "/v1/threads")
    assert (status, error["code"]) == (501, "unsupported_path")
    assert headers["x-should-retry"] == "false"
    records = recorded(app)
    assert [record["event"] for record in records] == ["request.opened", "request.closed"]
    assert {record["request_id"] for record in records} == {headers["x-safeproxy-request-id"]}
    assert (records[1]["ended"], records[1]["status"]) == ("refused", 501)


async def test_a_path_is_told_and_recorded_without_what_a_rule_finds_in_it(app: web.Application) -> None:
    """In the answer and in the trail."""
    _, error, _ = await handled(app, "/v1/threads/ada@example.com")
    assert "/v1/threads/[EMAIL_ADDRESS]" in error["message"]
    assert "ada" not in error["message"] + json.dumps(recorded(app))


@pytest.mark.parametrize(
    ("method", "path", "address"),
    [
        ("POST", "/v1/chat/completions?a=b", "POST http://upstream/v1/chat/completions?a=b"),
        ("GET", "/v1/models/a%20b", "GET http://upstream/v1/models/a%20b"),
        ("HEAD", "/v1/responses", "HEAD http://upstream/v1/responses"),
        ("OPTIONS", "/anything", "OPTIONS http://upstream/anything"),
    ],
)
async def test_an_upstream_that_fails_is_named_and_recorded(
    app: web.Application, monkeypatch: pytest.MonkeyPatch, method: str, path: str, address: str
) -> None:
    """Filtered, passed or without a body: asked once, as written, and the fault has its code."""
    asked = plays(monkeypatch, aiohttp.ServerDisconnectedError("ada"))
    status, error, _ = await handled(app, path, method)
    assert asked == [address]
    assert (status, error["code"]) == (502, "upstream_reset")
    assert recorded(app)[-1]["faults"] == ["upstream_reset"]


@pytest.mark.parametrize(("gone", "ended"), [(False, "shutdown"), (True, "client_cancelled")])
async def test_an_answer_that_is_cancelled_is_recorded_and_stays_cancelled(
    app: web.Application, monkeypatch: pytest.MonkeyPatch, gone: bool, ended: str
) -> None:
    """If the client is still there it is the proxy that stops; nothing is left running."""
    plays(monkeypatch, asyncio.CancelledError())
    app[SERVICE].server_cancels = True
    with pytest.raises(asyncio.CancelledError):
        await handled(app, gone=gone)
    assert recorded(app)[-1]["ended"] == ended
    assert app[SERVICE].running == set()


async def test_a_request_is_counted_as_running_while_it_is_served(
    app: web.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the stop can wait for it; not any longer, even if we break."""
    during: list[set[asyncio.Task[object]]] = []

    async def send(*_: object, **__: object) -> None:
        during.append(set(app[SERVICE].running))
        raise LookupError("ada@example.com")

    monkeypatch.setattr(Upstream, "send", send)
    status, error, _ = await handled(app)
    assert (status, error["code"]) == (500, "internal_error")
    assert during == [{asyncio.current_task()}]
    assert app[SERVICE].running == set()


async def test_nothing_follows_a_head_that_has_left(app: web.Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """If we break after it, the client gets no second answer; the fault is recorded with the status that left."""

    async def send(*_: object, **__: object) -> Mock:
        return Mock(spec=aiohttp.ClientResponse, status=200, headers={}, content=Mock())

    async def relay_head(request: object, exchange: Exchange, upstream: object) -> None:
        exchange.status = 200
        raise LookupError("ada@example.com")

    monkeypatch.setattr(Upstream, "send", send)
    monkeypatch.setattr("safeproxy.shell.relay.relay_head", relay_head)
    response = await served(app, CHAT, "HEAD")
    assert (response.status, response.body) == (499, None)
    closed = recorded(app)[-1]
    assert (closed["status"], closed["faults"]) == (200, ["internal_error"])
