"""A file that grows by complete lines."""

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
    """Writes complete lines at once, so that a reader can follow.

    A full disk leaves no partial line, and writing resumes once there is space. A continued file (`append`) loses a
    partial last line, for example after a power failure. If log rotation renames or deletes the file, a new one is
    created.
    """

    def __init__(self, path: Path, *, append: bool = False, header: bytes = b"") -> None:
        """`header` starts an empty file; a file with another start is not continued."""
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
        """Append complete lines, all of them or none; raises `SinkError`."""
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
                f"cannot write {self.path}: {error.strerror}; its last line is complete"
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
        """Open a new file if this one is no longer at its path."""
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
                f"cannot continue {self.path}: it starts with {found.splitlines()[0].decode(errors='replace')!r},"
                f" expected {self._header.decode().strip()!r}; use another name, or move the file"
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
        log.warning("%s: removed an incomplete last line of %d bytes", self.path, torn)

    def _cut(self, written: int) -> None:
        """Remove a partial line; a file that cannot be truncated, such as a pipe, is closed."""
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
