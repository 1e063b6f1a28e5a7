"""`safeproxy keys`: issue, list and revoke virtual keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safeproxy.cli.common import Unusable, plain_errors

if TYPE_CHECKING:
    from safeproxy.shell.client_keys import Keys, VirtualKey

file_option = click.option(
    "--file",
    "path",
    envvar="SAFEPROXY_CLIENT_KEYS",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of keys, as in the setting client_keys.  [default: $SAFEPROXY_CLIENT_KEYS]",
)


@click.group()
def keys() -> None:
    """Issue, list and revoke virtual keys.

    Clients present them to the proxy in place of the upstream's own keys. A running proxy sees a change
    within a second.
    """


@keys.command()
@click.argument("name")
@click.option("--tenant", metavar="T", help="Whom its requests are counted for.")
@click.option("--expires", "ends", metavar="DAYS|DATE", help="Days from now, or the first day (UTC) it is refused on.")
@click.option("--tag", "tags", multiple=True, metavar="K=V", help="Tag of all its requests; may be repeated.")
@file_option
@plain_errors
def create(name: str, tenant: str | None, ends: str | None, tags: tuple[str, ...], path: Path) -> None:
    """Issue a key and print it, this once: only a hash of it is kept.

    NAME is what records and metrics call it. The key alone goes to standard output.
    """
    from safeproxy.shell import client_keys

    now = _now()
    expires = None if ends is None else _expiry(ends, now)
    key, kept = client_keys.add(path, name, tenant=tenant, now=now, expires=expires, tags=_tags(tags))
    click.echo(key)
    until = "" if kept.expires is None else f", good until {_shown(kept.expires)}"
    click.echo(
        f"This is the key {kept.id} ({kept.name}){until}. It cannot be shown again: {path} has a hash.", err=True
    )


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@file_option
@plain_errors
def list_(as_json: bool, path: Path) -> None:
    """List the keys: id, name, tenant, state, when made, when they expire, tags."""
    from safeproxy.shell import client_keys

    now = _now()
    forms = [_form(key, now) for key in client_keys.read(path).values()]
    if as_json:
        click.echo(json.dumps(forms, indent=2))
        return
    heads = ("id", "name", "tenant", "state", "created", "expires", "tags")
    lines = [heads, *(tuple(_cell(form[head]) for head in heads) for form in forms)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(heads))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@keys.command()
@click.argument("key", metavar="ID|NAME")
@file_option
@plain_errors
def revoke(key: str, path: Path) -> None:
    """Refuse a key from now on.

    It stays in the file, so that records can still be told whose it was. The key itself may be given as well.
    """
    from safeproxy.shell import client_keys

    client_keys.read(path)  # says so if there is no file: an empty one would help nobody
    with client_keys.changing(path) as there:
        found = _meant(there, key, path)
        if found.revoked is None:
            there[found.id] = found = found.model_copy(update={"revoked": _now()})
    assert found.revoked is not None
    click.echo(f"{found.id} ({found.name}) is revoked since {_shown(found.revoked)}")


def _meant(there: Keys, key: str, path: Path) -> VirtualKey:
    """The key of an id, or the one of a name that is not revoked yet."""
    from safeproxy.shell.client_keys import id_of

    id_ = id_of(key) or key
    if id_ in there:
        return there[id_]
    if id_ != key:
        raise Unusable(f"there is no key {id_!r} in {path}; `safeproxy keys list` shows all")  # the rest is a secret
    named = [one for one in there.values() if one.name == key]
    if not named:
        raise Unusable(f"there is no key {key!r} in {path}; `safeproxy keys list` shows all")
    left = [one for one in named if one.revoked is None]
    if len(left) > 1:
        raise Unusable(f"several keys are named {key!r}; give the id of one: {', '.join(one.id for one in left)}")
    return (left or named)[-1]


def _expiry(text: str, now: datetime) -> datetime:
    """The end of a key, from days or a date in ISO 8601. Raises Unusable."""
    try:
        end = now + timedelta(days=int(text)) if text.isdecimal() else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise Unusable(f"--expires: {text!r} is neither days, such as 90, nor a date, such as 2030-12-31") from None
    end = end.replace(tzinfo=UTC) if end.tzinfo is None else end.astimezone(UTC)
    if end <= now:
        raise Unusable(f"--expires: {_shown(end)} is over; give a time to come")
    return end


def _tags(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise Unusable(f"--tag: {pair!r} has no value; write it as team=search")
    return dict(pair.split("=", 1) for pair in pairs)


def _form(key: VirtualKey, now: datetime) -> dict[str, Any]:
    def time(value: datetime | None) -> str | None:
        return None if value is None else _shown(value)

    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "state": key.state(now),
        "created": time(key.created),
        "expires": time(key.expires),
        "revoked": time(key.revoked),
        "tags": key.tags,
    }


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}={one}" for name, one in value.items()) or "-"
    return "-" if value is None else str(value)


def _shown(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
