"""Annotated video files."""

from __future__ import annotations

from pathlib import Path

from edgevision.sinks.files.images import probe_folder
from edgevision.sinks.files.video_file import VideoFile
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import Sink
from edgevision.sources.frames import Source

FALLBACK_FPS = 25.0
LONGEST_GAP_S = 5.0


class LateVideoSink(Sink):
    """A `VideoSink` whose size the first image defines: of a camera without a first frame, or of made images."""

    annotated = True
    parallel = True

    def __init__(self, path: Path, source: Source) -> None:
        probe_folder(path.parent)
        self._path = path
        self._source = source
        self._video: VideoSink | None = None

    def write(self, processed: FrameResult) -> None:
        """Encode the frame's image."""
        if self._video is None:
            self._video = VideoSink(
                self._path, processed.frame.size_wh, self._source.fps, live=self._source.live
            )
        self._video.write(processed)
        self.written += 1

    def close(self) -> None:
        """Close the video, like `VideoSink.close`."""
        if self._video is not None:
            self._video.close()

    @property
    def public_name(self) -> str:
        """The file's path."""
        return str(self._path)


class VideoSink(Sink):
    """An annotated .mp4 recorded by `VideoFile`: it exists from its first second on, and stays playable.

    Frames of another size than `size_wh` are letterboxed in black. A live source's frames arrive unevenly. They are
    repeated or dropped so that the video runs in real time; gaps over `LONGEST_GAP_S` are shortened to that.
    """

    annotated = True
    parallel = True

    def __init__(
        self, path: Path, size_wh: tuple[int, int], fps: float | None, *, live: bool = False
    ) -> None:
        self._path = path
        self._fps = fps if fps is not None and 1 <= fps <= 240 else FALLBACK_FPS
        self._file = VideoFile(path, size_wh, self._fps, recording=True)
        self._live = live
        self._last_ns: int | None = None
        self._due = 0.0

    @property
    def public_name(self) -> str:
        """The file's path."""
        return str(self._path)

    def write(self, processed: FrameResult) -> None:
        """Encode the frame's image."""
        for _ in range(self._copies(processed.frame.captured_ns) if self._live else 1):
            self._file.write(processed.frame.image_bgr)
        self.written += 1

    def close(self) -> None:
        """Complete the video; without a frame no file is left."""
        self._file.close()

    def _copies(self, captured_ns: int) -> int:
        """Number of copies of this frame, so that the video's clock follows the camera's."""
        gap_s = 0.0 if self._last_ns is None else (captured_ns - self._last_ns) / 1e9
        first = self._last_ns is None
        self._last_ns = captured_ns
        self._due += 1.0 if first else min(gap_s, LONGEST_GAP_S) * self._fps
        copies = max(round(self._due), 0)
        self._due -= copies
        return copies
