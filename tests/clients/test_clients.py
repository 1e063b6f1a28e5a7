"""Real SDKs, their base URL changed and nothing else: they must notice nothing but what the rules do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.running import Client, Mode, Seen, outcomes
from tests.clients.scenarios import BEFORE_HALT, PLACEHOLDER, REDACTED, SCENARIOS, SECRETS

_PLAIN = "text think"
_SAID = "text think tool"
_ALL = "text think tool json"
_RICH = "text think tool json prob cite"
_CITED = "text think tool cite"


def _both(name: str, halted: str, kinds: str = _SAID, *, blocked: str) -> tuple[Mode, Mode]:
    """A mode without streaming and the one with it."""
    return (
        Mode(name, halted, kinds, blocked=blocked),
        Mode(f"{name}_stream", halted, kinds, streamed=True, blocked=blocked),
    )


_BAD = "!BadRequestError"
CLIENTS = (
    Client(
        "openai_sdk",
        "native",
        (
            *_both("chat", "content_filter", _RICH, blocked=_BAD),
            Mode("chat_async", "content_filter", streamed=True, blocked=_BAD),
            *_both("azure", "content_filter", blocked=_BAD),
            Mode("chat_helper", "!ContentFilterFinishReasonError", _RICH, streamed=True, blocked=_BAD),
            Mode("chat_parse", "!ContentFilterFinishReasonError", "json", blocked=_BAD),
            *_both("completions", "content_filter", "text", blocked=_BAD),
            *_both("responses", "content_filter", _RICH, blocked=_BAD),
            Mode("responses_helper", "!RuntimeError", _RICH, streamed=True, blocked=_BAD),
            Mode("responses_parse", "content_filter", "json", blocked=_BAD),
        ),
    ),
    Client(
        "anthropic_sdk",
        "native",
        (
            Mode("create", "refusal", _CITED, blocked=_BAD),
            Mode("stream", "refusal", _CITED, streamed=True, blocked=_BAD),
            Mode("stream_async", "refusal", _CITED, streamed=True, blocked=_BAD),
            Mode("helper", "refusal", _CITED, streamed=True, blocked=_BAD),
            Mode("next_turn", "refusal", "think", blocked=_BAD),
        ),
    ),
    Client(
        "genai_sdk",
        "native",
        (
            Mode("generate", "SAFETY", f"{_ALL} cite", blocked="blocked PROHIBITED_CONTENT"),
            Mode("stream", "SAFETY", f"{_ALL} cite", streamed=True, blocked="blocked PROHIBITED_CONTENT"),
            Mode("generate_async", "SAFETY", f"{_ALL} cite", blocked="blocked PROHIBITED_CONTENT"),
            Mode("stream_async", "SAFETY", f"{_ALL} cite", streamed=True, blocked="blocked PROHIBITED_CONTENT"),
        ),
    ),
    Client(
        "ollama_sdk",
        "native",
        (
            *_both("chat", "content_filter", _ALL, blocked="!ResponseError"),
            Mode("chat_async", "content_filter", _ALL, streamed=True, blocked="!ResponseError"),
            *_both("generate", "content_filter", _PLAIN, blocked="!ResponseError"),
        ),
    ),
    Client(
        "mistral_sdk",
        "native",
        (
            Mode("complete", "content_filter", blocked="!SDKError"),
            Mode("stream", "content_filter", streamed=True, blocked="!SDKError"),
            Mode("stream_async", "content_filter", streamed=True, blocked="!SDKError"),
        ),
    ),
    Client(
        "cohere_sdk",
        "native",
        (
            Mode("chat", "ERROR", blocked=_BAD),
            Mode("stream", "ERROR", streamed=True, blocked=_BAD),
            Mode("stream_async", "ERROR", streamed=True, blocked=_BAD),
        ),
    ),
    Client(
        "agents_sdk",
        "native",
        (
            # With chat completions it does not say how an answer ended, unless that has no text at all.
            Mode("chat", "None", blocked=_BAD, others=(("think-halt", "!ModelRefusalError"),)),
            Mode("chat_stream", "None", streamed=True, blocked=_BAD, others=(("think-halt", "!ModelRefusalError"),)),
            *_both("responses", "!ModelBehaviorError", blocked=_BAD),
            *_both("chat_typed", "!ModelBehaviorError", "json", blocked=_BAD),
            *_both("responses_typed", "!ModelBehaviorError", "json", blocked=_BAD),
        ),
    ),
    Client(
        "langchain_sdk",
        "frameworks",
        (
            *_both("chat", "content_filter", f"{_SAID} prob cite", blocked="!OpenAIInvalidRequestError"),
            *_both("responses", "content_filter", f"{_SAID} prob cite", blocked="!OpenAIInvalidRequestError"),
            Mode("chat_typed", "content_filter", "json", blocked="!OpenAIInvalidRequestError"),
            Mode("responses_typed", "content_filter", "json", blocked="!OpenAIInvalidRequestError"),
            *_both("anthropic", "refusal", _CITED, blocked="!AnthropicInvalidRequestError"),
        ),
    ),
    Client(
        "litellm_sdk",
        "frameworks",
        (
            *_both("openai", "content_filter", blocked="!ContentPolicyViolationError"),
            *_both("anthropic", "content_filter", blocked="!ContentPolicyViolationError"),
            *_both("gemini", "content_filter", blocked="content_filter"),
            *_both("ollama_chat", "content_filter", blocked=_BAD),
        ),
    ),
    Client(
        "openai_sdk",
        "node",
        (
            *_both("chat", "content_filter", _RICH, blocked=_BAD),
            *_both("azure", "content_filter", blocked=_BAD),
            Mode(
                "chat_helper",
                "content_filter",
                _RICH,
                streamed=True,
                blocked=_BAD,
                # A call of a strict tool it would parse, so it raises.
                others=(("tool-halt", "!ContentFilterFinishReasonError"),),
            ),
            *_both("responses", "content_filter", _RICH, blocked=_BAD),
            Mode("responses_helper", "content_filter", _RICH, streamed=True, blocked=_BAD),
        ),
    ),
    Client(
        "anthropic_sdk",
        "node",
        (
            Mode("create", "refusal", _CITED, blocked=_BAD),
            Mode("stream", "refusal", _CITED, streamed=True, blocked=_BAD),
            Mode("helper", "refusal", _CITED, streamed=True, blocked=_BAD),
            Mode("next_turn", "refusal", "think", blocked=_BAD),
        ),
    ),
    Client(
        "genai_sdk",
        "node",
        (
            Mode("generate", "SAFETY", f"{_ALL} cite", blocked="blocked PROHIBITED_CONTENT"),
            Mode("stream", "SAFETY", f"{_ALL} cite", streamed=True, blocked="blocked PROHIBITED_CONTENT"),
        ),
    ),
    Client(
        "ollama_sdk",
        "node",
        (
            *_both("chat", "content_filter", _ALL, blocked="!ResponseError"),
            *_both("generate", "content_filter", _PLAIN, blocked="!ResponseError"),
        ),
    ),
    Client(
        "ai_sdk",
        "node",
        (
            *_both("chat", "content-filter", f"{_SAID} prob cite", blocked="!APICallError"),
            *_both("responses", "content-filter", f"{_SAID} prob cite", blocked="!APICallError"),
            *_both("chat_typed", "content-filter", "json", blocked="!APICallError"),
            *_both("responses_typed", "content-filter", "json", blocked="!APICallError"),
            *_both("anthropic", "content-filter", _CITED, blocked="!APICallError"),
            *_both("anthropic_bare", "content-filter", blocked="!APICallError"),
            *_both("compatible", "content-filter", blocked="!APICallError"),
        ),
    ),
)


def _cases(*kinds: str, streamed: bool = False) -> Iterator[Any]:
    """Every client in every mode that can do one of these kinds of scenarios."""
    for client in CLIENTS:
        for mode in client.modes:
            if set(kinds) & set(mode.kinds.split()) and (mode.streamed or not streamed):
                yield pytest.param(client, mode, id=f"{client.name}-{mode.name}")


def _every(*kinds: str, streamed: bool = False) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("client", "mode"), list(_cases(*(kinds or _RICH.split()), streamed=streamed)))


def _seen(client: Client, mode: Mode, scenario: str) -> Seen:
    """What the client's user sees through the proxy; never anything of what the rules keep back."""
    seen = outcomes(client).filtered[f"{mode.name} {scenario}"]
    for secret in SECRETS:
        assert not [one for one in seen.raw if secret in one], f"{secret!r} was seen"
        assert secret not in json.dumps([seen.text, seen.final, seen.reasoning, seen.tools, seen.parsed, seen.whole])
    return seen


def _decoded(arguments: Any) -> Any:
    return json.loads(arguments) if isinstance(arguments, str) else arguments


@_every()
def test_clean(client: Client, mode: Mode) -> None:
    """Where nothing is found, and where the upstream itself refuses, the user sees what is seen without the proxy."""
    direct, filtered = outcomes(client).direct, outcomes(client).filtered
    clean = [f"{mode.name} {name}" for name in mode.scenarios if name.endswith("clean") or name == "refused"]
    for name in clean:
        assert filtered[name] == direct[name], name
        assert direct[name].error is None or name.endswith("refused"), direct[name].raw


@_every()
def test_nothing_to_find(client: Client, mode: Mode) -> None:
    """With rules that find nothing, the user sees of every answer what is seen without the proxy."""
    direct, unfiltered = outcomes(client).direct, outcomes(client).unfiltered
    for name in mode.with_findings:
        assert unfiltered[f"{mode.name} {name}"] == direct[f"{mode.name} {name}"], name


@_every("text")
def test_redacted(client: Client, mode: Mode) -> None:
    """An address cut over several deltas is replaced, in the deltas and in the final object."""
    seen, direct = _seen(client, mode, "text-redact"), outcomes(client).direct[f"{mode.name} text-redact"]
    assert "Mail ada@example.com soon." in (direct.text, direct.final)
    assert seen.error is None
    assert {seen.text or REDACTED, seen.final or REDACTED} == {REDACTED}
    assert seen.text or seen.final
    assert seen.finish == direct.finish


@_every("think")
def test_reasoning_redacted(client: Client, mode: Mode) -> None:
    """Reasoning is redacted too, and the answer after it arrives."""
    direct = outcomes(client).direct[f"{mode.name} think-redact"]
    seen = _seen(client, mode, "think-redact")
    assert seen.error is None
    assert seen.reasoning == (REDACTED if direct.reasoning else "")
    assert (seen.text, seen.final, seen.finish) == (direct.text, direct.final, direct.finish)


@_every("tool")
def test_tool_call_redacted(client: Client, mode: Mode) -> None:
    """A tool call's arguments are valid JSON with the placeholder in them."""
    seen = _seen(client, mode, "tool-redact")
    assert seen.error is None
    ((name, arguments),) = seen.tools
    assert name == "send"
    assert _decoded(arguments) == {"to": PLACEHOLDER, "subject": "Hi", "copies": 2}
    assert seen.finish == outcomes(client).direct[f"{mode.name} tool-redact"].finish


@_every("tool")
def test_second_tool_call_redacted(client: Client, mode: Mode) -> None:
    """Of two calls both arrive, each with its own arguments."""
    seen = _seen(client, mode, "tool-pair")
    assert seen.error is None
    assert [_decoded(arguments)["to"] for _, arguments in seen.tools] == ["nobody", PLACEHOLDER]
    assert seen.finish == outcomes(client).direct[f"{mode.name} tool-pair"].finish


@_every("prob")
def test_log_probabilities(client: Client, mode: Mode) -> None:
    """Log probabilities do not spell what was redacted, and no parser stumbles over what is left of them."""
    seen = _seen(client, mode, "prob-redact")
    assert seen.error is None
    assert {seen.text or REDACTED, seen.final or REDACTED} == {REDACTED}
    assert _seen(client, mode, "prob-halt").verdict == mode.halt("text-halt")


@_every("cite")
def test_citations(client: Client, mode: Mode) -> None:
    """What is quoted of sources is redacted too."""
    seen = _seen(client, mode, "cite-redact")
    assert seen.error is None
    assert {seen.text or REDACTED, seen.final or REDACTED} == {REDACTED}
    assert _seen(client, mode, "cite-halt").verdict == mode.halt("text-halt")


@_every("json")
def test_structured_output_redacted(client: Client, mode: Mode) -> None:
    """An answer in JSON stays valid, and what a client makes of it holds the placeholder."""
    seen = _seen(client, mode, "json-redact")
    assert seen.error is None
    letter = {"to": PLACEHOLDER, "subject": "Hi", "copies": 2}
    for text in filter(None, (seen.text, seen.final)):
        assert json.loads(text) == letter
    assert seen.parsed in (None, letter)
    assert (seen.parsed is None) == (outcomes(client).direct[f"{mode.name} json-redact"].parsed is None)


@_every("text")
def test_halted(client: Client, mode: Mode) -> None:
    """A halt looks as the API's own filter does, and the text before it arrives."""
    seen = _seen(client, mode, "text-halt")
    assert seen.verdict == mode.halt("text-halt")
    assert seen.text == (BEFORE_HALT if mode.streamed else "")
    assert (seen.final or "") in (BEFORE_HALT, "")


@_every("think")
def test_halted_in_reasoning(client: Client, mode: Mode) -> None:
    """A halt in the reasoning ends the answer before it began."""
    seen = _seen(client, mode, "think-halt")
    assert seen.verdict == mode.halt("think-halt")
    assert seen.reasoning in (BEFORE_HALT, "")
    assert (seen.text, seen.final or "") == ("", "")


@_every("tool")
def test_halted_in_a_tool_call(client: Client, mode: Mode) -> None:
    """A halt in a tool call's arguments: the user sees no call at all."""
    seen = _seen(client, mode, "tool-halt")
    assert seen.tools == []
    assert seen.verdict == mode.halt("tool-halt")


@_every("json")
def test_halted_in_structured_output(client: Client, mode: Mode) -> None:
    """A halt in an answer in JSON: never a parsed object, and either an exception or the API's own signal."""
    seen = _seen(client, mode, "json-halt")
    assert seen.parsed is None
    assert seen.error or seen.verdict == mode.halt("json-halt")


@_every()
def test_prompt_blocked(client: Client, mode: Mode) -> None:
    """A blocked prompt looks as it does when the API blocks it; nothing of an answer is seen."""
    seen = _seen(client, mode, "prompt")
    assert (seen.text, seen.final or "", seen.tools) == ("", "", [])
    assert seen.verdict == mode.blocked


@_every(streamed=True)
def test_cut_off(client: Client, mode: Mode) -> None:
    """An upstream that stops in mid-stream is an error, with clients too that would take it for an end."""
    seen = outcomes(client).filtered[f"{mode.name} cut"]
    assert seen.text.strip() == "Some text."
    assert seen.error or str(seen.finish).lower() == "error"


@_every(streamed=True)
def test_upstream_error(client: Client, mode: Mode) -> None:
    """An error that the upstream sends in mid-stream reaches the user as without the proxy."""
    direct, filtered = outcomes(client).direct, outcomes(client).filtered
    assert filtered[f"{mode.name} error"] == direct[f"{mode.name} error"]


@pytest.mark.parametrize("client", CLIENTS, ids=[client.name for client in CLIENTS])
def test_asked_once(client: Client) -> None:
    """Nothing that the proxy does makes a client ask again, and what is blocked is not asked at all."""
    direct, filtered = outcomes(client).asked_direct, outcomes(client).asked_filtered
    assert filtered["prompt"] == 0
    for name in SCENARIOS:
        assert filtered[name] <= direct[name], name


def test_all_scenarios_are_asked_for() -> None:
    """No scenario is there for nothing."""
    asked = {name for client in CLIENTS for mode in client.modes for name in mode.scenarios}
    assert asked == set(SCENARIOS)
