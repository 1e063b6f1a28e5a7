"""Prompts under the rules that ask for them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from safeproxy.core.filter import StreamFilter
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import ClientError, DetectorError
from safeproxy.events import ChannelKind
from safeproxy.pipeline import Policy, PromptVerdict, filter_prompt
from tests.wire.chat import CHAT, EMAIL, KEY, POLICY

ASKING = Policy(
    RuleSet(
        dataclasses.replace(rule, request=True, response=False, channels=frozenset({ChannelKind.AUDIO}))
        for rule in (EMAIL, KEY)
    )
)


def asked(value: Any) -> PromptVerdict:
    """The verdict on a request body."""
    return filter_prompt(CHAT, ASKING, json.dumps(value).encode())


def test_without_rules_for_prompts_nothing_is_looked_at() -> None:
    """Not even whether it is JSON."""
    assert filter_prompt(CHAT, POLICY, b"{ada@example.com") == PromptVerdict(b"{ada@example.com")


def test_a_clean_prompt_is_the_same_bytes() -> None:
    """Whatever its spelling."""
    data = b'{ "model": "m", "messages": [ {"role": "user", "content": "Hi"} ], "stream": true }'
    assert filter_prompt(CHAT, ASKING, data) == PromptVerdict(data, scanned=2)


def test_every_text_of_a_prompt_is_filtered() -> None:
    """Messages of any shape, tools, schemas, earlier calls, metadata."""
    mail = "ada@example.com"
    value = {
        "messages": [
            {"role": "user", "content": mail, "name": mail},
            {"role": "user", "content": [{"type": "text", "text": mail}]},
            {
                "role": "assistant",
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": '{"a":"ada\\u0040example.com"}'}}],
            },
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": mail, "parameters": {"enum": [mail]}}}],
        "metadata": {mail: "x"},
    }
    verdict = asked(value)
    assert b"ada@" not in verdict.body
    assert len(verdict.findings) == 7
    assert json.loads(verdict.body)["messages"][2]["tool_calls"][0]["function"]["arguments"] == '{"a":"[EMAIL]"}'
    assert {finding.channel for finding in verdict.findings} >= {"request.messages.0.content", "keys"}


@pytest.mark.parametrize("value", [{"messages": [{"content": "sk-abcdefgh"}]}, {"metadata": {"sk-abcdefgh": 1}}])
def test_a_halt_blocks(value: Any) -> None:
    """Nothing is sent upstream."""
    verdict = asked(value)
    assert verdict.blocked
    assert verdict.body == b""
    assert [finding.rule for finding in verdict.findings] == ["key"]


def test_a_broken_detector_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts fail closed, too."""

    def breaks(stream: StreamFilter, text: str) -> str:
        raise DetectorError("it broke")

    monkeypatch.setattr(StreamFilter, "feed", breaks)
    assert asked({"messages": ["x"]}).blocked


@pytest.mark.parametrize("data", [b"", b"{", b'"x"', b"1", b"[" * 5000])
def test_what_is_no_json_is_the_clients_error(data: bytes) -> None:
    """It cannot be judged, so it is not sent."""
    with pytest.raises(ClientError):
        filter_prompt(CHAT, ASKING, data)
