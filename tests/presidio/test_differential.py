"""The findings in the stream are those of `AnalyzerEngine.analyze` on the whole text.

`python -m safeproxy.presidio.compare FOLDER` does the same over a folder of texts.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from safeproxy.presidio.compare import Comparison, Found, cuttings, local_references
from tests.presidio.samples import context_words, text

LANGUAGES = ("de", "es", "fi", "it", "ko", "pl", "sv", "th", "tr")
#: What looks ahead without a bound in Presidio, and here 64 characters: see `test_what_looks_ahead_without_bound`.
UNBOUNDED = ("InPanRecognizer", "UsHealthInsuranceMemberIdRecognizer")
QUICK = settings(
    max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
)
HERE = Path(__file__).parent
seeds = st.integers(min_value=0, max_value=2**32)


@cache
def compared(language: str, threshold: float) -> Comparison:
    references = [name for name in local_references(language) if name not in UNBOUNDED]
    return Comparison(references, language, threshold)


@cache
def context(language: str) -> list[str]:
    return context_words(language)


def assert_same(language: str, threshold: float, seed: int, most: int = 40) -> int:
    """Compare on one generated text, whole and cut; give how many findings there are."""
    chance = random.Random(seed)
    sample = text(chance, language, context(language), most)
    comparison = compared(language, threshold)
    expected = comparison.whole(sample)
    assert comparison.streamed([sample]) == expected
    assert comparison.streamed(cuttings(sample, chance)) == expected
    return len(expected)


@QUICK
@given(seeds)
@example(0)
def test_all_english_recognizers_together(seed: int) -> None:
    """Every score counts, however low, so that what covers what and what context does are seen too."""
    assert_same("en", 0.01, seed)


@QUICK
@given(seeds)
def test_with_a_threshold(seed: int) -> None:
    """Patterns that cannot reach the threshold are left out, and nothing else changes."""
    assert_same("en", 0.5, seed)


@pytest.mark.parametrize("language", LANGUAGES)
def test_other_languages(language: str) -> None:
    """The recognizers of each other language, with the stop words and the tokenizer of the language."""
    assert sum(assert_same(language, 0.01, seed) for seed in range(8)) > 0


def test_the_generated_texts_are_full_of_findings() -> None:
    """A comparison of nothing with nothing would prove nothing."""
    chance = random.Random(1)
    found = [finding for _ in range(40) for finding in compared("en", 0.01).whole(text(chance, "en", context("en")))]
    assert len(found) > 300
    assert len({finding.entity for finding in found}) > 45


def test_a_long_text() -> None:
    """Text that is longer than what a stream keeps of it."""
    assert assert_same("en", 0.01, 7, most=600) > 50


def test_deny_lists_and_classes_of_ones_own() -> None:
    """From Presidio's own files and by import path."""
    references = ["recognizers.yaml#Titles recognizer@en", "tests.presidio.custom:Badges"]
    comparison = Comparison(references, "en", 0.01, HERE)
    chance = random.Random(3)
    parts = ["Mr.", "mrs.", "Dr.", "doctor ", "badge", "B1234", "B1235-6", "B1111", " ", ".", "(", "Mr", "the"]
    found = 0
    for _ in range(150):
        sample = "".join(chance.choices(parts, k=20))
        expected = comparison.whole(sample)
        assert comparison.streamed(cuttings(sample, chance)) == expected
        found += len(expected)
    assert found > 100


@pytest.mark.parametrize("name", ["Nested", "nested_without_context"])
def test_matches_inside_of_each_other(name: str) -> None:
    """What is covered is dropped before its context is looked at, however much later that is known."""
    comparison = Comparison([f"tests.presidio.custom:{name}"], "en", 0.01)
    covered, longer = "X badge 1234z y", "no. 1234-567890. 1234-5678-90"
    assert comparison.streamed(covered) == comparison.whole(covered) == [Found("NESTED", 0, 12, 0.3)]
    assert comparison.streamed(longer) == comparison.whole(longer) != []
    chance = random.Random(5)
    parts = ["X badge ", "1234", "1234-5678", "-", "-90", " ", "z", "badge", "::", "the "]
    for _ in range(100):
        sample = "".join(chance.choices(parts, k=15))
        assert comparison.streamed(sample) == comparison.whole(sample)


def test_the_word_after_counts_where_the_own_does_not() -> None:
    """A token with a colon is no word, so Presidio takes the next one, stop words left out."""
    comparison = compared("en", 0.01)
    for sample in ("fe80::1%eth0 of the ip x", "fe80::1%eth0 x of the ip", "fe80::1%eth0\nip", "fe80::1%eth0  ip"):
        assert comparison.streamed(sample) == comparison.whole(sample)
    assert Found("IP_ADDRESS", 0, 12, 0.95) in comparison.whole("fe80::1%eth0 of the ip x")


def test_words_far_back_count() -> None:
    """However many stop words stand between, and however long ago the word was let go."""
    sample = "ssn" + " the" * 3000 + " 987-65-4321 and"
    comparison = compared("en", 0.01)
    expected = comparison.whole(sample)
    assert Found("US_SSN", 12004, 12015, 0.85) in expected
    assert comparison.streamed(cuttings(sample, random.Random(1))) == expected


def test_what_looks_ahead_without_bound() -> None:
    """A word of ten letters is a finding of InPanRecognizer if four digits follow anywhere: here, within 64 characters.

    If this fails because both are the same, take the recognizers out of `UNBOUNDED`.
    """
    comparison = Comparison(["InPanRecognizer"], "en", 0.01)
    near, far = "permission 1234", "permission" + " word" * 20 + " 1234"
    assert comparison.whole(near) == comparison.streamed([near]) != []
    assert comparison.whole(far) == [Found("IN_PAN", 0, 10, 0.01)]
    assert comparison.streamed([far]) == []
