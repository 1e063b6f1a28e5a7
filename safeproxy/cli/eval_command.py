"""`safeproxy eval`: measure rules on labelled texts."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import TypeVar, cast

import click

from safeproxy.cli.common import Unusable, plain_errors, rules_option, ruleset_of

T = TypeVar("T")


@click.command("eval")
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path))
@rules_option
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="LABEL,...=ENTITY,...",
    help="Count these labels of the file and these entities of the rules as one; may be repeated.",
)
@click.option("--entity", "only", multiple=True, metavar="NAME", help="Measure this one only; may be repeated.")
@click.option("--stream", is_flag=True, help="Cut each text into random pieces; exit with status 1 if that changes it.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="For cuttings and intervals.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Read the first N texts only.")
@click.option(
    "--json", "json_file", metavar="FILE", help="Write the figures as JSON to FILE, or - for standard output."
)
@click.option("--curves", metavar="FILE", type=click.Path(path_type=Path), help="Draw the curves on an HTML page.")
@plain_errors
def eval_(
    file: Path,
    paths: tuple[Path, ...],
    maps: tuple[str, ...],
    only: tuple[str, ...],
    stream: bool,
    seed: int,
    limit: int | None,
    json_file: str | None,
    curves: Path | None,
) -> None:
    """Measure the rules on labelled texts.

    FILE, or - for standard input, has a JSON object a line: {"text": ..., "spans": [[start, end, LABEL], ...]},
    {"text": ..., "labels": {category: 0 to 1}}, or both; plain or gzip.
    """
    from itertools import islice

    from safeproxy.evaluation import measure, observing, reading, report
    from safeproxy.evaluation.curves import page
    from safeproxy.evaluation.mapping import parse_maps

    name = "standard input" if str(file) == "-" else str(file)
    for out in (json_file, curves):
        _refuse_missing_folder(out)
    question = measure.Question(parse_maps(maps), only, seed)
    rules = ruleset_of(paths)
    scorers = observing.scorers_of(rules)
    with _opened(file, name) as opened:
        records = islice(reading.records(opened, name), limit)
        observed = observing.observe(records, rules, scorers, cut_seed=seed if stream else None)
        texts = list(_counted(observed))
    results = measure.measure(texts, observing.entities_in_force(rules), question)
    if json_file != "-":
        click.echo(report.text(results), nl=False)
    if json_file is not None:
        facts = {
            "digest": rules.digest,
            "models": [dataclasses.asdict(facts) for facts in rules.model_facts],
            "seed": seed,
            "differing": len(results.differing) if stream else None,
        }
        _write(json_file, json.dumps(report.form(results, facts), indent=2, allow_nan=False) + "\n")
    if curves is not None:
        _write(str(curves), page(results, f"safeproxy eval: {file.name}"))
    if results.differing:
        click.echo(report.difference(results), err=True)
        raise SystemExit(1)


def _opened(file: Path, name: str) -> BufferedReader:
    """The file's bytes; Unusable if it cannot be opened."""
    try:
        return BufferedReader(cast("RawIOBase", sys.stdin.buffer)) if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise Unusable(f"{name}: {error.strerror}") from None


def _refuse_missing_folder(file: str | Path | None) -> None:
    """Unusable if the folder of a file to be written is not there: better said before a long run than after it."""
    if file is not None and not (folder := Path(file).parent).is_dir():
        raise Unusable(f"{file}: there is no folder {folder}")


def _write(file: str, text: str) -> None:
    """Write the text to the file, or to standard output for ``-``; Unusable if it cannot be written."""
    try:
        with click.open_file(file, "w", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise Unusable(f"{file}: {error.strerror}") from None


def _counted(items: Iterable[T]) -> Iterator[T]:
    """The items, counted on standard error if that is a terminal."""
    shown = sys.stderr.isatty()
    for number, item in enumerate(items, 1):
        yield item
        if shown and number % 200 == 0:
            click.echo(f"\r{number:,} texts", err=True, nl=False)
    if shown:
        click.echo("\r\033[K", err=True, nl=False)
