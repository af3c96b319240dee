"""Several files as one source: shell patterns, and text files with one source per line."""

from __future__ import annotations

import glob
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgevision.errors import SourceError
from edgevision.sources.frames import Source, SourceFrame

LOG = logging.getLogger(__name__)

Opener = Callable[[str], Source]


class SequenceSource(Source):
    """Files one after another; the first is opened at once. Unreadable files are skipped with a warning."""

    def __init__(self, name: str, texts: Sequence[str], open_one: Opener) -> None:
        super().__init__(name, live=False, fps=None, frame_count=None)
        self._texts, self._open_one = iter(texts), open_one
        self._read = 0
        self._planes = False
        self._failures: list[str] = []
        self._current = self._advance()
        if self._current is None:
            reason = self._failures[0]
            raise SourceError(
                f"none of the {len(texts)} sources of {name} can be read; the first error: {reason}"
            )
        self.fps, self.size_wh = self._current.fps, self._current.size_wh

    def read(self) -> SourceFrame | None:
        """The next frame of the current file, or the first one of the next file."""
        while self._current is not None:
            frame = self._current.read()
            if frame is not None:
                self._read += 1
                return replace(frame, index=self._read - 1)
            self.skipped += self._current.skipped
            self._current.close()
            self._current = self._advance()
        return None

    def use_planes(self) -> None:
        """In every file."""
        self._planes = True
        if self._current is not None:
            self._current.use_planes()

    def close(self) -> None:
        """Close the current file."""
        self._texts = iter(())
        if self._current is not None:
            self._current.close()
            self._current = None

    def _advance(self) -> Source | None:
        for text in self._texts:
            try:
                source = self._open_one(text)
            except SourceError as error:
                self.skipped += 1
                self._failures.append(str(error))
                continue
            if source.live:
                source.close()
                raise SourceError(
                    f"{self.name} contains a live source, {source.name}, which has no end; expected live sources on"
                    " the command line, each as its own argument"
                )
            while self._failures:
                LOG.warning("%s; skipped", self._failures.pop(0))
            if self._planes:
                source.use_planes()
            return source
        if self._read:
            while self._failures:
                LOG.warning("%s; skipped", self._failures.pop(0))
        return None


def matches(pattern: str) -> list[str]:
    """The files of a shell pattern, sorted; ``**`` includes all sub-folders.

    Raises `SourceError` if nothing matches.
    """
    # `Path.glob` does not support absolute patterns.
    names = glob.glob(str(Path(pattern).expanduser()), recursive=True)  # noqa: PTH207
    found = sorted(name for name in names if Path(name).is_file())
    if not found:
        raise SourceError(f"no file matches {pattern}")
    return found


def listed(file: Path) -> list[str]:
    """The sources of a text file, one per line; empty lines and lines that start with ``#`` are ignored.

    A relative path starts at the current folder or, if it does not exist there, at the file's folder.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot read {file} as a list of sources: {error}") from error
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise SourceError(f"{file} lists no source; expected one per line")
    return [_beside(text, file.parent) for text in found]


def _beside(text: str, folder: Path) -> str:
    if "://" in text:
        return text
    path = Path(text).expanduser()
    return str(folder / path) if not path.exists() and (folder / path).exists() else str(path)
