"""Frames for benchmarks: the user's, or a generated clip of photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgevision.contract.spec import FrameInput
from edgevision.errors import UsageError
from edgevision.sinks.opening import write_clip
from edgevision.sources.frames import Source
from edgevision.sources.opening import open_source
from edgevision.sources.synthetic_camera import SyntheticCamera

CLIP_WH = (1280, 720)
CLIP_FRAMES = 120
CLIP_FPS = 25.0


class BenchFrames:
    """Opens the frames of a benchmark. A generated clip is written into `scratch` once for each size."""

    def __init__(self, source: str | None, scratch: Path, done: Callable[[str], None]) -> None:
        """`done` receives the steps that were finished."""
        self._source = source
        self._scratch = scratch
        self._done = done

    def opener(self, frames: FrameInput) -> Callable[[], Source]:
        """A function that opens the frames for a graph of this input."""
        if self._source is not None:
            source = self._source
            return lambda: open_source(source)
        clip = self._clip(frames)
        return lambda: open_source(clip)

    def camera(self, frames: FrameInput) -> Source:
        """The frames as a camera at their own rate; a video or folder is repeated. Raises `UsageError` for an image."""
        if self._source is None:
            return open_source(f"loop:{self._clip(frames)}")
        source = open_source(self._source)
        if source.live:
            return source
        source.close()
        if not source.fps:
            raise UsageError(
                f"{self._source} has no frame rate; for --scenario camera use a video, or loop:PATH@FPS"
            )
        return open_source(f"loop:{self._source}")

    def _clip(self, frames: FrameInput) -> Path:
        size_wh = frames.size_wh if frames.fit == "exact" else CLIP_WH
        clip = self._scratch / f"{size_wh[0]}x{size_wh[1]}" / "photographs.mp4"
        if not clip.is_file():
            clip.parent.mkdir()
            camera = SyntheticCamera(size_wh, cycle=CLIP_FRAMES)
            write_clip(clip, camera.frames(camera.cycle), size_wh, fps=CLIP_FPS)
            self._done(f"made a clip of {camera.cycle} frames")
        return clip
