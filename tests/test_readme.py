"""The README is held against the program: its commands, settings, examples and links."""

from __future__ import annotations

import doctest
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from pydantic_core import PydanticUndefined

from safeproxy.cli import main
from safeproxy.core.filter import StreamFilter
from safeproxy.demo.script import SCENES
from safeproxy.rulesets import shipped
from safeproxy.rulesets.model import ContextModel, MissSample, OnModel, RuleModel, SamplesModel
from safeproxy.shell.paths import DEFAULT_PASS_PATHS
from safeproxy.shell.sections import UpstreamSettings
from safeproxy.shell.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
#: Where to find our own commands in prose: `safeproxy rules check acme.yaml`.
_IN_PROSE = re.compile(r"`(safeproxy [^`]*)`")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [match["body"] for match in _BLOCK.finditer(README) if match["language"] == language]


def section(name: str) -> str:
    """What stands between a pair of markers, which the tests can generate."""
    _, _, rest = README.partition(f"<!-- {name} -->\n")
    body, _, _ = rest.partition(f"<!-- /{name} -->")
    return body


def shell_lines() -> list[str]:
    """The lines of all shell blocks, continued ones joined, prompts and output left out."""
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return lines + [line[2:] for body in blocks("console") for line in body.splitlines() if line.startswith("$ ")]


def own_commands() -> Iterator[list[str]]:
    """The arguments of every call of safeproxy in shell blocks and in prose."""
    for line in [*shell_lines(), *_IN_PROSE.findall(README)]:
        for part in re.split(r"&&|\|(?=\s)", line):
            words = shlex.split(part)
            if words and Path(words[0]).name == "safeproxy":
                yield words[1:]


def option_names(command: click.Command) -> set[str]:
    """Every spelling of every option."""
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def all_commands(command: click.Command) -> Iterator[click.Command]:
    """The command and all below it."""
    yield command
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from all_commands(below)


def default_text(value: object) -> str:
    """A setting's default as the README shows it."""
    if value is PydanticUndefined:
        return "required"
    if value is None or value == ():
        return "none"
    if value == DEFAULT_PASS_PATHS:
        return "the list above"
    if isinstance(value, int) and value >= 2**20:
        return f"`{value}` ({value // 2**20} MiB)"
    return f"`{value}`"


def settings_table() -> str:
    """The table of settings as it ought to stand in the README."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        meaning = str(field.description).replace("|", r"\|")
        rows.append(f"| `{name}` | {default_text(field.default)} | {meaning} |")
    return "\n" + "\n".join(rows) + "\n\n"


def upstreams_table() -> str:
    """The table of an upstream's fields as it ought to stand in the README."""
    rows = ["| field | default | meaning |", "|---|---|---|"]
    for name, field in UpstreamSettings.model_fields.items():
        default = "none" if field.default == "" else default_text(field.default)
        rows.append(f"| `{name}` | {default} | {field.description} |")
    return "\n" + "\n".join(rows) + "\n\n"


def test_every_command_exists_with_its_options() -> None:
    """Whoever copies a line gets no 'no such command' and no 'no such option'."""
    seen = 0
    for arguments in own_commands():
        command: click.Command = main
        words = list(arguments)
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            # 'check|test|list' names several at once.
            names = words.pop(0).split("|")
            assert set(names) <= set(command.commands), arguments
            command = command.commands[names[0]]
        for word in words:
            if word.startswith("--"):
                assert word.partition("=")[0] in option_names(command), arguments
        seen += 1
    assert seen > 8


def test_every_command_is_told_of() -> None:
    """No command is left for the user to find out."""
    for name in main.commands:
        assert f"safeproxy {name}" in README, name


def test_every_serve_option_is_told_of() -> None:
    """The options of the command that matters most are all there."""
    for name in option_names(main.commands["serve"]) - {"--help", "-h"}:
        assert f"`{name} " in README, name


def test_options_in_prose_exist() -> None:
    """An option that stands alone in the text belongs to some command."""
    known = {name for command in all_commands(main) for name in option_names(command)}
    for option in re.findall(r"`(--[a-z-]+)[^`]*`", README):
        assert option in known, option


def test_settings_table_is_the_settings() -> None:
    """Every setting with its default and meaning; on failure, copy the table that was expected."""
    assert section("settings") == settings_table()


def test_upstreams_table_is_the_fields() -> None:
    """Every field of an upstream; on failure, copy the table that was expected."""
    assert section("upstreams") == upstreams_table()


def test_the_example_of_upstreams_can_be_used() -> None:
    """As far as it can be without its key files."""
    (text,) = [body for body in blocks("yaml") if body.startswith("upstreams:\n")]
    settings = Settings(**yaml.safe_load(text))
    assert [one.name for one in settings.upstreams] == ["openai", "anthropic", "azure"]


def test_pass_paths_are_the_default_ones() -> None:
    """The list of what may pass unfiltered is the one in force."""
    assert section("pass_paths") == "\n```text\n" + "\n".join(DEFAULT_PASS_PATHS) + "\n```\n\n"


def test_two_commands_do_all_their_setup() -> None:
    """One line runs the demo and one the tests, each from a bare interpreter."""
    lines = shell_lines()
    (demo,) = [line for line in lines if line.endswith("safeproxy demo")]
    (tests,) = [line for line in lines if line.endswith("pytest")]
    for line in (demo, tests):
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -q ")
    install = tests.split(" && ")[1].removeprefix(".venv/bin/pip ")
    assert install in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    """Links to files name files that are there; links to sections name headings."""
    anchors = {
        "#" + re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", README):
        if target.startswith("#"):
            assert target in anchors, target
        elif not target.startswith("https://"):
            assert (ROOT / target).exists(), target


def test_python_examples_are_python() -> None:
    """Every Python block compiles; those with a prompt give what they say."""
    runner = doctest.DocTestRunner(verbose=False)
    tried = 0
    for number, body in enumerate(blocks("python")):
        if ">>>" not in body:
            compile(body, f"README block {number}", "exec")
            continue
        example = doctest.DocTestParser().get_doctest(body, {}, f"README block {number}", "README.md", 0)
        tried += len(example.examples)
        told: list[str] = []
        runner.run(example, out=told.append)
        assert not told, "".join(told)
    assert tried > 5


def test_first_example_is_what_the_filter_does() -> None:
    """The rows of the table at the top are rows of the demo: token, what leaves, what is held."""
    (shown,) = [body for body in blocks("text") if body.startswith("the model says")]
    rows = [[cell.strip() for cell in line.split("|")] for line in shown.splitlines()[1:]]
    stream = StreamFilter(shipped())
    played = []
    for token in SCENES[0].content:
        out = stream.feed(token)
        played.append([repr(token), repr(out) if out else "", str(stream.held or "")])
    start = played.index(rows[0])
    assert played[start : start + len(rows)] == rows


def test_console_examples_print_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example rule is loaded, tested and used as the README shows."""
    (rule,) = [body for body in blocks("yaml") if "id: acme.project" in body]
    (tmp_path / "acme.yaml").write_text(rule, encoding="utf-8")
    (labelled,) = blocks("jsonl")
    (tmp_path / "labelled.jsonl").write_text(labelled, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    steps = [step for body in blocks("console") for step in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]]
    assert len(steps) == 3
    for step in steps:
        line, _, expected = step.partition("\n")
        given, _, command = line.rpartition(" | ")
        result = CliRunner().invoke(
            main, shlex.split(command)[1:], input=" ".join(shlex.split(given)[1:]) + "\n" if given else None
        )
        assert result.exit_code == 0, result.output
        assert result.stdout == expected


@pytest.mark.parametrize("text", [body for body in blocks("yaml") if "# safeproxy.yaml" in body])
def test_settings_example_is_valid(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each settings file shown can be used as it stands."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SAFEPROXY_{name.upper()}", raising=False)
    path = tmp_path / "safeproxy.yaml"
    path.write_text(text, encoding="utf-8")
    assert Settings.load(path).model_dump() == Settings(**yaml.safe_load(text)).model_dump()


def test_record_example_fits_the_schema() -> None:
    """The record shown is one that the proxy could have written."""
    (text,) = blocks("json")
    schema = json.loads((ROOT / "audit" / "schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(json.loads(text))


def test_every_rule_field_is_explained() -> None:
    """Rule authors find every key that a rule file may have in the rules' own README."""
    guide = (ROOT / "rules" / "README.md").read_text(encoding="utf-8")
    for model in (RuleModel, ContextModel, OnModel, SamplesModel, MissSample):
        for name, field in model.model_fields.items():
            assert re.search(rf"\b{field.alias or name}\b", guide), f"{model.__name__}: {field.alias or name}"
