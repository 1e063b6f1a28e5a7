"""Rules put in place of others; with real processes and signals in tests/e2e/test_workers.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeproxy.errors import ConfigError
from safeproxy.shell.app import create_app
from safeproxy.shell.reload import place_in, reload, rules_state
from safeproxy.shell.service import SERVICE, Service
from safeproxy.shell.settings import Settings

RULE = "- {id: word, title: A word, entity: WORD, category: other, words: [WORD]}\n"


def service(folder: Path, rules: str = RULE) -> tuple[Service, Path]:
    """The service of an application, and its rule file."""
    file = folder / "rules.yaml"
    file.write_text(rules, encoding="utf-8")
    return create_app(Settings(upstream="http://127.0.0.1:9", rules=(file,), audit=folder))[SERVICE], file


async def test_new_rules_are_another_service_that_shares_the_rest(tmp_path: Path) -> None:
    """Who has begun keeps what was in force; that the process stops is seen by both."""
    first, file = service(tmp_path)
    begun = first.current
    file.write_text(RULE.replace("[WORD]", "[other]"), encoding="utf-8")
    await reload(first)
    assert begun.policy.rules.rules[0].words == ("WORD",)
    assert first.current.policy.rules.rules[0].words == ("other",)
    assert first.current.running is first.running
    assert first.current.policy.seal is first.policy.seal
    first.stopping = True
    assert first.current.stopping
    assert begun.stopping


async def test_metrics_name_the_new_rules(tmp_path: Path) -> None:
    """A rule that came with a reload is told apart, and the gauge says which set is in force."""
    first, file = service(tmp_path)
    old = first.policy.rules.digest
    file.write_text(RULE.replace("id: word", "id: newer"), encoding="utf-8")
    await reload(first)
    assert first.metrics is not None
    gauge = first.metrics.registry.get_sample_value
    assert gauge("safeproxy_rules", {"digest": old}) == 0
    assert gauge("safeproxy_rules", {"digest": first.current.policy.rules.digest}) == 1
    assert first.metrics._rules("newer", admit=False) == "newer"


async def test_the_same_rules_change_nothing(tmp_path: Path) -> None:
    """There is nothing to put in force."""
    first, _ = service(tmp_path)
    await reload(first)
    assert first.current is first


async def test_broken_rules_change_nothing_and_are_shown(tmp_path: Path) -> None:
    """Readiness names the place and no more, until they are mended."""
    first, file = service(tmp_path)
    file.write_text(RULE.replace("title", "tilte"), encoding="utf-8")
    await reload(first)
    assert first.current is first
    error = rules_state(first)["error"]
    assert isinstance(error, dict)
    assert error["place"] == "rules.yaml:1:3"
    assert "tilte" not in str(error)
    file.write_text(RULE, encoding="utf-8")
    await reload(first)
    assert "error" not in rules_state(first)


async def test_rules_that_need_a_key_that_there_is_not_change_nothing(tmp_path: Path) -> None:
    """As at the start; it is no fault of a place in a file."""
    first, file = service(tmp_path)
    file.write_text(RULE.replace("words", "action: hash, words"), encoding="utf-8")
    await reload(first)
    assert first.current is first
    assert rules_state(first)["error"]["place"] is None  # type: ignore[index]
    with pytest.raises(ConfigError, match="hash_key"):
        create_app(first.settings)


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ("/etc/rules/a b.yaml:3:14: the key 'x'", "a b.yaml:3:14"),
        ("/etc/words.txt:3: no entry", "words.txt:3"),
        ("/etc/rules: there is no such file", None),
        ("setting 'hash_key' is missing", None),
    ],
)
def test_place_in(message: str, place: str | None) -> None:
    """The file by its name, with line and column where they are told."""
    assert place_in(message) == place
