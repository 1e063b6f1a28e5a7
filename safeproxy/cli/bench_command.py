"""`safeproxy bench`: measure the proxy and look for leaks."""

from __future__ import annotations

import json

import click

from safeproxy.cli.common import Unusable, plain_errors


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds and smaller loads: some minutes, rougher figures.")
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
    help="Run this section only; may be repeated: filter, models, streams, first_token, memory, closing, capacity, "
    "overhead, workers, leaks; and long, soak, which are run only when they are named.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True, max=24 * 60),
    help="How long the sections long and soak last.  [default: 10 and 15]",
)
@plain_errors
def bench(
    quick: bool, json_file: str | None, leaks: bool, streams: str, sections: tuple[str, ...], minutes: float | None
) -> None:
    """Measure the proxy and look for leaks.

    Starts an upstream, a naive relay and the proxy with several rule sets on loopback, and loads them: about ten
    minutes. The memory, time and ratios hold for this machine and this run.
    """
    from safeproxy.bench import report
    from safeproxy.bench.run import LASTING, SECTIONS, Plan, run

    known = (*SECTIONS, *LASTING)
    if unknown := [section for section in sections if section not in known]:
        raise Unusable(f"there is no section {unknown[0]!r}; expected one of {', '.join(known)}")
    wanted = [section for section in sections or SECTIONS if leaks or section != "leaks"]
    results = run(Plan(wanted, _counts(streams), quick, minutes), lambda line: click.echo(line, err=True))
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
