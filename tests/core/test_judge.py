"""Whether a match is a finding: context, score, validators."""

from __future__ import annotations

import pytest

from safeproxy.core import judge as judge_module
from safeproxy.core.judge import CONTEXT_REACH, Judge
from safeproxy.core.rule import Context, Rule, View
from safeproxy.core.validators import VALIDATORS
from safeproxy.errors import DetectorError, RuleError


def judge(**keys: object) -> Judge:
    return Judge(Rule(id="card", entity="CARD", pattern=r"\d+", **keys))  # type: ignore[arg-type]


def test_a_rule_without_conditions_always_counts() -> None:
    """Then the span need not even be looked at."""
    assert judge().always
    assert judge().score("", "1") == 1.0
    assert not judge(validators=("luhn",)).always
    assert not judge(score=0.4).always
    assert not judge(context=Context(("card",))).always


def test_a_score_must_reach_the_threshold() -> None:
    """Reaching it is enough."""
    assert judge(score=0.5, threshold=0.5).score("", "1") == 0.5
    assert judge(score=0.49, threshold=0.5).score("", "1") is None


def test_a_context_word_adds_its_bonus() -> None:
    """The sum is rounded, so that 0.7 and 0.1 do reach 0.8, and never passes 1."""
    close = judge(score=0.7, threshold=0.8, context=Context(("card",), bonus=0.1))
    assert close.score("my card ", "1") == 0.8
    assert close.score("my ", "1") is None
    assert judge(score=0.9, context=Context(("card",), bonus=0.9)).score("card ", "1") == 1.0


@pytest.mark.parametrize(
    ("before", "near"),
    [
        ("card ", True),
        ("CARD: ", True),
        ("credit-line no ", True),
        ("card one two ", True),
        ("card one two three ", False),
        ("cards ", False),
        ("postcard ", False),
        ("line credit ", False),
        ("", False),
        ("card" + " " * (CONTEXT_REACH - 4), True),
        ("card" + " " * (CONTEXT_REACH - 3), False),
    ],
)
def test_context_is_whole_words_in_a_window_of_words(before: str, near: bool) -> None:
    """Three words back, at most 128 code points, case folded, a phrase as a whole."""
    wanted = judge(score=0.3, context=Context(("card", "Credit Line"), window=3))
    assert (wanted.score(before, "1") is not None) is near


def test_context_folds_case_as_unicode_does() -> None:
    """A sharp s is a double s."""
    wanted = judge(score=0.3, context=Context(("Stra\u00dfe",)))
    assert wanted.score("STRASSE ", "1") is not None


def test_all_validators_must_accept() -> None:
    """One that refuses is enough."""
    assert judge(validators=("luhn", "imei")).score("", "490154203237518") == 1.0
    assert judge(validators=("luhn", "credit_card")).score("", "490154203237518") is None


def test_validators_read_what_the_rule_reads() -> None:
    """A span is folded into the rule's view first."""
    hidden = "0x5290840009852788\u200b6E0F7030069857D2E4169EE7"
    assert judge(validators=("eth_address",), view=View.NFKD).score("", hidden) == 1.0
    assert judge(validators=("eth_address",)).score("", hidden) is None


def test_no_validator_is_asked_where_the_score_is_too_low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Context is cheaper, and decides first."""

    def broken(text: str) -> bool:
        raise ValueError(text)

    monkeypatch.setattr(judge_module, "VALIDATORS", {**VALIDATORS, "broken": broken})
    assert judge(validators=("broken",), score=0.1).score("", "1") is None


def test_a_validator_that_breaks_is_a_detector_error_without_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule and the kind of error are named; what was matched is not."""

    def broken(text: str) -> bool:
        raise ValueError(text)

    monkeypatch.setattr(judge_module, "VALIDATORS", {**VALIDATORS, "broken": broken})
    with pytest.raises(DetectorError) as caught:
        judge(validators=("broken",)).score("", "a secret")
    assert str(caught.value) == "a validator of rule 'card' broke: ValueError"
    assert caught.value.__suppress_context__


def test_a_validator_that_does_not_exist_is_refused() -> None:
    """The message lists those that do."""
    with pytest.raises(RuleError, match="there is no validator 'lun'; there are: luhn, credit_card, "):
        judge(validators=("luhn", "lun"))
