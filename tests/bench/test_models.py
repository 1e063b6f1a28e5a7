"""What the model tiers cost, measured on rules that ask models."""

from __future__ import annotations

from safeproxy.bench import models, prose
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Action
from tests.core.test_ruleset import Echo


def test_each_tier_and_all_together_are_measured() -> None:
    """Per chunk, token and word, at each number of streams; a rule that halts does not end the measurement."""
    echo = Rule(id="e", entity="X", detector="echo")
    other = Rule(id="o", entity="Y", detector="other", action=Action.HALT)
    word = Rule(id="w", entity="Z", words=("zebra",), action=Action.HASH)
    rules = RuleSet([echo, other, word], {("echo", ""): Echo(), ("other", ""): Echo("2")})
    figures = models.measure(rules, quick=True)
    assert set(figures) == {"echo", "other", "all"}
    for tier in figures.values():
        assert set(tier["chunk_seconds"]) == {"1", "50", "200"}
        assert all(0 < cost < 1 for cost in tier["chunk_seconds"].values())
        assert tier["hold"]["count"] == len(prose.tokens(models.clean_prose()))
    tier = figures["all"]
    assert tier["chunk_seconds"]["1"] < tier["token_seconds"]["1"] < tier["word_seconds"]["1"]


def test_the_prose_names_nobody() -> None:
    """What is held is measured on text with nothing to find."""
    text = models.clean_prose()
    assert not any(name in text for name in models._NAMELESS)
    assert len(text) > 4000
