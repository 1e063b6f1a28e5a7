"""The Anthropic SDK."""

from __future__ import annotations

from typing import Any

import anthropic
from outcome import SCHEMA, TOOL, Outcome, run

SYNC = anthropic.Anthropic()
TOOLS: list[Any] = [{"name": TOOL, "input_schema": SCHEMA}]


def ask(seen: Outcome) -> Any:
    messages = [{"role": "user", "content": seen.prompt}]
    asked: dict[str, Any] = {"model": seen.scenario, "max_tokens": 2000, "messages": messages}
    if seen.scenario.startswith("tool"):
        asked["tools"] = TOOLS
    if seen.scenario.startswith("think"):
        asked["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    return asked


def message(seen: Outcome, one: Any) -> None:
    """Take a whole message."""
    seen.got(one)
    seen.final = "".join(block.text for block in one.content if block.type == "text")
    seen.reasoning = "".join(block.thinking for block in one.content if block.type == "thinking")
    seen.tools = [[block.name, block.input] for block in one.content if block.type == "tool_use"]
    seen.finish = one.stop_reason
    seen.usage = one.usage.output_tokens


def event(seen: Outcome, one: Any) -> None:
    """Take one event of a raw stream."""
    seen.saw(one)
    if one.type == "content_block_start" and one.content_block.type == "tool_use":
        seen.tools.append([one.content_block.name, ""])
    elif one.type == "content_block_delta" and one.delta.type == "text_delta":
        seen.text += one.delta.text
    elif one.type == "content_block_delta" and one.delta.type == "thinking_delta":
        seen.reasoning += one.delta.thinking
    elif one.type == "content_block_delta" and one.delta.type == "input_json_delta":
        seen.tools[-1][1] += one.delta.partial_json
    elif one.type == "message_delta":
        seen.finish, seen.usage = one.delta.stop_reason, one.usage.output_tokens


def create(seen: Outcome) -> None:
    message(seen, SYNC.messages.create(**ask(seen)))


def stream(seen: Outcome) -> None:
    for one in SYNC.messages.create(stream=True, **ask(seen)):
        event(seen, one)


async def stream_async(seen: Outcome) -> None:
    async with anthropic.AsyncAnthropic() as client:
        async for one in await client.messages.create(stream=True, **ask(seen)):
            event(seen, one)


def helper(seen: Outcome) -> None:
    """``.stream()`` with its final message."""
    with SYNC.messages.stream(**ask(seen)) as streamed:
        for one in streamed:
            seen.saw(one)
            seen.text += one.text if one.type == "text" else ""
        message(seen, streamed.get_final_message())


def next_turn(seen: Outcome) -> None:
    """What was said, thinking and all, goes back with the next question, as tool use demands."""
    asked = ask(seen)
    first = SYNC.messages.create(**asked)
    if first.stop_reason == "refusal":
        return message(seen, first)
    asked["messages"] += [{"role": "assistant", "content": first.content}, {"role": "user", "content": "And then?"}]
    return message(seen, SYNC.messages.create(**asked))


run({"create": create, "stream": stream, "stream_async": stream_async, "helper": helper, "next_turn": next_turn})
