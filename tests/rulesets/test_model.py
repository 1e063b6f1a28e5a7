"""The rule model: what each key may say, and what a rule becomes in the core."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import pytest
from pydantic import ValidationError

from safeproxy.core.rule import Context, Engine, Filters, Overflow, Rule, View
from safeproxy.events import Action, ChannelKind, Severity
from safeproxy.rulesets.model import RuleModel

LEAST: dict[str, Any] = {"id": "a", "title": "A", "entity": "A", "category": "other", "pattern": "a"}
WORDS: dict[str, Any] = {"id": "a", "title": "A", "entity": "A", "category": "other", "words": ["a"]}

NER: dict[str, Any] = {"id": "a", "title": "A", "entity": "A", "category": "other", "detector": "ner"}
PRESIDIO: dict[str, Any] = {"id": "a", "title": "A", "entity": "A", "category": "other", "presidio": "CREDIT_CARD"}

#: Keys that make a sound rule broken, and a part of what is said; the schema test uses them as well.
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({**LEAST, "id": "Email"}, "match pattern"),
    ({**LEAST, "id": ".a"}, "match pattern"),
    ({**LEAST, "id": ""}, "match pattern"),
    ({**LEAST, "id": 5}, "valid string"),
    ({**LEAST, "title": ""}, "at least 1"),
    ({**LEAST, "title": "a\nb"}, "match pattern"),
    ({**LEAST, "entity": "email"}, "match pattern"),
    ({**LEAST, "category": "nice"}, "'personal', 'secret'"),
    ({**LEAST, "severity": "bad"}, "'low', 'medium'"),
    ({**LEAST, "action": "block"}, "'observe', 'mask'"),
    ({**LEAST, "pattern": ""}, "at least 1"),
    ({**LEAST, "pattern": None}, "valid string"),
    ({**LEAST, "words": ["a"]}, "given together"),
    ({**LEAST, "words_file": "a.txt"}, "given together"),
    ({key: LEAST[key] for key in LEAST if key != "pattern"}, "looks for nothing"),
    ({key: LEAST[key] for key in LEAST if key != "title"}, "required"),
    ({**WORDS, "words": []}, "at least 1"),
    ({**WORDS, "words": [""]}, "at least 1"),
    ({**WORDS, "words": "a"}, "valid tuple"),
    ({**WORDS, "words": ["a" * 257]}, "at most 256"),
    ({**NER, "pattern": "a"}, "given together"),
    ({**NER, "presidio": "a"}, "given together"),
    ({**NER, "detector": "Ner"}, "match pattern"),
    ({**NER, "labels": []}, "at least 1"),
    ({**NER, "filters": {"min_length": 0}}, "greater than or equal to 1"),
    ({**NER, "filters": {"allow": [""]}}, "at least 1"),
    ({**LEAST, "flags": "z"}, "'z' is not a flag"),
    ({**LEAST, "engine": "re2"}, "'automaton' or 'regex'"),
    ({**LEAST, "validate": "lun"}, "'lun' is not a validator"),
    ({**LEAST, "validate": []}, "at least 1"),
    ({**LEAST, "validate": [["luhn"]]}, "valid string"),
    ({**LEAST, "context": {}}, "required"),
    ({**LEAST, "context": {"words": []}}, "at least 1"),
    ({**LEAST, "context": {"words": ["a"], "window": 0}}, "greater than or equal to 1"),
    ({**LEAST, "context": {"words": ["a"], "bonus": 0}}, "greater than 0"),
    ({**LEAST, "context": {"words": ["a"], "bonus": 1.5}}, "less than or equal to 1"),
    ({**LEAST, "score": -0.1}, "greater than or equal to 0"),
    ({**LEAST, "score": "0.5"}, "valid number"),
    ({**LEAST, "threshold": 1.1}, "less than or equal to 1"),
    ({**LEAST, "placeholder": "<EMAIL>"}, "match pattern"),
    ({**LEAST, "placeholder": "[E MAIL]"}, "match pattern"),
    ({**LEAST, "keep": -1}, "greater than or equal to 0"),
    ({**LEAST, "keep": 65}, "less than or equal to 64"),
    ({**LEAST, "view": "nfkc"}, "'raw', 'nfkd' or 'skeleton'"),
    ({**LEAST, "max_length": 0}, "greater than or equal to 1"),
    ({**LEAST, "max_length": 65_537}, "less than or equal to 65536"),
    ({**LEAST, "max_length": True}, "valid integer"),
    ({**LEAST, "overflow": "halt"}, "'redact' or 'release'"),
    ({**LEAST, "on": {"channels": []}}, "at least 1"),
    ({**LEAST, "on": {"channels": ["content", "content"]}}, "given twice"),
    ({**LEAST, "on": {"channels": ["prompt"]}}, "'content', 'refusal'"),
    ({**LEAST, "on": {"request": "yes"}}, "valid boolean"),
    ({**LEAST, "enabled": "true"}, "valid boolean"),
    ({**LEAST, "tests": {"match": [{"text": "a", "spans": []}]}}, "at least 1"),
    ({**LEAST, "tests": {"match": [{"text": "", "spans": [[0, 1]]}]}}, "at least 1"),
    ({**LEAST, "tests": {"match": [{"text": "a", "spans": [[0, 1, 2]]}]}}, "at most 2"),
    ({**LEAST, "tests": {"match": [{"text": "a", "spans": [[-1, 1]]}]}}, "greater than or equal to 0"),
    ({**LEAST, "tests": {"no_match": [{"text": "a"}]}}, "required"),
    ({**LEAST, "tests": {"no_match": [{"text": "a", "why": ""}]}}, "at least 1"),
    ({**LEAST, "tests": {"known_gap": [{"text": "a"}]}}, "required"),
    ({**LEAST, "color": "red"}, "not permitted"),
]

#: As above; JSON Schema cannot say these.
BROKEN_BEYOND_SCHEMA: list[tuple[dict[str, Any], str]] = [
    ({**LEAST, "pattern": "(a"}, "missing ) at position 2"),
    ({**LEAST, "pattern": "(" * 5000 + "a" + ")" * 5000}, "nested deeper than"),
    ({**LEAST, "flags": "ii"}, "given twice"),
    ({**WORDS, "words": ["  "]}, "this entry is empty"),
    ({**WORDS, "flags": "s"}, "means nothing for words"),
    ({**WORDS, "engine": "regex"}, "words always run in the automaton"),
    ({**LEAST, "context": {"words": ["--"]}}, "no letter or digit"),
    (
        {**LEAST, "score": 0.2, "context": {"words": ["a"], "bonus": 0.25}},
        "no match can reach 0.5, the best score is 0.45",
    ),
    ({**LEAST, "score": 0.4}, "no match can reach 0.5"),
    ({**LEAST, "score": float("nan")}, "finite number"),
    ({**LEAST, "on": {"request": False, "response": False}}, "looks at nothing"),
    ({**LEAST, "tests": {"match": [{"text": "ab", "spans": [[1, 1]]}]}}, "is no span"),
    ({**LEAST, "tests": {"match": [{"text": "ab", "spans": [[1, 3]]}]}}, "is no span"),
    ({**LEAST, "tests": {"match": [{"text": "ab", "spans": [[1, 2], [0, 1]]}]}}, "expected order"),
    ({**{key: LEAST[key] for key in LEAST if key != "pattern"}, "words_file": "/etc/words"}, "absolute"),
    ({**LEAST, "validate": ["luhn", "luhn"]}, "given twice"),
    ({**NER, "flags": "i"}, "flags belongs to a pattern or words"),
    ({**NER, "validate": "luhn"}, "validate belongs to a pattern or words"),
    ({**LEAST, "model": "m"}, "model belongs to a detector"),
    ({**WORDS, "strict": True}, "strict belongs to a detector"),
    ({**PRESIDIO, "model": "m"}, "model belongs to a detector"),
    ({**PRESIDIO, "view": "raw"}, "view belongs to a pattern or words"),
    ({**NER, "detector": "presidio"}, "named by the key presidio"),
    ({**NER, "labels": ["X", "X"]}, "given twice"),
]

#: Sound rules; the schema test uses them as well.
SOUND: list[dict[str, Any]] = [
    LEAST,
    WORDS,
    {**WORDS, "words": ["one", "two words"], "flags": "i", "view": "skeleton"},
    {**LEAST, "validate": "luhn"},
    {**LEAST, "validate": ["luhn", "iban"]},
    {**LEAST, "score": 1, "threshold": 0},
    {**LEAST, "context": {"words": ["a b"], "window": 50, "bonus": 1}},
    {**LEAST, "on": {"request": True, "response": False, "channels": ["content", "audio"]}},
    {**LEAST, "placeholder": "[a:B_c-1]"},
    NER,
    {**NER, "model": "en_core_web_sm", "labels": ["GPE", "LOC"], "filters": {"min_length": 3, "allow": ["Ada"]}},
    {**NER, "detector": "toxicity", "strict": True, "threshold": 0.9},
    PRESIDIO,
    {**PRESIDIO, "labels": ["CREDIT_CARD"], "threshold": 0.1},
    {
        **LEAST,
        "tests": {
            "match": [{"text": "ab", "spans": [[0, 1], [1, 2]]}],
            "no_match": [{"text": "b", "why": "no a"}],
            "known_gap": [{"text": "c", "why": "not yet"}],
        },
    },
]


@pytest.mark.parametrize(("keys", "message"), BROKEN + BROKEN_BEYOND_SCHEMA)
def test_a_broken_rule_is_refused(keys: dict[str, Any], message: str) -> None:
    """Each wrong value is refused, and for the right reason."""
    with pytest.raises(ValidationError) as caught:
        RuleModel.model_validate(keys)
    assert message in str(caught.value)


@pytest.mark.parametrize("keys", SOUND)
def test_a_sound_rule_is_taken(keys: dict[str, Any]) -> None:
    """What the format allows becomes a rule with that id."""
    assert RuleModel.model_validate(keys).rule().id == "a"


def test_what_is_not_said_has_the_defaults_of_the_core() -> None:
    """The model and the core agree on the defaults."""
    assert RuleModel.model_validate(LEAST).rule() == Rule(id="a", title="A", entity="A", category="other", pattern="a")


def test_every_key_reaches_the_rule() -> None:
    """A rule that says everything keeps everything."""
    model = RuleModel.model_validate(
        {
            "id": "card",
            "title": "Card",
            "entity": "CARD",
            "category": "personal",
            "severity": "critical",
            "action": "mask",
            "pattern": r"\d+",
            "flags": "im",
            "engine": "regex",
            "validate": ["luhn", "credit_card"],
            "context": {"words": ["card"], "window": 3, "bonus": 0.25},
            "score": 0.4,
            "threshold": 0.6,
            "placeholder": "[CC]",
            "keep": 2,
            "view": "nfkd",
            "max_length": 40,
            "overflow": "release",
            "on": {"request": True, "response": False, "channels": ["audio"]},
        }
    )
    assert model.rule() == Rule(
        id="card",
        title="Card",
        entity="CARD",
        category="personal",
        severity=Severity.CRITICAL,
        action=Action.MASK,
        pattern=r"\d+",
        flags="im",
        engine=Engine.REGEX,
        validators=("luhn", "credit_card"),
        context=Context(("card",), 3, 0.25),
        score=0.4,
        threshold=0.6,
        placeholder="[CC]",
        mask_keep=2,
        view=View.NFKD,
        max_length=40,
        overflow=Overflow.RELEASE,
        channels=frozenset({ChannelKind.AUDIO}),
        request=True,
        response=False,
    )


def test_every_key_of_a_model_reaches_the_rule() -> None:
    """Which model, what of it, and what counts."""
    model = RuleModel.model_validate(
        {
            **NER,
            "model": "en_core_web_sm",
            "labels": ["GPE"],
            "strict": True,
            "threshold": 0.7,
            "filters": {"min_length": 3, "full_name": True, "allow": ["Ada"]},
        }
    )
    rule = model.rule()
    assert (rule.detector, rule.model, rule.labels, rule.pattern) == ("ner", "en_core_web_sm", ("GPE",), None)
    assert (rule.strict, rule.threshold, rule.filters) == (True, 0.7, Filters(3, True, ("Ada",)))


def test_a_names_model_s_findings_count_unless_the_rule_asks_for_more() -> None:
    """What is found by default is what spaCy finds; other detectors have the threshold of any rule."""
    assert RuleModel.model_validate(NER).rule().threshold == 0
    assert RuleModel.model_validate({**NER, "threshold": 0.5}).rule().threshold == 0.5
    assert RuleModel.model_validate({**NER, "detector": "toxicity"}).rule().threshold == 0.5


def test_a_file_of_recognizers_lies_beside_the_rule_file() -> None:
    """A class or an entity lies nowhere."""
    folder = PurePath("some/rules")
    assert RuleModel.model_validate(PRESIDIO).rule((), folder).model == "CREDIT_CARD"
    assert RuleModel.model_validate(PRESIDIO).rule().detector == "presidio"
    own = RuleModel.model_validate({**PRESIDIO, "presidio": "own.yaml#Titles"})
    assert own.rule((), folder).model == "some/rules/own.yaml#Titles"


def test_words_are_folded_unless_the_rule_says_otherwise() -> None:
    """A list of words is met however the text spells them; a pattern is read as it stands."""
    assert RuleModel.model_validate(WORDS).rule().view is View.SKELETON
    assert RuleModel.model_validate({**WORDS, "view": "raw"}).rule().view is View.RAW
    assert RuleModel.model_validate(LEAST).rule().view is View.RAW


def test_words_are_stripped_and_kept_once() -> None:
    """White space around an entry means nothing, and neither does a second copy."""
    assert RuleModel.model_validate({**WORDS, "words": [" b", "a ", "b"]}).rule().words == ("b", "a")


def test_the_words_of_a_file_become_the_rules_words() -> None:
    """The caller reads the file; the model does not."""
    model = RuleModel.model_validate({"id": "a", "title": "A", "entity": "A", "category": "other", "words_file": "w"})
    assert model.rule(("x", "y")).words == ("x", "y")


def test_a_bonus_that_adds_up_to_the_threshold_reaches_it() -> None:
    """0.7 + 0.1 is 0.8, although not in binary."""
    keys = {**LEAST, "score": 0.7, "threshold": 0.8, "context": {"words": ["a"], "bonus": 0.1}}
    assert RuleModel.model_validate(keys).threshold == 0.8
