"""Whether a pattern's match is a finding: its validators, its context, its score."""

from __future__ import annotations

import regex

from safeproxy.core.rule import Context, Rule, View
from safeproxy.core.validators import VALIDATORS
from safeproxy.core.views import folded
from safeproxy.errors import DetectorError, RuleError

#: How far before a span its context is looked for, in code points.
CONTEXT_REACH = 128

_WORD = regex.compile(r"\w+")


class Judge:
    """Judges the matches of one rule. Its verdict depends on the span and the text shortly before it alone.

    Raises RuleError for a validator that does not exist.
    """

    def __init__(self, rule: Rule) -> None:
        unknown = [name for name in rule.validators if name not in VALIDATORS]
        if unknown:
            raise RuleError(f"there is no validator {unknown[0]!r}; there are: {', '.join(VALIDATORS)}")
        self._rule = rule
        self._validators = [VALIDATORS[name] for name in rule.validators]
        self._phrases = _phrases(rule.context)
        self.always = not self._validators and rule.context is None and rule.score >= rule.threshold

    def score(self, before: str, span: str) -> float | None:
        """The finding's score, or None when it is no finding.

        ``before`` is the text before the span, at least CONTEXT_REACH code points of it if there are so many.
        Raises DetectorError when a validator breaks.
        """
        score = self.context_score(before)
        if score is None:
            return None
        text = span if self._rule.view is View.RAW else folded(span, self._rule.view)
        try:
            accepted = all(validator(text) for validator in self._validators)
        except Exception as error:  # noqa: BLE001
            # Whatever it is, the stream must fail closed. Its message may quote the text: keep its type only.
            raise DetectorError(f"a validator of rule {self._rule.id!r} broke: {type(error).__name__}") from None
        return score if accepted else None

    def context_score(self, before: str) -> float | None:
        """The score by context alone, or None when it stays below the threshold."""
        rule = self._rule
        score = rule.score
        if self._phrases and rule.context is not None and self._near(before, rule.context.window):
            score = min(1.0, round(score + rule.context.bonus, 6))  # so that 0.7 and 0.1 do reach 0.8
        return score if score >= rule.threshold else None

    def _near(self, before: str, window: int) -> bool:
        words = _WORD.findall(before[-CONTEXT_REACH:])[-window:]
        text = f" {' '.join(word.casefold() for word in words)} "
        return any(phrase in text for phrase in self._phrases)


def _phrases(context: Context | None) -> tuple[str, ...]:
    """Each context entry as its words between single spaces, with a space at both ends."""
    if context is None:
        return ()
    wordless = [entry for entry in context.words if not _WORD.search(entry)]
    if wordless:
        raise RuleError(f"the context entry {wordless[0]!r} has no word in it; give words or phrases")
    return tuple(f" {' '.join(word.casefold() for word in _WORD.findall(entry))} " for entry in context.words)
