"""Events sent again."""

from __future__ import annotations

from safeproxy.pipeline.repeats import Repeats


def test_the_same_bytes_under_the_same_number_are_a_repetition() -> None:
    """And nothing else is."""
    repeats = Repeats()
    assert [repeats.is_one(mark, data) for mark, data in ((1, b"a"), (2, b"a"), (1, b"a"), (2, b"a"))] == [
        False,
        False,
        True,
        True,
    ]


def test_numbers_that_do_not_number_are_ignored_from_then_on() -> None:
    """A server that numbers everything the same does not repeat itself."""
    repeats = Repeats()
    assert not repeats.is_one(7, b"a")
    assert not repeats.is_one(7, b"b")
    assert not repeats.is_one(7, b"b")


def test_no_number_no_repetition() -> None:
    """The API gives no means to tell."""
    repeats = Repeats()
    assert not repeats.is_one(None, b"a")
    assert not repeats.is_one(None, b"a")


def test_what_is_remembered_is_bounded() -> None:
    """The oldest numbers are forgotten first."""
    repeats = Repeats()
    for number in range(5000):
        assert not repeats.is_one(number, b"a")
    assert not repeats.is_one(0, b"a")
    assert repeats.is_one(4999, b"a")
