"""Cohere's SDK, version 2 of its chat."""

from __future__ import annotations

from typing import Any

import cohere
from outcome import SCHEMA, TOOL, Outcome, run

CLIENT = cohere.ClientV2(api_key="k")


def ask(seen: Outcome) -> Any:
    asked: dict[str, Any] = {"model": seen.scenario, "messages": [{"role": "user", "content": seen.prompt}]}
    if seen.scenario.startswith("tool"):
        asked["tools"] = [{"type": "function", "function": {"name": TOOL, "parameters": SCHEMA}}]
    return asked


def chat(seen: Outcome) -> None:
    one = seen.got(CLIENT.chat(**ask(seen)))
    message = one.message
    seen.final = (message.tool_plan or "") + "".join(p.text for p in message.content or () if p.type == "text")
    seen.reasoning = "".join(part.thinking for part in message.content or () if part.type == "thinking")
    seen.tools = [[call.function.name, call.function.arguments] for call in message.tool_calls or ()]
    seen.finish, seen.usage = one.finish_reason, one.usage and one.usage.tokens.output_tokens


def take(seen: Outcome, event: Any) -> None:
    """Take one event of a stream."""
    seen.saw(event)
    if event.type == "content-delta":
        seen.text += event.delta.message.content.text or ""
        seen.reasoning += event.delta.message.content.thinking or ""
    elif event.type == "tool-plan-delta":
        seen.text += event.delta.message.tool_plan
    elif event.type == "tool-call-start":
        seen.tools.append([event.delta.message.tool_calls.function.name, ""])
    elif event.type == "tool-call-delta":
        seen.tools[-1][1] += event.delta.message.tool_calls.function.arguments
    elif event.type == "message-end":
        seen.finish = event.delta.finish_reason
        seen.usage = event.delta.usage.tokens.output_tokens if event.delta.usage else None


def stream(seen: Outcome) -> None:
    for event in CLIENT.chat_stream(**ask(seen)):
        take(seen, event)


async def stream_async(seen: Outcome) -> None:
    async with cohere.AsyncClientV2(api_key="k") as client:
        async for event in client.chat_stream(**ask(seen)):
            take(seen, event)


run({"chat": chat, "stream": stream, "stream_async": stream_async})
