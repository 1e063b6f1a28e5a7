"""The incremental finder finds what `PhoneNumberMatcher` finds."""

from __future__ import annotations

import random
from collections.abc import Sequence

import phonenumbers
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from safeproxy.errors import DetectorError
from safeproxy.presidio import phones
from safeproxy.presidio.buffer import Buffer
from safeproxy.presidio.phones import Number, PhoneFinder, PhoneMachine, Region
from tests.presidio.samples import listed

MACHINE = PhoneMachine()
REGIONS = [Region(code, 1) for code in ("US", "GB", "DE", "FR", "IL", "IN", "CA", "BR")]
PARTS = st.one_of(
    st.text("0123456789" * 3 + "+()-./ x#,;:~[]/", max_size=40),
    st.sampled_from(
        listed(
            "(212) 555-5555|+1 212-555-5555|+44 20 7946 0958|020 7946 0958|651-234-2345/332-445-1234|"
            "3324451234 8002341234|12345 - 332-445-1234|030 901820|+49 30 901820|01 42 68 53 00|212 555 5555 ext. 12|"
            "2125555555x55|2012-01-02 08:00|2012-01-02 08|1/2/2012|12(3): 211-227 (2003)|+972-3-1234567|98765 43210|"
            "11 98765-4321|12 / x212 555 5555|;ext=44| доб 12| |a|é|$|%|word |\n|, | / |\u00a0|６５０|٣٤٥|x"
        )
    ),
)
TEXTS = st.lists(PARTS, max_size=12).map("".join)


def expected(text: str, region: Region) -> list[tuple[int, int]]:
    found = phonenumbers.PhoneNumberMatcher(text, region.code, leniency=region.leniency)
    return [(match.start, match.end) for match in found]


def streamed(text: str, chance: random.Random, regions: Sequence[Region] = REGIONS) -> dict[Region, list[Number]]:
    """The numbers of each region, in random pieces; no number may start before the frontier told before."""
    buffer = Buffer()
    finder = PhoneFinder(MACHINE, regions, buffer)
    found: dict[Region, list[Number]] = {region: [] for region in regions}
    at, frontier = 0, 0
    while at < len(text):
        piece = text[at : at + chance.randint(1, 9)]
        at += len(piece)
        buffer.text += piece
        for region, numbers in finder.feed(piece).items():
            assert all(number.start >= frontier for number in numbers)
            found[region] += numbers
        assert finder.frontier >= frontier
        frontier = finder.frontier
        buffer.drop_before(max(buffer.offset, frontier - 1))
    buffer.ended = True
    for region, numbers in finder.finish().items():
        found[region] += numbers
    return found


@settings(deadline=None, max_examples=150)
@given(TEXTS, st.integers())
def test_finds_what_the_matcher_finds(text: str, seed: int) -> None:
    """For every region, for every cutting."""
    found = streamed(text, random.Random(seed))
    for region in REGIONS:
        assert [(number.start, number.end) for number in found[region]] == expected(text, region)


@pytest.mark.parametrize("leniency", [0, 2, 3])
def test_other_leniencies(leniency: int) -> None:
    """The matcher judges the candidates, however strict it is asked to be."""
    text = "Call (650) 253-0000, 65 02 53 00 00, 650253 0000 or 123 456; +1/650/253/0000."
    region = Region("US", leniency)
    found = streamed(text, random.Random(1), [region])[region]
    assert [(number.start, number.end) for number in found] == expected(text, region)


def test_digits_are_those_of_re() -> None:
    """Also where `regex` knows a newer Unicode."""
    digit = regex.compile(phones._decimals())
    assert all((digit.fullmatch(char) is not None) == char.isdecimal() for char in map(chr, range(0x20000)))


def test_a_matcher_that_breaks_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its message, which may quote the text, is not told."""

    def broken(*_: object) -> None:
        raise ValueError("212 555 5555")

    monkeypatch.setattr(phones._MATCHER.PhoneNumberMatcher, "_extract_match", broken)
    with pytest.raises(DetectorError, match=r"phonenumbers broke: ValueError$"):
        streamed("call 212 555 5555 now", random.Random(1))
