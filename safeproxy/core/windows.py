"""Complete sentences of a text that comes piece by piece, and a detector that has each judged by itself.

What judges whole sentences (a transformer, a moderation service) cannot be told a text word by word. So a text is cut
into windows by rules that look at the text alone, and a window is handed on once its end is certain. A window is judged
without its neighbours, even where several are complete at the same time: what is found does not depend on the cutting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import regex

from safeproxy.core.detector import Span
from safeproxy.core.names import Taker

#: Longest window in code points, where nothing else is said.
MAX_WINDOW = 1000
#: So many code points after the longest window are looked at to find its end; then it is decided with what is known.
_AHEAD = 16
#: The longest beginning of a line that can say that it starts something new.
_MARKER_LENGTH = 9

# Where a window may end: at white space, or after a stop of a script that puts no space after it.
_BREAK = regex.compile(r"\s+|(?<=[。！？｡][」』）】”’]*)(?=[^。！？｡」』）】”’\s])")  # noqa: RUF001 - meant as they are
_SPACE = regex.compile(r"\s*")
_STOP = regex.compile(r"""[.!?…。！？｡؟۔।॥።]["'”’)\]}»*_`]*$""")  # noqa: RUF001 - meant as they are
# Full stops that end no sentence: after a title, an initial, a usual abbreviation, the number of a list's entry.
_NO_STOP = regex.compile(
    r"(?:(?<!\w)(?:\p{Lu}|Mr|Mrs|Ms|Mx|Dr|Prof|St|Sr|Jr|Rev|Hon|Gen|Col|Maj|Capt|Lt|Sgt|Mt|Ste|Apt|No|Nr|Tel|Fig|"
    r"vs|cf|ca|al|approx|e\.g|i\.e|z\.B|M|Mme|Sra|Herr|Hr|Fr|Dott|Ing)|(?:^|[\n\r])[^\S\n\r]*\d{1,3})\.$"
)
_MARKER = regex.compile(r"(?:[-*+•–]|\d{1,3}[.)]|#{1,6})\s|[|>]|```")  # noqa: RUF001 - meant as they are
_HALF = regex.compile(r"[\ud800-\udfff]")
_TAIL = 32


class Window(NamedTuple):
    """A sentence without the white space around it, and the position of its first code point.

    Lone halves of surrogate pairs are U+FFFD in ``text``, so that it can be encoded.
    """

    start: int
    text: str


class Windows:
    """Cuts one text into windows.

    A window ends where a blank line follows; where a line follows that begins an entry, a heading, a row or a
    quotation; after a stop and white space, but for usual abbreviations and before a word in lower case; after a full
    stop of Chinese or Japanese. One that is longer than ``longest`` code points ends before the last white space that
    fits, or, without any, there.
    """

    def __init__(self, longest: int = MAX_WINDOW) -> None:
        self._longest = longest
        self._text = ""
        self._offset = 0  # position of its first code point
        self._begin = 0  # where in it the next window begins
        self._looked = 0  # up to where in the window its end was looked for
        self._gap = 0  # where the last white space in it begins that ends no window

    @property
    def start(self) -> int:
        """Position before which everything was handed on or is white space."""
        return self._offset + self._begin

    def feed(self, text: str) -> list[Window]:
        """Take the next piece; give the windows that are now complete."""
        self._text += text
        return self._complete(ended=False)

    def finish(self) -> list[Window]:
        """The text has ended; give the rest."""
        return self._complete(ended=True)

    def _complete(self, *, ended: bool) -> list[Window]:
        windows = []
        self._go_to(self._begin)
        while self._begin < len(self._text) and (end := self._end(ended=ended)) is not None:
            windows.append(Window(self.start, _HALF.sub("\ufffd", self._text[self._begin : end])))
            self._looked = self._gap = 0
            self._go_to(end)
        self._offset += self._begin
        self._text = self._text[self._begin :]
        self._begin = 0
        return windows

    def _go_to(self, position: int) -> None:
        """The next window begins there, or after the white space there."""
        found = _SPACE.match(self._text, position)
        assert found is not None
        self._begin = found.end()

    def _end(self, *, ended: bool) -> int | None:
        """Where in the text the window ends, or None as long as that is open."""
        horizon = self._longest + _AHEAD
        view = self._text[self._begin : self._begin + horizon]
        certain = ended or len(view) == horizon
        while (found := _BREAK.search(view, self._looked)) and found.start() <= self._longest:
            ends = _ends(view, *found.span(), certain=certain)
            if ends is None:
                self._looked = found.start()
                return None
            if ends:
                return self._begin + found.start()
            self._gap = found.start()
            self._looked = found.end()
        if not certain:
            self._looked = len(view)
            return None
        if len(view) <= self._longest:
            return self._begin + len(view)
        return self._begin + (self._gap or self._longest)


def _ends(view: str, begin: int, after: int, *, certain: bool) -> bool | None:
    """Whether a window ends at the break; None where more text can change that (nothing can when ``certain``)."""
    if begin == after:
        return True
    if after == len(view):
        return True if certain else None
    breaks = len((view[begin:after] + ".").splitlines()) - 1
    if breaks > 1 or _sentence_ends(view, begin, after):
        return True
    if not breaks:
        return False
    word = view[after : after + _MARKER_LENGTH]
    if len(word) < _MARKER_LENGTH and not certain and not any(char.isspace() for char in word):
        return None
    return _MARKER.match(word) is not None


def _sentence_ends(view: str, begin: int, after: int) -> bool:
    tail = view[max(0, begin - _TAIL) : begin]
    return bool(_STOP.search(tail)) and not _NO_STOP.search(tail) and not view[after : after + 1].islower()


class Found(NamedTuple):
    """What was found in a window: half-open range of its code points, a label, a score between 0 and 1."""

    start: int
    end: int
    label: str
    score: float


#: Gives for each window what is found in it. Raises DetectorError.
Judge = Callable[[Sequence[str]], Sequence[Sequence[Found]]]


class WindowedDetector:
    """Has each window of one text judged and finds what the takers want, which are the rules by label. A `Detector`."""

    def __init__(self, takers: Mapping[str, Sequence[Taker]], judge: Judge, longest: int = MAX_WINDOW) -> None:
        self._takers = takers
        self._judge = judge
        self._windows = Windows(longest)
        self._unjudged: list[Window] = []
        self._length = 0
        self.frontier = 0

    def feed(self, text: str) -> Sequence[Span]:
        """Take the next piece; give what was found in the windows that are now complete. Raises DetectorError."""
        self._length += len(text)
        self._unjudged += self._windows.feed(text)
        return self._judged(self._windows.start)

    def finish(self) -> Sequence[Span]:
        """The text has ended; give what was found in the rest. Raises DetectorError."""
        self._unjudged += self._windows.finish()
        return self._judged(self._length)

    def _judged(self, frontier: int) -> list[Span]:
        """What was found in the windows that are complete, which are kept until that is known; move the frontier."""
        windows = self._unjudged
        judged = self._judge([window.text for window in windows]) if windows else ()
        spans = [
            Span(window.start + found.start, window.start + found.end, taker.number, found.score)
            for window, findings in zip(windows, judged, strict=True)
            for found in findings
            for taker in self._takers.get(found.label, ())
            if taker.takes(window.text[found.start : found.end], found.score)
        ]
        self._unjudged = []
        self.frontier = frontier
        return spans
