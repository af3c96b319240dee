"""JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from edgevision.errors import SinkError
from edgevision.processed import Processed
from edgevision.sinks.record import record_of
from edgevision.sinks.sink import Sink


class JsonlSink(Sink):
    """One JSON object a line and frame, in UTF-8.

    Every line is handed to the system whole, at once: a reader can follow a live run, and a disk that runs full leaves
    no part of a line. Keys: `source` (for a folder, the image's path), `frame`, `captured_at` (seconds since 1970),
    `position_s` (null but for videos), `detections` or `classification`, `age_ms`, `stages_ms`;
    where things are tracked an `id` with each detection (null: none yet), and `events`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror}") from error

    def write(self, processed: Processed) -> None:
        """Append the frame's line."""
        line = json.dumps(record_of(processed), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            with contextlib.suppress(OSError):  # a pipe cannot be cut
                os.ftruncate(self._file.fileno(), self._end)
            self.close()
            raise SinkError(
                f"cannot write {self._path}: {error.strerror}; its last line is a whole one"
            ) from error
        self._end += len(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
