"""Git state of the code that measured."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve()
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class GitState:
    """A commit, and whether tracked files differ from it."""

    commit: str
    changed: bool


def git_state(file: Path = HERE) -> GitState | None:
    """State of the repository that tracks `file`; None without git, and for an installed package.

    A virtual environment often lies inside another project's repository, which does not track its files.
    """
    if shutil.which("git") is None or _git(file, "ls-files", "--error-unmatch", file.name) is None:
        return None
    commit = _git(file, "rev-parse", "HEAD")
    status = _git(file, "status", "--porcelain", "--untracked-files=no", ":/")
    return None if commit is None or status is None else GitState(commit, bool(status))


def _git(file: Path, *arguments: str) -> str | None:
    command = ("git", "-C", str(file.parent), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
