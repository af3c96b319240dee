"""Writes the files of a new recipe from the package's skeletons."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import sys
from pathlib import Path
from typing import get_args

import edgevision
from edgevision.contract.spec import Task
from edgevision.errors import UsageError
from edgevision.storage import atomic

TASKS: tuple[str, ...] = tuple(task for task in get_args(Task) if task != "part")
"""Tasks of whole models."""
FOLDER = Path(edgevision.__file__).parent / "skeletons"
PLACEHOLDER = "my_model"
"""The recipe's name in the skeletons."""
TESTS = {"generate": "test_my_generator.py"}
"""Tests of tasks that take no images."""


def write_skeleton(name: str, task: str, folder: Path, *, force: bool = False) -> tuple[Path, Path]:
    """Write ``NAME.py`` and ``test_NAME.py`` into `folder`, both or none; returns their paths.

    Raises `UsageError` for a name that is no Python identifier or that of an installed module, for an existing file
    unless `force`, and if the folder cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise UsageError(f"NAME is {name!r}; expected letters, digits and _, such as my_detector")
    texts = {
        folder / f"{name}.py": f"{task}.py",
        folder / f"test_{name}.py": TESTS.get(task, f"test_{PLACEHOLDER}.py"),
    }
    folders = [str(path) for path in texts if path.is_dir()]
    if folders:
        raise UsageError(f"{folders[0]} is a folder; choose another NAME")
    if name in _modules():
        raise UsageError(
            f"NAME is {name!r}, and a module has this name: code beside {name}.py would import the recipe instead of"
            " it; choose another NAME"
        )
    existing = [str(path) for path in texts if path.exists()]
    if existing and not force:
        raise UsageError(f"{existing[0]} already exists; choose another NAME, or replace it with --force")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as staged:
            for path, skeleton in texts.items():
                text = (FOLDER / skeleton).read_text(encoding="utf-8").replace(PLACEHOLDER, name)
                staged.enter_context(atomic.staged_file(path)).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write into {folder}: {error.strerror or error}") from error
    return folder / f"{name}.py", folder / f"test_{name}.py"


def _modules() -> frozenset[str]:
    """Modules of Python and of installed packages; a file of the same name hides them from the code beside it."""
    return sys.stdlib_module_names | frozenset(importlib.metadata.packages_distributions())
