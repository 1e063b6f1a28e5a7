"""Google's Gen AI SDK."""

from __future__ import annotations

from typing import Any

from google import genai
from google.genai import types
from outcome import SCHEMA, TOOL, Outcome, run

CLIENT = genai.Client(api_key="k")


def ask(seen: Outcome) -> Any:
    config = types.GenerateContentConfig()
    if seen.scenario.startswith("tool"):
        function = types.FunctionDeclaration(name=TOOL, parameters_json_schema=SCHEMA)
        config.tools = [types.Tool(function_declarations=[function])]
    if seen.scenario.startswith("json"):
        config.response_mime_type = "application/json"
        config.response_json_schema = SCHEMA
    return {"model": seen.scenario, "contents": seen.prompt, "config": config}


def take(seen: Outcome, one: Any) -> str:
    """Take one response, whole or an event of a stream; give its text."""
    seen.saw(one)
    if one.prompt_feedback:
        seen.finish = f"blocked {one.prompt_feedback.block_reason.value}"
    seen.usage = one.usage_metadata.total_token_count if one.usage_metadata else seen.usage
    text = ""
    for candidate in one.candidates or ():
        seen.finish = candidate.finish_reason.value if candidate.finish_reason else seen.finish
        for part in (candidate.content.parts if candidate.content else None) or ():
            if part.text and part.thought:
                seen.reasoning += part.text
            elif part.text:
                text += part.text
            elif part.function_call:
                seen.tools.append([part.function_call.name, part.function_call.args])
    return text


def whole(seen: Outcome, one: Any) -> None:
    seen.final = take(seen, one)
    seen.whole = one.model_dump(mode="json", exclude={"sdk_http_response"})
    seen.parsed = one.parsed


def generate(seen: Outcome) -> None:
    whole(seen, CLIENT.models.generate_content(**ask(seen)))


def stream(seen: Outcome) -> None:
    for one in CLIENT.models.generate_content_stream(**ask(seen)):
        seen.text += take(seen, one)


async def generate_async(seen: Outcome) -> None:
    async with genai.Client(api_key="k").aio as client:
        whole(seen, await client.models.generate_content(**ask(seen)))


async def stream_async(seen: Outcome) -> None:
    async with genai.Client(api_key="k").aio as client:
        async for one in await client.models.generate_content_stream(**ask(seen)):
            seen.text += take(seen, one)


run({"generate": generate, "stream": stream, "generate_async": generate_async, "stream_async": stream_async})
