"""OpenAI's Agents SDK, on chat completions and on responses."""

from __future__ import annotations

import json
from typing import Any

import openai
from agents import (
    Agent,
    Model,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    function_tool,
)
from outcome import Outcome, run
from pydantic import BaseModel


class Letter(BaseModel):
    """The structured output that is asked for."""

    to: str
    subject: str
    copies: int


def agent(seen: Outcome, model: Model) -> Agent[Any]:
    """An agent that stops once its tool was called; what the tool got is noted."""

    @function_tool
    async def send(to: str, subject: str, copies: int) -> str:
        seen.tools.append(["send", {"to": to, "subject": subject, "copies": copies}])
        return "sent"

    tools: Any = [send] if seen.scenario.startswith("tool") else []
    typed = Letter if seen.scenario.startswith("json") else None
    return Agent("a", model=model, tools=tools, tool_use_behavior="stop_on_first_tool", output_type=typed)


async def whole(seen: Outcome, kind: Any) -> None:
    async with openai.AsyncOpenAI() as client:
        asked = agent(seen, kind(seen.scenario, client))
        result = await Runner.run(asked, seen.prompt, max_turns=2, run_config=RunConfig(tracing_disabled=True))
    end(seen, result)


async def streamed(seen: Outcome, kind: Any) -> None:
    async with openai.AsyncOpenAI() as client:
        asked = agent(seen, kind(seen.scenario, client))
        config = RunConfig(tracing_disabled=True)
        result = Runner.run_streamed(asked, seen.prompt, max_turns=2, run_config=config)
        async for event in result.stream_events():
            seen.saw(event)
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                seen.text += event.data.delta
    end(seen, result)


def end(seen: Outcome, result: Any) -> None:
    """Take what a run came to."""
    seen.saw(json.dumps(result.to_input_list(), default=str))
    if isinstance(result.final_output, Letter):
        seen.parsed = result.final_output.model_dump()
    else:
        seen.final = result.final_output
    seen.usage = result.context_wrapper.usage.total_tokens


async def chat(seen: Outcome) -> None:
    await whole(seen, OpenAIChatCompletionsModel)


async def chat_stream(seen: Outcome) -> None:
    await streamed(seen, OpenAIChatCompletionsModel)


async def responses(seen: Outcome) -> None:
    await whole(seen, OpenAIResponsesModel)


async def responses_stream(seen: Outcome) -> None:
    await streamed(seen, OpenAIResponsesModel)


run(
    {
        "chat": chat,
        "chat_stream": chat_stream,
        "responses": responses,
        "responses_stream": responses_stream,
        "chat_typed": chat,
        "chat_typed_stream": chat_stream,
        "responses_typed": responses,
        "responses_typed_stream": responses_stream,
    }
)
