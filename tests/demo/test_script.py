"""The screenplay does what it was written for, under the shipped rules."""

from __future__ import annotations

from safeproxy.core.filter import StreamFilter
from safeproxy.demo.script import SCENES, scene_for
from safeproxy.events import ChannelKind
from safeproxy.rulesets import shipped

KEY = b"k" * 16


def filtered(tokens: tuple[str, ...], kind: ChannelKind = ChannelKind.CONTENT) -> tuple[str, StreamFilter]:
    """The tokens' text as a client gets it, and the filter afterwards."""
    stream = StreamFilter(shipped(), kind=kind, hash_key=KEY)
    return "".join(stream.feed(token) for token in tokens) + stream.finish(), stream


def test_first_scene_has_mail_card_and_key() -> None:
    """Three findings, each of them cut in several tokens; the rest passes."""
    scene = SCENES[0]
    text, stream = filtered(scene.content)
    findings = stream.take_findings()
    assert {"EMAIL_ADDRESS", "CREDIT_CARD"} <= {finding.entity for finding in findings}
    assert any(finding.category == "secret" for finding in findings)
    assert not stream.halted
    assert text.startswith("Billing is looked after by [")
    assert text.endswith(" and wait.")
    whole = "".join(scene.content)
    assert not any(whole[finding.start : finding.end] in token for finding in findings for token in scene.content)


def test_tool_call_has_a_mail_address() -> None:
    """The arguments are JSON, cut within the address."""
    text, stream = filtered(SCENES[0].arguments, ChannelKind.TOOL_ARGUMENTS)
    assert [finding.entity for finding in stream.take_findings()] == ["EMAIL_ADDRESS"]
    assert text.endswith('"subject": "Billing"}')


def test_second_scene_is_halted_where_it_should_be() -> None:
    """Everything before the ending passes, and nothing of the threat."""
    scene = SCENES[1]
    text, stream = filtered((*scene.content, *scene.ending))
    assert stream.halted
    assert text == "".join(scene.content)


def test_tokens_carry_their_deltas() -> None:
    """Content first, then the tool call, whose name comes with its first piece only."""
    deltas = [delta for _, delta in SCENES[0].tokens]
    assert deltas[0] == {"content": "Billing"}
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert calls[0]["function"]["name"] == "send_mail"
    assert all(set(call["function"]) == {"arguments"} for call in calls[1:])


def test_scene_by_model() -> None:
    """A model nobody knows plays the first scene."""
    assert scene_for("demo-halt") is SCENES[1]
    assert scene_for("gpt-4o") is SCENES[0]
