"""Tests of `safeproxy.plugins.http` that need no server; `tests/e2e/test_moderation.py` has the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import RuleError
from safeproxy.plugins.http import HttpModel, load

MODERATION = "kind: moderation\nurl: http://127.0.0.1:9/v1/moderations\nlabels: [violence, hate]\n"


def loaded(tmp_path: Path, text: str) -> HttpModel:
    file = tmp_path / "moderation.yaml"
    file.write_text(text)
    model = load(str(file))
    model.close()
    return model


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: other\nurl: http://a/", "kind: Input should be 'moderation' or 'guard'"),
        ("kind: guard\nurl: ftp://a/", "url: expected http"),
        ("kind: guard\nurl: http://me:pa55word@a/", "url: expected no credentials in it"),
        ("kind: moderation\nurl: http://a/", "labels: expected the categories"),
        ("kind: guard\nurl: http://a/\ndeadline: 0", "deadline: Input should be greater than 0"),
        ("kind: guard\nurl: http://a/\ntimeout: 1", "timeout: Extra inputs are not permitted"),
        ("kind: guard\nurl: http://a/\nbearer: pa55word-1", "bearer: .*name of an environment variable"),
        ("kind: guard\nurl: http://a/\nbearer: pa55word", "the environment variable that 'bearer' names is not set"),
        ("kind: guard\nurl: http://a/\nheaders: {x-key: pa55word}", "that 'headers.x-key' names is not set"),
        ("[", "neither YAML nor JSON"),
        ("- a", "the file: "),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """What is wrong is named, with its key; a credential that stands there by mistake is not shown."""
    with pytest.raises(RuleError, match=message) as caught:
        loaded(tmp_path, text)
    assert "pa55word" not in str(caught.value)


def test_a_file_is_needed(tmp_path: Path) -> None:
    """No name, or the name of nothing, says what to do."""
    with pytest.raises(RuleError, match="needs a settings file; name it in the rule's 'model'"):
        load("")
    with pytest.raises(RuleError, match=r"none.yaml' cannot be read: No such file"):
        load(str(tmp_path / "none.yaml"))


def test_rules_take_the_labels_of_the_settings(tmp_path: Path) -> None:
    """A category that is misspelt would never be found, so it is refused."""
    model = loaded(tmp_path, MODERATION)
    with pytest.raises(RuleError, match="has no label 'violance'; expected labels of violence, hate"):
        RuleSet([Rule(id="r", entity="V", detector="http", labels=("violance",))], {("http", ""): model})


def test_a_guard_model_has_the_usual_labels(tmp_path: Path) -> None:
    """Where nothing is said a guard's labels are "unsafe" and the numbered hazards."""
    model = loaded(tmp_path, "kind: guard\nurl: http://a/\n")
    assert model.labels[:2] == ("unsafe", "S1")
    assert model.waits


def test_the_digest_is_of_what_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another model has another digest; another deadline or credential has not."""
    monkeypatch.setenv("SOME_KEY", "pa55word")
    plain = loaded(tmp_path, MODERATION)
    hasty = loaded(tmp_path, MODERATION + "deadline: 1\nbearer: SOME_KEY\n")
    other = loaded(tmp_path, MODERATION + "model: newer\n")
    assert plain.digest == hasty.digest != other.digest
    assert other.version == "newer"
