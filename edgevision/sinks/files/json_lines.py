"""JSON lines files."""

from __future__ import annotations

from pathlib import Path

from edgevision.sinks.files.line_file import LineFile
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.record import json_of, record_of
from edgevision.sinks.sink import Sink, without_image


class JsonlSink(Sink):
    """One JSON object per line and frame, in UTF-8.

    Every line is written completely in one call. A reader can follow a live run, and a full disk leaves no partial
    line. Keys: `source` (for a folder, the image's path), `frame`, `captured_at` (seconds since 1970), `clock` (its
    origin), `position_s` (null except for videos), `detections` or `classification`, `age_ms`, `stages_ms`. With
    tracking, each detection has an `id` (null: none yet), and there are `events`. A pose has `keypoints`, each x, y and
    confidence. An oriented box has `oriented`: x and y of the centre, width, height, angle in radians.
    """

    takes_images = False

    def __init__(self, path: Path, *, append: bool = False) -> None:
        """With `append` an existing file is continued."""
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
        """Keep everything except the image."""
        return without_image(processed)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
