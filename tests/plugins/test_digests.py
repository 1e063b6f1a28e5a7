"""Tests of `safeproxy.plugins.digests`."""

from __future__ import annotations

from pathlib import Path

from safeproxy.plugins.digests import digest_of


def test_names_and_contents_count(tmp_path: Path) -> None:
    """Another content, name or file: another digest; what Python leaves there and what tells of it do not count."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "weights").write_bytes(b"1")
    seen = {digest_of(tmp_path)}
    (tmp_path / "a" / "module.pyc").write_bytes(b"x")
    (tmp_path / "CARD.md").write_bytes(b"x")
    assert digest_of(tmp_path) in seen
    (tmp_path / "a" / "weights").write_bytes(b"2")
    seen.add(digest_of(tmp_path))
    (tmp_path / "a" / "weights").rename(tmp_path / "a" / "other")
    seen.add(digest_of(tmp_path))
    (tmp_path / "b").write_bytes(b"")
    seen.add(digest_of(tmp_path))
    assert len(seen) == 4
