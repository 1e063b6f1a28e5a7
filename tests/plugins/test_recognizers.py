"""Tests of `safeproxy.plugins.recognizers`."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import RuleError
from safeproxy.plugins.recognizers import RecognizerJudge, load

pytest.importorskip("presidio_analyzer")

ZEBRAS = "tests.plugins.zebras:Zebras"


def test_a_recognizer_runs_in_workers() -> None:
    """A class of one's own, named by its import path, with context words that make it surer."""
    model = load(ZEBRAS)
    try:
        assert model.labels == ("ZEBRA",)
        rules = RuleSet([Rule(id="r", entity="ZEBRA", detector="recognizer")], {("recognizer", ""): model})
        stream = StreamFilter(rules)
        assert (
            stream.feed("A zebra. Its stripes tell a zebra. ") + stream.finish()
            == "A zebra. Its stripes tell a [ZEBRA]. "
        )
        everything = Rule(id="r", entity="ZEBRA", detector="recognizer", threshold=0.4)
        stream = StreamFilter(RuleSet([everything], {("recognizer", ""): model}))
        assert stream.feed("A zebra.") + stream.finish() == "A [ZEBRA]."
    finally:
        model.close()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("tests.plugins.zebras:Lions", "Lions"),
        ("", "is no import path"),
        ("tests.plugins.judges:Obedient", "is no EntityRecognizer of Presidio"),
    ],
)
def test_what_is_no_recognizer_is_refused(path: str, message: str) -> None:
    """The error, which the worker hands on, says what is wrong with the path or the class."""
    with pytest.raises((AttributeError, ValueError, TypeError), match=message):
        RecognizerJudge(path)


def test_a_settings_file_names_the_recognizer(tmp_path: Path) -> None:
    """Limits come from the file; without a name there is nothing to load."""
    with pytest.raises(RuleError, match=r"needs package\.module:ClassName"):
        load("")
    file = tmp_path / "zebras.yaml"
    file.write_text(f"model: {ZEBRAS}\nloading: 0.01\n")
    with pytest.raises(RuleError, match="the detector 'recognizer' cannot start: no answer within the deadline"):
        load(str(file))


def test_findings_are_those_of_presidio() -> None:
    """The judge gives what an `AnalyzerEngine` gives for the sentence."""
    judge = RecognizerJudge(ZEBRAS)
    assert list(judge("No stripes on this zebra.")) == [(19, 24, "ZEBRA", 0.75)]
    assert list(judge("A zebra.")) == [(2, 7, "ZEBRA", 0.4)]
    assert list(judge("")) == []
