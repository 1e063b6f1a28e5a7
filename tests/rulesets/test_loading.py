"""Loading rule files, above all broken ones: each is one clear error with its place, never a crash."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from safeproxy.core.rule import Rule
from safeproxy.errors import RuleError
from safeproxy.rulesets import SHIPPED, load, load_with_sources, loading, shipped
from safeproxy.rulesets.loading import MAX_ERRORS, MAX_WORD_FILE_BYTES, read_words
from safeproxy.rulesets.model import MAX_WORDS

RULE = """
id: {id}
title: Anything
entity: THING
category: other
pattern: thing{id}
"""


def rule(name: str, *more: str) -> str:
    """The YAML of a sound rule, with more lines."""
    return RULE.format(id=name) + "".join(f"{line}\n" for line in more)


def write(folder: Path, text: str | bytes, name: str = "rules.yaml") -> Path:
    """A rule file with this content."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def errors(*paths: Path) -> list[str]:
    """The lines of the error that loading these paths gives, without the folder's name."""
    with pytest.raises(RuleError) as caught:
        load(paths)
    folder = paths[0] if paths[0].is_dir() else paths[0].parent
    return str(caught.value).replace(f"{folder}/", "").split("\n")


def error(*paths: Path) -> str:
    """The only line of the error."""
    lines = errors(*paths)
    assert len(lines) == 1, lines
    return lines[0]


def test_one_rule_and_a_list_of_rules_load(tmp_path: Path) -> None:
    """A file holds one mapping, or a list of them."""
    one = write(tmp_path, rule("a"), "one.yaml")
    many = write(tmp_path, "- {id: b, title: B, entity: B, category: other, words: [bee]}\n", "many.yml")
    assert [r.id for r in load([one, many]).rules] == ["a", "b"]


def test_a_folder_is_read_in_depth_sorted_and_without_hidden_or_other_files(tmp_path: Path) -> None:
    """Only *.yaml and *.yml count; a ConfigMap's hidden second copies do not."""
    for name in ("b.yml", "a/z.yaml", "a/b/y.yaml", ".hidden/x.yaml", ".w.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path, rule(Path(name).stem.strip(".")), name)
    write(tmp_path, "not: [yaml", "README.md")
    assert [r.id for r in load([tmp_path]).rules] == ["y", "z", "b"]


def test_a_file_given_twice_is_read_once(tmp_path: Path) -> None:
    """A folder and a file in it do not clash."""
    path = write(tmp_path, rule("a"))
    assert [r.id for r in load([tmp_path, path]).rules] == ["a"]


def test_yaml_1_1_booleans_stay_text(tmp_path: Path) -> None:
    """`on` is a key and `no` a word, whatever YAML 1.1 says."""
    path = write(tmp_path, "{id: a, title: A, entity: A, category: other, words: [no, off, yes], on: {request: true}}")
    (loaded,) = load([path]).rules
    assert loaded.words == ("no", "off", "yes")
    assert loaded.request


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    """Windows editors write one."""
    path = write(tmp_path, b"\xef\xbb\xbf" + rule("a").encode())
    assert load([path]).rules[0].id == "a"


def test_aliases_are_expanded(tmp_path: Path) -> None:
    """An anchor may be used where it keeps a file short."""
    path = write(tmp_path, rule("a", "context: {words: &w [thing]}") + "tests: {match: []}\n")
    assert load([path]).rules[0].context is not None
    listed = write(
        tmp_path,
        "- {id: x, title: X, entity: X, category: other, words: &w [one, two]}\n"
        "- {id: y, title: Y, entity: Y, category: other, words: *w}\n",
        "listed.yaml",
    )
    assert load([listed]).rules[1].words == ("one", "two")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "rules.yaml:1:1: no rule in this file; expected a rule, or a list of rules"),
        ("# nothing\n", "rules.yaml:1:1: no rule in this file; expected a rule, or a list of rules"),
        ("[]", "rules.yaml:1:1: no rule in this file; expected a rule, or a list of rules"),
        ("just text", "rules.yaml:1:1: this is no mapping; expected a rule: keys with values"),
        ("- 5", "rules.yaml:1:3: this is no mapping; expected a rule: keys with values"),
        ("id: [a", "not YAML: while parsing a flow sequence"),
        ("id: a: b", "rules.yaml:1:6: not YAML: mapping values are not allowed"),
        ("id: a\n\ttitle: b", "a tab stands where YAML wants spaces; expected spaces for indentation"),
        ("id: a\n---\nid: b", "a second YAML document begins; expected one document, with a rule, or a list of rules"),
        ("id: *nowhere", "rules.yaml:1:5: the alias 'nowhere' stands for nothing; expected its anchor before it"),
        ("id: a\nid: b", "rules.yaml:2:1: the key 'id' is given twice, first at rules.yaml:1:1; expected it once"),
        ("1: a", "rules.yaml:1:1: this key is not text; expected the name of a key"),
        ("? [a, b]\n: c", "rules.yaml:1:3: this key is not text; expected the name of a key"),
        (
            "id: !!python/object/apply:os.system [ls]",
            "rules.yaml:1:5: the tag 'tag:yaml.org,2002:python/object/apply:os.s",
        ),
        ("id: !!binary aGk=", "the tag 'tag:yaml.org,2002:binary' is not allowed; expected plain YAML without tags"),
        ("id: !mine a", "rules.yaml:1:5: the tag '!mine' is not allowed"),
        ("id: !!int x", "rules.yaml:1:5: the tag 'tag:yaml.org,2002:int' is not allowed"),
        ("id: !!bool x", "rules.yaml:1:5: the tag 'tag:yaml.org,2002:bool' is not allowed"),
        (b"id: \xff", "rules.yaml:1:5: the byte 0xff is not UTF-8; expected text in UTF-8"),
        ("id: a\ntitle: \x00", "rules.yaml:2:8: the character '\\x00' is not allowed; expected printable text"),
        (b"\x7fELF\x02\x01\x01\x00", "rules.yaml:1:1: the character '\\x7f' is not allowed; expected printable text"),
        ("&a [*a]", "rules.yaml:1:5: the alias 'a' stands for nothing; expected its anchor before it"),
        ("[" * 900, "rules.yaml:1:34: nested more than 32 deep; expected a rule, or a list of rules"),
        ("- " * 50_000, "rules.yaml:1:67: nested more than 32 deep"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_place(tmp_path: Path, content: str | bytes, message: str) -> None:
    """Whatever is in the file, the author reads where and what."""
    assert message in error(write(tmp_path, content))


def test_a_file_damaged_anywhere_gives_a_clear_error_or_loads(tmp_path: Path) -> None:
    """Bytes changed, dropped and doubled at random: nothing but a RuleError comes of it."""
    sound = rule("a", "context: &c {words: [one, 'two']}", "on: {channels: [content]}", "tests:", "  match:")
    sound += "    - {text: thinga, spans: [[0, 6]]}\n"
    random = Random(7)
    refusals = []
    for _ in range(300):
        data = bytearray(sound.encode())
        for _ in range(random.randint(1, 4)):
            at = random.randrange(len(data))
            piece = random.choice(
                [b"", b"\t", b"*", b"&a ", b"[", b"}", b": ", b"- ", b"\xff", b"!!x ", b"\n", b"'", b"~", b"9"]
            )
            data[at : at + random.randint(0, 2)] = piece
        try:
            load([write(tmp_path, bytes(data))])
        except RuleError as caught:
            refusals.append(str(caught))
    assert len(refusals) > 100
    assert [line for line in refusals if not line.startswith(f"{tmp_path}/rules.yaml:")] == []


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    """Nine levels of nine aliases would be 387 million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "more than 300,000 values, aliases expanded" in error(write(tmp_path, "\n".join(lines)))


def test_a_rule_file_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    """The size is judged before reading: this file claims a terabyte."""
    path = tmp_path / "rules.yaml"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert error(path) == "rules.yaml: 1,099,511,627,776 bytes are too many for a rule file; expected at most 4,194,304"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("patern: x", "8:1: unknown key 'patern'; expected 'pattern'?"),
        ("zzz: x", "8:1: unknown key 'zzz'; expected one of id, title, entity,"),
        ("context: {words: [a], windo: 3}", "8:23: unknown key 'windo'; expected 'window'?"),
        ("tests: {nomatch: []}", "8:9: unknown key 'nomatch'; expected 'no_match'?"),
        ("tests: {match: [{text: a}]}", "8:17: 'spans' is missing; expected it here"),
        ("tests: {match: [{text: abc, spans: [[1]]}]}", "8:37: entry 2 of 'spans' is missing; expected it here"),
        ("tests: {match: [{text: abc, spans: [[1, 4]]}]}", "8:37: [1, 4] is no span of a text of 3 characters"),
        ("score: high", "8:8: 'score' is 'high'; expected a number"),
        ("score: true", "8:8: 'score' is True, a truth value; expected a number"),
        ("score: .5\nthreshold: 2", "9:12: 'threshold' is 2, a number; expected less than or equal to 1"),
        ("enabled: 1", "8:10: 'enabled' is 1, a number; expected true or false"),
        ("max_length: 1.5", "8:13: 'max_length' is 1.5, a number; expected a whole number"),
        (
            "action: destroy",
            "8:9: 'action' is 'destroy'; expected 'observe', 'mask', 'encrypt', 'hash', 'redact' or 'halt'",
        ),
        ("flags: q", "8:8: 'q' is not a flag; expected letters of 'imsxa'"),
        ("on: [request]", "8:5: 'on' is a list; expected a mapping"),
        ("on: {channels: content}", "8:16: 'channels' is 'content'; expected a list"),
        ("validate: [luhn, lun]", "8:18: 'lun' is not a validator; expected one of au_abn,"),
        ("placeholder: '<X>'", "8:14: 'placeholder' is '<X>'; expected it to match pattern"),
        ("title2: [a, b]", "8:1: unknown key 'title2'; expected 'title'?"),
        ("words: [a]", "8:8: pattern and words are given together; expected one of them"),
        ("title: ", "8:1: the key 'title' is given twice, first at rules.yaml:3:1"),
    ],
)
def test_a_broken_rule_is_refused_with_its_place(tmp_path: Path, line: str, message: str) -> None:
    """Errors of the model come back at the line and column of the culprit."""
    assert f"rules.yaml:{message}" in error(write(tmp_path, rule("a", "severity: low", line)))


def test_a_broken_pattern_is_refused_at_the_pattern(tmp_path: Path) -> None:
    """The pattern's own position is told too."""
    path = write(tmp_path, "{id: a, title: A, entity: A, category: other,\n pattern: '(a'}")
    assert error(path).startswith("rules.yaml:2:11: the pattern is not valid: missing ) at position 2")


def test_words_that_yaml_reads_as_numbers_are_to_be_quoted(tmp_path: Path) -> None:
    """420 without quotes is no word."""
    path = write(tmp_path, "{id: a, title: A, entity: A, category: other, words: [420]}")
    assert error(path) == "rules.yaml:1:55: entry 1 of 'words' is 420, a number; expected text (put it in quotes)"


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    """An author mends everything in one go."""
    write(tmp_path, rule("a", "titel: x", "score: 2"), "a.yaml")
    write(tmp_path, "id: a: b", "b.yaml")
    lines = errors(tmp_path)
    assert [line.split(": ")[0] for line in lines] == ["a.yaml:7:1", "a.yaml:8:8", "b.yaml:1:6"]


def test_many_errors_are_cut_short(tmp_path: Path) -> None:
    """Nobody reads a thousand."""
    lines = errors(write(tmp_path, "- 5\n" * 1000))
    assert len(lines) == MAX_ERRORS + 1
    assert lines[-1] == f"... and {1000 - MAX_ERRORS} more"


def test_an_id_taken_twice_names_both_places(tmp_path: Path) -> None:
    """Also across files, and for a disabled rule."""
    write(tmp_path, rule("same"), "a.yaml")
    write(tmp_path, rule("same", "enabled: false"), "b.yaml")
    assert error(tmp_path) == (
        "b.yaml:2:1: the id 'same' is taken by the rule at a.yaml:2:1; expected an id of its own"
    )


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A misspelt path must not mean no rules."""
    assert error(tmp_path / "none.yaml") == "none.yaml: there is no such file or folder; expected one with rules"


def test_the_shipped_rules_have_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`shipped` stands for the shipped rules, beside others too, unless there is a file of that name."""
    monkeypatch.chdir(tmp_path)
    own = write(tmp_path, rule("own"), "own.yaml")
    count = len(load([Path("shipped")]).rules)
    assert count == len(shipped().rules)
    assert len(load([Path("shipped"), own]).rules) == count + 1
    write(tmp_path, rule("other"), "shipped")
    assert len(load([Path("shipped")]).rules) == 1


def test_a_folder_without_rules_is_an_error(tmp_path: Path) -> None:
    """An empty mount must not mean no rules."""
    assert "the folder holds no rules" in error(tmp_path)


def test_no_paths_are_an_error() -> None:
    """A proxy without rules filters nothing."""
    with pytest.raises(RuleError, match="no rule files were given"):
        load([])


def test_a_disabled_rule_is_checked_and_kept_but_not_in_force(tmp_path: Path) -> None:
    """It is in the sources, so that it can be listed and tested."""
    write(tmp_path, rule("a"), "a.yaml")
    write(tmp_path, rule("b", "enabled: false"), "b.yaml")
    loaded = load_with_sources([tmp_path])
    assert [r.id for r in loaded.ruleset.rules] == ["a"]
    assert [(s.rule.id, s.enabled) for s in loaded.sources] == [("a", True), ("b", False)]
    write(tmp_path, rule("b", "enabled: false", "score: 3"), "b.yaml")
    assert "b.yaml:8:8: 'score' is 3" in error(tmp_path)


def test_a_set_with_every_rule_disabled_is_an_error(tmp_path: Path) -> None:
    """It would filter nothing."""
    assert "every rule is disabled" in error(write(tmp_path, rule("a", "enabled: false")))


def test_what_the_core_refuses_is_reported_at_its_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core knows the rule's id, not its file."""

    class Refusing:
        def __init__(self, rules: list[Rule], models: object) -> None:
            for one in rules:
                if one.id == "b":
                    raise RuleError("rule 'b' is no good; write another")

    monkeypatch.setattr(loading, "RuleSet", Refusing)
    write(tmp_path, rule("a"), "a.yaml")
    path = write(tmp_path, rule("b"), "b.yaml")
    assert error(tmp_path) == "b.yaml:2:1: rule 'b' is no good; write another"
    write(tmp_path, rule("b", "enabled: false"), "b.yaml")
    assert error(tmp_path) == "b.yaml:2:1: rule 'b' is no good; write another"
    path.unlink()
    assert len(load_with_sources([tmp_path]).sources) == 1


@pytest.mark.parametrize("scope", ["on: {request: true, response: false}", "enabled: false"])
def test_a_rule_that_is_not_in_the_compiled_answer_set_is_compiled_all_the_same(tmp_path: Path, scope: str) -> None:
    """Rules for prompts and disabled rules must not fail only when they are needed."""
    write(tmp_path, rule("a"), "a.yaml")
    write(tmp_path, rule("b", scope).replace("thingb", "'b*'"), "b.yaml")
    assert error(tmp_path).startswith("b.yaml:2:1: ")


def test_a_set_too_large_as_a_whole_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule may compile alone and all of them together may not."""

    class Crowded:
        def __init__(self, rules: list[Rule], models: object) -> None:
            if len(rules) > 1:
                raise RuleError("too many states")

    monkeypatch.setattr(loading, "RuleSet", Crowded)
    write(tmp_path, rule("a"), "a.yaml")
    write(tmp_path, rule("b"), "b.yaml")
    assert error(tmp_path) == "a.yaml:2:1: the rules cannot be compiled together: too many states"


def test_a_catastrophic_pattern_is_refused_or_harmless(tmp_path: Path) -> None:
    """The automaton does not backtrack; what it cannot run it refuses, at the pattern's place."""
    path = write(tmp_path, "{id: a, title: A, entity: A, category: other, pattern: '(a+)+(?:b\\1)*$'}")
    with pytest.raises(RuleError, match=r"rules\.yaml:1:56: .* a back-reference at column 10"):
        load([path])


def test_a_rule_without_samples_loads_with_a_warning(tmp_path: Path) -> None:
    """An operator may start without samples; shipped rules may not."""
    path = write(tmp_path, rule("a", "tests: {match: [{text: thinga, spans: [[0, 6]]}]}"))
    (warning,) = load_with_sources([path]).warnings
    assert warning == f"{path}:2:1: rule 'a' has no tests.no_match; expected at least one sample"
    with pytest.raises(RuleError, match=r"has no tests\.no_match; expected both a match and a near miss"):
        load_with_sources([path], samples_required=True)


def test_a_rule_with_both_kinds_of_sample_has_no_warning(tmp_path: Path) -> None:
    """A match and a near miss are enough."""
    samples = "tests: {match: [{text: thinga, spans: [[0, 6]]}], no_match: [{text: thing, why: short}]}"
    path = write(tmp_path, rule("a", samples))
    assert load_with_sources([path], samples_required=True).warnings == ()


def words_rule(folder: Path, file: str = "words.txt") -> Path:
    """A rule file that takes its words from a file beside it."""
    return write(folder, f"{{id: a, title: A, entity: A, category: other, words_file: {file}}}")


def test_a_word_file_gives_its_entries_once_without_comments(tmp_path: Path) -> None:
    """Blank lines and comments are dropped, entries kept as they are."""
    content = "# a list\n\none\n  two words \r\none\nc# sharp # a comment\nÜber\u0308\n"
    write(tmp_path, b"\xef\xbb\xbf" + content.encode(), "words.txt")
    (loaded,) = load([words_rule(tmp_path)]).rules
    assert loaded.words == ("one", "two words", "c# sharp", "Über\u0308")


def test_a_huge_word_file_is_refused_unread(tmp_path: Path) -> None:
    """100 MB by its size; a sparse file, so nothing is written and nothing is read."""
    with (tmp_path / "words.txt").open("wb") as file:
        file.truncate(100 * 2**20)
    assert error(words_rule(tmp_path)) == (
        "rules.yaml:1:59: words_file 'words.txt' cannot be used: words.txt: 104,857,600 bytes are too many "
        f"for a word file; expected at most {MAX_WORD_FILE_BYTES:,}"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "words.txt: the file holds no entry; expected one word or phrase a line"),
        (b"# only this\n", "words.txt: the file holds no entry"),
        (b"one\n\xc3\x28", "words.txt:2:1: the byte 0xc3 is not UTF-8; expected text in UTF-8"),
        (b"one\n" + b"x" * 300, "words.txt:2:1: this entry has 300 characters; expected at most 256"),
    ],
)
def test_a_broken_word_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """The error names the rule's line and the word file's."""
    write(tmp_path, content, "words.txt")
    line = error(words_rule(tmp_path))
    assert line.startswith("rules.yaml:1:59: words_file 'words.txt' cannot be used: ")
    assert message in line


def test_a_word_file_that_is_not_there_or_no_file_is_refused(tmp_path: Path) -> None:
    """A folder and a missing file alike."""
    (tmp_path / "folder").mkdir()
    assert "there is no such file" in error(words_rule(tmp_path))
    assert "there is no such file" in error(words_rule(tmp_path, "folder"))


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    """The limit is on different entries."""
    path = write(tmp_path, "".join(f"{number}\n" for number in range(MAX_WORDS + 1)), "words.txt")
    with pytest.raises(RuleError, match=rf"words\.txt:{MAX_WORDS + 1}:1: too many entries; expected at most 200,000"):
        read_words(path)


def test_the_shipped_rules_load_once() -> None:
    """They have their samples, and are compiled once for the process."""
    assert SHIPPED.is_dir()
    assert shipped() is shipped()
    assert len(shipped().rules) >= 60
