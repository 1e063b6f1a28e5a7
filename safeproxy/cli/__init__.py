"""The command line. A command imports what it needs when it runs: help is quick."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safeproxy import __version__
from safeproxy.cli.bench_command import bench
from safeproxy.cli.common import Unusable, plain_errors, rules_option, ruleset_of
from safeproxy.cli.eval_command import eval_
from safeproxy.cli.key_commands import keys
from safeproxy.cli.model_commands import models
from safeproxy.cli.rule_commands import rules
from safeproxy.system import calculate_on_one_core

if TYPE_CHECKING:
    from safeproxy.core.ruleset import RuleSet

#: Code points fed at once by ``scan``: large enough that the call costs nothing, small enough for the cache.
SCAN_PIECE = 65_536


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="safeproxy")
def main() -> None:
    """A streaming content-safety proxy for LLM APIs."""
    calculate_on_one_core()


@main.command()
@click.option("--upstream", metavar="URL", help="The LLM API's address; request paths are appended to it.")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: 8080]")
@rules_option
@click.option(
    "--audit", metavar="DIR", type=click.Path(path_type=Path), help="Folder of the audit trail.  [default: audit/log]"
)
@click.option("--workers", type=int, metavar="N", help="Processes that share the port.  [default: 1]")
@click.option("--config", metavar="FILE", type=click.Path(path_type=Path), help="YAML file with settings.")
@plain_errors
def serve(
    upstream: str | None,
    host: str | None,
    port: int | None,
    paths: tuple[Path, ...],
    audit: Path | None,
    workers: int | None,
    config: Path | None,
) -> None:
    """Run the proxy in front of an LLM API.

    Every setting may also come from a SAFEPROXY_* variable or from the settings file; an option wins over a variable,
    a variable over the file.
    """
    from safeproxy.shell.serve import serve as run
    from safeproxy.shell.settings import Settings

    settings = Settings.load(
        config, upstream=upstream, host=host, port=port, rules=paths or None, audit=audit, workers=workers
    )
    run(settings, lambda url: click.echo(f"safeproxy listens on {url}", err=True))


@main.command()
@click.option("--keep", is_flag=True, help="Stay up afterwards, to be tried with a client of your own.")
@plain_errors
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
@rules_option
@plain_errors
def scan(file: Path, as_json: bool, fail_on_finding: bool, paths: tuple[Path, ...]) -> None:
    """Filter a text: print what a client would get.

    The text is that of FILE, or of standard input.
    """
    from safeproxy.core.filter import StreamFilter

    rules = ruleset_of(paths)
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


def _hash_key(rules: RuleSet) -> bytes | None:
    """A key for rules that hash: the configured one."""
    import os

    key = os.environ.get("SAFEPROXY_HASH_KEY", "")
    if rules.needs_hash_key and not key:
        raise Unusable("a rule has the action 'hash' or 'encrypt'; set SAFEPROXY_HASH_KEY to the key it shall use")
    return key.encode() or None


@main.command()
@click.argument("file", default="-", type=click.Path(allow_dash=True, path_type=Path))
@plain_errors
def reveal(file: Path) -> None:
    """Turn the stand-ins of the action `encrypt` back into what they stand for.

    The text is that of FILE, or of standard input; the key is that of the proxy, in SAFEPROXY_HASH_KEY. What was not
    made under this key stays as it is.
    """
    import os

    from safeproxy.core.operators import decrypted

    key = os.environ.get("SAFEPROXY_HASH_KEY", "")
    if not key:
        raise Unusable("set SAFEPROXY_HASH_KEY to the key that the proxy used")
    click.echo(decrypted(_read(file), key.encode()).encode(), nl=False)


def _finding_form(finding: Any) -> dict[str, Any]:
    form = dataclasses.asdict(finding)
    del form["channel"]
    return form | {"severity": finding.severity.name.lower()}


for command in (rules, keys, models, eval_, bench):
    main.add_command(command)
