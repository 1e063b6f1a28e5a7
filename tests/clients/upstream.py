"""The scripted upstream: every API on one server, the scenario chosen by the model's name."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType

from aiohttp import web

from tests.clients.apis import Body, anthropic, chat, cohere, completions, gemini, ollama, responses
from tests.clients.scenarios import SCENARIOS, Scenario

_SSE = "text/event-stream"
_NDJSON = "application/x-ndjson"

#: Path, the API behind it, its variant, and what streams of it are.
_PATHS: tuple[tuple[str, ModuleType, str, str], ...] = (
    (r"/openai/deployments/.+/chat/completions", chat, "azure", _SSE),
    (r".*/chat/completions", chat, "", _SSE),
    (r".*/responses", responses, "", _SSE),
    (r".*/completions", completions, "", _SSE),
    (r".*/messages", anthropic, "", _SSE),
    (r".*:(?:streamG|g)enerateContent", gemini, "", _SSE),
    (r"/api/chat", ollama, "chat", _NDJSON),
    (r"/api/generate", ollama, "generate", _NDJSON),
    (r"/v2/chat", cohere, "", _SSE),
)


class Upstream:
    """A running upstream; it counts what it is asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: Counter[str] = Counter()
        """Requests by scenario."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Play what the model's name says, in the shape of the API that the path says."""
        if request.method == "OPTIONS":
            return web.Response(headers={"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "POST"})
        if request.method == "HEAD" or request.path == "/api/show":
            return web.json_response({})
        found = next((rest for path, *rest in _PATHS if re.fullmatch(path, request.path)), None)
        if found is None or request.method != "POST":
            return web.json_response({"error": {"message": f"no {request.method} {request.path}"}}, status=404)
        ask: Body = json.loads(await request.read())
        variant, name = _chosen(request, ask)
        self.asked[name] += 1
        return await _played(request, ask, SCENARIOS[name], variant, *found)


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    """A running upstream."""
    running = Upstream()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{tail:.*}", running.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    running.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield running
    finally:
        await runner.cleanup()


async def _played(
    request: web.Request, ask: Body, said: Scenario, variant: str, api: ModuleType, flavour: str, kind: str
) -> web.StreamResponse:
    if api is gemini and request.query.get("alt") != "sse":
        variant, kind = "array", "application/json"
    flavour = variant or flavour
    complaint = api.complaint(ask) if api is anthropic else None
    if complaint:
        return web.json_response(complaint, status=400)
    if said.ending == "refused":
        return web.json_response(api.refusal(), status=400, headers={"x-should-retry": "false"})
    if not _streamed(request, ask, api):
        return web.json_response(api.whole(said, ask, flavour), headers={"x-request-id": "req_1"})
    response = web.StreamResponse(headers={"Content-Type": kind, "x-request-id": "req_1"})
    await response.prepare(request)
    for event in api.stream(said, ask, flavour):
        await response.write(event)
    await response.write_eof()
    return response


def _chosen(request: web.Request, ask: Body) -> tuple[str, str]:
    """The API's variant, for models named ``variant.scenario``, and the scenario's name."""
    path = re.search(r"(?:models|deployments)/([^/:]+)", request.path)
    model = path.group(1) if path else ask["model"]
    variant, _, name = model.rpartition("/")[2].rpartition(".")
    return variant, name


def _streamed(request: web.Request, ask: Body, api: ModuleType) -> bool:
    if api is gemini:
        return "streamGenerateContent" in request.path
    return bool(ask.get("stream", api is ollama))
