"""Ollama's SDK: chat and generate."""

from __future__ import annotations

from typing import Any

import ollama
from outcome import SCHEMA, TOOL, Outcome, run

CLIENT = ollama.Client()
TOOLS: list[Any] = [{"type": "function", "function": {"name": TOOL, "parameters": SCHEMA}}]


def ask(seen: Outcome) -> Any:
    asked: dict[str, Any] = {"model": seen.scenario, "messages": [{"role": "user", "content": seen.prompt}]}
    if seen.scenario.startswith("tool"):
        asked["tools"] = TOOLS
    if seen.scenario.startswith("think"):
        asked["think"] = True
    if seen.scenario.startswith("json"):
        asked["format"] = SCHEMA
    return asked


def take(seen: Outcome, one: Any) -> str:
    """Take one response of chat, whole or a line of a stream; give its text."""
    seen.saw(one)
    seen.finish = one.done_reason or seen.finish
    seen.usage = one.eval_count or seen.usage
    message = one.message
    seen.reasoning += message.thinking or ""
    seen.tools += [[call.function.name, dict(call.function.arguments)] for call in message.tool_calls or ()]
    return message.content or ""


def chat(seen: Outcome) -> None:
    one = CLIENT.chat(**ask(seen))
    seen.final = take(seen, one)
    seen.whole = one.model_dump(mode="json")


def chat_stream(seen: Outcome) -> None:
    for one in CLIENT.chat(stream=True, **ask(seen)):
        seen.text += take(seen, one)


async def chat_async(seen: Outcome) -> None:
    async for one in await ollama.AsyncClient().chat(stream=True, **ask(seen)):
        seen.text += take(seen, one)


def generate(seen: Outcome) -> None:
    one = seen.got(CLIENT.generate(model=seen.scenario, prompt=seen.prompt))
    seen.final, seen.reasoning, seen.finish, seen.usage = (
        one.response,
        one.thinking or "",
        one.done_reason,
        one.eval_count,
    )


def generate_stream(seen: Outcome) -> None:
    for one in CLIENT.generate(model=seen.scenario, prompt=seen.prompt, stream=True):
        seen.saw(one)
        seen.text += one.response
        seen.reasoning += one.thinking or ""
        seen.finish, seen.usage = one.done_reason or seen.finish, one.eval_count or seen.usage


run(
    {
        "chat": chat,
        "chat_stream": chat_stream,
        "chat_async": chat_async,
        "generate": generate,
        "generate_stream": generate_stream,
    }
)
