"""Usage reports of the APIs in common terms."""

from __future__ import annotations

from typing import Any

import pytest

from safeproxy.ledger.usage import Tokens, tokens_of
from safeproxy.wire.base import numbers

#: What APIs report, as it stands in their answers, and what it comes to.
REPORTS: list[tuple[str, dict[str, Any], Tokens]] = [
    (
        "openai_chat",
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 20, "accepted_prediction_tokens": 0},
        },
        Tokens(input=100, output=50, cached=64, reasoning=20),
    ),
    (
        "chat_with_reasoning_beside_the_answer",
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 170,
            "completion_tokens_details": {"reasoning_tokens": 20},
        },
        Tokens(input=100, output=70, reasoning=20),
    ),
    (
        "deepseek",
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "total_tokens": 105,
            "prompt_cache_hit_tokens": 90,
            "prompt_cache_miss_tokens": 10,
        },
        Tokens(input=100, output=5, cached=90),
    ),
    (
        "openrouter",
        {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 4},
        },
        Tokens(input=9, output=5, cached=2, written=4),
    ),
    ("completions_of_nothing", {"prompt_tokens": 7, "total_tokens": 7}, Tokens(input=7)),
    (
        "openai_responses",
        {
            "input_tokens": 36,
            "input_tokens_details": {"cached_tokens": 8},
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": 30},
            "total_tokens": 123,
        },
        Tokens(input=36, output=87, cached=8, reasoning=30),
    ),
    (
        "openai_realtime",
        {
            "input_tokens": 30,
            "output_tokens": 8,
            "input_token_details": {"text_tokens": 10, "audio_tokens": 20, "cached_tokens": 5},
        },
        Tokens(input=30, output=8, cached=5),
    ),
    (
        "anthropic",
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 1000,
            "cache_read_input_tokens": 200,
            "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 33,
        },
        Tokens(input=1210, output=33, cached=200, written=1000),
    ),
    ("anthropic_without_a_cache", {"input_tokens": 10, "output_tokens": 33}, Tokens(input=10, output=33)),
    (
        "gemini",
        {
            "promptTokenCount": 40,
            "candidatesTokenCount": 9,
            "thoughtsTokenCount": 21,
            "toolUsePromptTokenCount": 5,
            "cachedContentTokenCount": 16,
            "totalTokenCount": 75,
        },
        Tokens(input=45, output=30, cached=16, reasoning=21),
    ),
    ("ollama", {"prompt_eval_count": 26, "eval_count": 298}, Tokens(input=26, output=298)),
    ("llamacpp", {"tokens_evaluated": 12, "tokens_predicted": 5}, Tokens(input=12, output=5)),
    (
        "cohere",
        {
            "billed_units": {"input_tokens": 5.0, "output_tokens": 418},
            "tokens": {"input_tokens": 71, "output_tokens": 418},
        },
        Tokens(input=5, output=418),
    ),
    ("cohere_unbilled", {"tokens": {"input_tokens": 71, "output_tokens": 4}}, Tokens(input=71, output=4)),
    (
        "transcription",
        {"input_tokens": 14, "input_token_details": {"text_tokens": 0, "audio_tokens": 14}, "output_tokens": 45},
        Tokens(input=14, output=45),
    ),
    ("below_zero", {"prompt_tokens": -1, "completion_tokens": 3}, Tokens(output=3)),
]


@pytest.mark.parametrize(("report", "tokens"), [one[1:] for one in REPORTS], ids=[one[0] for one in REPORTS])
def test_every_report_is_read_as_it_is_recorded(report: dict[str, Any], tokens: Tokens) -> None:
    """From the API's own object, by way of what a record holds of it."""
    assert tokens_of(numbers(report)) == tokens


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": 3}, {"seconds": 9}])
def test_a_report_without_known_counts_is_none(usage: dict[str, int] | None) -> None:
    """Then nothing is known, which is not the same as 0."""
    assert tokens_of(usage) is None


def test_the_total_is_prompt_and_answer() -> None:
    """What is cached or reasoned is part of them."""
    assert Tokens(input=10, output=5, cached=9, written=1, reasoning=4).total == 15
