"""Feed that plays a video or a folder of images in a loop, in real time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from edgevision.contract.image import Frame
from edgevision.device.opencv_build import quiet_opencv
from edgevision.errors import SourceError
from edgevision.sources.feeds.timed import TimedFeed
from edgevision.sources.frames import Capture, known
from edgevision.sources.image_files import IMAGE_SUFFIXES, images_in, read_image

FORM = re.compile(r"(loop:)(.*?)(@\d+(?:\.\d+)?)?", re.IGNORECASE | re.DOTALL)
"""Scheme, path, and ``@`` with the rate."""
FASTEST = 1000.0
LONGEST_LAG_S = 1.0
"""After a longer stop, playback continues with the next frame; after a shorter one, frames that were due are skipped.
"""


@dataclass(frozen=True, slots=True)
class LoopAddress:
    """Path and frame rate of a loop; None: the rate of the file."""

    path: Path
    fps: float | None

    @classmethod
    def from_text(cls, text: str) -> LoopAddress:
        """Parse ``loop:PATH`` or ``loop:PATH@FPS``; raises `SourceError`.

        Only a number after the last ``@`` is a rate; a file name that ends like that requires an explicit rate.
        """
        match = FORM.fullmatch(text)
        if match is None or not match[2]:
            raise SourceError(f"{text} has no path; expected loop:VIDEO, or loop:VIDEO@FPS")
        fps = None if match[3] is None else float(match[3][1:])
        if fps is not None and not 0 < fps <= FASTEST:
            raise SourceError(
                f"{text}: the rate is {fps:g} frames/s; expected above 0 and at most {FASTEST:g}"
            )
        path = Path(match[2])
        if not path.exists():
            raise SourceError(f"{text}: no such file or folder: {path}")
        if fps is None and _images(path):
            raise SourceError(f"{text}: images have no frame rate; expected loop:{path}@FPS")
        return cls(path, fps)


class LoopFeed(TimedFeed):
    """A video or folder played at a fixed rate, in a loop."""

    def __init__(self, address: LoopAddress) -> None:
        self._player: Player = _play(address.path)
        fps = address.fps or self._player.fps
        if fps is None or fps > FASTEST:
            self._player.close()
            raise SourceError(f"{address.path} has no frame rate; expected loop:{address.path}@FPS")
        super().__init__(fps)

    def frame(self, index: int, left_out: int) -> Frame:  # noqa: ARG002  # a player has its own position
        """The next frame; after a short stop, skip the frames that were due; after a long one, skip none."""
        if left_out <= max(1.0, LONGEST_LAG_S * self.fps):
            self._player.skip(left_out)
        return self._player.picture()

    def close(self) -> None:
        """Close the file."""
        self._player.close()


class Player(Protocol):
    """An endless sequence of images."""

    fps: float | None

    def skip(self, count: int) -> None:
        """Skip `count` images."""

    def picture(self) -> Frame:
        """The next image, which the caller owns; raises `SourceError`."""

    def close(self) -> None:
        """Close files."""


class VideoPlayer:
    """A video that restarts at its end."""

    def __init__(self, open_capture: Callable[[], Capture]) -> None:
        self._open = open_capture
        self._capture = open_capture()
        self.fps = known(self._capture.get(cv2.CAP_PROP_FPS))

    def skip(self, count: int) -> None:
        """Grab the frames without colour conversion."""
        for _ in range(count):
            self._grab()

    def picture(self) -> Frame:
        """The next frame."""
        self._grab()
        try:
            decoded, image = self._capture.retrieve()
        except cv2.error as error:
            raise SourceError(error.err) from error
        if not decoded or image is None:
            raise SourceError("a frame cannot be decoded")
        return np.asarray(image, np.uint8)

    def close(self) -> None:
        """Release the file."""
        self._capture.release()

    def _grab(self) -> None:
        if self._capture.grab():
            return
        # Reopened rather than rewound: not every container supports seeking, and the file may have been replaced.
        self._capture.release()
        self._capture = self._open()
        if not self._capture.grab():
            raise SourceError("the file has no frame that can be decoded")


class ImagePlayer:
    """Images that restart after the last one. The folder is listed once."""

    fps: float | None = None

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._next = 0

    def skip(self, count: int) -> None:
        """Skip images without reading them."""
        self._next += count

    def picture(self) -> Frame:
        """The next image."""
        self._next += 1
        return read_image(self._paths[(self._next - 1) % len(self._paths)])

    def close(self) -> None:
        """Do nothing: no file is open."""


def _images(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES


def _play(path: Path) -> Player:
    if _images(path):
        return ImagePlayer(images_in(path)[0] if path.is_dir() else [path])

    def open_capture() -> Capture:
        with quiet_opencv():
            capture = cv2.VideoCapture(str(path))
        if not capture.isOpened():
            raise SourceError(f"{path} is not a video that OpenCV can open, or its header is damaged")
        return capture

    return VideoPlayer(open_capture)
