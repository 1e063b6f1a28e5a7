"""One rule's search: preference, pending and settled, look-around, characters that fold."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from safeproxy.core.nfa import Classes, Nfa
from safeproxy.core.syntax import parse
from safeproxy.core.threads import MAX_LAG, MAX_THREADS, NEW, Event, Kind, Search, State
from safeproxy.errors import DetectorError

FOUND, SETTLED, RESUMED = Kind.FOUND, Kind.SETTLED, Kind.RESUMED


class Run:
    """A search fed character by character; a character is given as what its view shows for it."""

    def __init__(self, pattern: str) -> None:
        self.classes = Classes()
        self.search = Search(Nfa(parse(pattern), self.classes))
        self.state: State = self.search.fresh(None)
        self.starts: list[int] = []
        self.position = 0

    def take(self, shown: str) -> list[tuple[Kind, int, int]]:
        """Each event as its kind and, for a match, its span."""
        move = self.search.move(self.state, tuple(self.classes.members(char) for char in shown))
        told = [self._told(event) for event in move.events]
        self.starts = [self.position if group == NEW else self.starts[group] for group in move.kept]
        self.state = move.state
        self.position += 1
        return told

    def _told(self, event: Event) -> tuple[Kind, int, int]:
        if event.kind is not FOUND:
            return event.kind, -1, -1
        start = self.position if event.group == NEW else self.starts[event.group]
        return FOUND, start, self.position + event.offset

    def all(self, text: Iterable[str]) -> list[tuple[Kind, int, int]]:
        return [told for char in text for told in self.take(char)]

    def end(self) -> tuple[int, int] | None:
        event = self.search.at_end(self.state)
        return None if event is None else (self.starts[event.group], self.position + event.offset)


DONE = (SETTLED, -1, -1)


def test_a_match_that_nothing_can_change_is_settled_at_once() -> None:
    """The last character both finds and settles."""
    assert Run("ab").all("xab") == [(FOUND, 1, 3), DONE]


def test_a_greedy_match_stays_pending_while_it_may_grow() -> None:
    """Each longer match replaces the one before; what ends it settles it."""
    run = Run("a+")
    assert run.take("a") == [(FOUND, 0, 1)]
    assert run.take("a") == [(FOUND, 0, 2)]
    assert run.state.pending
    assert run.take("b") == [DONE]
    assert not run.state.pending


def test_a_lazy_match_is_content_with_the_shortest() -> None:
    """It settles as soon as it matches."""
    assert Run("a+?").all("a") == [(FOUND, 0, 1), DONE]


@pytest.mark.parametrize(
    ("pattern", "events"),
    [
        ("a|ab", [(FOUND, 0, 1), DONE]),
        ("ab|a", [(FOUND, 0, 1), (FOUND, 0, 2), DONE]),
        ("ab|bc|a", [(FOUND, 0, 1), (FOUND, 0, 2), DONE]),
        ("abd|bc|a", [(FOUND, 0, 1), DONE]),
    ],
)
def test_the_order_of_alternatives_decides(pattern: str, events: list[tuple[Kind, int, int]]) -> None:
    """The first alternative that matches wins, not the longest; nothing begins behind a pending match."""
    assert Run(pattern).all("abc")[: len(events)] == events


def test_the_leftmost_match_wins_over_one_found_sooner() -> None:
    """`b` is found first, and given up when the match that began before it is complete."""
    assert Run("abc|b").all("abc") == [(FOUND, 1, 2), (FOUND, 0, 3), DONE]
    assert Run("abc|b").all("abx") == [(FOUND, 1, 2), DONE]


def test_the_next_search_begins_at_the_character_that_settled_the_last() -> None:
    """No character is lost between two matches that touch."""
    assert Run(r"a+\b| b").all("a b") == [(FOUND, 0, 1), (RESUMED, -1, -1), (FOUND, 1, 3), DONE]
    assert Run(r"\w+\b| ").all("a ")[-2:] == [(FOUND, 1, 2), DONE]


def test_a_word_boundary_waits_for_the_next_character() -> None:
    """What follows, or the end of the text, decides."""
    run = Run(r"a\b")
    assert run.take("a") == []
    assert run.end() == (0, 1)
    assert run.take(" ")[0] == (FOUND, 0, 1)
    assert Run(r"a\b").all("ab") == []


def test_anchors_at_the_end() -> None:
    r"""`$` holds before a last newline, `\Z` only at the very end, `(?m:$)` before any newline."""
    for pattern, after_newline in (("a$", True), (r"a\Z", False), ("(?m:a$)", True)):
        run = Run(pattern)
        assert run.all("a") == []
        assert run.end() == (0, 1)
        found = run.all("\n") or ([(FOUND, *span)] if (span := run.end()) else [])
        assert bool(found) is after_newline
    assert Run("a$").all("a\nb") == []


def test_anchors_at_the_start() -> None:
    """`^` is the start of the text, with `m` of each line too; a fresh search knows what stood before."""
    assert Run("^a").all("a\na")[0] == (FOUND, 0, 1)
    assert len(Run("^a").all("a\na")) == 2
    assert [told for told in Run("(?m)^a").all("a\na") if told != DONE] == [(FOUND, 0, 1), (FOUND, 2, 3)]
    run = Run(r"\ba")
    run.state = run.search.fresh(run.classes.members("a"))
    assert run.all("a") == []


def test_a_wanted_look_ahead_is_a_duty_until_it_is_fulfilled() -> None:
    """The match waits; it ends before what was looked at."""
    run = Run("a(?=bc)")
    assert run.all("ab") == []
    assert run.starts == [0]
    assert run.take("c") == [(FOUND, 0, 1), DONE]


@pytest.mark.parametrize(("text", "found"), [("abx", (0, 1)), ("a", (0, 1)), ("ab", (0, 1)), ("abc", None)])
def test_an_unwanted_look_ahead_is_kept_when_it_cannot_match_any_more(text: str, found: tuple[int, int] | None) -> None:
    """By a character that breaks it, or by the end of the text."""
    run = Run("a(?!bc)")
    spans = [told[1:] for told in run.all(text) if told[0] is FOUND]
    if (span := run.end()) is not None:
        spans.append(span)
    assert spans == ([] if found is None else [found])


def test_duties_of_several_look_aheads_add_up() -> None:
    """All of them must be kept, over the characters the pattern itself takes."""
    assert (FOUND, 0, 3) in Run("(?=.{2}c)(?!.{3}d)abc").all("abcx")
    assert FOUND not in [told[0] for told in Run("(?=.{2}c)(?!.{3}d)abc").all("abcd")]


def test_a_look_behind_sees_what_no_match_took() -> None:
    """It runs all along, and begins anywhere."""
    assert Run("(?<=ab)c").all("cabc") == [(FOUND, 3, 4), DONE]
    assert Run("(?<!ab)c").all("cabc") == [(FOUND, 0, 1), DONE]
    assert Run("(?<=aa)a").all("aaaa") == [(FOUND, 2, 3), DONE, (FOUND, 3, 4), DONE]


def test_a_rule_with_nothing_under_way_is_idle() -> None:
    """Then it may be left out of the combined state; a look-behind under way keeps it there."""
    run = Run("(?<=ab)c")
    assert run.state.idle
    run.take("x")
    assert run.state.idle
    run.take("a")
    assert not run.state.idle


def test_a_character_that_is_invisible_changes_nothing() -> None:
    """It is passed over inside a match, and does not become part of one that ends before it."""
    run = Run(r"ab\b")
    assert run.all(["a", "", "b", "", ""]) == []
    assert run.end() == (0, 3)
    assert run.take(" ")[0] == (FOUND, 0, 3)


def test_the_lag_of_a_waiting_match_is_bounded() -> None:
    """More invisible characters than that count as the match's own, so states stay few."""
    run = Run(r"a\b")
    run.take("a")
    run.all([""] * (MAX_LAG + 10))
    assert run.end() == (0, 11)
    assert len(run.search._states) <= MAX_LAG + 3


def test_a_character_of_several_is_matched_in_part_and_found_whole() -> None:
    """A ligature's second letter begins a match; one code point is found once."""
    assert (FOUND, 0, 2) in Run("ib").all(["fi", "b"])
    assert [told for told in Run("f").all(["ff"]) if told[0] is FOUND] == [(FOUND, 0, 1)]


def test_steps_are_remembered_and_can_be_forgotten() -> None:
    """The same state and class give the same move; a search that forgot finds the same."""
    run = Run("a+b")
    move = run.search.move(run.state, (run.classes.members("a"),))
    assert run.search.move(run.state, (run.classes.members("a"),)) is move
    run.take("a")
    run.search.forget()
    assert run.search.threads_made == 0
    assert run.all("ab") == [(FOUND, 0, 3), DONE]


def test_one_group_can_be_taken_out_or_left_alone() -> None:
    """As a match that reaches its ceiling asks for."""
    run = Run("a.{2}b")
    run.all("aa")
    assert run.starts == [0, 1]
    rest, kept, settled = run.search.without(run.state, 0, 1)
    assert (len({thread.group for thread in rest.threads}), kept, settled) == (1, (1,), False)
    alone = run.search.only(run.state, 0)
    assert len({thread.group for thread in alone.threads}) == 1
    empty, _, _ = run.search.without(alone, 0, 1)
    assert empty.idle


def test_taking_out_what_a_pending_match_waits_for_settles_it() -> None:
    """Nothing is left that could replace it."""
    run = Run("abc|b")
    run.all("ab")
    assert run.state.pending
    rest, _, settled = run.search.without(run.state, 0, 1)
    assert settled
    assert not rest.pending


def test_too_many_alternatives_at_once_raise() -> None:
    """A text that keeps too many matches open fails closed."""
    run = Run(f"a.{{{MAX_THREADS + 1}}}b")
    with pytest.raises(DetectorError, match=f"more than {MAX_THREADS} alternatives"):
        run.all("a" * (MAX_THREADS + 2))
