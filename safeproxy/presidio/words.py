"""Words as Presidio's context enhancement sees them, found in a text that is told piece by piece.

Presidio looks at the token in which a match begins and at the words before it, stop words and punctuation left out,
however far back they are; and, where that token does not count itself, at the next word after it. spaCy's rule-based
tokenizers treat each run of characters between white space by itself, so a run can be split as soon as it is complete,
and only where somebody asks. A run longer than `MAX_RUN` is split there, so that neither the hold nor the work grows
with it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple

from safeproxy.presidio.buffer import Buffer

#: Longest run of characters, or of white space, that is split into tokens as one, in code points.
MAX_RUN = 256
#: How far after a place the next word is looked for, in code points.
MAX_AHEAD = 256
#: Most runs whose tokens are remembered.
MAX_REMEMBERED = 4096

# A run and the white space after it. `re` and spaCy both ask `str.isspace`; `regex` would not.
_UNIT = re.compile(rf"(\S{{1,{MAX_RUN}}})(\s{{0,{MAX_RUN}}})|(\s{{1,{MAX_RUN}}})")
# Half a pair, which JSON can spell and spaCy cannot take.
_SURROGATE = re.compile("[\ud800-\udfff]")
#: Lemmas that `NlpArtifacts.set_keywords` leaves out beside stop words and punctuation.
_LEFT_OUT = frozenset({"be", "-PRON-"})


class Token(NamedTuple):
    """One token: where it ends in its run, its text, and the word that counts for context, if it is one."""

    end: int
    text: str
    keyword: str


class Tokenizer:
    """spaCy's tokenizer of a language without any model; English where the language's own is of another make.

    It remembers a bounded number of runs, and spaCy's own memory of strings does not grow.
    """

    def __init__(self, language: str) -> None:
        from spacy.lang.lex_attrs import is_punct

        self._spacy = _blank(language)
        self._is_punct = is_punct
        self._stop_words: frozenset[str] = frozenset(self._spacy.Defaults.stop_words)
        self._remembered: dict[str, tuple[Token, ...]] = {}

    def tokens(self, run: str) -> tuple[Token, ...]:
        """The tokens of a run without white space."""
        known = self._remembered.get(run)
        if known is None:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[run] = tuple(self._split(run))
        return known

    def _split(self, run: str) -> Iterator[Token]:
        with self._spacy.memory_zone():
            texts = [token.text for token in self._spacy.tokenizer(_SURROGATE.sub("\ufffd", run))]
        end = 0
        for text in texts:
            end += len(text)
            yield Token(end, text, self._keyword(text))

    def _keyword(self, text: str) -> str:
        """The lower-cased word, or nothing where it does not count."""
        lemma = text.lower()
        return "" if lemma in _LEFT_OUT or self.is_stop(lemma) or self.is_punct(lemma) else lemma

    def is_stop(self, lemma: str) -> bool:
        """Whether it is a stop word, or holds a colon.

        Presidio counts the parts of a token with a colon, not the token. Its parts would make stop words of the same
        spelling count in the whole text, before and after: what is said later would change what was found earlier.
        """
        return lemma.lower() in self._stop_words or ":" in lemma

    def is_punct(self, lemma: str) -> bool:
        """Whether all of it is punctuation, as spaCy has it."""
        return bool(self._is_punct(lemma))


def _blank(language: str) -> Any:
    """A pipeline of spaCy with a tokenizer only, which splits at white space first."""
    import spacy
    import spacy.tokenizer

    try:
        pipeline = spacy.blank(language)
    except ImportError:  # the language is unknown, or its tokenizer needs a package of its own
        return spacy.blank("en")
    return pipeline if type(pipeline.tokenizer) is spacy.tokenizer.Tokenizer else spacy.blank("en")


class Unit(NamedTuple):
    """A run and the white space after it, by their positions; a unit of white space alone has an empty run."""

    start: int
    run_end: int
    end: int


def space_token(space: str, *, after_run: bool) -> str:
    """The white space that is a token of its own: one space after a word belongs to the word."""
    return space[1:] if after_run and space.startswith(" ") else space


def _unit(found: re.Match[str], offset: int = 0) -> Unit:
    start = found.start() + offset
    return Unit(start, start if found[1] is None else found.end(1) + offset, found.end() + offset)


def units(text: str) -> Iterator[Unit]:
    """All units of a whole text."""
    return map(_unit, _UNIT.finditer(text))


class Words:
    """The words near a place in one channel's text, for one language; at most ``count`` before it."""

    def __init__(self, tokenizer: Tokenizer, buffer: Buffer, count: int) -> None:
        self._tokenizer = tokenizer
        self._buffer = buffer
        self._count = count
        self._units: list[Unit] = []  # all that are complete, from the buffer's start on
        self._starts: list[int] = []
        self._next = 0  # where the first unit begins that is not among them
        self._carried: tuple[str, ...] = ()  # the last words before the buffer, newest first

    def before(self, start: int) -> tuple[str, ...] | None:
        """The words that count from the token on in which ``start`` lies, newest first.

        None while later text may change that token. As in Presidio, a place in the one space after a word belongs to
        the token that follows; where none follows there are no words.
        """
        place = self._unit_at(start)
        if place is None:
            return None
        number, unit = place
        if start < unit.run_end:
            return self._with_earlier(number, self._run_words(unit, start - unit.start))
        space = self._space_words(unit)
        if space:
            return self._with_earlier(number, [*space, *self._run_words(unit)])
        if self._buffer.ended and unit.end == self._buffer.end:
            return ()
        return self.before(unit.end)

    def after(self, start: int) -> str | None:
        """The first word that counts from that token on; empty if there is none near, None if it is not known yet."""
        position = start
        while position <= start + MAX_AHEAD:
            place = self._unit_at(position)
            if place is None:
                return "" if self._buffer.ended else None
            number, unit = place
            words = self._run_words_after(unit, position - unit.start) or self._space_words(unit)
            if words:
                return words[0]
            if number == len(self._units):
                return None  # more white space may come, which would be a token
            position = unit.end
        return ""

    def trim(self, position: int) -> int:
        """Forget the text before ``position``, but for the words that may be asked for; give where the rest begins.

        The buffer must keep its text from there on.
        """
        place = self._unit_at(position)
        number = len(self._units) if place is None else place[0]
        kept = self._starts[number] if number < len(self._units) else self._next
        self._carried = self._with_earlier(number, [])
        del self._units[:number]
        del self._starts[:number]
        return kept

    def _unit_at(self, position: int) -> tuple[int, Unit] | None:
        """The unit that holds this position, and its number; None while it is not known how far its run goes."""
        if position < self._next:
            number = bisect_right(self._starts, position) - 1
            return number, self._units[number]
        text, offset = self._buffer.text, self._buffer.offset
        while (found := _UNIT.match(text, self._next - offset)) is not None:
            unit = _unit(found, offset)
            run_is_known = unit.end > unit.run_end or unit.run_end - unit.start == MAX_RUN
            is_whole = found.end() < len(text) or self._buffer.ended or unit.end - unit.run_end == MAX_RUN
            if not is_whole:
                return (len(self._units), unit) if run_is_known and position < unit.run_end else None
            self._units.append(unit)
            self._starts.append(unit.start)
            self._next = unit.end
            if position < unit.end:
                return len(self._units) - 1, unit
        return None

    def _run_words(self, unit: Unit, at: int = MAX_RUN) -> list[str]:
        """The words of a unit's run up to the token that goes on after ``at``, newest first."""
        words: list[str] = []
        for token in self._tokenizer.tokens(self._buffer.slice(unit.start, unit.run_end)):
            if token.keyword:
                words.append(token.keyword)
            if token.end > at:
                break
        words.reverse()
        return words

    def _run_words_after(self, unit: Unit, at: int) -> list[str]:
        """The words of a unit's run from the token on that goes on after ``at``, in order."""
        tokens = self._tokenizer.tokens(self._buffer.slice(unit.start, unit.run_end))
        return [token.keyword for token in tokens if token.end > at and token.keyword]

    def _space_words(self, unit: Unit) -> list[str]:
        """The white space of a unit, where it is a token: it counts as a word, whatever it is."""
        space = space_token(self._buffer.slice(unit.run_end, unit.end), after_run=unit.run_end > unit.start)
        return [" "] if space else []

    def _with_earlier(self, number: int, words: list[str]) -> tuple[str, ...]:
        """These words and those of the units before ``number``, as many as count."""
        while number > 0 and len(words) < self._count:
            number -= 1
            unit = self._units[number]
            words += self._space_words(unit)
            words += self._run_words(unit)
        return (*words, *self._carried)[: self._count]
