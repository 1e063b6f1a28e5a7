"""Keys of an upstream: whose turn it is, who is set aside, and what is read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from safeproxy.errors import ConfigError
from safeproxy.shell.keyring import (
    LIMITED_FOR,
    LONGEST,
    REFUSED_FOR,
    AllAsideError,
    Choice,
    Key,
    KeyFile,
    Keyring,
    KeyVariable,
)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Given(KeyFile):
    """Keys that a test gives, in place of a file."""

    def __init__(self, *secrets: str) -> None:
        super().__init__(Path("keys"))
        self.secrets = list(secrets)

    def read(self) -> list[str]:
        """They are given."""
        return list(self.secrets)


def ring(
    *secrets: str, choice: Choice = "round_robin", source: KeyFile | KeyVariable | None = None
) -> tuple[Keyring, Clock, list[str]]:
    """A keyring, its clock, and what it complains of."""
    clock, complaints = Clock(), list[str]()
    return Keyring(source or Given(*secrets), choice, clock, complaints.append), clock, complaints


def taken(keyring: Keyring, count: int) -> list[str]:
    """So many keys, each given back at once."""
    found = []
    for _ in range(count):
        key = keyring.take()
        found.append(key.secret)
        keyring.give_back(key, worked=True)
    return found


def test_keys_are_taken_in_turn() -> None:
    """In the order of the file, round and round."""
    keyring, _, _ = ring("a", "b", "c")
    assert taken(keyring, 7) == ["a", "b", "c", "a", "b", "c", "a"]


def test_the_one_in_least_use_is_taken() -> None:
    """By requests that run; among equals the one that was not used for longest."""
    keyring, _, _ = ring("a", "b", choice="least_used")
    first, second = keyring.take(), keyring.take()
    assert (first.secret, second.secret) == ("a", "b")
    keyring.give_back(second, worked=True)
    assert keyring.take() is second
    keyring.give_back(first, worked=True)
    assert keyring.take() is first


def test_a_limited_key_is_left_alone_until_its_time_has_come() -> None:
    """For as long as the upstream says, else for the default, but never for ever; then it has its turn again."""
    for said, wait in ((7.0, 7.0), (None, LIMITED_FOR), (1e9, LONGEST)):
        keyring, clock, _ = ring("a", "b")
        limited = keyring.take()
        keyring.limit(limited, said)
        keyring.give_back(limited, worked=True)
        assert taken(keyring, 3) == ["b", "b", "b"]
        clock.now += wait - 0.5
        assert taken(keyring, 1) == ["b"]
        clock.now += 0.5
        assert taken(keyring, 2) == ["a", "b"]


def test_a_shorter_wait_does_not_end_a_longer_one() -> None:
    """Requests that ran at the same time may be told different things."""
    keyring, clock, _ = ring("a")
    key = keyring.take()
    keyring.limit(key, 10)
    keyring.limit(key, 1)
    clock.now += 5
    with pytest.raises(AllAsideError) as caught:
        keyring.take()
    assert caught.value.seconds == 5


def test_when_all_are_limited_it_is_said_for_how_long() -> None:
    """Until the first comes back."""
    keyring, _, _ = ring("a", "b")
    for seconds in (9, 4):
        keyring.limit(keyring.take(), seconds)
    with pytest.raises(AllAsideError, match=r"4\.0 s") as caught:
        keyring.take()
    assert caught.value.seconds == 4


def test_a_refused_key_is_taken_where_there_is_no_other() -> None:
    """So no client can lock the others out with what only its own requests are refused for."""
    keyring, clock, _ = ring("a", "b")
    first = keyring.take()
    keyring.refuse(first)
    assert taken(keyring, 2) == ["b", "b"]
    clock.now += 1
    keyring.refuse(keyring.take())
    assert taken(keyring, 1) == ["a"]  # and it works: it is like any other again
    assert taken(keyring, 2) == ["a", "a"]


def test_a_refused_key_is_not_tried_after_another_for_the_same_request() -> None:
    """One refusal is enough to know."""
    keyring, _, _ = ring("a", "b")
    first, second = keyring.take(), keyring.take()
    keyring.refuse(first)
    keyring.refuse(second)
    with pytest.raises(AllAsideError) as caught:
        keyring.take([first])
    assert caught.value.seconds == REFUSED_FOR


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """Not more often than once a second; keys that stay keep their state, also if they move."""
    file = tmp_path / "keys"
    file.write_text("# team A\na\n\n  b  \n", encoding="utf-8")
    keyring, clock, complaints = ring(source=KeyFile(file))
    key = keyring.take()
    keyring.limit(key, 60)
    file.write_text("c\na\n", encoding="utf-8")
    assert taken(keyring, 2) == ["b", "b"]
    clock.now += 1
    assert taken(keyring, 2) == ["c", "c"]
    assert key.number == 2
    clock.now += 60
    assert sorted(taken(keyring, 2)) == ["a", "c"]
    assert len(keyring) == 2
    assert complaints == []


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe", b"sk-one two\n", b"sk-\xc3\xbc\n", None])
def test_a_file_that_broke_changes_nothing(tmp_path: Path, content: bytes | None) -> None:
    """It is told once, without anything that the file says; a file that is whole again counts again."""
    file = tmp_path / "keys"
    file.write_bytes(b"sk-one\n")
    keyring, clock, complaints = ring(source=KeyFile(file))
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    for _ in range(3):
        clock.now += 1
        assert taken(keyring, 1) == ["sk-one"]
    assert len(complaints) == 1
    assert str(file) in complaints[0]
    assert "sk-" not in complaints[0]
    file.write_bytes(b"sk-three\n")
    clock.now += 1
    assert taken(keyring, 1) == ["sk-three"]


def test_a_broken_file_that_was_to_be_read_is_told_once(tmp_path: Path) -> None:
    """By the order to read it, not by the next look at it as well."""
    file = tmp_path / "keys"
    file.write_text("a", encoding="ascii")
    keyring, clock, complaints = ring(source=KeyFile(file))
    file.write_text("", encoding="ascii")
    keyring.reload()
    clock.now += 1
    assert taken(keyring, 1) == ["a"]
    assert len(complaints) == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file"),
        ("", "there is no key"),
        ("good\nbad key\n", "key 2 has a space"),
        ("a\x07b\n", "key 1 has a space or a character"),
    ],
)
def test_without_keys_there_is_no_start(tmp_path: Path, content: str | None, expected: str) -> None:
    """The message names the file and what is wrong, never a key."""
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"keys_file.*{expected}") as caught:
        ring(source=KeyFile(file))
    assert "bad key" not in str(caught.value)


def test_keys_may_stand_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Separated by commas, each once; read again when somebody says so."""
    monkeypatch.setenv("THE_KEYS", " a, b ,a,")
    keyring, clock, complaints = ring(source=KeyVariable("THE_KEYS"))
    assert taken(keyring, 3) == ["a", "b", "a"]
    monkeypatch.setenv("THE_KEYS", "c")
    clock.now += 10
    assert taken(keyring, 1) == ["b"]
    keyring.reload()
    assert taken(keyring, 2) == ["c", "c"]
    monkeypatch.delenv("THE_KEYS")
    keyring.reload()
    assert taken(keyring, 1) == ["c"]
    assert "THE_KEYS" in complaints[0]
    with pytest.raises(ConfigError, match=r"variable THE_KEYS.*no key"):
        ring(source=KeyVariable("THE_KEYS"))


def test_no_key_shows_itself() -> None:
    """Neither a key nor a ring of them."""
    keyring, _, _ = ring("sk-secret")
    key = keyring.take()
    assert "sk-secret" not in f"{key!r} {key} {keyring!r} {keyring}"


class Rings(RuleBasedStateMachine):
    """Whatever happens in whatever order, a keyring does as a plain account of it says."""

    running = Bundle("running")

    @initialize(choice=st.sampled_from(["round_robin", "least_used"]), count=st.integers(1, 4))
    def begin(self, choice: Choice, count: int) -> None:
        """Some keys."""
        self.source = Given(*"abcd"[:count])
        self.clock = Clock()
        self.choice = choice
        self.keyring = Keyring(self.source, choice, self.clock, lambda _: None)
        self.uses: dict[str, int] = dict.fromkeys("abcd", 0)
        self.limited: dict[str, float] = {}
        self.refused: dict[str, float] = {}
        self.order: list[str] = []

    @rule(target=running)
    def take(self) -> Key | None:
        """One that is free and whose turn it is; else one that was refused; else the time to wait."""
        now, keys = self.clock.now, self.source.secrets
        aside = {key: self.limited.get(key, 0.0) or self.refused.get(key, 0.0) for key in keys}
        free = [key for key in keys if aside[key] <= now]
        spare = [key for key in keys if key in self.refused]
        if not free and not spare:
            with pytest.raises(AllAsideError) as caught:
                self.keyring.take()
            assert caught.value.seconds == min(aside.values()) - now
            return None
        key = self.keyring.take()
        if free:
            assert key.secret in free
            least = min(self.uses[other] for other in free)
            rivals = [other for other in free if self.choice == "round_robin" or self.uses[other] == least]
            assert key.secret in rivals
            last = {other: self.order.index(other) if other in self.order else -1 for other in rivals}
            assert last[key.secret] == min(last.values())
        else:
            assert aside[key.secret] == min(aside[other] for other in spare)
        if key.secret in self.order:
            self.order.remove(key.secret)
        self.order.append(key.secret)
        self.uses[key.secret] += 1
        return key

    @rule(key=consumes(running), worked=st.booleans())
    def give_back(self, key: Key | None, worked: bool) -> None:
        """The request is over."""
        if key is not None:
            self.keyring.give_back(key, worked=worked)
            self.uses[key.secret] -= 1
            if worked:
                self.refused.pop(key.secret, None)

    @rule(key=running, seconds=st.one_of(st.none(), st.integers(0, 20)))
    def limit(self, key: Key | None, seconds: int | None) -> None:
        """It is at its limit, whatever it was before."""
        if key is not None:
            self.keyring.limit(key, seconds)
            before = max(self.limited.get(key.secret, 0.0), self.refused.pop(key.secret, 0.0))
            wait = LIMITED_FOR if seconds is None else seconds
            self.limited[key.secret] = max(before, self.clock.now + wait)

    @rule(key=running)
    def refuse(self, key: Key | None) -> None:
        """It is not taken, whatever it was before."""
        if key is not None:
            self.keyring.refuse(key)
            self.limited.pop(key.secret, None)
            self.refused[key.secret] = self.clock.now + REFUSED_FOR

    @rule(seconds=st.integers(0, 400))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.now += seconds

    @invariant()
    def counts(self) -> None:
        """Requests are counted where they run."""
        if hasattr(self, "keyring"):
            found = {key.secret: key.running for key in self.keyring._keys}
            assert found == {secret: self.uses[secret] for secret in self.source.secrets}


TestRings = Rings.TestCase
TestRings.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_file_is_looked_at_once_a_second_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many requests there are."""
    file, looks, stat = tmp_path / "keys", list[Path](), Path.stat
    file.write_text("a", encoding="ascii")

    def counted(path: Path, **options: bool) -> os.stat_result:
        looks.append(path)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", counted)
    keyring, clock, _ = ring(source=KeyFile(file))
    for _ in range(30):
        taken(keyring, 1)
        clock.now += 0.1
    assert looks == [file] * (1 + 2)
