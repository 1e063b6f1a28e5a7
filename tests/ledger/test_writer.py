"""The writer: whole lines or an error, one file per process start."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from safeproxy.ledger.record import RequestOpened
from safeproxy.ledger.writer import AuditError, AuditWriter

RECORD = RequestOpened(
    request_id="00" * 16, time=0.0, client=None, method="POST", path="/v1/ü\n", model=None, rules="ab" * 32
)


def clock() -> float:
    """22 November 2026, 10:15 UTC."""
    return 1795342500.0


@contextmanager
def disk_full_at(size: int) -> Iterator[None]:
    """The operating system refuses to let any file grow beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def lines(writer: AuditWriter) -> list[dict[str, object]]:
    """The file's records; fails if a line is not a JSON object."""
    text = writer.path.read_text(encoding="ascii")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_the_file_is_named_after_start_machine_and_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes, two starts or two containers do not share a file; no name leaves the folder."""
    monkeypatch.setattr("platform.node", lambda: "../pod-0.example")
    assert AuditWriter(tmp_path, clock=clock).path.parent == tmp_path
    monkeypatch.setattr("platform.node", lambda: "pod-0.example")
    writer = AuditWriter(tmp_path, clock=clock)
    assert writer.path == tmp_path / f"audit-20261122T101500Z-pod-0.example-{os.getpid()}.jsonl"


def test_each_record_is_one_line_of_json(tmp_path: Path) -> None:
    """What is read back is what was written, in order."""
    writer = AuditWriter(tmp_path / "made" / "for it")
    writer.write(RECORD)
    writer.write(dataclasses.replace(RECORD, model="m"))
    assert lines(writer) == [RECORD.to_json(), dataclasses.replace(RECORD, model="m").to_json()]


def test_a_record_is_there_when_write_returns(tmp_path: Path) -> None:
    """Nothing waits in a buffer for the file to be closed."""
    writer = AuditWriter(tmp_path)
    writer.write(RECORD)
    assert len(lines(writer)) == 1


def test_only_the_owner_can_read(tmp_path: Path) -> None:
    """The audit trail holds who asked what: it is nobody else's."""
    writer = AuditWriter(tmp_path / "log")
    writer.write(RECORD)
    assert stat.S_IMODE(writer.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(writer.path.parent.stat().st_mode) == 0o700


def test_an_existing_file_is_appended_to(tmp_path: Path) -> None:
    """A second writer of the same second and process destroys nothing."""
    AuditWriter(tmp_path, clock=clock).write(RECORD)
    again = AuditWriter(tmp_path, clock=clock)
    again.write(RECORD)
    assert len(lines(again)) == 2


def test_writers_may_take_turns(tmp_path: Path) -> None:
    """Lines of two writers on one file do not mix."""
    first, second = AuditWriter(tmp_path, clock=clock), AuditWriter(tmp_path, clock=clock)
    for writer in (first, second) * 10:
        writer.write(RECORD)
    assert len(lines(first)) == 20


def test_a_full_disk_is_an_error_that_leaves_whole_lines(tmp_path: Path) -> None:
    """The half line that still had room is taken back; once there is room again, writing goes on."""
    writer = AuditWriter(tmp_path)
    writer.write(RECORD)
    size = writer.path.stat().st_size
    with disk_full_at(size + 10), pytest.raises(AuditError, match=r"cannot be written.*make room"):
        writer.write(RECORD)
    assert writer.failed
    assert len(lines(writer)) == 1
    writer.write(RECORD)
    assert not writer.failed
    assert len(lines(writer)) == 2


def test_a_place_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "log").write_text("", encoding="ascii")
    with pytest.raises(AuditError, match=r"audit-.*\.jsonl cannot be written"):
        AuditWriter(tmp_path / "log").write(RECORD)


def test_a_deleted_file_is_made_anew(tmp_path: Path) -> None:
    """Records do not go into a file that nobody can find any more."""
    writer = AuditWriter(tmp_path)
    writer.write(RECORD)
    writer.path.unlink()
    writer.write(RECORD)
    assert len(lines(writer)) == 1


def test_probing_tells_whether_there_is_room(tmp_path: Path) -> None:
    """A probe leaves nothing behind, notices a full disk, and notices that it is over."""
    writer = AuditWriter(tmp_path)
    assert writer.probe()
    with disk_full_at(100):
        assert not writer.probe()
        assert writer.failed
    assert writer.probe()
    assert not writer.failed
    assert [path.suffix for path in tmp_path.iterdir()] == [".jsonl"]


def test_what_is_not_json_is_refused(tmp_path: Path) -> None:
    """An object is never written as its repr(), which could hold anything."""
    writer = AuditWriter(tmp_path)
    with pytest.raises(TypeError, match="holds a object"):
        writer.write(dataclasses.replace(RECORD, rules=object()))  # type: ignore[arg-type]


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    """A closed writer may be closed again, and opens again by itself."""
    writer = AuditWriter(tmp_path)
    writer.write(RECORD)
    writer.close()
    writer.close()
    writer.write(RECORD)
    assert len(lines(writer)) == 2
