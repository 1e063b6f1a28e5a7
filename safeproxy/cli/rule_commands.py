"""`safeproxy rules`: check, test, list and explain rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safeproxy.cli.common import Unusable, paths_argument, plain_errors

if TYPE_CHECKING:
    from safeproxy.rulesets import LoadedRule, LoadedRules


@click.group()
def rules() -> None:
    """Check, test and look up rules.

    Without a PATH, the shipped ones.
    """


def _loaded(paths: Iterable[Path]) -> LoadedRules:
    from safeproxy import rulesets

    return rulesets.load_with_sources(list(paths) or [rulesets.SHIPPED])


@rules.command()
@paths_argument
@plain_errors
def check(paths: tuple[Path, ...]) -> None:
    """Load rule files and say what is wrong with them."""
    loaded = _loaded(paths)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    disabled = sum(1 for source in loaded.sources if not source.enabled)
    click.echo(f"{len(loaded.ruleset.rules)} rules in force" + (f", {disabled} disabled" if disabled else ""))
    click.echo(f"digest {loaded.ruleset.digest}")


@rules.command()
@paths_argument
@plain_errors
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
@paths_argument
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@plain_errors
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
@paths_argument
@plain_errors
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
        "encrypt": f"[{rule.entity}:...], which the holder of the key can turn back",
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
