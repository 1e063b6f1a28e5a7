"""One recognizer of Presidio made ready to run in a stream: its patterns, its checks, its context words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import regex

from safeproxy.core.rule import Overflow, Rule
from safeproxy.errors import DetectorError, RuleError
from safeproxy.presidio.buffer import Buffer
from safeproxy.presidio.patterns import Prepared, folded, prepare
from safeproxy.presidio.phones import Number, Region, region_of
from safeproxy.presidio.recognizers import presidio


class Raw(NamedTuple):
    """A result of one recognizer before context is looked at."""

    start: int
    end: int
    score: float


#: From a match of a pattern, by its positions, to the results it makes: most often one, or none.
Check = Callable[[Buffer, int, int], list[Raw]]


@dataclass(frozen=True, slots=True)
class PatternSource:
    """One pattern of a recognizer."""

    name: str
    prepared: Prepared
    score: float
    most: float
    """The highest score that a match can get without context."""
    check: Check

    def rule(self, max_length: int, overflow: Overflow) -> Rule:
        """The rule that finds its matches, whatever becomes of them."""
        return Rule(
            id=self.name,
            entity="MATCH",
            pattern=self.prepared.source,
            flags=self.prepared.flags,
            score=self.score,
            threshold=0.0,
            max_length=max_length,
            overflow=overflow,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One recognizer. It has either patterns or regions."""

    name: str
    entity: str
    language: str
    context: tuple[str, ...]
    """Its context words, lower-cased."""
    patterns: tuple[PatternSource, ...] = ()
    regions: tuple[Region, ...] = ()
    number_score: float = 0.0
    """The score of a telephone number."""
    is_number: Callable[[Number], bool] = bool
    """Whether a telephone number counts for the recognizer."""

    @property
    def most(self) -> float:
        """The highest score that a result can get without context."""
        return max([self.number_score, *(pattern.most for pattern in self.patterns)])

    @property
    def bounded(self) -> tuple[str, ...]:
        """Where it may find other things than Presidio: patterns that look around without bound."""
        return tuple(f"{p.name}: {p.prepared.bounded}" for p in self.patterns if p.prepared.bounded)


def source_of(recognizer: Any) -> Source:
    """The recognizer made ready.

    Raises RuleError for a recognizer that is no pattern or telephone recognizer, or has a pattern that cannot run.
    """
    package = presidio()
    predefined = package.predefined_recognizers
    kind = type(recognizer)
    if kind.enhance_using_context is not package.EntityRecognizer.enhance_using_context:
        raise RuleError(_needs_window(recognizer, "judges context by itself"))
    if isinstance(recognizer, predefined.PhoneRecognizer):
        return _phones(recognizer)
    if not isinstance(recognizer, package.PatternRecognizer):
        raise RuleError(_needs_window(recognizer, "is no PatternRecognizer"))
    is_iban = kind.analyze is predefined.IbanRecognizer.analyze
    if not is_iban and kind.analyze is not package.PatternRecognizer.analyze:
        raise RuleError(_needs_window(recognizer, "has an analyze() of its own"))
    return _patterns(recognizer, is_iban=is_iban)


def _needs_window(recognizer: Any, why: str) -> str:
    return (
        f"the recognizer {recognizer.name} {why}, so it needs whole sentences; write `detector: recognizer` and its "
        "import path as the model"
    )


def _common(recognizer: Any) -> dict[str, Any]:
    return {
        "name": recognizer.name,
        "entity": recognizer.supported_entities[0],
        "language": recognizer.supported_language,
        "context": tuple(word.lower() for word in recognizer.context or ()),
    }


def _patterns(recognizer: Any, *, is_iban: bool) -> Source:
    base = presidio().PatternRecognizer
    validates = type(recognizer).validate_result is not base.validate_result
    found = []
    for pattern in recognizer.patterns:
        flags = int(recognizer.global_regex_flags)
        try:
            prepared = prepare(_with_folded_words(pattern.regex, recognizer.deny_list, flags), flags)
        except RuleError as error:
            raise RuleError(f"the recognizer {recognizer.name}, pattern {pattern.name!r}: {error}") from None
        make = _check_iban if is_iban else _check
        check = partial(make, recognizer, pattern.score)
        found.append(
            PatternSource(
                name=f"{recognizer.name}/{pattern.name}",
                prepared=prepared,
                score=pattern.score,
                most=1.0 if validates else pattern.score,
                check=check,
            )
        )
    return Source(**_common(recognizer), patterns=tuple(found))


def _with_folded_words(source: str, words: Sequence[str], flags: int) -> str:
    """The pattern that Presidio makes of a deny list, its words folded: there may be thousands."""
    listed = "|".join(map(regex.escape, words))
    return source.replace(f"({listed})", f"({folded(words, flags)})") if words else source


def _check(recognizer: Any, score: float, buffer: Buffer, start: int, end: int) -> list[Raw]:
    """What `PatternRecognizer.analyze` makes of a match."""
    text = buffer.slice(start, end)
    try:
        valid = recognizer.validate_result(text)
        invalid = recognizer.invalidate_result(text)
    except Exception as error:  # noqa: BLE001
        # Whatever it is, the stream must fail closed. Its message may quote the text: keep its type only.
        raise DetectorError(f"the recognizer {recognizer.name} broke: {type(error).__name__}") from None
    if valid is not None:
        score = 1.0 if valid else 0.0
    if invalid or score <= 0:
        return []
    return [Raw(start, end, score)]


def _check_iban(recognizer: Any, _score: float, buffer: Buffer, start: int, end: int) -> list[Raw]:
    """What `IbanRecognizer.analyze`, which also tries shorter numbers, makes of a match."""
    try:
        results = recognizer.analyze(buffer.slice(start, end), [])
    except Exception as error:  # noqa: BLE001 - as above
        raise DetectorError(f"the recognizer {recognizer.name} broke: {type(error).__name__}") from None
    return [Raw(start + result.start, start + result.end, result.score) for result in results]


def _phones(recognizer: Any) -> Source:
    predefined = presidio().predefined_recognizers
    kind = type(recognizer)
    leniency = recognizer.leniency
    regions = tuple(Region(code, leniency) for code in recognizer.supported_regions)
    common = {**_common(recognizer), "regions": regions, "number_score": recognizer.SCORE}
    if kind.analyze is predefined.PhoneRecognizer.analyze:
        return Source(**common)
    if (of_lines := getattr(predefined, "ZaMobileNumberRecognizer", None)) and kind.analyze is of_lines.analyze:
        return Source(**common, is_number=partial(_is_on_line, recognizer))
    raise RuleError(_needs_window(recognizer, "has an analyze() of its own"))


def _is_on_line(recognizer: Any, number: Number) -> bool:
    """Whether `ZaPhoneNumberRecognizer.analyze` keeps a number: mobile, or on a line, whichever it is for."""
    if region_of(number.number) != recognizer.REGION:
        return False
    return bool(recognizer._classify(number.number) == recognizer.target_classification)


def described(source: Source) -> Iterator[str]:
    """All that decides what a source finds, but for the code of its checks."""
    yield f"{source.name}|{source.entity}|{source.language}|{'|'.join(source.context)}"
    for pattern in source.patterns:
        yield f"{pattern.name}|{pattern.prepared.source}|{pattern.prepared.flags}|{pattern.score}"
    for region in source.regions:
        yield f"{region.code}|{region.leniency}"
