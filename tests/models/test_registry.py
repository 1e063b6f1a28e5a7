"""Which model a rule gets: safeproxy's own, a plug-in's, or an error that names the rule."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from safeproxy.core.rule import Rule
from safeproxy.errors import RuleError
from safeproxy.models import registry
from tests.core.test_ruleset import Echo


class Point:
    """An entry point that gives what it is told to."""

    def __init__(self, name: str, loader: Callable[[str], Any]) -> None:
        self.name, self.loader = name, loader

    def load(self) -> Callable[[str], Any]:
        return self.loader


@pytest.fixture(autouse=True)
def fresh() -> None:
    """No model of another test."""
    registry.load.cache_clear()


def plug_in(monkeypatch: pytest.MonkeyPatch, loader: Callable[[str], Any]) -> None:
    points = (Point("echo", loader),)
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "safeproxy.detectors" else ())


def rule(detector: str = "echo", model: str = "") -> Rule:
    return Rule(id="mine", entity="X", detector=detector, model=model)


def test_a_plug_in_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told the model's name, once for all rules that give the same."""
    asked = []

    def loader(name: str) -> Echo:
        asked.append(name)
        return Echo(name)

    plug_in(monkeypatch, loader)
    models = registry.models_of(
        [rule(model="a"), rule(model="b"), rule(model="a"), Rule(id="r", entity="Y", words=("w",))]
    )
    assert sorted(models) == [("echo", "a"), ("echo", "b")]
    assert asked == ["a", "b"]
    assert "echo" in registry.detectors()


def test_an_unknown_detector_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the names that there are."""
    plug_in(monkeypatch, Echo)
    with pytest.raises(RuleError, match=r"rule 'mine': there is no detector 'ecko'; expected one of .*echo.*ner"):
        registry.models_of([rule("ecko")])


@pytest.mark.parametrize("fault", [ImportError("no such module"), ValueError("bad file")])
def test_a_plug_in_that_breaks_is_named(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    """The process does not start with half its detectors."""

    def loader(name: str) -> Echo:
        raise fault

    plug_in(monkeypatch, loader)
    with pytest.raises(RuleError, match=f"rule 'mine': the detector 'echo' cannot be loaded: {type(fault).__name__}"):
        registry.models_of([rule()])


def test_a_pinned_digest_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other weights than those that were tried do not go live unnoticed."""
    plug_in(monkeypatch, lambda name: Echo(f"digest of {name}"))
    assert registry.models_of([rule(model="m@sha256:digest of m")])
    with pytest.raises(RuleError, match="'m' is not the one that is asked for: its digest is digest of m, expected 00"):
        registry.models_of([rule(model="m@sha256:00")])


def test_entry_points_are_what_the_registry_takes_them_for() -> None:
    """A real entry point has the parts that are used here."""
    point = EntryPoint("echo", "tests.core.test_ruleset:Echo", registry.GROUP)
    assert point.load() is not None
    assert point.name == "echo"
