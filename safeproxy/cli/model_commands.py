"""`safeproxy models`: list and verify models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import click

from safeproxy.cli.common import plain_errors


@click.group()
def models() -> None:
    """The models that rules may ask."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@plain_errors
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
    help="For ner: also compare on the texts of this file, JSON lines as for eval, plain or gzip; may be repeated.",
)
@click.option("--tokens", type=int, help="Stop comparing after so many tokens.")
@plain_errors
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

    from safeproxy.core.names import MAX_RUN
    from safeproxy.models.listing import compare, random_pieces

    texts = [text for file in files for text in _texts(file)]
    chance = random.Random(1)  # noqa: S311 - for cutting texts
    chance.shuffle(texts)
    seen = compare(name, texts, random_pieces(chance), tokens)
    beyond = f", {seen.beyond:,} more in texts with a run of over {MAX_RUN} characters" if seen.beyond else ""
    click.echo(
        f"{seen.texts:,} texts, {seen.tokens:,} tokens, {seen.entities:,} entities, {seen.differing:,} differ{beyond}"
    )
    return seen.differing


def _texts(file: Path) -> list[str]:
    """The texts of the file's lines."""
    from safeproxy.evaluation.reading import records

    with file.open("rb") as lines:
        return [record.text for record in records(lines, str(file))]
