"""ByteTrack (arXiv 2110.06864) by Roboflow's `trackers`, on the clock of the frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import supervision as sv
from trackers import ByteTrackTracker

from edgevision.contract.results import Detections

LIBRARY_FPS = 30.0
"""Frame rate for which the library counts the time of lost identities."""
CLOCK_STEP_S = 1e-6
"""Minimum time step, for a frame with the same time as its predecessor."""


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """Thresholds for the start, continuation and end of identities."""

    begin_score: float = 0.5
    """An identity starts with a detection of at least this score; weaker ones only continue it."""
    confirm_frames: int = 2
    """Number of consecutive frames after which an identity is confirmed."""
    lost_s: float = 2.0
    """Seconds without a detection after which an identity ends."""
    least_iou: float = 0.1
    """Minimum IoU of a detection with the box that motion predicts."""


class Tracker:
    """Assigns identities to the detections of successive frames: 1, 2, 3 ..., never reused.

    Matching ignores classes, so that an object keeps its identity if it is misclassified for a moment. `update`
    receives the time, so frames may be uneven or missing. Use one tracker per source, in one thread.
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
        """The identity of each detection, int64 ``[N]``; -1 without one, or before it is confirmed.

        If the clock steps back, for example at the restart of a video, all identities end.
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
        # The library counts identities from 0 after each reset, and returns detections in its own order.
        theirs = given.tracker_id
        ids[np.asarray(given.data["row"], np.int64)] = np.where(theirs < 0, -1, theirs + self._base + 1)
        self._highest = max(self._highest, int(ids.max()))
        return ids
