"""Videos for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2

from edgevision.contract.image import Frame


def write_clip(path: Path, frames: Sequence[Frame], fourcc: str = "mp4v") -> Path:
    """Write frames of one size at 25 frames/s."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), 25, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path
