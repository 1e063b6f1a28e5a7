"""The leak test of the benchmark: it must find leaks where there are some, and none where there are none."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from safeproxy.bench import leaks
from safeproxy.bench.apis import voices
from safeproxy.bench.leaks import Sample, cut, cuttings, excess, leak_test, oracle
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.events import Action, ChannelKind
from safeproxy.pipeline import Policy
from safeproxy.rulesets import load_with_sources

KEY = Rule(id="key", entity="KEY", pattern=r"\bkey-[a-z]{3}\b")
STOP = Rule(id="stop", entity="STOP", action=Action.HALT, words=("zanzibar",))
LOOK = Rule(id="look", entity="LOOK", action=Action.OBSERVE, words=("harmless",))
POLICY = Policy(rules=RuleSet([KEY, STOP, LOOK]))


def test_cuttings_are_whole_every_place_and_every_character() -> None:
    """Of a text of five characters: once whole, four times in two, once in five, and some at random."""
    found = list(cuttings(5, random.Random(1)))
    assert found[:6] == [[], [1], [2], [3], [4], [1, 2, 3, 4]]
    assert len(found) == 6 + leaks.RANDOM_CUTTINGS
    assert all(at == sorted(set(at)) and 0 < at[0] <= at[-1] < 5 for at in found[6:])


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_cuttings_of_the_shortest_texts(length: int) -> None:
    """There is always the whole text, and no cut outside."""
    assert all(0 < at < length for cutting in cuttings(length, random.Random(1)) for at in cutting)


def test_cut_loses_nothing() -> None:
    """The pieces are the text."""
    assert cut("abcdef", [1, 4]) == ["a", "bcd", "ef"]
    assert cut("abc", []) == ["abc"]


@pytest.mark.parametrize(
    ("delivered", "expected", "characters"),
    [("a [X] b", "a [X] b", 0), ("a ", "a [X] b", 0), ("a ke[X] b", "a [X] b", 7), ("a [X] bc", "a [X] b", 1)],
)
def test_excess(delivered: str, expected: str, characters: int) -> None:
    """A text cut short leaks nothing; from the first difference on everything counts."""
    assert excess(delivered, expected) == characters


def test_oracle_of_a_redacted_sample() -> None:
    """The whole text filtered at once, with nothing of the declared span let through."""
    assert oracle(POLICY, Sample("key", "a key-abc.", ((2, 9),)), ChannelKind.CONTENT) == ("a [KEY].", False, 0)


def test_oracle_counts_what_was_declared_and_is_let_through() -> None:
    """A filter that misses what the author declared leaks, however consistent it is."""
    assert oracle(POLICY, Sample("key", "a key-ab.", ((2, 8),)), ChannelKind.CONTENT)[2] == 6


def test_oracle_of_a_halt() -> None:
    """The rest of a halted text counts as removed."""
    sample = Sample("stop", "to zanzibar, zanzibar", ((3, 11), (13, 21)))
    assert oracle(POLICY, sample, ChannelKind.CONTENT) == ("to ", True, 0)


def test_oracle_of_what_is_only_observed() -> None:
    """Observed text is let through by intent."""
    assert oracle(POLICY, Sample("look", "harmless", ((0, 8),)), ChannelKind.CONTENT) == ("harmless", False, 0)


def test_no_leak_is_found_in_the_real_pipeline() -> None:
    """Redacted, halted and observed samples come through every channel as the oracle says."""
    samples = [
        Sample("key", 'a "key-abc"\n', ((3, 10),)),
        Sample("key", "key-abc", ((0, 7),)),
        Sample("stop", "to zanzibar now", ((3, 11),)),
        Sample("look", "harmless", ((0, 8),)),
    ]
    result = leak_test(POLICY, samples)
    assert result.bad_samples == []
    assert result.leaked == 0
    assert len(result.channels) == 2 * len(voices())
    assert all(tally.cuttings >= len(samples) for tally in result.channels.values())


class PerChunk:
    """A pipeline as one must not write it: it looks at each event alone."""

    done = False

    def __init__(self, dialect: Any, policy: Policy, ask: Any) -> None:
        pass

    def feed(self, data: bytes) -> bytes:
        """What each event says, with the keys in it redacted."""
        return re.sub(rb"\bkey-[a-z]{3}\b", b"[KEY]", data)

    def finish(self) -> bytes:
        """Nothing is ever held."""
        return b""


def test_a_filter_of_chunks_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six of the cuttings of the key cut through it: the test must see them leak."""
    monkeypatch.setattr(leaks, "StreamPipeline", PerChunk)
    result = leak_test(POLICY, [Sample("key", "a key-abc.", ((2, 9),))])
    content = result.channels["chat content"]
    assert content.differing >= 7
    assert content.leaked > 6 * 3
    assert "key, chat content" in result.bad_samples
    assert result.leaked >= content.leaked


def test_samples_of_disabled_rules_are_left_out(tmp_path: Any) -> None:
    """They are not in force, so nothing would be found."""
    tests = "{match: [{text: w, spans: [[0, 1]]}]}"
    rule = "- {id: %s-rule, title: t, entity: E, category: other, words: [w], enabled: %s, tests: %s}\n"
    file = tmp_path / "rules.yaml"
    file.write_text(rule % ("on", "true", tests) + rule % ("off", "false", tests))
    assert leaks.samples_of(load_with_sources([file]).sources) == [Sample("on-rule", "w", ((0, 1),))]


def test_results_add_up() -> None:
    """What two processes found is what one would have found."""
    samples = [Sample("key", "key-abc", ((0, 7),)), Sample("stop", "zanzibar", ((0, 8),))]
    both = leak_test(POLICY, samples)
    summed = leaks.Result()
    for sample in samples:
        summed.add(leak_test(POLICY, [sample]))
    assert summed.form() == both.form()
