"""Observations of a frame: identities, events, and the state of lines and zones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgevision.analytics.counting import AnalyticsEvent
from edgevision.analytics.places import Line, Zone


@dataclass(frozen=True, slots=True)
class LineState:
    """A line and its crossings so far."""

    line: Line
    crossed_in: int
    crossed_out: int


@dataclass(frozen=True, slots=True)
class ZoneState:
    """A zone with the number of objects inside and their mean dwell time so far."""

    zone: Zone
    inside: int
    mean_dwell_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """Recent positions of an identity: float32 ``[N,2]``, the newest point last."""

    identity: int
    points: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """Observations of one frame. All geometry is in pixels of a frame of `size_wh`; later frames may differ."""

    ids: npt.NDArray[np.int64]
    """The identity of each detection, int64 ``[N]``; -1 without one, or before it is confirmed."""
    events: tuple[AnalyticsEvent, ...]
    lines: tuple[LineState, ...]
    zones: tuple[ZoneState, ...]
    trails: tuple[Trail, ...]
    size_wh: tuple[int, int]
    time_s: float
    """Time of the frame on the clock of the events: position in a video, or a steady clock for cameras."""
