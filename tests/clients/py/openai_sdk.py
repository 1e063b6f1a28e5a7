"""The OpenAI SDK: chat completions, legacy completions, responses, Azure."""

from __future__ import annotations

from typing import Any

import openai
from outcome import BASE, SCHEMA, TOOL, Outcome, run
from pydantic import BaseModel

SYNC = openai.OpenAI()
AZURE = openai.AzureOpenAI(azure_endpoint=BASE, api_version="2024-10-21", api_key="k")
TOOLS: list[Any] = [{"type": "function", "function": {"name": TOOL, "strict": True, "parameters": SCHEMA}}]
FLAT_TOOLS: list[Any] = [{"type": "function", "name": TOOL, "strict": True, "parameters": SCHEMA}]


class Letter(BaseModel):
    """The structured output that is asked for."""

    to: str
    subject: str
    copies: int


def chat_ask(seen: Outcome) -> Any:
    asked: dict[str, Any] = {"model": seen.scenario, "messages": [{"role": "user", "content": seen.prompt}]}
    if seen.scenario.startswith("tool"):
        asked["tools"] = TOOLS
    return asked


def response_ask(seen: Outcome) -> Any:
    asked: dict[str, Any] = {"model": seen.scenario, "input": seen.prompt}
    if seen.scenario.startswith("tool"):
        asked["tools"] = FLAT_TOOLS
    return asked


def chunk(seen: Outcome, one: Any) -> None:
    """Take one chunk of a raw stream."""
    seen.saw(one)
    seen.usage = one.usage.total_tokens if one.usage else seen.usage
    for choice in one.choices:
        delta = choice.delta
        seen.text += delta.content or ""
        seen.reasoning += getattr(delta, "reasoning_content", None) or ""
        for call in delta.tool_calls or ():
            if call.id:
                seen.tools.append([call.function.name, ""])
            seen.tools[call.index][1] += call.function.arguments
        seen.finish = choice.finish_reason or seen.finish


def completion(seen: Outcome, one: Any) -> None:
    """Take a whole completion."""
    choice = seen.got(one).choices[0]
    seen.final = choice.message.content
    seen.reasoning = seen.reasoning or getattr(choice.message, "reasoning_content", None) or ""
    seen.tools = [[call.function.name, call.function.arguments] for call in choice.message.tool_calls or ()]
    seen.finish = choice.finish_reason
    seen.usage = one.usage.total_tokens if one.usage else None


def chat(seen: Outcome) -> None:
    completion(seen, SYNC.chat.completions.create(**chat_ask(seen)))


def chat_stream(seen: Outcome) -> None:
    options: Any = {"include_usage": True}
    for one in SYNC.chat.completions.create(stream=True, stream_options=options, **chat_ask(seen)):
        chunk(seen, one)


async def chat_async(seen: Outcome) -> None:
    async with openai.AsyncOpenAI() as client:
        async for one in await client.chat.completions.create(stream=True, **chat_ask(seen)):
            chunk(seen, one)


def azure(seen: Outcome) -> None:
    completion(seen, AZURE.chat.completions.create(**chat_ask(seen)))


def azure_stream(seen: Outcome) -> None:
    for one in AZURE.chat.completions.create(stream=True, **chat_ask(seen)):
        chunk(seen, one)


def chat_helper(seen: Outcome) -> None:
    """``.stream()``, typed where JSON is wanted."""
    typed: Any = {"response_format": Letter} if seen.scenario.startswith("json") else {}
    with SYNC.chat.completions.stream(**chat_ask(seen), **typed) as stream:
        for event in stream:
            seen.saw(event)
            seen.text += event.delta if event.type == "content.delta" else ""
        completion(seen, stream.get_final_completion())
    parsed: Any = stream.get_final_completion().choices[0].message.parsed
    seen.parsed = parsed.model_dump() if parsed else None


def chat_parse(seen: Outcome) -> None:
    one = SYNC.chat.completions.parse(**chat_ask(seen), response_format=Letter)
    completion(seen, one)
    parsed = one.choices[0].message.parsed
    seen.parsed = parsed.model_dump() if parsed else None


def completions(seen: Outcome) -> None:
    one = seen.got(SYNC.completions.create(model=seen.scenario, prompt=seen.prompt))
    seen.final, seen.finish = one.choices[0].text, one.choices[0].finish_reason
    seen.usage = one.usage.total_tokens


def completions_stream(seen: Outcome) -> None:
    for one in SYNC.completions.create(model=seen.scenario, prompt=seen.prompt, stream=True):
        seen.saw(one)
        seen.text += one.choices[0].text
        seen.finish = one.choices[0].finish_reason or seen.finish


def response(seen: Outcome, one: Any) -> None:
    """Take a whole response."""
    seen.got(one)
    seen.final = one.output_text
    reasoning = [part.text for item in one.output if item.type == "reasoning" for part in item.summary]
    seen.reasoning = seen.reasoning or "".join(reasoning)
    seen.tools = [[item.name, item.arguments] for item in one.output if item.type == "function_call"]
    seen.finish = one.incomplete_details.reason if one.incomplete_details else one.status
    seen.usage = one.usage.total_tokens if one.usage else None


def response_event(seen: Outcome, event: Any) -> None:
    """Take one event of a responses stream."""
    seen.saw(event)
    if event.type == "response.output_text.delta":
        seen.text += event.delta
    elif event.type == "response.reasoning_summary_text.delta":
        seen.reasoning += event.delta


def responses(seen: Outcome) -> None:
    response(seen, SYNC.responses.create(**response_ask(seen)))


def responses_stream(seen: Outcome) -> None:
    for event in SYNC.responses.create(stream=True, **response_ask(seen)):
        response_event(seen, event)
        if event.type in ("response.completed", "response.incomplete", "response.failed"):
            response(seen, event.response)


def responses_helper(seen: Outcome) -> None:
    """``.stream()``, typed where JSON is wanted."""
    typed: Any = {"text_format": Letter} if seen.scenario.startswith("json") else {}
    with SYNC.responses.stream(**response_ask(seen), **typed) as stream:
        for event in stream:
            response_event(seen, event)
        one = stream.get_final_response()
    response(seen, one)
    seen.parsed = one.output_parsed.model_dump() if one.output_parsed else None


def responses_parse(seen: Outcome) -> None:
    one = SYNC.responses.parse(**response_ask(seen), text_format=Letter)
    response(seen, one)
    seen.parsed = one.output_parsed.model_dump() if one.output_parsed else None


run(
    {
        "chat": chat,
        "chat_stream": chat_stream,
        "chat_async": chat_async,
        "chat_helper": chat_helper,
        "chat_parse": chat_parse,
        "azure": azure,
        "azure_stream": azure_stream,
        "completions": completions,
        "completions_stream": completions_stream,
        "responses": responses,
        "responses_stream": responses_stream,
        "responses_helper": responses_helper,
        "responses_parse": responses_parse,
    }
)
