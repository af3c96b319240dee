"""What was made of a frame's detections: identities, events, and how things stand at lines and zones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgevision.analytics.counting import AnalyticsEvent
from edgevision.analytics.places import Line, Zone


@dataclass(frozen=True, slots=True)
class LineState:
    """A line, and how many have crossed it so far."""

    line: Line
    crossed_in: int
    crossed_out: int


@dataclass(frozen=True, slots=True)
class ZoneState:
    """A zone, how many are in it now, and how long they have been so far on average."""

    zone: Zone
    inside: int
    mean_dwell_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """Where an identity has been of late: float32 ``[N,2]``, the newest point last."""

    identity: int
    points: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One frame's. All geometry is in pixels of a frame of `size_wh`, which a camera may have left since."""

    ids: npt.NDArray[np.int64]
    """The identity of each detection, int64 ``[N]``; -1 where it has none, or none yet."""
    events: tuple[AnalyticsEvent, ...]
    lines: tuple[LineState, ...]
    zones: tuple[ZoneState, ...]
    trails: tuple[Trail, ...]
    size_wh: tuple[int, int]
    time_s: float
    """The frame's time on the clock of the events: its place in a video, a steady clock for cameras."""
