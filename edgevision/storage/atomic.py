"""Atomic writes for files and folders."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


class OccupiedError(Exception):
    """Something that must not be replaced exists at the path of a new folder."""


def write_file(path: Path, data: bytes) -> None:
    """Write a temporary file beside `path`, fsync, and rename it. Raises `OSError`; `path` is then unchanged."""
    with staged_file(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` with its suffix; a clean exit renames it to `path`, any other removes it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".partial{path.suffix}", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        publish(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Rename a file of `staged_file` to `path`, with the permissions of new files: temporary ones are private."""
    temporary.chmod(0o666 & ~_umask())
    temporary.replace(path)


def check_folder(path: Path, *, may_replace: Callable[[Path], bool]) -> None:
    """Raise the error that `staged_folder` would raise, as far as it can be seen without writing anything.

    This is for the start of work that takes minutes. A full disk, for example, is found only by writing.
    """
    _check_free(path, may_replace)
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(above))


@contextlib.contextmanager
def staged_folder(path: Path, *, may_replace: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield an empty folder beside `path`; a clean exit renames it to `path`, any other removes it.

    An existing `path` is replaced only if it is an empty folder or `may_replace` returns True. Otherwise
    `OccupiedError` is raised before anything is written.
    """
    _check_free(path, may_replace)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.partial-", dir=path.parent))
    try:
        yield temporary
        for entry in sorted(temporary.rglob("*")):
            _sync(entry)
        temporary.chmod(0o777 & ~_umask())
        _swap(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_free(path: Path, may_replace: Callable[[Path], bool]) -> None:
    occupied = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    if occupied and not may_replace(path):
        raise OccupiedError(path)


def _swap(new: Path, path: Path) -> None:
    """Rename `new` to `path`; a full folder cannot be replaced by a rename, so it is moved away first."""
    if not path.exists():
        new.rename(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.replaced-", dir=path.parent))
    path.rename(aside / path.name)
    try:
        new.rename(path)
    except OSError:
        (aside / path.name).rename(path)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
