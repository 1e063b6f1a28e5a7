"""`safeproxy keys`, run in process."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from safeproxy.cli import main
from safeproxy.shell.client_keys import check, id_of, read


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the keys shall be; not made yet."""
    return tmp_path / "keys.yaml"


def run(*args: str | Path, variables: dict[str, str] | None = None) -> Result:
    """Run `safeproxy keys` with these arguments."""
    return CliRunner(env=variables).invoke(main, ["keys", *map(str, args)])


def created(file: Path, *args: str) -> str:
    """A new key."""
    result = run("create", *args, "--file", file)
    assert result.exit_code == 0, result.output
    return result.stdout.removesuffix("\n")


def fault(result: Result) -> str:
    """The message of a command that could not do its work."""
    assert result.exit_code == 2
    assert result.stdout == ""
    return result.stderr


def test_a_new_key_stands_alone_on_standard_output(file: Path) -> None:
    """It can be piped; what is to be known of it goes to standard error, without the key."""
    result = run("create", "app", "--tenant", "acme", "--expires", "90", "--tag", "Team=search", "--file", file)
    key = result.stdout.removesuffix("\n")
    (kept,) = read(file).values()
    assert check(read(file), key, datetime.now(UTC)) == kept
    assert (kept.name, kept.tenant, kept.tags) == ("app", "acme", {"team": "search"})
    assert kept.expires is not None
    assert (kept.expires - kept.created).days == 90
    assert kept.id in result.stderr
    assert key.split("-", 2)[2] not in result.stderr
    assert key not in file.read_text()


def test_the_file_may_come_from_the_proxy_s_variable(file: Path) -> None:
    """The variable of the setting is the default of the option; without both there is an error."""
    variables = {"SAFEPROXY_CLIENT_KEYS": str(file)}
    assert run("create", "app", variables=variables).exit_code == 0
    assert "app" in run("list", variables=variables).stdout
    assert "Missing option '--file'" in fault(run("list", variables={"SAFEPROXY_CLIENT_KEYS": ""}))


def test_the_list_tells_state_and_owner_and_no_secret(file: Path) -> None:
    """As a table and as JSON, expired and revoked ones too."""
    keys = [created(file, "one", "--tag", "a=b", "--tag", "c=d"), created(file, "two", "--expires", "2999-01-31")]
    assert run("revoke", "two", "--file", file).exit_code == 0
    text = file.read_text().replace("tags:", "expires: 2001-01-01\n  tags:")
    file.write_text(text)
    lines = run("list", "--file", file).stdout.splitlines()
    assert lines[0].split() == ["id", "name", "tenant", "state", "created", "expires", "tags"]
    assert lines[1].split()[:4] == [id_of(keys[0]), "one", "-", "expired"]
    assert lines[1].endswith("2001-01-01T00:00:00Z  a=b,c=d")
    assert lines[2].split()[:4] == [id_of(keys[1]), "two", "-", "revoked"]
    as_json = run("list", "--json", "--file", file).stdout
    listed = json.loads(as_json)
    assert [(one["state"], one["expires"]) for one in listed] == [
        ("expired", "2001-01-01T00:00:00Z"),
        ("revoked", "2999-01-31T00:00:00Z"),
    ]
    assert listed[1]["revoked"] is not None
    assert "blake2b" not in as_json


@pytest.mark.parametrize("by", ["id", "name", "key"])
def test_a_key_is_revoked_by_what_it_is_known_by(file: Path, by: str) -> None:
    """By id, by name or by itself; it is refused then, and doing it again changes nothing."""
    key = created(file, "app")
    known = {"id": id_of(key) or "", "name": "app", "key": key}[by]
    assert run("revoke", known, "--file", file).stdout.startswith(f"{id_of(key)} (app) is revoked since ")
    assert check(read(file), key, datetime.now(UTC)) is None
    before = read(file)
    assert run("revoke", known, "--file", file).exit_code == 0
    assert read(file) == before


def test_a_name_that_several_keys_have_must_be_told_apart(file: Path) -> None:
    """Keys may share a name while one takes the other's place; then the id decides."""
    old, new = created(file, "app"), created(file, "app")
    message = fault(run("revoke", "app", "--file", file))
    assert str(id_of(old)) in message
    assert str(id_of(new)) in message
    assert run("revoke", str(id_of(old)), "--file", file).exit_code == 0
    assert run("revoke", "app", "--file", file).stdout.startswith(str(id_of(new)))


def test_a_key_of_another_file_is_not_shown_in_the_complaint(file: Path, tmp_path: Path) -> None:
    """Who gives the key itself where it is unknown sees its id alone."""
    created(file, "app")
    strange = created(tmp_path / "other.yaml", "app")
    message = fault(run("revoke", strange, "--file", file))
    assert f"there is no key '{id_of(strange)}'" in message
    assert strange not in message


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("create", "a b"), "'name': needs 1 to 64"),
        (("create", "app", "--tenant", "a/b"), "'tenant': needs 1 to 64"),
        (("create", "app", "--tag", "team"), "write it as team=search"),
        (("create", "app", "--expires", "soon"), "neither days, such as 90, nor a date"),
        (("create", "app", "--expires", "0"), "is over; give a time to come"),
        (("create", "app", "--expires", "2001-01-01"), "is over; give a time to come"),
        (("create", "app", "--expires", "9" * 12), "neither days, such as 90, nor a date"),
        (("revoke", "app"), "there is no such file"),
        (("list",), "there is no such file"),
    ],
)
def test_what_cannot_be_done_is_told_and_nothing_is_written(file: Path, args: tuple[str, ...], complaint: str) -> None:
    """One sentence that names the culprit, exit status 2, and no file."""
    assert complaint in fault(run(*args, "--file", file))
    assert not file.exists()


def test_a_name_that_nobody_has_is_told(file: Path) -> None:
    """With the command that shows the names."""
    created(file, "app")
    assert "`safeproxy keys list` shows all" in fault(run("revoke", "other", "--file", file))
