"""What a client wrote into a path or model name does not get into the trail if a rule would find it."""

from __future__ import annotations

import pytest

from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Action
from safeproxy.pipeline import Policy
from safeproxy.shell.scrub import WITHHELD, Scrubber

RULES = RuleSet(
    [
        Rule(id="email", entity="EMAIL_ADDRESS", pattern=r"[a-z]+@[a-z]+\.com"),
        Rule(id="stop", entity="STOP", words=("forbidden",), action=Action.HALT),
    ]
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/files/ada@b.com/content", "/v1/files/[EMAIL_ADDRESS]/content"),
        ("/v1/forbidden/x", "/v1/" + WITHHELD),
        ("", ""),
    ],
)
def test_the_rules_for_answers_apply(text: str, expected: str) -> None:
    """Found text is replaced, and after a halt nothing is repeated; asking again gives the same."""
    scrub = Scrubber(Policy(RULES))
    assert scrub(text) == scrub(text) == expected


def test_only_what_can_be_recorded_is_read() -> None:
    """An endless path costs no more than a long one."""
    assert len(Scrubber(Policy(RULES))("/" * 1_000_000)) < 1000
