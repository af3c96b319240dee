"""Hashes of files."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path


def sha256_of_file(path: Path) -> str:
    """The file's sha256 in hexadecimal, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


LARGE_BYTES = 64 << 20


def sha256_of_unchanged(path: Path) -> str:
    """`sha256_of_file`; a large file is read again only if its size, time or inode has changed since the last call."""
    facts = path.stat()
    if facts.st_size < LARGE_BYTES:
        return sha256_of_file(path)
    return _remembered(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)


@functools.lru_cache(maxsize=64)
def _remembered(path: Path, size: int, modified_ns: int, inode: int) -> str:
    del size, modified_ns, inode
    return sha256_of_file(path)
