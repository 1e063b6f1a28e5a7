"""Patterns as trees: what is read, what is refused and what is said about it."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.core.syntax import (
    EMPTY,
    MAX_DEPTH,
    MAX_WORD,
    Alt,
    Anchor,
    Char,
    Look,
    Place,
    Repeat,
    Seq,
    leading_characters,
    parse,
    width,
    word_list,
)
from safeproxy.errors import RuleError
from tests.core.strategies import patterns, texts

A, B, C = Char("a", 0), Char("b", 0), Char("c", 0)


@pytest.mark.parametrize(
    ("pattern", "tree"),
    [
        ("a", A),
        ("abc", Seq((A, B, C))),
        ("a|bc|", Alt((A, Seq((B, C)), EMPTY))),
        ("(a)(?:b)(?P<n>c)(?<m>a)", Seq((A, B, C, A))),
        ("a*b+?", Seq((Repeat(A, 0, None, greedy=True), Repeat(B, 1, None, greedy=False)))),
        ("a{2}b{1,}", Seq((Repeat(A, 2, 2, greedy=True), Repeat(B, 1, None, greedy=True)))),
        ("a{,3}b{1,2}?", Seq((Repeat(A, 0, 3, greedy=True), Repeat(B, 1, 2, greedy=False)))),
        ("(?=a)(?!b)", Seq((Look(A, ahead=True, wanted=True), Look(B, ahead=True, wanted=False)))),
        ("(?<=a)(?<!b)", Seq((Look(A, ahead=False, wanted=True), Look(B, ahead=False, wanted=False)))),
        ("a(?#a | remark)b", Seq((A, B))),
        (r"[^]a-z\]\p{Lu}[:digit:]]", Char(r"[^]a-z\]\p{Lu}[:digit:]]", 0)),
        (r"\x41\u0042\U00000043", Seq((Char(r"\x41", 0), Char(r"\u0042", 0), Char(r"\U00000043", 0)))),
        (r"\N{BULLET}\pL\.", Seq((Char(r"\N{BULLET}", 0), Char(r"\pL", 0), Char(r"\.", 0)))),
        ("(?x) a  b # c\n |c", Alt((Seq((A, B)), C))),
        (r"(?x)\ [ ]", Seq((Char(r"\ ", 0), Char("[ ]", 0)))),
    ],
)
def test_what_a_pattern_is_read_as(pattern: str, tree: object) -> None:
    """Each construct of the regular part has its tree; a class stays source."""
    assert parse(pattern) == tree


@pytest.mark.parametrize(
    ("pattern", "flags", "place"),
    [
        ("^", "", Place.TEXT_START),
        ("^", "m", Place.LINE_START),
        ("$", "", Place.LAST_LINE_END),
        ("$", "m", Place.LINE_END),
        (r"\A", "m", Place.TEXT_START),
        (r"\Z", "m", Place.TEXT_END),
        (r"\b", "", Place.WORD_EDGE),
        (r"\B", "", Place.NO_WORD_EDGE),
    ],
)
def test_anchors_ask_for_a_place(pattern: str, flags: str, place: Place) -> None:
    """The multi-line flag changes what ^ and $ mean, and nothing else."""
    node = parse(pattern, flags)
    assert isinstance(node, Anchor)
    assert node.place is place


def test_flags_reach_the_characters_they_matter_for() -> None:
    """Given beside the pattern, at its start or for one group; a scoped minus takes one away."""
    ignored = Char("a", regex.I)
    assert parse("a", "i") == parse("(?i)a") == parse("(?i:a)") == ignored
    assert parse("(?i)a(?-i:b)") == Seq((ignored, B))
    assert parse("(?s:.).") == Seq((Char(".", regex.S), Char(".", 0)))
    assert parse(r"(?ia)\w") == Char(r"\w", regex.I | regex.A)
    assert parse("(?ms)a") == A


@pytest.mark.parametrize(
    ("pattern", "construct", "column", "remedy"),
    [
        ("a(?>b)", "an atomic group", 2, "(?:...)"),
        ("(a)?(?(1)b|c)", "a conditional", 5, "two rules"),
        ("(?P<x>a)(?P=x)", "a back-reference", 9, "engine: regex"),
        (r"(a)\1", "a back-reference", 4, "engine: regex"),
        (r"(a)\g<1>", "a back-reference", 4, "engine: regex"),
        ("(?P<x>a)(?&x)", "a recursion", 9, "the levels spelled out"),
        ("(?P<x>a)(?P>x)", "a recursion", 9, "the levels spelled out"),
        ("a(?R)?b", "a recursion", 2, "the levels spelled out"),
        ("(?|a|b)", "a branch reset", 1, "(?:...)"),
        ("(a)(?1)", "the group '(?1)'", 4, "(?:...)"),
        ("a++", "a possessive quantifier", 3, "the plain one"),
        ("a{2}+", "a possessive quantifier", 5, "the plain one"),
        ("(?:a?)*", "a repeat of something that can be empty", 8, "at least one character"),
        ("(?:a|){2,}b", "a repeat of something that can be empty", 11, "at least one character"),
        (r"\b+a", "a repeated assertion", 4, "the assertion once"),
        ("a{e<=1}", "a { that is no repeat", 2, r"\{"),
        ("(*FAIL)", "a * with nothing to repeat", 2, r"\*"),
        ("a(?i)b", "inline flags after the start", 2, "(?i:...)"),
        ("(?r)a", "the inline flag 'r'", 1, "one of i, m, s, x, a"),
        ("(?a:b)", "the scoped flag 'a'", 1, "one of i, m, s, x"),
        (r"a\Kb", r"the escape \K", 2, "the characters it stands for"),
        (r"ab\X", r"the escape \X", 3, "the characters it stands for"),
    ],
)
def test_what_is_refused_is_named_with_its_place_and_a_remedy(
    pattern: str, construct: str, column: int, remedy: str
) -> None:
    """The message names the construct, its column and what to write instead."""
    regex.compile(pattern)  # so the refusal is ours
    with pytest.raises(RuleError) as caught:
        parse(pattern)
    before, _, after = str(caught.value).partition("; write ")
    assert before == f"the pattern has {construct} at column {column}, which cannot run in the automaton"
    assert remedy in after


@pytest.mark.parametrize("pattern", ["(a", "a)", "*a", "[a", "a**", r"\p{nonsense}", r"\L<words>", "(?P<x"])
def test_what_regex_refuses_is_refused_with_its_words(pattern: str) -> None:
    """An invalid pattern is reported as `regex` puts it."""
    with pytest.raises(regex.error) as theirs:
        regex.compile(pattern)
    with pytest.raises(RuleError, match="the pattern is not valid: ") as caught:
        parse(pattern)
    assert str(theirs.value) in str(caught.value)


@pytest.mark.parametrize("pattern", ["(" * 3000 + "a" + ")" * 3000, "a{" + "9" * 5000 + "}"])
def test_no_pattern_breaks_the_reader(pattern: str) -> None:
    """What `regex` itself chokes on is a broken rule like any other, not a crash."""
    with pytest.raises(RuleError):
        parse(pattern)


def test_groups_may_nest_as_deep_as_the_limit() -> None:
    """One level less than what is refused is read."""
    depth = MAX_DEPTH - 1
    assert parse("(?:" * depth + "a" + ")" * depth) == A


@pytest.mark.parametrize(
    ("pattern", "widths"),
    [
        ("abc", (3, 3)),
        ("a|bc|", (0, 2)),
        ("a{2,5}b?", (2, 6)),
        ("a|b+", (1, None)),
        ("(?:ab){2,}", (4, None)),
        (r"\b(?=abc)a$", (1, 1)),
        ("a{0}", (0, 0)),
    ],
)
def test_width_is_the_fewest_and_the_most_characters(pattern: str, widths: tuple[int, int | None]) -> None:
    """Assertions take none; None stands for no bound."""
    assert width(parse(pattern)) == widths


@given(patterns(), texts())
def test_matches_are_as_wide_as_foretold(pattern: str, text: str) -> None:
    """Whatever is read compiles in `regex`, and its matches keep to the width."""
    try:
        low, high = width(parse(pattern))
    except RuleError:
        return
    for match in regex.finditer(pattern, text):
        length = match.end() - match.start()
        assert low <= length
        assert high is None or length <= high


def test_words_are_whole_and_the_longest_is_preferred() -> None:
    """A list is a trie between two looks at the neighbours; going on comes before ending."""
    before, body, after = word_list(["ab", "a"]).items  # type: ignore[union-attr]
    assert before == Look(Char(r"\w", 0), ahead=False, wanted=False)
    assert after == Look(Char(r"\w", 0), ahead=True, wanted=False)
    assert body == Seq((A, Alt((Seq((B, EMPTY)), EMPTY))))


def test_a_space_in_an_entry_is_a_run_of_white_space() -> None:
    """However the entry itself is spaced."""
    assert word_list(["a b"]) == word_list(["  a \t b\n"])
    assert width(word_list(["a b"])) == (3, None)


def test_case_of_entries_does_not_matter_where_it_is_ignored() -> None:
    """Entries that differ in case share their nodes."""
    assert word_list(["AB", "aB", "ab"], "i") == word_list(["ab"], "i")
    assert word_list(["AB", "ab"]) != word_list(["ab"])


def test_the_order_of_entries_does_not_change_what_is_found() -> None:
    """Of entries that begin alike the longest comes first, whatever the order."""
    assert width(word_list(["a", "ab", "abc"])) == width(word_list(["abc", "ab", "a"])) == (1, 3)
    assert word_list(["a", "abc"]) == word_list(["abc", "a"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the word list is empty"),
        (["a", " \n"], "an entry of 0 characters"),
        (["a" * (MAX_WORD + 1)], f"an entry of {MAX_WORD + 1} characters; 1 to {MAX_WORD}"),
    ],
)
def test_word_lists_that_cannot_be_used_are_refused(words: list[str], message: str) -> None:
    """Empty lists, empty entries, endless entries."""
    with pytest.raises(RuleError, match=message):
        word_list(words)


def test_the_deepest_trie_is_read() -> None:
    """Entries of every length, each the beginning of the next."""
    assert width(word_list(["a" * length for length in range(1, MAX_WORD + 1)])) == (1, MAX_WORD)


@pytest.mark.parametrize(
    ("pattern", "characters"),
    [
        ("ab(c+)", [A, B, C]),
        ("ab(cc)", [A, B]),
        (r"a(b)\1", [A, B]),
        ("ab+c", [A, B]),
        ("a{2,3}b", [A]),
        (r"\b(?<!b)ab(?>c)", [A, B]),
        ("a(?:b|c)", [A]),
        ("a[|)]b", [A, Char("[|)]", 0), B]),
        (r"a\|b(c)\1", [A, Char(r"\|", 0), B, C]),
        ("a?b", []),
        ("a|b", []),
        ("(?:a|b)c", []),
        ("a++b", []),
        ("(?i)a", [Char("a", regex.I)]),
        ("(?x) a b", []),
        ("a(?#b)c", []),
    ],
)
def test_leading_characters_are_those_every_match_begins_with(pattern: str, characters: list[Char]) -> None:
    """As far as they can be told; none where the first cannot."""
    assert leading_characters(pattern) == characters


@given(patterns(), st.sampled_from(["", "i", "s"]), texts())
def test_every_match_begins_with_the_leading_characters(pattern: str, flags: str, text: str) -> None:
    """Whatever is told of the beginning holds for all matches."""
    value = {"": 0, "i": regex.I, "s": regex.S}[flags]
    leading = leading_characters(pattern, flags)
    for match in regex.finditer(pattern, text, value):
        beginning = text[match.start() : match.start() + len(leading)]
        assert len(beginning) == len(leading)
        for char, class_ in zip(beginning, leading, strict=True):
            assert regex.fullmatch(class_.source, char, class_.flags)
