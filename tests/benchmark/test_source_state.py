"""The git state of the code that measured."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgevision.benchmark.source_state import git_state

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text("")
    (tmp_path / "README").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_commit_and_changes_of_tracked_files(clone: Path) -> None:
    module = clone / "package" / "module.py"
    state = git_state(module)
    assert state is not None
    assert (state.commit, state.changed) == (git(clone, "rev-parse", "HEAD"), False)
    (clone / "untracked").write_text("")
    assert git_state(module) == state
    (clone / "README").write_text("changed")
    changed = git_state(module)
    assert changed is not None
    assert changed.changed


def test_a_package_installed_inside_a_repository_has_no_state(clone: Path, tmp_path: Path) -> None:
    installed = clone / ".venv" / "module.py"
    installed.parent.mkdir()
    installed.write_text("")
    assert git_state(installed) is None
    (tmp_path / "elsewhere").mkdir()
    assert git_state(tmp_path / "elsewhere" / "module.py") is None
