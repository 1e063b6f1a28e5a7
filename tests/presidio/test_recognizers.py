"""What a rule's reference finds, and what it says where it finds nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from safeproxy.errors import ConfigError, RuleError
from safeproxy.presidio import load
from safeproxy.presidio.recognizers import find, is_local, predefined, presidio

HERE = Path(__file__).parent


def test_every_predefined_recognizer_is_taken_or_refused_with_a_remedy() -> None:
    """All that need no model and no service run."""
    for name, cls in predefined().items():
        if is_local(cls) and cls is not predefined()[name].__base__:
            assert load(name).entities(name)
        else:
            with pytest.raises(RuleError, match="write `detector: "):
                find(name)


def test_an_entity_stands_for_all_recognizers_of_it() -> None:
    """Presidio's names of entities are ours."""
    assert [type(made).__name__ for made in find("CREDIT_CARD")] == ["CreditCardRecognizer"]
    assert load("ZA_MOBILE_NUMBER").entities("ZA_MOBILE_NUMBER") == ("ZA_MOBILE_NUMBER",)


def test_made_as_the_registry_makes_them() -> None:
    """With its flags and, in a language, with its context words."""
    assert find("IbanRecognizer")[0].global_regex_flags == 26
    assert "tarjeta" in find("CreditCardRecognizer@es")[0].context
    assert find("CreditCardRecognizer@es")[0].supported_language == "es"
    assert find("DePlzRecognizer")[0].supported_language == "de"


def test_import_paths() -> None:
    """A class that needs no arguments, or an instance."""
    assert find("tests.presidio.custom:Badges")[0].supported_entities == ["BADGE"]
    assert find("tests.presidio.custom:badges@en")[0].supported_entities == ["BADGE"]


def test_presidios_own_files() -> None:
    """Deny lists, context words by language, the language of each recognizer."""
    (zips,) = find("recognizers.yaml#Zip code Recognizer", HERE)
    assert (zips.supported_language, zips.context) == ("de", ["zip", "code"])
    assert [made.supported_language for made in find("recognizers.yaml#Titles recognizer", HERE)] == ["en", "es"]
    (titles,) = find("recognizers.yaml#Titles recognizer@en", HERE)
    assert (titles.deny_list, titles.context) == (["Mr.", "Mrs.", "Dr."], ["doctor"])
    assert find("recognizers.yaml#CreditCardRecognizer", HERE)[0].supported_entities == ["CREDIT_CARD"]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("CreditCard", "is it CreditCardRecognizer"),
        ("PERSON", "`detector: ner` with the labels PERSON, PER"),
        ("SpacyRecognizer", "`detector: ner`"),
        ("GLiNERRecognizer", "`detector: recognizer`"),
        ("no.such.module:Thing", "cannot be imported: No module named 'no'"),
        ("tests.presidio.custom:Nothing", "cannot be imported"),
        ("tests.presidio.custom:NOT_ONE", "no EntityRecognizer of Presidio, but a int"),
        ("tests.presidio.custom:Sentences", "cannot be made without arguments"),
        ("recognizers.yaml#Nobody", "there is no recognizer 'Nobody'"),
        ("recognizers.yaml#Turned off", "is disabled"),
        ("recognizers.yaml#Broken", "Presidio cannot make the recognizer: .*Invalid regex pattern"),
        ("recognizers.yaml#Zip code Recognizer@fr", "is not for the language 'fr'"),
        ("nothing.yaml#X", "cannot be read"),
        ("custom.py#X", "cannot be read|expected a list"),
    ],
)
def test_errors_name_the_remedy(reference: str, message: str) -> None:
    """What is not there, what needs a model, what is no recognizer."""
    with pytest.raises(RuleError, match=message):
        find(reference, HERE)


@pytest.mark.parametrize("name", ["sentences", "OwnContext"])
def test_what_needs_whole_sentences_is_refused(name: str) -> None:
    """Such a recognizer runs in a window, under another detector."""
    with pytest.raises(RuleError, match="needs whole sentences; write `detector: recognizer`"):
        load(f"tests.presidio.custom:{name}")


def test_without_presidio(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    presidio.cache_clear()
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(ConfigError, match=r"pip install 'safeproxy\[presidio\]'"):
        find("CREDIT_CARD")
    presidio.cache_clear()


def test_nothing_is_fetched_and_nothing_logged() -> None:
    """The list of domains comes with tldextract; Presidio's log lines may quote the text."""
    import logging

    import tldextract.tldextract

    presidio()
    assert tldextract.tldextract.TLD_EXTRACTOR.suffix_list_urls == ()
    assert logging.getLogger("presidio-analyzer").disabled
