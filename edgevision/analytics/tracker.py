"""ByteTrack (arXiv 2110.06864) by Roboflow's `trackers`, on the clock of the frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import supervision as sv
from trackers import ByteTrackTracker

from edgevision.contract.results import Detections

LIBRARY_FPS = 30.0
"""The rate in whose frames the library counts how long a lost identity is kept."""
CLOCK_STEP_S = 1e-6
"""What a frame with the same time as the one before is taken to be later."""


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """How identities begin, go on and end."""

    begin_score: float = 0.5
    """An identity begins with a detection of at least this score; weaker ones only carry one on."""
    confirm_frames: int = 2
    """An identity is given out when it has been seen in so many frames on end."""
    lost_s: float = 2.0
    """Seconds without a detection after which an identity ends."""
    least_iou: float = 0.1
    """Overlap of a detection with the box that motion predicts, from which on it may be the same thing."""


class Tracker:
    """Gives the detections of successive frames identities: 1, 2, 3 ..., none of which is given twice.

    Classes are not told apart while boxes are matched, so that a car which looks like a truck for a moment stays the
    same thing. Time is what `update` is told, so frames may come unevenly or be missing. One source, one thread.
    """

    def __init__(self, fps: float | None = None, options: TrackerOptions | None = None) -> None:
        self.options = options or TrackerOptions()
        self._library = ByteTrackTracker(
            lost_track_buffer=max(1, round(self.options.lost_s * LIBRARY_FPS)),
            frame_rate=fps or LIBRARY_FPS,
            track_activation_threshold=self.options.begin_score,
            minimum_consecutive_frames=self.options.confirm_frames,
            minimum_iou_threshold=self.options.least_iou,
            high_conf_det_threshold=self.options.begin_score,
        )
        self._base = 0
        self._highest = 0
        self._last_s: float | None = None

    def update(self, detections: Detections, time_s: float) -> npt.NDArray[np.int64]:
        """The identity of each detection, int64 ``[N]``; -1 where it has none, or none yet.

        Where the clock steps back, as when a video begins again, all identities end.
        """
        if self._last_s is not None and time_s < self._last_s:
            self._library.reset()
            self._base = self._highest
        elif time_s == self._last_s:
            time_s += CLOCK_STEP_S
        self._last_s = time_s
        rows = np.arange(len(detections))
        given = self._library.update(
            sv.Detections(
                xyxy=detections.boxes.astype(np.float64),
                confidence=detections.scores,
                data={"row": rows},
            ),
            timestamp=time_s,
        )
        ids = np.full(len(detections), -1, np.int64)
        if len(given) == 0 or given.tracker_id is None:
            return ids
        # The library's identities count from 0 after each reset, and its order is its own.
        theirs = given.tracker_id
        ids[np.asarray(given.data["row"], np.int64)] = np.where(theirs < 0, -1, theirs + self._base + 1)
        self._highest = max(self._highest, int(ids.max()))
        return ids
