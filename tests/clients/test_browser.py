"""A real browser: a page of another origin reads a streamed chat completion line by line with `fetch`."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.harness import LINES_PATH, proxied, stream

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: What a browser on a test machine needs, and what keeps it from looking for hosts beyond it.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PAGE = """<!doctype html><title>page</title><script>
(async () => {
  const told = {text: "", lines: 0, reads: 0, finish: null};
  try {
    const answer = await fetch(%s, {
      method: "POST",
      headers: {"Content-Type": "application/json", "Authorization": "Bearer k"},
      body: JSON.stringify({model: "m", messages: []}),
    });
    told.status = answer.status;
    told.id = answer.headers.get("x-safeproxy-request-id");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const {done, value} = await reader.read();
      if (done) break;
      told.reads++;
      const lines = (rest + value).split("\\n");
      rest = lines.pop();
      for (const line of lines) {
        const choice = JSON.parse(line).choices[0];
        told.lines++;
        told.text += choice.delta.content ?? "";
        told.finish = choice.finish_reason ?? told.finish;
      }
    }
    told.rest = rest;
  } catch (error) { told.error = String(error); }
  await fetch("/told", {method: "POST", body: JSON.stringify(told)});
})();
</script>"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium here: install it to run the browser's test")


@asynccontextmanager
async def page(address: str) -> AsyncIterator[tuple[str, asyncio.Future[Any]]]:
    """A site with the one page: its address, and what the page tells once it has read everything."""
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=PAGE % json.dumps(address), content_type="text/html")

    async def hear(request: web.Request) -> web.Response:
        told.set_result(json.loads(await request.text()))
        return web.Response()

    app = web.Application()
    app.router.add_get("/", show)
    app.router.add_post("/told", hear)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", told
    finally:
        await runner.cleanup()


async def opened(address: str, profile: Path) -> Any:
    """What a page of another origin, opened in the browser, has of an answer at this address."""
    assert BROWSER is not None
    async with page(address) as (site, told):
        arguments = (*OPTIONS, f"--user-data-dir={profile}", site)
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(BROWSER, *arguments, stdout=quiet, stderr=quiet)
        try:
            return await asyncio.wait_for(told, 25)
        finally:
            process.terminate()
            await process.wait()


async def test_a_page_reads_lines_while_the_model_speaks(tmp_path: Path) -> None:
    """Redacted, several reads, the preflight answered, the request's id readable."""
    async with proxied(tmp_path, cors_origins=("*",)) as (upstream, proxy):
        steps = stream("Mail ada@ex", "ample", ".com", " soon.")
        upstream.says(*(part for step in steps for part in (step, 0.1)))
        told = await opened(proxy.url + LINES_PATH, tmp_path / "profile")
        assert told["text"] == "Mail [EMAIL_ADDRESS] soon."
        assert (told["status"], told["finish"], told["rest"]) == (200, "stop", "")
        assert told["reads"] > 1
        assert told["id"]
        assert [asked["method"] for asked in upstream.asked] == ["POST"]
        assert upstream.asked[0]["target"] == "/v1/chat/completions"
        assert json.loads(upstream.asked[0]["body"])["stream"] is True


async def test_a_page_that_is_not_allowed_reads_nothing(tmp_path: Path) -> None:
    """The browser keeps it out, since the proxy names another origin."""
    async with proxied(tmp_path, cors_origins=("https://app.example.com",)) as (upstream, proxy):
        upstream.says(*stream("secret"))
        told = await opened(proxy.url + LINES_PATH, tmp_path / "profile")
        assert "error" in told
        assert told["text"] == ""
