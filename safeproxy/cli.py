"""The command line: serve, demo, scan, rules, bench. A command imports what it needs when it runs: help is quick."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from safeproxy import __version__
from safeproxy.errors import SafeproxyError

if TYPE_CHECKING:
    from safeproxy.core.ruleset import RuleSet
    from safeproxy.rulesets import LoadedRule, LoadedRules

#: The exit status when what the user gave cannot be used, as click has it for wrong options.
UNUSABLE = 2
#: Code points fed at once by ``scan``: large enough that the call costs nothing, small enough for the cache.
SCAN_PIECE = 65_536

P = ParamSpec("P")
R = TypeVar("R")

_rules_option = click.option(
    "--rules",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Rule file or folder, or `shipped`; may be repeated. [default: shipped]",
)
_paths_argument = click.argument("paths", nargs=-1, type=click.Path(path_type=Path))


class Unusable(click.ClickException):
    """What the user gave cannot be used; shown as its message alone."""

    exit_code = UNUSABLE


def _plain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn safeproxy's own errors into a message on standard error and exit status 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SafeproxyError as error:
            raise Unusable(str(error)) from None

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="safeproxy")
def main() -> None:
    """A streaming content-safety proxy for LLM APIs."""


@main.command()
@click.option("--upstream", metavar="URL", help="The LLM API's address; request paths are appended to it.")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: 8080]")
@_rules_option
@click.option(
    "--audit", metavar="DIR", type=click.Path(path_type=Path), help="Folder of the audit trail.  [default: audit/log]"
)
@click.option("--config", metavar="FILE", type=click.Path(path_type=Path), help="YAML file with settings.")
@_plain_errors
def serve(
    upstream: str | None,
    host: str | None,
    port: int | None,
    paths: tuple[Path, ...],
    audit: Path | None,
    config: Path | None,
) -> None:
    """Run the proxy in front of an LLM API.

    Every setting may also come from a SAFEPROXY_* variable or from the settings file; an option wins over a variable,
    a variable over the file.
    """
    from safeproxy.shell.serve import serve as run
    from safeproxy.shell.settings import Settings

    settings = Settings.load(config, upstream=upstream, host=host, port=port, rules=paths or None, audit=audit)
    run(settings, lambda url: click.echo(f"safeproxy listens on {url}", err=True))


@main.command()
@click.option("--keep", is_flag=True, help="Stay up afterwards, to be tried with a client of your own.")
@_plain_errors
def demo(keep: bool) -> None:
    """Show a stream being filtered: no key, no network needed."""
    import asyncio
    import os

    from safeproxy.demo.stage import perform

    # click leaves colours out by itself where standard output is no terminal.
    color = False if os.environ.get("NO_COLOR") else None
    try:
        asyncio.run(perform(keep=keep, echo=lambda line: click.echo(line, color=color)))
    except KeyboardInterrupt:
        click.echo()


@main.command()
@click.argument("file", default="-", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print findings and text as one JSON object.")
@click.option("--fail-on-finding", is_flag=True, help="Exit with status 1 if anything was found.")
@_rules_option
@_plain_errors
def scan(file: Path, as_json: bool, fail_on_finding: bool, paths: tuple[Path, ...]) -> None:
    """Filter a text: print what a client would get.

    The text is that of FILE, or of standard input.
    """
    from safeproxy.core.filter import StreamFilter

    rules = _ruleset(paths)
    text = _read(file)
    stream = StreamFilter(rules, channel="text", hash_key=_hash_key(rules))
    out = [stream.feed(text[at : at + SCAN_PIECE]) for at in range(0, len(text), SCAN_PIECE)]
    out.append(stream.finish())
    findings = stream.take_findings()
    if as_json:
        found = {
            "digest": rules.digest,
            "characters": len(text),
            "halted": stream.halted,
            "text": "".join(out),
            "findings": [_finding_form(finding) for finding in findings],
        }
        click.echo(json.dumps(found, indent=2))
    else:
        # As bytes: click takes escape sequences out of text that does not go to a terminal.
        click.echo("".join(out).encode(), nl=False)
        if stream.halted:
            click.echo(f"halted by rule {findings[-1].rule}", err=True)
    if fail_on_finding and findings:
        raise SystemExit(1)


def _read(file: Path) -> str:
    """The file's text; Unusable if it cannot be read or is not UTF-8."""
    name = "standard input" if str(file) == "-" else str(file)
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise Unusable(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        at = error.start
        raise Unusable(
            f"{name}: the byte 0x{data[at]:02x} at offset {at} is not UTF-8; expected text in UTF-8"
        ) from None


def _ruleset(paths: Sequence[Path]) -> RuleSet:
    from safeproxy import rulesets

    return rulesets.load(paths) if paths else rulesets.shipped()


def _hash_key(rules: RuleSet) -> bytes | None:
    """A key for rules that hash: the configured one."""
    import os

    key = os.environ.get("SAFEPROXY_HASH_KEY", "")
    if rules.needs_hash_key and not key:
        raise Unusable("a rule has the action 'hash'; set SAFEPROXY_HASH_KEY to the key it shall use")
    return key.encode() or None


def _finding_form(finding: Any) -> dict[str, Any]:
    form = dataclasses.asdict(finding)
    del form["channel"]
    return form | {"severity": finding.severity.name.lower()}


@main.group()
def rules() -> None:
    """Check, test and look up rules.

    Without a PATH, the shipped ones.
    """


def _loaded(paths: Iterable[Path]) -> LoadedRules:
    from safeproxy import rulesets

    return rulesets.load_with_sources(list(paths) or [rulesets.SHIPPED])


@rules.command()
@_paths_argument
@_plain_errors
def check(paths: tuple[Path, ...]) -> None:
    """Load rule files and say what is wrong with them."""
    loaded = _loaded(paths)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    disabled = sum(1 for source in loaded.sources if not source.enabled)
    click.echo(f"{len(loaded.ruleset.rules)} rules in force" + (f", {disabled} disabled" if disabled else ""))
    click.echo(f"digest {loaded.ruleset.digest}")


@rules.command()
@_paths_argument
@_plain_errors
def test(paths: tuple[Path, ...]) -> None:
    """Run every rule's own samples: whole, and one character at a time."""
    from safeproxy.rulesets import selftest

    results = selftest.run_all(_loaded(paths).sources)
    failed = [result for result in results if not result.passed]
    for result in failed:
        click.echo(f"FAILED {result.message}")
    click.echo(f"{len(results) - len(failed)} samples passed, {len(failed)} failed")
    if failed:
        raise SystemExit(1)


@rules.command("list")
@_paths_argument
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@_plain_errors
def list_(paths: tuple[Path, ...], as_json: bool) -> None:
    """List the rules: id, entity, action, severity, category."""
    sources = _loaded(paths).sources
    forms = [_rule_form(source) for source in sources]
    if as_json:
        click.echo(json.dumps(forms, indent=2))
        return
    keys = ("id", "entity", "action", "severity", "category")
    lines = [keys, *(tuple(str(form[key]) for key in keys) for form in forms)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(keys))]
    for line, enabled in zip(lines, (True, *(source.enabled for source in sources)), strict=True):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo(cells.rstrip() + ("" if enabled else "  (disabled)"))


def _rule_form(source: LoadedRule) -> dict[str, Any]:
    rule = source.rule
    return {
        "id": rule.id,
        "title": rule.title,
        "entity": rule.entity,
        "action": rule.action.value,
        "severity": rule.severity.name.lower(),
        "category": rule.category,
        "enabled": source.enabled,
    }


@rules.command()
@click.argument("rule_id", metavar="ID")
@_paths_argument
@_plain_errors
def explain(rule_id: str, paths: tuple[Path, ...]) -> None:
    """Say everything about one rule: where it stands, what it looks for, what it does, its samples."""
    import difflib

    by_id = {source.rule.id: source for source in _loaded(paths).sources}
    if rule_id not in by_id:
        near = difflib.get_close_matches(rule_id, by_id, n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else "; `safeproxy rules list` shows all"
        raise Unusable(f"there is no rule {rule_id!r}{hint}")
    click.echo("\n".join(_explanation(by_id[rule_id])))


def _explanation(source: LoadedRule) -> list[str]:
    rule = source.rule
    scope = [name for name, on in (("prompts", rule.request), ("answers", rule.response)) if on]
    every_channel = set(rule.channels) == set(type(next(iter(rule.channels))))
    channels = "all" if every_channel else ", ".join(sorted(rule.channels))
    facts = {
        "title": rule.title,
        "place": str(source.place),
        "in force": "yes" if source.enabled else "no (enabled: false)",
        "entity": rule.entity,
        "category": rule.category,
        "severity": rule.severity.name.lower(),
        "action": rule.action.value,
        "stand-in": _stand_in(source),
        "looks at": f"{' and '.join(scope)}; channels: {channels}",
        "reads": f"{rule.view.value} text, engine {rule.engine.value}"
        + (f", flags {rule.flags}" if rule.flags else ""),
        "words": _shortened(rule.words),
        "pattern": rule.pattern or "",
        "validators": ", ".join(rule.validators),
        "context": f"{rule.context.bonus:+g} after {_shortened(rule.context.words)} within {rule.context.window} words"
        if rule.context
        else "",
        "score": f"{rule.score:g}, counts from {rule.threshold:g}",
        "length": _length(source),
    }
    width = max(map(len, facts))
    lines = [f"{source.rule.id}", *(f"  {name.ljust(width)}  {fact}" for name, fact in facts.items() if fact)]
    for sample in source.tests.match:
        spans = ", ".join(f"[{start}, {end})" for start, end in sample.spans)
        lines.append(f"  finds {spans} in: {_one_line(sample.text)}")
    for heading, misses in (("passes", source.tests.no_match), ("does not find yet", source.tests.known_gap)):
        lines += [f"  {heading}: {_one_line(miss.text)}  ({miss.why})" for miss in misses]
    return lines


def _stand_in(source: LoadedRule) -> str:
    """What a client sees in the place of a finding."""
    rule = source.rule
    return {
        "observe": "none, the text stays as it is",
        "mask": f"X for each character but the last {rule.mask_keep}",
        "hash": f"[{rule.entity}:...], the same for equal values",
        "redact": rule.stand_in,
        "halt": "none, the answer ends before the finding",
    }[rule.action.value]


def _length(source: LoadedRule) -> str:
    """How long a match can be, which is the most that the rule can hold back."""
    from safeproxy.core.rule import Engine
    from safeproxy.core.syntax import parse, width, word_list

    rule = source.rule
    ceiling = f"a span has at most {rule.max_length:,} characters, beyond which the match is: {rule.overflow.value}"
    if rule.engine is Engine.REGEX:
        return ceiling
    least, most = width(word_list(rule.words, rule.flags) if rule.pattern is None else parse(rule.pattern, rule.flags))
    if most is None or most > rule.max_length:
        return f"{least:,} characters or more; {ceiling}"
    return f"{least:,} characters" if least == most else f"{least:,} to {most:,} characters"


def _shortened(words: Sequence[str], most: int = 12) -> str:
    """A list of words on one line, cut where it gets long."""
    return ", ".join(words[:most]) + (f" and {len(words) - most:,} more" if len(words) > most else "")


def _one_line(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


@main.group()
def models() -> None:
    """The models that rules may ask."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@_plain_errors
def list_models(as_json: bool) -> None:
    """List safeproxy's own models, installed spaCy pipelines and plug-ins, with their digests and labels."""
    from safeproxy.models.listing import listed

    entries = list(listed())
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(entry) for entry in entries], indent=2))
        return
    for entry in entries:
        facts = entry.fault or " ".join((entry.version, entry.digest, ",".join(entry.labels)))
        click.echo(f"{entry.detector}  {entry.name or '(default)'}  {facts}".rstrip())


@models.command()
@click.argument("detector", default="")
@click.argument("name", default="")
@click.option(
    "--data",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="For ner: also compare on the texts of this file, JSON lines with a `text`, plain or .gz; may be repeated.",
)
@click.option("--tokens", type=int, help="Stop comparing after so many tokens.")
@_plain_errors
def verify(detector: str, name: str, files: tuple[Path, ...], tokens: int | None) -> None:
    """Check a model: its digest, and that piece by piece it decides as on the whole text.

    DETECTOR is such as ner, NAME a model of that kind; without them safeproxy's own models are checked.
    """
    from safeproxy.models.listing import faults
    from safeproxy.models.registry import OWN

    wrong = 0
    for kind in [detector] if detector else OWN:
        found = faults(kind, name)
        wrong += len(found)
        for line in found or ["sound"]:
            click.echo(f"{kind} {name or '(default)'}: {line}")
    if files:
        wrong += _compare(name, files, tokens)
    if wrong:
        raise SystemExit(1)


def _compare(name: str, files: Sequence[Path], tokens: int | None) -> int:
    """Compare a names model with spaCy on the texts of the files; how many entities differ."""
    import random

    from safeproxy.models.listing import compare, random_pieces

    texts = [text for file in files for text in _texts(file)]
    chance = random.Random(1)  # noqa: S311 - for cutting texts
    chance.shuffle(texts)
    seen = compare(name, texts, random_pieces(chance), tokens)
    click.echo(f"{seen.texts:,} texts, {seen.tokens:,} tokens, {seen.entities:,} entities, {seen.differing:,} differ")
    return seen.differing


def _texts(file: Path) -> list[str]:
    """The `text` of each line; Unusable if there is a line without one."""
    import gzip

    with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
        try:
            return [json.loads(line)["text"] for line in lines]
        except (ValueError, KeyError, TypeError, OSError):
            raise Unusable(f"{file}: expected JSON lines, each an object with a `text`") from None


@main.command()
@click.option("--quick", is_flag=True, help="Fewer rounds and smaller loads: about a minute, rougher figures.")
@click.option(
    "--json", "json_file", metavar="FILE", help="Write the figures as JSON to FILE, or - for standard output."
)
@click.option("--leaks/--no-leaks", default=True, help="Whether to run the leak test.  [default: leaks]")
@click.option(
    "--streams", default="1,50,200", metavar="N,...", show_default=True, help="How many paced streams at once."
)
@click.option(
    "--only",
    "sections",
    multiple=True,
    metavar="SECTION",
    help="Run this section only; may be repeated: filter, models, streams, first_token, memory, closing, leaks.",
)
@_plain_errors
def bench(quick: bool, json_file: str | None, leaks: bool, streams: str, sections: tuple[str, ...]) -> None:
    """Measure the proxy and look for leaks.

    Starts an upstream, a naive relay and the proxy with several rule sets on loopback, and loads them: about five
    minutes. The memory, time and ratios hold for this machine and this run.
    """
    from safeproxy.bench import report
    from safeproxy.bench.run import SECTIONS, Plan, run

    if unknown := [section for section in sections if section not in SECTIONS]:
        raise Unusable(f"there is no section {unknown[0]!r}; expected one of {', '.join(SECTIONS)}")
    wanted = [section for section in sections or SECTIONS if leaks or section != "leaks"]
    results = run(Plan(wanted, _counts(streams), quick), lambda line: click.echo(line, err=True))
    if json_file is not None:
        form = json.dumps({**results, "rows": [row.form() for row in report.rows(results)]}, indent=2)
        with click.open_file(json_file, "w", encoding="utf-8") as file:
            file.write(form + "\n")
    if json_file != "-":
        click.echo(report.text(results), nl=False)


def _counts(streams: str) -> list[int]:
    """The numbers in a comma-separated list; Unusable if they are none."""
    try:
        counts = [int(part) for part in streams.split(",")]
    except ValueError:
        counts = [0]
    if any(not 1 <= count <= 500 for count in counts):
        raise Unusable(f"--streams {streams!r}: expected numbers from 1 to 500, such as 1,50")
    return counts
