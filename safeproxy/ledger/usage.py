"""What the APIs' usage reports mean in common terms. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens as the upstream counts them. ``cached`` (read from a cache) and ``written`` (to it) are part of ``input``.

    ``reasoning`` is part of ``output``.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """Prompt and answer."""
        return self.input + self.output


def tokens_of(usage: Mapping[str, int] | None) -> Tokens | None:
    """The counts of a usage report as `RequestClosed.usage` has it, None if it has none that is known.

    Sources: the API references of OpenAI (chat, completions, responses, transcriptions), Anthropic, Gemini, Ollama,
    Cohere and llama.cpp, and what compatible servers add to OpenAI's.
    """
    if not usage:
        return None
    for names, read in _KINDS:
        if any(name in usage for name in names):
            return read(usage)
    return None


def _first(usage: Mapping[str, int], *names: str) -> int:
    """The first of several spellings that is there; a count below zero is none."""
    return next((max(usage[name], 0) for name in names if name in usage), 0)


def _chat(usage: Mapping[str, int]) -> Tokens:
    """OpenAI's chat and legacy completions. Some servers count reasoning beside the answer, which the total shows."""
    read, said = _first(usage, "prompt_tokens"), _first(usage, "completion_tokens")
    reasoning = _first(usage, "completion_tokens_details.reasoning_tokens", "reasoning_tokens")
    if usage.get("total_tokens") == read + said + reasoning:
        said += reasoning
    cached = _first(usage, "prompt_tokens_details.cached_tokens", "prompt_cache_hit_tokens", "cached_tokens")
    written = _first(usage, "prompt_tokens_details.cache_write_tokens")
    return Tokens(input=read, output=said, cached=cached, written=written, reasoning=reasoning)


def _anthropic(usage: Mapping[str, int]) -> Tokens:
    """What is read from the cache and written to it is counted beside the input."""
    cached, written = _first(usage, "cache_read_input_tokens"), _first(usage, "cache_creation_input_tokens")
    read = _first(usage, "input_tokens") + cached + written
    return Tokens(input=read, output=_first(usage, "output_tokens"), cached=cached, written=written)


def _responses(usage: Mapping[str, int]) -> Tokens:
    """OpenAI's responses, its realtime API and transcriptions; Anthropic's where it says nothing of a cache."""
    return Tokens(
        input=_first(usage, "input_tokens"),
        output=_first(usage, "output_tokens"),
        cached=_first(usage, "input_tokens_details.cached_tokens", "input_token_details.cached_tokens"),
        written=_first(usage, "input_tokens_details.cache_write_tokens"),
        reasoning=_first(usage, "output_tokens_details.reasoning_tokens"),
    )


def _gemini(usage: Mapping[str, int]) -> Tokens:
    """Thoughts are counted beside the answer, what tools brought in beside the prompt."""
    reasoning = _first(usage, "thoughtsTokenCount")
    return Tokens(
        input=_first(usage, "promptTokenCount") + _first(usage, "toolUsePromptTokenCount"),
        output=_first(usage, "candidatesTokenCount", "responseTokenCount") + reasoning,
        cached=_first(usage, "cachedContentTokenCount"),
        reasoning=reasoning,
    )


def _ollama(usage: Mapping[str, int]) -> Tokens:
    return Tokens(input=_first(usage, "prompt_eval_count"), output=_first(usage, "eval_count"))


def _llamacpp(usage: Mapping[str, int]) -> Tokens:
    return Tokens(input=_first(usage, "tokens_evaluated"), output=_first(usage, "tokens_predicted"))


def _cohere(usage: Mapping[str, int]) -> Tokens:
    """What it bills rather than what it counts, which has its own additions to the prompt, too."""
    return Tokens(
        input=_first(usage, "billed_units.input_tokens", "tokens.input_tokens"),
        output=_first(usage, "billed_units.output_tokens", "tokens.output_tokens"),
        cached=_first(usage, "cached_tokens"),
    )


#: By names that tell the reports apart: the first that has any of its names is it.
_KINDS = (
    (("prompt_tokens", "completion_tokens"), _chat),
    (("cache_read_input_tokens", "cache_creation_input_tokens"), _anthropic),
    (("input_tokens", "output_tokens"), _responses),
    (("promptTokenCount", "candidatesTokenCount"), _gemini),
    (("prompt_eval_count", "eval_count"), _ollama),
    (("tokens_evaluated", "tokens_predicted"), _llamacpp),
    (
        (
            "billed_units.input_tokens",
            "billed_units.output_tokens",
            "tokens.input_tokens",
            "tokens.output_tokens",
        ),
        _cohere,
    ),
)
