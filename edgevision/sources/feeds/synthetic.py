"""The feed of ``demo:``, a synthetic camera."""

from __future__ import annotations

from edgevision.contract.image import Frame
from edgevision.sources.feeds.timed import TimedFeed
from edgevision.sources.synthetic_camera import SyntheticCamera


class SyntheticFeed(TimedFeed):
    """A synthetic camera with the frame rate of a real one."""

    def __init__(self, size_wh: tuple[int, int], fps: float) -> None:
        super().__init__(fps)
        self._camera = SyntheticCamera(size_wh)

    def frame(self, index: int, left_out: int) -> Frame:  # noqa: ARG002  # frames are independent
        """Draw frame `index`."""
        return self._camera.frame(index)
