"""LangChain with its OpenAI models (chat completions and responses) and its Anthropic model."""

from __future__ import annotations

from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from outcome import SCHEMA, TOOL, Outcome, run
from pydantic import BaseModel


class Letter(BaseModel):
    """The structured output that is asked for."""

    to: str
    subject: str
    copies: int


TOOLS = [{"type": "function", "function": {"name": TOOL, "description": "Send.", "parameters": SCHEMA}}]


def asked(seen: Outcome, model: Any) -> Any:
    return model.bind_tools(TOOLS) if seen.scenario.startswith("tool") else model


def chat_model(seen: Outcome) -> Any:
    return asked(seen, ChatOpenAI(model=seen.scenario, stream_usage=True))


def responses_model(seen: Outcome) -> Any:
    return asked(seen, ChatOpenAI(model=seen.scenario, use_responses_api=True))


def anthropic_model(seen: Outcome) -> Any:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024} if seen.scenario.startswith("think") else None
    return asked(seen, ChatAnthropic(model=seen.scenario, max_tokens=2000, thinking=thinking))


def end(seen: Outcome, message: Any) -> None:
    """Take a message, whole or added up from chunks."""
    seen.final = message.text
    seen.reasoning = "".join(block.get("reasoning", "") for block in message.content_blocks if "reasoning" in block)
    seen.tools = [[call["name"], call["args"]] for call in message.tool_calls]
    seen.tools += [["invalid", call["args"]] for call in message.invalid_tool_calls]
    told = message.response_metadata
    incomplete = told.get("incomplete_details") or {}
    reason = incomplete.get("reason") or told.get("finish_reason") or told.get("stop_reason")
    seen.finish = reason or told.get("status")
    seen.usage = message.usage_metadata["total_tokens"] if message.usage_metadata else None


def invoke(seen: Outcome, model: Any) -> None:
    end(seen, seen.saw(model.invoke(seen.prompt)))


def typed(seen: Outcome, model: Any) -> None:
    letter = seen.saw(model.with_structured_output(Letter).invoke(seen.prompt))
    seen.parsed = letter.model_dump() if letter else None


def stream(seen: Outcome, model: Any) -> None:
    total = None
    for chunk in model.stream(seen.prompt):
        seen.saw(chunk)
        seen.text += chunk.text
        total = chunk if total is None else total + chunk
    end(seen, total)


run(
    {
        "chat": lambda seen: invoke(seen, chat_model(seen)),
        "chat_stream": lambda seen: stream(seen, chat_model(seen)),
        "responses": lambda seen: invoke(seen, responses_model(seen)),
        "responses_stream": lambda seen: stream(seen, responses_model(seen)),
        "chat_typed": lambda seen: typed(seen, chat_model(seen)),
        "responses_typed": lambda seen: typed(seen, responses_model(seen)),
        "anthropic": lambda seen: invoke(seen, anthropic_model(seen)),
        "anthropic_stream": lambda seen: stream(seen, anthropic_model(seen)),
    }
)
