"""Virtual keys: their form, their check, and the file that lists them."""

from __future__ import annotations

import hmac
import stat
import string
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeproxy.errors import ConfigError
from safeproxy.shell import client_keys
from safeproxy.shell.client_keys import VirtualKey, add, changing, check, id_of, issue, read

NOW = datetime(2030, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)

_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
_TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def issued(**facts: Any) -> tuple[str, dict[str, VirtualKey]]:
    """A key, and the keys that are known: it alone."""
    key, kept = issue("app", now=NOW, **facts)
    return key, {kept.id: kept}


def test_a_key_is_good_until_it_expires_or_is_revoked() -> None:
    """The moment of the expiry is already too late."""
    key, keys = issued(expires=NOW + DAY)
    found = check(keys, key, NOW)
    assert found is not None
    assert found.name == "app"
    assert check(keys, key, NOW + DAY) is None
    revoked = {found.id: found.model_copy(update={"revoked": NOW})}
    assert check(revoked, key, NOW) is None
    assert [found.state(NOW), found.state(NOW + DAY), revoked[found.id].state(NOW)] == ["active", "expired", "revoked"]


def test_keys_differ_and_so_do_their_hashes() -> None:
    """Each has an id, a secret and a salt of its own."""
    made = [issue("app", now=NOW) for _ in range(50)]
    assert len({key for key, _ in made}) == len({kept.id for _, kept in made}) == 50
    assert len({kept.hash.split(":")[1] for _, kept in made}) == 50


def test_what_is_kept_says_nothing_of_the_secret() -> None:
    """Neither the secret nor a part of it stands in what is kept, nor the hash in what is printed of it."""
    key, kept = issue("app", now=NOW)
    secret = key.split("-", 2)[2]
    assert secret[:8] not in kept.model_dump_json()
    assert kept.hash not in repr(kept)


@given(where=st.integers(0, 10**6), letter=st.sampled_from(string.ascii_letters + string.digits + "-_ \udc80é"))
def test_one_changed_character_makes_a_key_wrong(where: int, letter: str) -> None:
    """Wherever it stands; bytes that are no text are only wrong."""
    key, keys = issued()
    at = where % len(key)
    changed = key[:at] + letter + key[at + 1 :]
    assert (check(keys, changed, NOW) is None) == (changed != key)


@given(text=st.text())
def test_any_text_may_be_presented(text: str) -> None:
    """Nothing but a key is one."""
    _, keys = issued()
    assert check(keys, text, NOW) is None
    assert id_of(text) is None


@pytest.mark.parametrize("presented", ["", "nonsense", f"sp-{'0' * 12}-{'A' * 43}", f"sp-{'f' * 12}-{'A' * 43}"])
def test_an_unknown_id_costs_the_same_comparison(presented: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash is made and compared in constant time for ids that there are not, as for a wrong secret."""
    compared: list[tuple[str, str]] = []
    hashed: list[str] = []
    digest = client_keys._hashed

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(client_keys, "hmac", type("Spy", (), {"compare_digest": staticmethod(compare)}))
    monkeypatch.setattr(client_keys, "_hashed", lambda secret, salt: hashed.append(secret) or digest(secret, salt))
    key, keys = issued()
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    hashed.clear()
    assert check(keys, presented, NOW) is None
    assert check(keys, wrong, NOW) is None
    assert len(compared) == len(hashed) == 2
    assert {len(part) for pair in compared for part in pair} == {len(keys[wrong.split("-")[1]].hash)}


@given(name=_NAMES, tenant=st.none() | _NAMES, expires=st.none() | _TIMES, tags=st.dictionaries(_NAMES, _NAMES))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    tenant: str | None,
    expires: datetime | None,
    tags: dict[str, str],
) -> None:
    """Names that look like numbers, dates or booleans, times and tags survive the file."""
    path = tmp_path_factory.mktemp("keys") / "keys.yaml"
    _, kept = issue(name, tenant=tenant, now=NOW, expires=expires, tags=tags)
    with changing(path) as keys:
        keys[kept.id] = kept
    assert read(path) == {kept.id: kept}
    assert set(kept.tags) == {tag.lower() for tag in tags}


@pytest.mark.parametrize(
    ("facts", "culprit"),
    [
        ({"name": "a b"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a", "tenant": "é"}, "tenant"),
        ({"name": "a", "tags": {"team": "x" * 65}}, "team"),
        ({"name": "a", "tags": {"a/b": "x"}}, "tags"),
    ],
)
def test_a_name_that_no_record_can_hold_is_refused(facts: dict[str, Any], culprit: str) -> None:
    """The message says which, and what a name is."""
    with pytest.raises(ConfigError, match=rf"'{culprit}'.*1 to 64 letters"):
        issue(now=NOW, **facts)


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It is made and remade with mode 0600, and nothing is left beside it but the lock."""
    path = tmp_path / "keys.yaml"
    for _ in range(2):
        with changing(path) as keys:
            _, kept = issue("app", now=NOW)
            keys[kept.id] = kept
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["keys.yaml", "keys.yaml.lock"]
    assert len(read(path)) == 2


def test_a_change_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half of a file and no scrap of one is left when the disk is full."""
    path = tmp_path / "keys.yaml"
    with changing(path):
        pass
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client_keys.os, "fsync", full)
    _, kept = issue("app", now=NOW)
    with pytest.raises(ConfigError, match="No space left on device"), changing(path) as keys:
        keys[kept.id] = kept
    assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["keys.yaml", "keys.yaml.lock"]


def test_what_a_link_points_to_is_changed(tmp_path: Path) -> None:
    """The link stays one."""
    path, link = tmp_path / "keys.yaml", tmp_path / "link.yaml"
    link.symlink_to(path)
    with changing(link):
        pass
    assert link.is_symlink()
    assert read(path) == {}


def test_a_key_that_is_added_is_good_and_keeps_its_facts(tmp_path: Path) -> None:
    """It stands in the file beside those that are there."""
    path = tmp_path / "keys.yaml"
    (one, first), (two, second) = add(path, "one", now=NOW), add(path, "two", now=NOW, tenant="acme")
    kept = read(path)
    assert kept == {first.id: first, second.id: second}
    assert (check(kept, one, NOW), check(kept, two, NOW)) == (first, second)
    assert second.tenant == "acme"


def test_many_changes_at_once_are_all_kept(tmp_path: Path) -> None:
    """Who changes the file waits for who is changing it."""
    path = tmp_path / "keys.yaml"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add(path, f"app{number}", now=NOW), range(24)))
    assert sorted(key.name for key in read(path).values()) == sorted(f"app{number}" for number in range(24))


def test_times_without_a_zone_are_utc(tmp_path: Path) -> None:
    """A date written by hand is the beginning of that day in UTC."""
    _, keys = issued()
    (kept,) = keys.values()
    path = tmp_path / "keys.yaml"
    times = "created: 2030-01-01 00:00:00, expires: 2030-07-01"
    path.write_text(f"keys:\n- {{id: {kept.id}, name: app, hash: '{kept.hash}', {times}}}\n")
    (found,) = read(path).values()
    assert found.created == datetime(2030, 1, 1, tzinfo=UTC)
    assert found.expires == datetime(2030, 7, 1, tzinfo=UTC)


GOOD = "id: 0123456789ab, name: app, created: 2030-01-01, hash: 'blake2b:" + "0" * 32 + ":" + "0" * 64 + "'"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("keys: [", "line 2: not YAML"),
        ("keys: [{created: 2030-99-99}]", "not YAML"),
        ("- a", "needs the one entry 'keys'"),
        ("keys: 5", "needs the one entry 'keys'"),
        ("keys: []\nmore: 1", "needs the one entry 'keys'"),
        ("keys: [{}]", "key 1, 'id': field required"),
        (f"keys: [{{{GOOD}}}, {{{GOOD}, secret: sp-hidden}}]", "key 2, 'secret': extra inputs are not permitted"),
        (f"keys: [{{{GOOD}, tenant: sp/hidden}}]", "'tenant': needs 1 to 64 letters"),
        (f"keys: [{{{GOOD}}}, {{{GOOD}}}]", "two keys have the id 0123456789ab"),
    ],
)
def test_a_broken_file_is_told_by_place_and_without_its_words(tmp_path: Path, text: str, complaint: str) -> None:
    """The message names the file and the key, and repeats no value: it may be a secret in the wrong place."""
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_told_with_the_remedy(tmp_path: Path) -> None:
    """One that is not there, is no file, or is no text."""
    with pytest.raises(ConfigError, match="make it with `safeproxy keys create"):
        read(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        read(tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        read(tmp_path / "bytes")


def test_an_empty_file_has_no_keys(tmp_path: Path) -> None:
    """Then nobody may ask anything, which is no error."""
    path = tmp_path / "keys.yaml"
    for text in ("", "keys: []", "# nothing yet\n"):
        path.write_text(text)
        assert read(path) == {}
