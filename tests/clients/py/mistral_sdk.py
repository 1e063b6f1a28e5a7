"""Mistral's SDK: chat with its list content and whole tool calls."""

from __future__ import annotations

from typing import Any

from mistralai.client import Mistral
from outcome import BASE, SCHEMA, TOOL, Outcome, run

CLIENT = Mistral(api_key="k", server_url=BASE)


def ask(seen: Outcome) -> Any:
    model = f"mistral.{seen.scenario}"
    asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": seen.prompt}]}
    if seen.scenario.startswith("tool"):
        asked["tools"] = [{"type": "function", "function": {"name": TOOL, "parameters": SCHEMA}}]
    return asked


def take(seen: Outcome, content: Any, calls: Any) -> str:
    """Take a message or delta; give its text."""
    text = ""
    for part in [] if not content else content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            text += part
        elif part.type == "text":
            text += part.text
        else:
            seen.reasoning += "".join(inner.text for inner in part.thinking)
    seen.tools += [[call.function.name, call.function.arguments] for call in calls or ()]
    return text


def complete(seen: Outcome) -> None:
    one = seen.got(CLIENT.chat.complete(**ask(seen)))
    choice = one.choices[0]
    seen.final = take(seen, choice.message.content, choice.message.tool_calls)
    seen.finish, seen.usage = choice.finish_reason, one.usage.total_tokens


def stream(seen: Outcome) -> None:
    for event in CLIENT.chat.stream(**ask(seen)):
        one = seen.saw(event.data)
        for choice in one.choices:
            seen.text += take(seen, choice.delta.content, choice.delta.tool_calls)
            seen.finish = choice.finish_reason or seen.finish
        seen.usage = one.usage.total_tokens if one.usage else seen.usage


async def stream_async(seen: Outcome) -> None:
    async with Mistral(api_key="k", server_url=BASE) as client:
        async for event in await client.chat.stream_async(**ask(seen)):
            one = seen.saw(event.data)
            for choice in one.choices:
                seen.text += take(seen, choice.delta.content, choice.delta.tool_calls)
                seen.finish = choice.finish_reason or seen.finish


run({"complete": complete, "stream": stream, "stream_async": stream_async})
