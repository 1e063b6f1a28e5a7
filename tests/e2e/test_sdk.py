"""The real OpenAI SDK as the client: it must notice nothing but the redactions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.harness import DONE, Abort, Proxy, Upstream, body, event, proxied, stream

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@asynccontextmanager
async def client(folder: Path) -> AsyncIterator[tuple[Upstream, Proxy, openai.AsyncOpenAI]]:
    """The asynchronous client, pointed at the proxy."""
    async with (
        proxied(folder) as (upstream, proxy),
        openai.AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key="sk-test", max_retries=0) as sdk,
    ):
        yield upstream, proxy, sdk


async def test_streamed(tmp_path: Path) -> None:
    """Deltas add up to the redacted text and the finish reason arrives."""
    async with client(tmp_path) as (upstream, _, sdk):
        upstream.says(*stream("Mail ada@ex", "ample", ".com", " soon."))
        chunks = [chunk async for chunk in await sdk.chat.completions.create(stream=True, **ASK)]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Mail [EMAIL_ADDRESS] soon."
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert chunks[0].choices[0].delta.role == "assistant"
        assert upstream.asked[0]["headers"]["Authorization"] == "Bearer sk-test"


async def test_whole(tmp_path: Path) -> None:
    """A completion that is not streamed is redacted too."""
    async with client(tmp_path) as (upstream, _, sdk):
        upstream.answers(body("Mail ada@example.com soon."))
        completion = await sdk.chat.completions.create(**ASK)
        assert completion.choices[0].message.content == "Mail [EMAIL_ADDRESS] soon."
        assert completion.usage is not None
        assert completion.usage.total_tokens == 7


async def test_synchronous(tmp_path: Path) -> None:
    """The synchronous client in its own thread sees the same."""
    async with proxied(tmp_path) as (upstream, proxy):
        upstream.says(*stream("Mail ada@ex", "ample", ".com", " soon."))

        def ask() -> str:
            with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="sk-test", max_retries=0) as sdk:
                chunks = sdk.chat.completions.create(stream=True, **ASK)
                return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

        assert await asyncio.to_thread(ask) == "Mail [EMAIL_ADDRESS] soon."


async def test_stream_helper(tmp_path: Path) -> None:
    """The .stream() helper's final completion holds the redacted text."""
    async with client(tmp_path) as (upstream, _, sdk):
        upstream.says(*stream("Mail ada@ex", "ample", ".com", " soon."))
        async with sdk.chat.completions.stream(**ASK) as streamed:
            seen = "".join([one.delta async for one in streamed if one.type == "content.delta"])
            final = await streamed.get_final_completion()
        assert seen == final.choices[0].message.content == "Mail [EMAIL_ADDRESS] soon."


async def test_halted(tmp_path: Path) -> None:
    """A raw stream ends with finish_reason content_filter and without an exception."""
    async with client(tmp_path) as (upstream, _, sdk):
        upstream.says(*stream("It is ", "forbidden", " to say"))
        chunks = [chunk async for chunk in await sdk.chat.completions.create(stream=True, **ASK)]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "It is "
        assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["content_filter"]


async def test_halted_in_the_stream_helper(tmp_path: Path) -> None:
    """The .stream() helper raises the SDK's own exception for filtered content."""
    async with client(tmp_path) as (upstream, _, sdk):
        upstream.says(*stream("It is ", "forbidden", " to say"))
        async with sdk.chat.completions.stream(**ASK) as streamed:
            with pytest.raises(openai.ContentFilterFinishReasonError):
                await streamed.get_final_completion()


async def test_tool_calls(tmp_path: Path) -> None:
    """Arguments cut anywhere arrive as valid JSON with the value redacted."""
    arguments = json.dumps({"to": "ada@example.com", "subject": "Hi"})
    first = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "send", "arguments": ""}}
    async with client(tmp_path) as (upstream, _, sdk):
        pieces = [
            event(tool_calls=[{"index": 0, "function": {"arguments": arguments[i : i + 7]}}])
            for i in range(0, len(arguments), 7)
        ]
        start = event(role="assistant", tool_calls=[first])
        upstream.says(start, *pieces, event(finish="tool_calls"), DONE)
        async with sdk.chat.completions.stream(**ASK) as streamed:
            final = await streamed.get_final_completion()
        assert final.choices[0].finish_reason == "tool_calls"
        (call,) = final.choices[0].message.tool_calls or []
        assert call.function.name == "send"
        assert json.loads(call.function.arguments) == {"to": "[EMAIL_ADDRESS]", "subject": "Hi"}


async def test_two_choices(tmp_path: Path) -> None:
    """n=2 through the .stream() helper: both choices are redacted and finished."""
    async with client(tmp_path) as (upstream, _, sdk):
        script = [event("", index=i, role="assistant") for i in (0, 1)]
        for piece in ("I am ada@exa", "mple.com", "!"):
            script += [event(piece, index=i) for i in (0, 1)]
        upstream.says(*script, event(finish="stop"), event(finish="length", index=1), DONE)
        chunks = [chunk async for chunk in await sdk.chat.completions.create(stream=True, n=2, **ASK)]
        for index, finish in ((0, "stop"), (1, "length")):
            mine = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
            assert "".join(choice.delta.content or "" for choice in mine) == "I am [EMAIL_ADDRESS]!"
            assert [choice.finish_reason for choice in mine if choice.finish_reason] == [finish]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, openai.AuthenticationError), (429, openai.RateLimitError), (500, openai.InternalServerError)],
)
async def test_errors(tmp_path: Path, status: int, kind: type[openai.APIStatusError]) -> None:
    """The SDK raises its own exception with the upstream's message and code."""
    async with client(tmp_path) as (upstream, _, sdk):
        error = {"message": "No.", "type": "t", "param": None, "code": "some_code"}
        upstream.answers({"error": error}, status)
        with pytest.raises(kind) as caught:
            await sdk.chat.completions.create(**ASK)
        assert caught.value.code == "some_code"


async def test_a_stream_that_breaks(tmp_path: Path) -> None:
    """The SDK raises an APIError in mid-stream instead of ending as if all were well."""
    async with client(tmp_path) as (upstream, _, sdk):
        upstream.says(event("Hello ", role="assistant"), 0.1, Abort())
        with pytest.raises(openai.APIError):
            async for _ in await sdk.chat.completions.create(stream=True, **ASK):
                pass


async def test_a_path_that_is_refused(tmp_path: Path) -> None:
    """The SDK shows the proxy's message, once: it does not retry."""
    async with proxied(tmp_path, unknown_paths="refuse") as (_, proxy):
        async with openai.AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key="sk-test", max_retries=2) as sdk:
            with pytest.raises(openai.APIStatusError, match="pass_paths"):
                await sdk.images.generate(model="m", prompt="Hi")
        assert (await proxy.closed())["status"] == 501


async def test_models(tmp_path: Path) -> None:
    """Listing models passes."""
    async with client(tmp_path) as (upstream, _, sdk):
        model = {"id": "m-1", "object": "model", "created": 1, "owned_by": "o"}
        upstream.answers({"object": "list", "data": [model]})
        assert [model.id async for model in sdk.models.list()] == ["m-1"]
