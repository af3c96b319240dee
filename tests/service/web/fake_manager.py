"""A camera manager without threads, whose state is set by a test and whose results a test makes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgevision.analytics.observation import LineState, ZoneState
from edgevision.analytics.places import Line, Zone
from edgevision.contract.results import Detections, Result
from edgevision.contract.session import Session
from edgevision.errors import UsageError
from edgevision.pipeline.broadcast import Listener
from edgevision.pipeline.streams import StreamStats
from edgevision.service.camera_manager import CameraManager
from edgevision.service.camera_plan import CameraState, CameraStatus, Readiness
from edgevision.sinks.frame_result import FrameResult, StageTimes
from edgevision.sinks.sink import SinkHealth
from edgevision.sources.frames import SourceFrame
from edgevision.sources.health import FrameCounts, SourceHealth
from tests.doubles import BrightnessSession

STAGES = {"decode": 1.5, "prepare": 0.8, "inference": 22.0, "results": 0.4, "output": 0.2}


def status(name: str, state: CameraState = "running", *, frames: int = 10, detail: str = "") -> CameraStatus:
    health = SourceHealth(
        outages=2, outage_s=3.5, lost=FrameCounts(1, 2, 3), frozen_frames=4, black_frames=5, damaged_frames=6
    )
    stats = StreamStats(frames, 12.5, 40.0, 90.0, STAGES, health)
    counts = (
        LineState(Line("door", (0, 0), (9, 9)), 3, 2),
        ZoneState(Zone("yard", ((0, 0), (9, 0), (9, 9))), 4, 1.5),
    )
    return CameraStatus(name, "rtsp://host/path", state, 0.25, stats, detail, counts)


def result(
    *, side: int = 64, brightness: int = 128, index: int = 0, found: Result | None = None
) -> FrameResult:
    """A grey frame in which something was found."""
    image = np.full((side, side, 3), brightness, np.uint8)
    boxes = np.array([[8, 8, side - 8, side - 8]], np.float32)
    person = Detections(boxes, np.array([0.9], np.float32), np.zeros(1, np.int32), ("person",))
    seen = person if found is None else found
    frame = SourceFrame(image, index, "cam", time.perf_counter_ns(), time.time(), None, 1_000_000)
    return FrameResult(frame, seen, StageTimes(1_500_000, 800_000, 22_000_000, 400_000, 200_000), 42.0)


@dataclass
class FakeState:
    """State returned by the fake; tests change it."""

    cameras: tuple[CameraStatus, ...]
    readiness: Readiness = field(default_factory=lambda: Readiness("running"))
    session: Session | None = field(default_factory=BrightnessSession)
    failure: BaseException | None = None
    stuck_s: float = 0.0
    expected_inference_s: float = 0.02
    sinks: tuple[SinkHealth, ...] = (SinkHealth("mqtt", "failing", 7, 2, 3, "refused"),)


class FakeManager(CameraManager):
    def __init__(self, names: Sequence[str] = ("cam",), state: FakeState | None = None) -> None:
        self.fake = state or FakeState(tuple(status(name) for name in names))
        self.listeners: list[Listener] = []
        self.calls: list[tuple[object, ...]] = []

    def start(self) -> None:
        """It has always begun."""

    def close(self) -> None:
        """It never ends."""

    @property
    def readiness(self) -> Readiness:
        return self.fake.readiness

    @property
    def session(self) -> Session | None:
        return self.fake.session

    @property
    def failure(self) -> BaseException | None:
        return self.fake.failure

    @property
    def stuck_s(self) -> float:
        return self.fake.stuck_s

    @property
    def expected_inference_s(self) -> float:
        return self.fake.expected_inference_s

    @property
    def cameras(self) -> tuple[CameraStatus, ...]:
        return self.fake.cameras

    @property
    def sinks(self) -> tuple[SinkHealth, ...]:
        return self.fake.sinks

    def start_camera(self, name: str) -> None:
        self._set(name, "running")

    def stop_camera(self, name: str) -> None:
        self._set(name, "stopped")

    def set_threshold(self, value: float | None, name: str | None = None) -> None:
        if value is not None and not 0 <= value <= 1:
            raise UsageError(f"the threshold is {value:g}; expected 0 to 1")
        self.calls.append(("threshold", value, name))
        assert self.fake.session is not None
        used = self.fake.session.threshold if value is None else value
        self.fake.cameras = tuple(
            replace(camera, threshold=used) if name in (None, camera.name) else camera
            for camera in self.fake.cameras
        )

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener) if listener in self.listeners else None

    def emit(self, camera: str, processed: FrameResult) -> None:
        """A result comes, as in the pipeline's thread."""
        for listener in self.listeners:
            listener(camera, processed)

    def _set(self, name: str, state: CameraState) -> None:
        self.calls.append((state, name))
        self.fake.cameras = tuple(
            replace(camera, state=state) if camera.name == name else camera for camera in self.fake.cameras
        )
