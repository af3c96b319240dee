"""Atomic writes of files and folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgevision.storage import atomic


def test_a_file_appears_with_usual_rights(tmp_path: Path) -> None:
    atomic.write_file(tmp_path / "a.json", b"whole")
    assert (tmp_path / "a.json").read_bytes() == b"whole"
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic.staged_file(target) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert target.read_bytes() == b"old"


def test_a_folder_replaces_only_what_is_ours(tmp_path: Path) -> None:
    target = tmp_path / "b"
    target.mkdir()
    (target / "precious").write_text("x")
    with pytest.raises(atomic.OccupiedError), atomic.staged_folder(target, may_replace=lambda _: False):
        pass
    assert (target / "precious").read_text() == "x"
    with atomic.staged_folder(target, may_replace=lambda _: True) as folder:
        (folder / "new").write_text("y")
    assert [path.name for path in tmp_path.rglob("*")] == ["b", "new"]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "b"
    target.mkdir()
    (target / "old").write_text("x")
    with pytest.raises(RuntimeError), atomic.staged_folder(target, may_replace=lambda _: True) as folder:
        (folder / "half").write_text("y")
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["b", "old"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    with atomic.staged_folder(tmp_path / "deep" / "b", may_replace=lambda _: False) as folder:
        (folder / "x").write_text("1")
    assert (tmp_path / "deep" / "b" / "x").read_text() == "1"


def test_a_folder_is_checked_without_writing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    atomic.check_folder(tmp_path / "new" / "deep", may_replace=lambda _: False)
    atomic.check_folder(tmp_path / "file", may_replace=lambda _: True)
    with pytest.raises(atomic.OccupiedError):
        atomic.check_folder(tmp_path / "file", may_replace=lambda _: False)
    with pytest.raises(NotADirectoryError):
        atomic.check_folder(tmp_path / "file" / "below", may_replace=lambda _: False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_without_rights_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="Permission denied"):
        atomic.check_folder(tmp_path / "new", may_replace=lambda _: False)
