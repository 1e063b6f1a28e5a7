"""What `phonenumbers.PhoneNumberMatcher` finds in a whole text, found in a text that is told piece by piece.

The matcher searches the text for its candidate pattern, from the end of the last candidate or number on, and judges
each candidate by itself, its neighbours and the three characters after it. So: the candidate pattern runs in the
automaton, which knows when later text can no longer change a candidate; then the matcher judges it. Each region goes
its own way through the text, for where one finds a number another may not; the ways meet again soon.

The matcher gives up after 65,535 candidates that are no numbers; here it does not.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import phonenumbers
from phonenumbers import phonenumbermatcher

from safeproxy.core.automaton import Machine
from safeproxy.core.detector import Span
from safeproxy.core.rule import Overflow, Rule
from safeproxy.core.scan import PatternDetector
from safeproxy.errors import DetectorError
from safeproxy.presidio.buffer import Buffer

_MATCHER: Any = phonenumbermatcher  # its inner steps are not public; the tests compare with the whole of it
#: Characters after a candidate that decide about it: ":45" makes a time of what looks like a date and an hour.
AFTER = 3
#: Longest candidate, in code points. Without its white space before an extension it has at most 560.
MAX_CANDIDATE = 1024
#: Candidates with so few digits are remembered: mostly years and amounts, which are many and are no numbers.
_FEW_DIGITS = 6
_MAX_REMEMBERED = 16_384


class Region(NamedTuple):
    """Where numbers without a country code are dialled, and how strict the matcher is (0 to 3)."""

    code: str
    leniency: int


class Number(NamedTuple):
    """A number found, by its positions, with what it was parsed to."""

    start: int
    end: int
    number: Any


def _decimals() -> str:
    """The class of what `re` takes for digits: `regex` knows of more, as its Unicode is newer than Python's."""
    decimals = filter(str.isdecimal, map(chr, range(sys.maxunicode + 1)))
    zeros = [char for char in decimals if unicodedata.decimal(char) == 0]
    return f"[{''.join(f'{zero}-{chr(ord(zero) + 9)}' for zero in zeros)}]"


class PhoneMachine:
    """The candidate pattern, compiled, and which short candidates hold no number; shared by all streams."""

    def __init__(self) -> None:
        self._hopeless: dict[tuple[str, Region], bool] = {}

    @cached_property
    def machine(self) -> Machine:
        """The candidate pattern in an automaton."""
        rule = Rule(
            id="phonenumbers",
            entity="PHONE_NUMBER",
            pattern=_MATCHER._PATTERN.pattern.replace(r"\d", _decimals()),
            flags="i",
            max_length=MAX_CANDIDATE,
            overflow=Overflow.RELEASE,
        )
        return Machine([rule], [0])

    def judge(self, window: str, at: int, candidate: str, region: Region) -> tuple[int, int, Any] | None:
        """The number in a candidate that stands at ``at`` in its window: its place there, and what it is.

        Raises DetectorError when phonenumbers breaks.
        """
        if self._is_hopeless(candidate, region):
            return None
        match = _extracted(window, at, candidate, region)
        return None if match is None else (match.start, match.end, match.number)

    def _is_hopeless(self, candidate: str, region: Region) -> bool:
        """Whether a candidate of few digits holds no number even by itself: its neighbours can only make it worse."""
        if sum(map(str.isdecimal, candidate)) > _FEW_DIGITS:
            return False
        known = self._hopeless.get((candidate, region))
        if known is None:
            if len(self._hopeless) >= _MAX_REMEMBERED:
                self._hopeless.clear()
            known = _extracted(candidate, 0, candidate, region) is None
            self._hopeless[(candidate, region)] = known
        return known


def _extracted(window: str, at: int, candidate: str, region: Region) -> Any:
    """What the matcher makes of a candidate that stands at ``at`` in its window."""
    try:
        return _MATCHER.PhoneNumberMatcher(window, region.code, leniency=region.leniency)._extract_match(candidate, at)
    except Exception as error:  # noqa: BLE001
        # Whatever it is, the stream must fail closed. Its message may quote the text: keep its type only.
        raise DetectorError(f"phonenumbers broke: {type(error).__name__}") from None


class _Search:
    """The candidates from one place on, as `finditer` gives them."""

    def __init__(self, machine: Machine, start: int) -> None:
        self._detector = PatternDetector(machine)
        self._start = start
        self.candidates: list[tuple[int, int]] = []

    def feed(self, text: str) -> None:
        self._hear(self._detector.feed(text))

    def finish(self) -> None:
        self._hear(self._detector.finish())

    def _hear(self, spans: Sequence[Span]) -> None:
        self.candidates += [(span.start + self._start, span.end + self._start) for span in spans]

    @property
    def frontier(self) -> int:
        """No candidate found later starts before this position."""
        return self._start + self._detector.frontier


class _Way:
    """One region's way through the text."""

    def __init__(self, region: Region, search: _Search) -> None:
        self.region = region
        self.search = search
        self.index = 0  # where the matcher would search on
        self.found: list[Number] = []

    def candidate(self) -> tuple[int, int] | None:
        """The next candidate, if it is known."""
        return next((candidate for candidate in self.search.candidates if candidate[0] >= self.index), None)

    @property
    def frontier(self) -> int:
        """No number found later starts before this position."""
        candidate = self.candidate()
        return self.search.frontier if candidate is None else candidate[0]


class PhoneFinder:
    """Finds the numbers of several regions in one channel's text. The buffer is fed before it is.

    The buffer must keep its text from one character before the frontier on.
    """

    def __init__(self, machine: PhoneMachine, regions: Sequence[Region], buffer: Buffer) -> None:
        self._machine = machine
        self._buffer = buffer
        self._main = _Search(machine.machine, 0)
        self._ways = [_Way(region, self._main) for region in regions]
        self._searches = [self._main]
        self.frontier = 0

    def feed(self, text: str) -> dict[Region, list[Number]]:
        """Take the text that was just added to the buffer; give the numbers that are now certain."""
        for search in self._searches:
            search.feed(text)
        if self._main.candidates or len(self._searches) > 1:
            return self._advance()
        self.frontier = self._main.frontier
        return {}

    def finish(self) -> dict[Region, list[Number]]:
        """The text has ended; give the rest."""
        for search in self._searches:
            search.finish()
        return self._advance()

    def _advance(self) -> dict[Region, list[Number]]:
        begun: dict[int, _Search] = {}
        for way in self._ways:
            while (candidate := way.candidate()) is not None and self._is_ready(candidate):
                way.index = self._judge(way, *candidate)
                if way.index < candidate[1]:
                    if way.index not in begun:
                        begun[way.index] = self._search_from(way.index)
                    way.search = begun[way.index]
        self._rejoin()
        self._prune()
        self.frontier = min(way.frontier for way in self._ways)
        found = {way.region: way.found for way in self._ways if way.found}
        for way in self._ways:
            way.found = []
        return found

    def _is_ready(self, candidate: tuple[int, int]) -> bool:
        """Whether all is known that decides about it."""
        return self._buffer.ended or candidate[1] + AFTER <= self._buffer.end

    def _judge(self, way: _Way, start: int, end: int) -> int:
        """Note the number in a candidate, if there is one; give where the matcher searches on."""
        first = max(0, start - 1)
        window = self._buffer.slice(first, end + AFTER)
        candidate = window[start - first : end - first]
        second = _MATCHER._SECOND_NUMBER_START_PATTERN.search(candidate)
        if second:
            candidate = candidate[: second.start()]
        found = self._machine.judge(window, start - first, candidate, way.region)
        if found is None:
            return start + len(candidate)
        way.found.append(Number(first + found[0], first + found[1], found[2]))
        return first + found[1]

    def _search_from(self, index: int) -> _Search:
        search = _Search(self._machine.machine, index)
        search.feed(self._buffer.slice(index, self._buffer.end))
        if self._buffer.ended:
            search.finish()
        return search

    def _rejoin(self) -> None:
        """Where a search and the main one have nothing under way, both find the same from here on."""
        end = self._buffer.end
        if self._main.frontier < end:
            return
        for way in self._ways:
            if way.search is not self._main and way.frontier == end:
                way.search, way.index = self._main, end

    def _prune(self) -> None:
        """Forget the searches that nobody follows and the candidates that all have passed."""
        followed = {id(way.search): way.search for way in self._ways}
        self._searches = [self._main, *(search for search in followed.values() if search is not self._main)]
        for search in self._searches:
            least = min((way.index for way in self._ways if way.search is search), default=self._buffer.end)
            search.candidates = [candidate for candidate in search.candidates if candidate[0] >= least]


def region_of(number: Any) -> str | None:
    """The region that a parsed number belongs to."""
    region: str | None = phonenumbers.region_code_for_number(number)
    return region
