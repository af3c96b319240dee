"""JSON lines."""

from __future__ import annotations

from pathlib import Path

from edgevision.sinks.files.line_file import LineFile
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.record import json_of, record_of
from edgevision.sinks.sink import Sink, without_image


class JsonlSink(Sink):
    """One JSON object a line and frame, in UTF-8.

    Every line is handed to the system whole, at once: a reader can follow a live run, and a disk that runs full leaves
    no part of a line. Keys: `source` (for a folder, the image's path), `frame`, `captured_at` (seconds since 1970),
    `clock` (what that was taken from), `position_s` (null but for videos), `detections` or `classification`, `age_ms`,
    `stages_ms`; where things are tracked an `id` with each detection (null: none yet), and `events`.
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        """With `append` a file that is there is continued."""
        self._file = LineFile(path, append=append)

    @property
    def public_name(self) -> str:
        """The file's path."""
        return str(self._file.path)

    def write(self, processed: FrameResult) -> None:
        """Append the frame's line."""
        self._file.write(json_of(record_of(processed)) + b"\n")
        self.written += 1

    def keep(self, processed: FrameResult) -> FrameResult | None:
        """All but the image."""
        return without_image(processed)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
