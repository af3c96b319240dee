"""Video files decoded by PyAV to planes, with the interface of OpenCV's capture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
from av.video.frame import VideoFrame

from edgevision.errors import SourceError, first_line
from edgevision.sources.feeds.picture import Converters, PictureFrame


class PlanesCapture:
    """Every frame of a file, in order, as `PictureFrame`: with matrix and range of the stream, and not converted."""

    def __init__(self, path: Path) -> None:
        """Raises `SourceError` if PyAV cannot open the file, or if its frames are rotated."""
        try:
            self._container = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"PyAV cannot open {path}: {first_line(error)}") from error
        stream = next(iter(self._container.streams.video), None)
        if stream is None:
            self._container.close()
            raise SourceError(f"{path} has no video")
        stream.thread_type = "AUTO"
        self._stream: Any = stream
        self._converters = Converters()
        self._frames = self._decoded()
        # The first frame is decoded here: only it shows whether frames are rotated.
        self._picture = next(self._frames, None)
        self._waiting = self._picture is not None
        if self._picture is None or self._picture.rotation:
            self.release()
            raise SourceError(f"{path}: PyAV decodes no frame, or rotated ones")

    def grab(self) -> bool:
        """Decode the next frame."""
        if not self._waiting:
            self._picture = next(self._frames, None)
        self._waiting = False
        return self._picture is not None

    def retrieve(self) -> tuple[bool, Any]:
        """The last frame."""
        picture = self._picture
        return (False, None) if picture is None else (True, PictureFrame(picture, self._converters))

    def get(self, propId: int) -> float:  # noqa: N803  # OpenCV's name
        """Frame rate, frame count, and position in milliseconds; 0 for any other property."""
        stream, picture = self._stream, self._picture
        if propId == cv2.CAP_PROP_FPS:
            return float(stream.average_rate or 0)
        if propId == cv2.CAP_PROP_FRAME_COUNT:
            return float(stream.frames)
        if propId != cv2.CAP_PROP_POS_MSEC or picture is None or picture.pts is None:
            return 0.0
        return float((picture.pts - (stream.start_time or 0)) * (stream.time_base or 0) * 1000)

    def release(self) -> None:
        """Close the file."""
        self._frames.close()  # type: ignore[attr-defined]  # a generator
        self._picture = None
        self._container.close()

    def _decoded(self) -> Iterator[VideoFrame]:
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:  # a damaged packet; decoding recovers at the next key frame
                continue
            yield from frames
