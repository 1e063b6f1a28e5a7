"""Tests of `safeproxy.core.windows`."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.names import Taker
from safeproxy.core.rule import Filters, Rule
from safeproxy.core.windows import Found, Window, WindowedDetector, Windows
from safeproxy.errors import DetectorError

LONGEST = 40
PIECES = [
    *(
        "Dr. Ada came. ",
        "e.g. this",
        "Yes! ",
        "No?” ",
        "and so on... ",
        "it. is",
        " word",
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        " ",
    ),
    *(
        "- item",
        "* x",
        "1. one",
        "12) two",
        "# Head",
        "## ",
        "| a | b",
        "> q",
        "```",
        "。",
        "これは。",
        "！」",
        "はい",
        "J. S. ",
        "\t",
    ),
    *("x" * 30, "y" * 90, " " * 50, "\u2028", "\x1c", "\ud83d", "1", "23", ".", ")", "secret", "A", "b", "\u3000"),
]
texts = st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(max_size=150)


def whole(text: str, longest: int = LONGEST) -> list[Window]:
    windows = Windows(longest)
    return windows.feed(text) + windows.finish()


def cut(text: str, places: list[int]) -> list[str]:
    borders = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(borders)]


@given(texts, st.lists(st.integers(0, 10_000), max_size=40))
def test_windows_do_not_depend_on_the_cutting(text: str, places: list[int]) -> None:
    """The same text has the same windows, however it comes."""
    windows = Windows(LONGEST)
    got = [window for piece in cut(text, places) for window in windows.feed(piece)]
    assert got + windows.finish() == whole(text)


@given(texts)
def test_windows_character_by_character(text: str) -> None:
    """The finest cutting gives the same windows too."""
    windows = Windows(LONGEST)
    got = [window for char in text for window in windows.feed(char)]
    assert got + windows.finish() == whole(text)


@given(texts)
def test_windows_cover_the_text(text: str) -> None:
    """Windows lie in order, do not overlap, are not longer than allowed, and leave out nothing but white space."""
    end = 0
    for start, piece in whole(text):
        between = text[end:start]
        assert between.isspace() or not between
        end = start + len(piece)
        assert 0 < len(piece) <= LONGEST
        assert piece.encode()
    assert text[end:].isspace() or end == len(text)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Amelia B. Hartfield came. She left.", ["Dr. Amelia B. Hartfield came.", "She left."]),
        ("He said “Go.” Then he left.", ["He said “Go.”", "Then he left."]),
        ("Use e.g. this, approx. that. Yes.", ["Use e.g. this, approx. that.", "Yes."]),
        ("Version 2.5 is out. Get it.", ["Version 2.5 is out.", "Get it."]),
        ("one line\nwraps here\n\nnext", ["one line\nwraps here", "next"]),
        ("List:\n- one\n- two\n1. three\n2) four", ["List:", "- one", "- two", "1. three", "2) four"]),
        ("Text\n# Head\n| a | b |\n> said\n```\ncode", ["Text", "# Head", "| a | b |", "> said", "```\ncode"]),
        ("これは。はい！「そう。」です", ["これは。", "はい！", "「そう。」", "です"]),
        ("हाँ। यहाँ۔ هنا؟ نعم", ["हाँ।", "यहाँ۔", "هنا؟", "نعم"]),
        ("**Bold end.** Next.", ["**Bold end.**", "Next."]),
        ("  \n ", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    """Sentences, lines that start something and blank lines end windows; titles and usual abbreviations do not."""
    assert [window.text for window in whole(text, 1000)] == sentences


def test_a_long_sentence_ends_at_white_space() -> None:
    """What is longer than a window may be is cut where a word ends, or anywhere when there is no such place."""
    text = "word " * 20 + "z" * 100
    pieces = [window.text for window in whole(text)]
    assert pieces[0] == ("word " * 8).strip()
    assert "z" * LONGEST in pieces
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


def test_a_sentence_is_complete_with_the_next_word() -> None:
    """No more is waited for than the first character after the white space."""
    windows = Windows()
    assert windows.feed("It is so. ") == []
    assert windows.feed("A") == [Window(0, "It is so.")]
    assert windows.start == 10


def test_endless_white_space_is_not_kept() -> None:
    """The start moves on over white space that follows a complete window."""
    windows = Windows(LONGEST)
    for _ in range(100):
        windows.feed(" " * 100)
    assert windows.start == 10_000


def test_half_characters_can_be_encoded() -> None:
    """A lone half of a surrogate pair is replaced, at the same place."""
    assert whole("a\ud83db.") == [Window(0, "a\ufffdb.")]


def judge(windows: list[str]) -> list[list[Found]]:
    """Finds "secret" and, over the whole of a window with an exclamation mark, that."""
    judged = []
    for text in windows:
        at = text.find("secret")
        found = [Found(at, at + 6, "SECRET", 0.9)] if at >= 0 else []
        judged.append([*found, *([Found(0, len(text), "LOUD", 0.6)] if "!" in text else [])])
    return judged


def takers() -> dict[str, list[Taker]]:
    rules = [Rule(id="a", entity="SECRET"), Rule(id="b", entity="LOUD", threshold=0.6)]
    strict = Rule(id="c", entity="LOUD", threshold=0.7)
    first, second, third = (Taker.of(number, rule) for number, rule in enumerate([*rules, strict]))
    return {"SECRET": [first], "LOUD": [second, third]}


@given(texts, st.lists(st.integers(0, 10_000), max_size=40))
def test_findings_do_not_depend_on_the_cutting(text: str, places: list[int]) -> None:
    """The same spans for every cutting, and none that starts before a frontier that was told before it."""
    detector = WindowedDetector(takers(), judge, LONGEST)
    expected = WindowedDetector(takers(), judge, LONGEST)
    got = []
    fed = 0
    for piece in cut(text, places):
        before = detector.frontier
        spans = detector.feed(piece)
        fed += len(piece)
        assert all(span.start >= before for span in spans)
        assert before <= detector.frontier <= fed
        got += spans
    before = detector.frontier
    rest = detector.finish()
    assert all(span.start >= before for span in rest)
    assert detector.frontier == len(text)
    assert sorted([*got, *rest]) == sorted([*expected.feed(text), *expected.finish()])


def test_rules_take_by_threshold_and_filter() -> None:
    """A rule takes what has its label, reaches its threshold and passes its filters."""
    rule = Rule(id="a", entity="SECRET", filters=Filters(allow=("secret",)))
    filtered = WindowedDetector({"SECRET": [Taker.of(0, rule)]}, judge)
    assert filtered.feed("A secret. X") == []
    detector = WindowedDetector(takers(), judge)
    assert [(span.start, span.end, span.rule) for span in detector.feed("Oh! My secret! X")] == [
        (0, 3, 1),
        (7, 13, 0),
        (4, 14, 1),
    ]


def test_what_could_not_be_judged_is_judged_again() -> None:
    """Whoever goes on after a failure, for the findings only, misses none; the frontier stays until then."""
    fails = [True]

    def broken_at_first(windows: list[str]) -> list[list[Found]]:
        if fails.pop():
            raise DetectorError("not now")
        return judge(windows)

    detector = WindowedDetector(takers(), broken_at_first)
    with pytest.raises(DetectorError):
        detector.feed("A secret. And")
    assert detector.frontier == 0
    fails.append(False)
    assert [span[:2] for span in detector.finish()] == [(2, 8)]
