"""Executes a recipe's Python file; errors name its line."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from edgevision.errors import RecipeError, first_line

CODE_ERRORS = (Exception, SystemExit)
"""What a user's code may raise; Ctrl-C is not its error."""


@contextlib.contextmanager
def recipe_module(path: Path) -> Iterator[ModuleType]:
    """Execute a file and yield its module; raises `RecipeError` if it fails."""
    spec = importlib.util.spec_from_file_location(f"edgevision_recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise RecipeError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    with importable(path, module):
        try:
            spec.loader.exec_module(module)
        except CODE_ERRORS as error:  # the file is the user's code
            raise RecipeError(f"recipe {path} does not load: {described_error(error, path)}") from error
        yield module


@contextlib.contextmanager
def importable(path: Path, module: ModuleType | None = None) -> Iterator[None]:
    """Let the file's code import modules from its folder, and keep `module` in `sys.modules`.

    Dataclasses and pickle look up their own module there. The working directory is restored, because later paths are
    relative to it.
    """
    before, folder = list(sys.path), Path.cwd()
    sys.path.insert(0, str(path.absolute().parent))
    if module is not None:
        sys.modules[module.__name__] = module
    try:
        yield
    finally:
        sys.path[:] = before
        os.chdir(folder)
        if module is not None:
            sys.modules.pop(module.__name__, None)


def described_error(error: BaseException, path: Path) -> str:
    """An error of a file's code in one line: its location in the file, class and message."""
    if isinstance(error, SyntaxError):
        where = (
            f"line {error.lineno}, `{(error.text or '').strip()}`: " if error.filename == str(path) else ""
        )
        return f"{where}{type(error).__name__}: {error.msg}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).absolute() == path.absolute()
    ]
    where = f"line {frames[-1].lineno}, `{frames[-1].line}`: " if frames else ""
    if isinstance(error, RecipeError):
        return f"{where}{error}"
    return f"{where}{type(error).__name__}: {first_line(error)}"
