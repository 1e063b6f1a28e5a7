"""Cuts a text that arrives in pieces into words and sentences, the same way however it is cut.

A word is a run of characters without white space, at most `WORD_CEILING` long; it is complete when white space
follows, when it reaches the ceiling, or at the end of the text. A sentence ends

- after a word that ends in `.`, `!`, `?` or `…` (quotes and brackets may follow), but for common abbreviations,
- at a blank line, or where more than `GAP_CEILING` code points are white space,
- before the mark of a list item, a heading or a quoted line at the start of a line (`-`, `2.`, `##`, `>`),
- after `SENTENCE_WORDS` words or `SENTENCE_CEILING` code points, whichever comes first.

Each of these is known from the text before it, so nothing that comes later moves a border.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import regex

#: A run without white space that reaches this many code points is a word of its own.
WORD_CEILING = 48
#: A sentence is closed after this many words.
SENTENCE_WORDS = 64
#: A sentence is closed by the word that begins this many code points, or more, after its start.
SENTENCE_CEILING = 600
#: More white space than this ends a sentence, so no sentence is longer than the three ceilings together.
GAP_CEILING = 64

_RUN = regex.compile(rf"(\s+)|\S{{1,{WORD_CEILING}}}")
_SPACE = regex.compile(r"\s")
_TERMINAL = regex.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u2019\u201d\u00bb)\]}*_`]*$")
_ABBREVIATION = regex.compile(
    r"[(\"']*(?:[a-z]|[a-z](?:\.[a-z])+|mr|mrs|ms|dr|prof|st|jr|sr|vs|no|fig|cf|approx)\.", regex.I
)
_ITEM_MARK = regex.compile(r"(?:[-*+>|\u2022\u2013\u2014]|#{1,6}|\(?\d{1,3}[.)]|[a-zA-Z][.)])")


class Word(NamedTuple):
    """A complete word: half-open range of code points, its text, and whether it begins or ends its sentence.

    A word that is not ``last`` may still turn out to have been: the next word is then ``first``, or the splitter
    reports a `Break`.
    """

    start: int
    end: int
    text: str
    first: bool
    last: bool


class Break(NamedTuple):
    """The sentence of the words so far has ended, with its last word, by the white space after it."""


class SentenceSplitter:
    """Splits one text, told piece by piece.

    >>> splitter = SentenceSplitter()
    >>> [(word.text, word.last) for word in splitter.feed("Hello there. How a") if isinstance(word, Word)]
    [('Hello', False), ('there.', True), ('How', False)]
    """

    __slots__ = ("_breaks", "_gap", "_sentence_start", "_tail", "_words", "frontier", "position")

    def __init__(self) -> None:
        self._tail = ""  # the unfinished word
        self._breaks = 0  # line ends since the last word
        self._gap = 0  # code points of white space since the last word
        self._words = 0  # of the sentence so far
        self._sentence_start = 0
        self.position = 0
        """Code points taken so far."""
        self.frontier = 0
        """Start of the unfinished word, or the position if there is none."""

    def feed(self, text: str) -> Iterator[Word | Break]:
        """Take the next piece; give the words and breaks that are complete, in order.

        The iterator must be used up before the next piece is fed.
        """
        start = self.frontier
        self.position += len(text)
        buffer = self._tail + text
        if len(buffer) < WORD_CEILING and _SPACE.search(text) is None:
            self._tail = buffer
            return
        self._tail = ""
        for run in _RUN.finditer(buffer):
            piece = run[0]
            if run[1]:
                self.frontier = start + run.end()
                if self._space(piece):
                    yield Break()
            elif run.end() == len(buffer) and len(piece) < WORD_CEILING:
                self._tail = piece
            else:
                self.frontier = start + run.end()
                yield self._word(start + run.start(), piece, cut=len(piece) == WORD_CEILING)

    def finish(self) -> Iterator[Word]:
        """The text has ended: its last word is complete, and so is its last sentence."""
        start, self.frontier = self.frontier, self.position
        if self._tail:
            piece, self._tail = self._tail, ""
            yield self._word(start, piece, cut=False)

    def _space(self, space: str) -> bool:
        """White space; whether it ends the sentence."""
        self._breaks += space.count("\n")
        self._gap += len(space)
        if not self._words or (self._breaks < 2 and self._gap <= GAP_CEILING):
            return False
        self._words = 0
        return True

    def _word(self, start: int, piece: str, *, cut: bool) -> Word:
        if self._breaks:
            if _ITEM_MARK.fullmatch(piece):
                self._words = 0
            self._breaks = 0
        self._gap = 0
        first = not self._words
        if first:
            self._sentence_start = start
        self._words += 1
        last = (
            (not cut and ends_sentence(piece))
            or self._words == SENTENCE_WORDS
            or start - self._sentence_start >= SENTENCE_CEILING
        )
        if last:
            self._words = 0
        return Word(start, start + len(piece), piece, first, last)


def ends_sentence(word: str) -> bool:
    """Whether a sentence ends after this complete word."""
    return _TERMINAL.search(word) is not None and _ABBREVIATION.fullmatch(word) is None and not _is_mark(word)


def _is_mark(word: str) -> bool:
    return len(word) <= 5 and _ITEM_MARK.fullmatch(word) is not None


def sentences(text: str) -> list[list[Word]]:
    """The words of a whole text, sentence by sentence."""
    splitter = SentenceSplitter()
    found: list[list[Word]] = []
    for part in (*splitter.feed(text), *splitter.finish()):
        if isinstance(part, Word):
            if part.first:
                found.append([])
            found[-1].append(part)
    return found
