"""A file that grows by whole lines."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from pathlib import Path

from edgevision.errors import SinkError

log = logging.getLogger(__name__)

TAIL_BYTES = 64 * 1024


class LineFile:
    """Takes whole lines, and hands each to the system at once: a reader can follow.

    A disk that runs full leaves no part of a line, and writing goes on when there is space again. A file that is
    continued (`append`) loses a last line that a power failure cut; and where it was renamed or deleted meanwhile, as
    programs that rotate logs do, a new one is begun.
    """

    def __init__(self, path: Path, *, append: bool = False, header: bytes = b"") -> None:
        """`header` comes first in a file that is empty; one that begins otherwise is not continued."""
        self.path = path
        self._append = append
        self._header = header
        self._broken = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror}") from error

    def write(self, lines: bytes) -> None:
        """Append whole lines, all of them or none; raises `SinkError`."""
        if self._broken or self._file.closed:
            raise SinkError(f"cannot write {self.path}: it is closed")
        written = 0
        try:
            if self._append:
                self._follow()
            data = lines if self._end else self._header + lines
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError as error:
            self._cut(written)
            raise SinkError(
                f"cannot write {self.path}: {error.strerror}; its last line is a whole one"
            ) from error
        self._end += len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> None:
        self._file = self.path.open("ab" if self._append else "wb", buffering=0)
        state = os.fstat(self._file.fileno())
        self._identity = (state.st_dev, state.st_ino)
        self._end = state.st_size if self._append and stat.S_ISREG(state.st_mode) else 0
        if self._end:
            try:
                self._check_header()
                self._mend_tail()
            except BaseException:
                self._file.close()
                raise

    def _follow(self) -> None:
        """Begin a new file where this one is no longer at its path."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            pass
        else:
            if (state.st_dev, state.st_ino) == self._identity:
                return
        before = self._file
        self._open()
        before.close()

    def _check_header(self) -> None:
        if not self._header:
            return
        with self.path.open("rb") as file:
            found = file.read(len(self._header))
        if found != self._header[: len(found)]:
            raise SinkError(
                f"cannot continue {self.path}: it begins with {found.splitlines()[0].decode(errors='replace')!r},"
                f" expected {self._header.decode().strip()!r}; give another name, or move it away"
            )

    def _mend_tail(self) -> None:
        with self.path.open("rb") as file:
            file.seek(max(self._end - TAIL_BYTES, 0))
            tail = file.read()
        whole = tail.rfind(b"\n") + 1
        if whole == len(tail) or (whole == 0 and self._end > len(tail)):
            return
        torn = len(tail) - whole
        self._end -= torn
        os.ftruncate(self._file.fileno(), self._end)
        log.warning("%s: the last %d bytes were no whole line and are gone", self.path, torn)

    def _cut(self, written: int) -> None:
        """Take back the part of a line; what cannot be cut, such as a pipe, takes no more."""
        if written == 0:
            return
        try:
            os.ftruncate(self._file.fileno(), self._end)
            if not self._append:
                os.lseek(self._file.fileno(), self._end, os.SEEK_SET)
        except OSError:
            self._broken = True
            with contextlib.suppress(OSError):
                self._file.close()
