"""Recognizers of one's own, as a user would write them."""

from __future__ import annotations

from presidio_analyzer import EntityRecognizer, Pattern, PatternRecognizer, RecognizerResult


class Badges(PatternRecognizer):
    """Badge numbers, whose digits must not be all the same."""

    def __init__(self, supported_language: str = "en") -> None:
        super().__init__(
            supported_entity="BADGE",
            supported_language=supported_language,
            patterns=[Pattern("badge", r"\bB\d{4}\b", 0.3), Pattern("long badge", r"\bB\d{4}-\d\b", 0.2)],
            context=["badge"],
        )

    def validate_result(self, pattern_text: str) -> bool | None:
        if pattern_text == "B9999":
            raise ValueError(pattern_text)
        return True if pattern_text == "B1234" else None

    def invalidate_result(self, pattern_text: str) -> bool:
        return len(set(pattern_text[1:5])) == 1


class Nested(PatternRecognizer):
    """Patterns that match inside of each other, with context words that stand near the inner match only."""

    def __init__(self, supported_language: str = "en", *, with_context: bool = True) -> None:
        super().__init__(
            supported_entity="NESTED",
            supported_language=supported_language,
            patterns=[
                Pattern("outer", r"X badge \d{4}", 0.3),
                Pattern("inner", r"\d{4}", 0.3),
                Pattern("longer", r"\d{4}-\d{4,6}", 0.3),
                Pattern("lower", r"\d{4}-\d{4,6}-\d{2}", 0.2),
            ],
            context=["badge"] if with_context else None,
        )


class Sentences(EntityRecognizer):
    """Looks at whole sentences."""

    def load(self) -> None:
        pass

    def analyze(self, text: str, entities: list[str], nlp_artifacts: object) -> list[RecognizerResult]:
        return []


class OwnContext(Badges):
    """Judges context by itself."""

    def enhance_using_context(self, *_: object, **__: object) -> list[RecognizerResult]:
        return []


badges = Badges()
nested_without_context = Nested(with_context=False)
sentences = Sentences(supported_entities=["S"])
many_words = PatternRecognizer(supported_entity="WORD", deny_list=[f"word{number}" for number in range(3000)])
NOT_ONE = 5
