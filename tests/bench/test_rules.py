"""The generated rules of the benchmark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from safeproxy.bench.rules import HALT_RULE, HALT_SENTENCE, generate, of_size, sparing, write
from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Context, Rule, View
from safeproxy.events import Action, ChannelKind, Severity
from safeproxy.rulesets import MODELS_FOLDER, load

MAIL = Rule(id="mail", entity="EMAIL_ADDRESS", words=("mail",))


def shipped(count: int) -> list[Rule]:
    """So many rules, the e-mail rule in the middle."""
    rules = [Rule(id=f"r{n}", entity="X", words=(f"word{n}",)) for n in range(count - 1)]
    rules.insert(count // 2, MAIL)
    return rules


def test_generation_is_repeatable() -> None:
    """The same seed gives the same rules, and a longer list begins with the shorter one."""
    assert generate(50) == generate(80)[:50]
    assert generate(50, seed=2) != generate(50)


def test_generated_rules_differ() -> None:
    """No two rules have the same id or pattern, and all kinds occur."""
    rules = generate(200)
    assert len({rule.id for rule in rules}) == len({rule.pattern for rule in rules}) == 200
    assert len({rule.entity for rule in rules}) == 5


def test_generated_rules_find_what_they_are_for() -> None:
    """The first generated rule finds a key assigned by name: the patterns are not dead letters."""
    rule = next(rule for rule in generate(20) if rule.entity == "BENCH_NUMBER")
    vendor, noun = (rule.pattern or "").removeprefix(r"\b").split(" ")[:2]
    stream = StreamFilter([rule])
    text = stream.feed(f"your {vendor} {noun} no: 1234567 is") + stream.finish()
    assert text == "your [BENCH_NUMBER] is"


@pytest.mark.parametrize("count", [1, 5, 9, 10, 11, 40])
def test_a_set_has_the_size_asked_for(count: int) -> None:
    """Smaller or larger than the shipped rules, no rule twice, and the e-mail rule is always in."""
    rules = of_size(shipped(10), count)
    assert len({rule.id for rule in rules}) == len(rules) == count
    assert MAIL in rules


def test_written_rules_load_as_they_were(tmp_path: Path) -> None:
    """A rule file written for the proxy gives the same rules, hence the same digest."""
    rich = Rule(
        id="rich",
        title="All there is",
        entity="RICH",
        category="secret",
        severity=Severity.HIGH,
        action=Action.MASK,
        pattern=r"\bx'\"\\ ?[\s\S]",
        flags="i",
        validators=("luhn",),
        context=Context(("card no", "visa"), 3, 0.25),
        score=0.4,
        placeholder="[R]",
        mask_keep=2,
        view=View.NFKD,
        max_length=99,
        channels=frozenset({ChannelKind.CONTENT, ChannelKind.OTHER}),
        request=True,
    )
    words = Rule(id="w", title="w", entity="W", words=("on", "null", "1", "naïve café", "#"))
    rules = [rich, words, HALT_RULE]
    write(rules, tmp_path / "rules.yaml")
    assert load([tmp_path / "rules.yaml"]).rules == tuple(rules)


def test_rules_that_ask_models_come_back_as_they_were(tmp_path: Path) -> None:
    """Those for the load find no names in prose, and are otherwise the shipped ones."""
    shipped = load([MODELS_FOLDER])
    rules = sparing(shipped.rules)
    write(rules, tmp_path / "rules.yaml")
    assert load([tmp_path / "rules.yaml"]).rules == tuple(rules)
    assert [replace(rule, filters=own.filters) for rule, own in zip(rules, shipped.rules, strict=True)] == [
        *shipped.rules
    ]
    stream = StreamFilter(shipped.with_rules(rules))
    text = "Please call Angela Hartfield before noon."
    assert stream.feed(text) + stream.finish() == text


def test_the_halting_rule_halts() -> None:
    """The sentence of the benchmark stops a stream."""
    stream = StreamFilter([HALT_RULE])
    assert stream.feed(f"and{HALT_SENTENCE}") == "and ("
    assert stream.halted
