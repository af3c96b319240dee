"""Notices what stands still: an engine, a pipeline, a camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgevision.service.camera_plan import CameraStatus, Readiness

STUCK_EXIT_CODE = 70
"""Of a process that ends itself because something in it hangs: EX_SOFTWARE of sysexits.h."""
LONGEST_WAIT_S = 3600.0
"""Between attempts to open a camera anew, which become rarer while they come to nothing."""
FRESH_S = 1.0
"""A camera whose last good frame is no older gives frames."""


@dataclass(frozen=True, slots=True)
class WatchdogOptions:
    """How long may be too long."""

    stuck_after_s: float = 10.0
    """A call of the engine, or a pipeline into which frames come and none leaves, hangs after so long, ..."""
    stuck_factor: float = 20.0
    """... and after so many times what a call takes as a rule."""
    answer_within_s: float = 600.0
    """The first call, in which some engines compile or build, takes so long at most."""
    open_within_s: float = 3600.0
    """Opening the engine, building it included."""

    def call_limit_s(self, expected_s: float) -> float:
        """How long a call of the engine may take that takes `expected_s` as a rule; 0: it is the first one."""
        if expected_s == 0:
            return max(self.stuck_after_s, self.answer_within_s)
        return max(self.stuck_after_s, self.stuck_factor * expected_s)


@dataclass(frozen=True, slots=True)
class CameraLimit:
    """When a camera is opened anew."""

    reopen_after_s: float | None = 300.0
    """Without a good frame for so long; None: never."""
    failed_too: bool = True
    """False: one that has failed stays so."""


class WatchedManager(Protocol):
    """What is asked of a `CameraManager`."""

    @property
    def readiness(self) -> Readiness:
        """How far the engine is."""

    @property
    def cameras(self) -> Sequence[CameraStatus]:
        """All cameras."""

    @property
    def failure(self) -> BaseException | None:
        """What ended the work on frames."""

    @property
    def stuck_s(self) -> float:
        """How long the engine's call under way has taken so far."""

    @property
    def expected_inference_s(self) -> float:
        """What a call takes as a rule."""


@dataclass(frozen=True, slots=True)
class WatchdogFinding:
    """What a look has found."""

    fatal: str | None = None
    """Why the process should end and be started anew; None: it works, or is on its way to."""
    hangs: bool = False
    """True if `fatal` is something that hangs, so that nothing can be waited for."""
    opening: bool = False
    """True until the engine is ready for the first time."""
    reopen: tuple[tuple[str, float], ...] = ()
    """Cameras to be stopped and started, and for how many seconds they have given nothing."""


@dataclass(slots=True)
class _CameraRecord:
    good_s: float
    """When it gave a good frame, was first seen, or was stopped and started."""
    opened_s: float
    """When it was opened last."""
    attempts: int = 0
    """Times that it was opened anew without a good frame since."""


@dataclass(slots=True)
class Watchdog:
    """Looks at a camera manager every now and then; one thread asks. `clock` gives seconds."""

    options: WatchdogOptions = field(default_factory=WatchdogOptions)
    limits: Mapping[str, CameraLimit] = field(default_factory=dict)
    """Of cameras by their names; others have the limit's defaults."""
    clock: Callable[[], float] = time.monotonic
    _began_s: float | None = None
    _was_ready: bool = False
    _handled: int = -1
    _moved_s: float = 0.0
    _records: dict[str, _CameraRecord] = field(default_factory=dict)

    def look(self, camera_manager: WatchedManager) -> WatchdogFinding:
        """How things stand at this moment; cameras that it names are taken to be opened anew now."""
        now_s = self.clock()
        if self._began_s is None:
            self._began_s = now_s
        readiness = camera_manager.readiness
        if camera_manager.failure is not None or readiness.phase == "failed":
            return WatchdogFinding(
                f"the camera manager has failed: {camera_manager.failure or readiness.detail}"
            )
        if not readiness.ready:
            self._moved_s = now_s
            took_s = now_s - self._began_s
            if not self._was_ready and took_s > self.options.open_within_s:
                doing = f", the last word: {readiness.detail}" if readiness.detail else ""
                return WatchdogFinding(f"the engine is not open after {took_s:.0f} s{doing}", hangs=True)
            return WatchdogFinding(opening=not self._was_ready)
        self._was_ready = True
        cameras = camera_manager.cameras
        expected_s = camera_manager.expected_inference_s
        limit_s = self.options.call_limit_s(expected_s)
        rule = f"as a rule it takes {expected_s * 1e3:.0f} ms" if expected_s else "it is the first one"
        if (stuck_s := camera_manager.stuck_s) > limit_s:
            return WatchdogFinding(f"a call of the engine has taken {stuck_s:.1f} s; {rule}", hangs=True)
        if (stands_s := self._standstill_s(cameras, now_s)) > limit_s:
            return WatchdogFinding(
                f"cameras give frames and for {stands_s:.1f} s none has left the pipeline", hangs=True
            )
        return WatchdogFinding(reopen=self._silent(cameras, now_s))

    def _standstill_s(self, cameras: Sequence[CameraStatus], now_s: float) -> float:
        """How long frames have come and none was finished or found too late."""
        handled = sum(camera.stats.frames + camera.stats.lost.late for camera in cameras)
        if handled != self._handled or not any(_gives_frames(camera) for camera in cameras):
            self._handled = handled
            self._moved_s = now_s
        return now_s - self._moved_s

    def _silent(self, cameras: Sequence[CameraStatus], now_s: float) -> tuple[tuple[str, float], ...]:
        known, self._records = self._records, {}
        found = []
        for camera in cameras:
            if camera.state in ("stopped", "ended"):
                continue
            record = known.get(camera.name) or _CameraRecord(now_s, now_s)
            self._records[camera.name] = record
            age_s = camera.stats.health.last_frame_age_s
            if age_s is not None and now_s - age_s > record.good_s:
                record.good_s = record.opened_s = now_s - age_s
                record.attempts = 0
            limit = self.limits.get(camera.name, CameraLimit())
            if limit.reopen_after_s is None or (camera.state == "failed" and not limit.failed_too):
                continue
            wait_s = min(
                limit.reopen_after_s * 2.0**record.attempts, max(limit.reopen_after_s, LONGEST_WAIT_S)
            )
            if now_s - max(record.good_s, record.opened_s) > wait_s:
                found.append((camera.name, now_s - record.good_s))
                record.opened_s = now_s
                record.attempts = min(record.attempts + 1, 32)
        return tuple(found)


def _gives_frames(camera: CameraStatus) -> bool:
    age_s = camera.stats.health.last_frame_age_s
    return camera.state == "running" and age_s is not None and age_s <= FRESH_S
