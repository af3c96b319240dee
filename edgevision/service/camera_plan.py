"""Cameras of a camera manager: their plans and their status."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgevision.analytics.observation import LineState, ZoneState
from edgevision.analytics.options import AnalyticsOptions
from edgevision.contract.session import Session
from edgevision.contract.thresholds import Threshold
from edgevision.pipeline.streams import SourceStream, StreamStats
from edgevision.sources.addresses import public_name
from edgevision.sources.frames import Source
from edgevision.sources.health import SourceHealth
from edgevision.sources.options import CameraOptions

CameraState = Literal[
    "stopped", "connecting", "running", "reconnecting", "frozen", "black", "ended", "failed"
]
Phase = Literal["opening", "building", "running", "failed", "closed"]
NOTHING_YET = StreamStats(0, 0.0, None, None, {}, SourceHealth())


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """A camera and the processing of its results; a camera with an equal plan is not restarted."""

    name: str
    address: str
    """Address, as in `open_source`."""
    connection: CameraOptions = field(default_factory=CameraOptions)
    threshold: float | None = None
    """Minimum confidence of a detection; None: the session's."""
    analytics: AnalyticsOptions = field(default_factory=AnalyticsOptions)
    sinks: tuple[str, ...] = ()
    """Names of the camera manager's sinks."""


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """Status of a camera at one moment."""

    name: str
    address: str
    """Without user, password and query."""
    state: CameraState
    threshold: Threshold | None
    """Minimum confidence of a detection; None before the engine is open, unless one is set."""
    stats: StreamStats
    detail: str = ""
    """Reason of a failure or outage."""
    counts: tuple[LineState | ZoneState, ...] = ()
    """State of its lines and zones."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """State of the engine."""

    phase: Phase
    share: float | None = None
    """Progress of the activity in `detail`, 0 to 1."""
    detail: str = ""

    @property
    def ready(self) -> bool:
        """True while frames are processed."""
        return self.phase == "running"


@dataclass(slots=True)
class Camera:
    """A plan with its source, stream and failure."""

    plan: CameraPlan
    threshold: float | None
    """None: the session's."""
    source: Source | None = None
    stream: SourceStream | None = None
    failure: str = ""
    stopped: bool = False

    def threshold_in(self, session: Session) -> Threshold:
        """The minimum confidence of a detection: the camera's, or the session's default."""
        return session.threshold if self.threshold is None else self.threshold

    def status(self, default: Threshold | None) -> CameraStatus:
        """The current status; `default` is the session's minimum confidence, None before it is open."""
        stream, source, plan = self.stream, self.source, self.plan
        state: CameraState = "connecting"
        detail = ""
        if self.stopped:
            state = "stopped"
        elif self.failure:
            state, detail = "failed", self.failure
        elif stream is not None and stream.failure is not None:
            state, detail = "failed", str(stream.failure)
        elif source is not None and source.ended:
            state = "ended"
        elif source is not None:
            health = source.health
            state = "running" if health.state == "connected" else health.state
            outage = health.last_outage
            away = state in ("connecting", "reconnecting") and outage is not None
            detail = outage.reason if away and outage is not None else ""
        stats = NOTHING_YET if stream is None else stream.stats
        counts: tuple[LineState | ZoneState, ...] = ()
        if stream is not None and stream.observation is not None:
            counts = (*stream.observation.lines, *stream.observation.zones)
        threshold = default if self.threshold is None else self.threshold
        return CameraStatus(plan.name, public_name(plan.address), state, threshold, stats, detail, counts)
