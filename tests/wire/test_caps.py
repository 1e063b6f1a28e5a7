"""Limits of requests in each API's words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from safeproxy.wire.caps import Caps, cap

TOKENS = Caps(max_tokens=100)
DEFAULT = Caps(default_tokens=50)
BOTH = Caps(default_tokens=50, max_tokens=100)
CAPPED, DEFAULTED = ["max_tokens_capped"], ["max_tokens_defaulted"]


def capped(dialect: str, body: Any, caps: Caps) -> tuple[Any, list[str]]:
    """The request as it is sent, and what is recorded."""
    sent = copy.deepcopy(body)
    return sent, cap(sent, dialect, caps)


#: By dialect: a request that asks for too much, and what is sent; what is sent where it says nothing.
APIS: list[tuple[str, Any, Any, Any]] = [
    ("openai_chat", {"max_tokens": 500}, {"max_tokens": 100}, {"max_tokens": 100}),
    ("openai_chat", {"max_completion_tokens": 500}, {"max_completion_tokens": 100}, {"max_tokens": 100}),
    ("openai_chat", {"max_tokens": 9, "n_predict": 500}, {"max_tokens": 9, "n_predict": 100}, {"max_tokens": 100}),
    ("openai_completions", {"max_tokens": 500}, {"max_tokens": 100}, {"max_tokens": 100}),
    ("openai_completions", {"n_predict": -1}, {"n_predict": 100}, {"max_tokens": 100}),
    ("openai_responses", {"max_output_tokens": 500}, {"max_output_tokens": 100}, {"max_output_tokens": 100}),
    ("openai_socket", {"max_output_tokens": 500}, {"max_output_tokens": 100}, {"max_output_tokens": 100}),
    ("anthropic", {"max_tokens": 500}, {"max_tokens": 100}, {"max_tokens": 100}),
    (
        "gemini",
        {"generationConfig": {"maxOutputTokens": 500}},
        {"generationConfig": {"maxOutputTokens": 100}},
        {"generationConfig": {"maxOutputTokens": 100}},
    ),
    (
        "gemini_array",
        {"generation_config": {"max_output_tokens": 500, "topK": 1}},
        {"generation_config": {"max_output_tokens": 100, "topK": 1}},
        {"generationConfig": {"maxOutputTokens": 100}},
    ),
    ("ollama", {"options": {"num_predict": 500}}, {"options": {"num_predict": 100}}, {"options": {"num_predict": 100}}),
    ("ollama", {"options": {"num_predict": -1}}, {"options": {"num_predict": 100}}, {"options": {"num_predict": 100}}),
    ("ollama", {"options": {"num_predict": -2}}, {"options": {"num_predict": 100}}, {"options": {"num_predict": 100}}),
    ("ollama", {"options": {"num_predict": 0}}, {"options": {"num_predict": 100}}, {"options": {"num_predict": 100}}),
    ("cohere", {"max_tokens": 500}, {"max_tokens": 100}, {"max_tokens": 100}),
]


@pytest.mark.parametrize(("dialect", "body", "sent", "added"), APIS)
def test_tokens_are_capped_in_each_apis_words(dialect: str, body: Any, sent: Any, added: Any) -> None:
    """Where the request asks for more, or for no limit, or says nothing."""
    assert capped(dialect, {"model": "m", **body}, TOKENS) == ({"model": "m", **sent}, CAPPED)
    assert capped(dialect, {"model": "m"}, TOKENS) == ({"model": "m", **added}, CAPPED)


@pytest.mark.parametrize(("dialect", "body", "sent", "added"), APIS)
def test_what_is_within_the_caps_stays(dialect: str, body: Any, sent: Any, added: Any) -> None:
    """Whatever the default is."""
    assert capped(dialect, sent, BOTH) == (sent, [])
    assert capped(dialect, body, DEFAULT) == (body, [])
    assert capped(dialect, body, Caps()) == (body, [])


@pytest.mark.parametrize(
    ("caps", "tokens", "codes"),
    [
        (DEFAULT, 50, DEFAULTED),
        (BOTH, 50, DEFAULTED),
        (Caps(default_tokens=500, max_tokens=100), 100, DEFAULTED),
        (TOKENS, 100, CAPPED),
        (Caps(), None, []),
    ],
)
@pytest.mark.parametrize("body", [{}, {"max_tokens": None}])
def test_the_default_is_for_requests_that_say_nothing(body: Any, caps: Caps, tokens: int | None, codes: Any) -> None:
    """And is never more than the cap."""
    sent, told = capped("openai_chat", body, caps)
    assert (sent.get("max_tokens"), told) == (tokens, codes)


@pytest.mark.parametrize("value", ["500", True, [], {}, 1e9, float("nan"), -1])
def test_what_is_no_number_counts_as_too_much(value: Any) -> None:
    """A lenient server might read it as one."""
    assert capped("openai_chat", {"max_tokens": value}, TOKENS) == ({"max_tokens": 100}, CAPPED)


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ("o1", "max_completion_tokens"),
        ("o3-mini", "max_completion_tokens"),
        ("openai/o4-mini", "max_completion_tokens"),
        ("gpt-5.1-chat", "max_completion_tokens"),
        ("gpt-10", "max_completion_tokens"),
        ("codex-mini", "max_completion_tokens"),
        ("gpt-4o", "max_tokens"),
        ("gpt-4.5", "max_tokens"),
        ("gpt-50", "max_completion_tokens"),
        ("olmo-7b", "max_tokens"),
        ("llama-o3", "max_tokens"),
        ("", "max_tokens"),
    ],
)
def test_reasoning_models_are_told_by_the_name_they_take(model: str, key: str) -> None:
    """OpenAI's refuse the old name; most servers that speak alike know no other."""
    assert capped("openai_chat", {"model": model}, TOKENS)[0] == {"model": model, key: 100}


@pytest.mark.parametrize(
    ("body", "caps", "temperature", "codes"),
    [
        ({"temperature": 1.5}, Caps(max_temperature=1.0), 1.0, ["temperature_capped"]),
        ({"temperature": 1}, Caps(max_temperature=1.0), 1, []),
        ({"temperature": 0.5}, Caps(max_temperature=1.0, default_temperature=0.2), 0.5, []),
        ({"temperature": "hot"}, Caps(max_temperature=1.0), 1.0, ["temperature_capped"]),
        ({}, Caps(max_temperature=1.0), None, []),
        ({}, Caps(default_temperature=0.0), 0.0, ["temperature_defaulted"]),
        ({"temperature": None}, Caps(default_temperature=2.0, max_temperature=1.0), 1.0, ["temperature_defaulted"]),
        ({"temperature": 0}, Caps(default_temperature=0.7), 0, []),
    ],
)
def test_temperature_is_capped_where_it_is_asked_for(body: Any, caps: Caps, temperature: Any, codes: Any) -> None:
    """Nothing is added but a default: some models refuse the word altogether."""
    sent, told = capped("anthropic", body, caps)
    assert (sent.get("temperature"), told) == (temperature, codes)


@pytest.mark.parametrize(
    ("dialect", "body", "sent"),
    [
        ("gemini", {"generationConfig": {"temperature": 2}}, {"generationConfig": {"temperature": 1.0}}),
        ("gemini", {"generation_config": {}}, {"generation_config": {"temperature": 0.5}}),
        ("ollama", {"options": {"temperature": 2}}, {"options": {"temperature": 1.0}}),
        ("ollama", {}, {"options": {"temperature": 0.5}}),
        ("ollama", {"options": "many"}, {"options": "many"}),
        ("transcription", {"temperature": 2}, {"temperature": 2}),
        ("openai_chat", [{"temperature": 2}], [{"temperature": 2}]),
        ("openai_chat", None, None),
    ],
)
def test_temperature_stands_where_each_api_has_it(dialect: str, body: Any, sent: Any) -> None:
    """What is no request of a known API stays as it is."""
    assert capped(dialect, body, Caps(default_temperature=0.5, max_temperature=1.0))[0] == sent


def test_every_request_of_a_batch_is_capped() -> None:
    """It is the same as many requests."""
    batch = {"requests": [{"custom_id": "1", "params": {"max_tokens": 500}}, {"params": {"max_tokens": 5}}, "odd", {}]}
    sent, codes = capped("anthropic", batch, TOKENS)
    assert [one["params"]["max_tokens"] for one in sent["requests"][:2]] == [100, 5]
    assert (sent["requests"][2:], codes) == (["odd", {}], CAPPED)
