"""LiteLLM, which speaks every API for its user in the words of OpenAI's chat completions."""

from __future__ import annotations

import gc
from typing import Any

import litellm
from outcome import BASE, SCHEMA, TOOL, Outcome, run

# It leaves streams of Ollama unread in reference cycles. If one is collected while httpcore holds the lock of its pool,
# closing it asks for the same lock, and the process stands still for ever.
gc.disable()
litellm.suppress_debug_info = True
TOOLS = [{"type": "function", "function": {"name": TOOL, "parameters": SCHEMA}}]
BASES = {"openai": f"{BASE}/v1", "anthropic": BASE, "gemini": f"{BASE}/v1beta", "ollama_chat": BASE}


def ask(seen: Outcome, provider: str) -> Any:
    messages = [{"role": "user", "content": seen.prompt}]
    asked: dict[str, Any] = {"model": f"{provider}/{seen.scenario}", "messages": messages}
    if seen.scenario.startswith("tool"):
        asked["tools"] = TOOLS
    return {**asked, "api_base": BASES[provider], "api_key": "k"}


def whole(seen: Outcome, provider: str) -> None:
    one = seen.saw(litellm.completion(**ask(seen, provider)))
    choice = one.choices[0]
    seen.final = choice.message.content
    seen.reasoning = getattr(choice.message, "reasoning_content", None) or ""
    seen.tools = [[call.function.name, call.function.arguments] for call in choice.message.tool_calls or ()]
    seen.finish, seen.usage = choice.finish_reason, one.usage.total_tokens


def stream(seen: Outcome, provider: str) -> None:
    for one in litellm.completion(stream=True, **ask(seen, provider)):
        seen.saw(one)
        for choice in one.choices:
            seen.text += choice.delta.content or ""
            seen.reasoning += getattr(choice.delta, "reasoning_content", None) or ""
            for call in choice.delta.tool_calls or ():
                if call.id:
                    seen.tools.append([call.function.name, ""])
                seen.tools[-1][1] += call.function.arguments or ""
            seen.finish = choice.finish_reason or seen.finish


run(
    {
        **{provider: lambda seen, provider=provider: whole(seen, provider) for provider in BASES},
        **{f"{provider}_stream": lambda seen, provider=provider: stream(seen, provider) for provider in BASES},
    }
)
