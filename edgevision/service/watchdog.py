"""Detects hangs of the engine, the pipeline and cameras."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgevision.service.camera_plan import CameraStatus, Readiness
from edgevision.settings.kinds import Number
from edgevision.settings.setting import setting

STUCK_EXIT_CODE = 70
"""Exit code of a process that ends itself because of a hang: EX_SOFTWARE of sysexits.h."""
LONGEST_WAIT_S = 3600.0
"""Maximum time between attempts to reopen a camera; the period grows while they fail."""
FRESH_S = 1.0
"""Maximum age of the last valid frame of a camera that supplies frames."""


@dataclass(frozen=True, slots=True)
class WatchdogOptions:
    """Time limits of the watchdog."""

    stuck_after_s: float = field(
        default=10.0,
        metadata=setting(
            Number(1),
            "Limit of an engine call, and of a pipeline that takes frames without giving results, ...",
        ),
    )
    stuck_factor: float = field(
        default=20.0, metadata=setting(Number(2), "... or this multiple of the usual time, if it is longer.")
    )
    answer_within_s: float = field(
        default=600.0,
        metadata=setting(Number(1), "Limit of the first call, in which some engines compile or build."),
    )
    open_within_s: float = field(
        default=3600.0, metadata=setting(Number(1), "Limit of opening the engine, including its build.")
    )

    def call_limit_s(self, expected_s: float) -> float:
        """Maximum duration of an engine call that usually takes `expected_s`; 0: the first call."""
        if expected_s == 0:
            return max(self.stuck_after_s, self.answer_within_s)
        return max(self.stuck_after_s, self.stuck_factor * expected_s)


@dataclass(frozen=True, slots=True)
class CameraLimit:
    """Limits after which a camera is reopened."""

    reopen_after_s: float | None = 300.0
    """Maximum time without a valid frame; None: never reopen."""
    failed_too: bool = True
    """False: do not reopen a failed camera."""


class WatchedManager(Protocol):
    """The part of `CameraManager` that the watchdog reads."""

    @property
    def readiness(self) -> Readiness:
        """State of the engine."""

    @property
    def cameras(self) -> Sequence[CameraStatus]:
        """All cameras."""

    @property
    def failure(self) -> BaseException | None:
        """The error that ended processing."""

    @property
    def stuck_s(self) -> float:
        """Duration of the current engine call so far."""

    @property
    def expected_inference_s(self) -> float:
        """Usual duration of an engine call."""


@dataclass(frozen=True, slots=True)
class WatchdogFinding:
    """Result of a check."""

    fatal: str | None = None
    """Reason to restart the process; None if it works or is still opening."""
    hangs: bool = False
    """True if `fatal` is a hang, so that a clean end is impossible."""
    opening: bool = False
    """True until the engine is ready for the first time."""
    reopen: tuple[tuple[str, float], ...] = ()
    """Cameras to reopen, with the seconds since their last valid frame."""


@dataclass(slots=True)
class _CameraRecord:
    good_s: float
    """Time of its last valid frame, its first check, or its last reopening."""
    opened_s: float
    """Time of the last opening."""
    attempts: int = 0
    """Reopenings since its last valid frame."""


@dataclass(slots=True)
class Watchdog:
    """Checks a camera manager periodically, from one thread. `clock` returns seconds."""

    options: WatchdogOptions = field(default_factory=WatchdogOptions)
    limits: Mapping[str, CameraLimit] = field(default_factory=dict)
    """Limits by camera name; other cameras have the defaults."""
    clock: Callable[[], float] = time.monotonic
    _began_s: float | None = None
    _was_ready: bool = False
    _handled: int = -1
    _moved_s: float = 0.0
    _records: dict[str, _CameraRecord] = field(default_factory=dict)

    def look(self, camera_manager: WatchedManager) -> WatchdogFinding:
        """Check the manager; the caller must reopen the returned cameras now."""
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
                doing = f", last activity: {readiness.detail}" if readiness.detail else ""
                return WatchdogFinding(f"the engine is not open after {took_s:.0f} s{doing}", hangs=True)
            return WatchdogFinding(opening=not self._was_ready)
        self._was_ready = True
        cameras = camera_manager.cameras
        expected_s = camera_manager.expected_inference_s
        limit_s = self.options.call_limit_s(expected_s)
        rule = f"usually it takes {expected_s * 1e3:.0f} ms" if expected_s else "it is the first call"
        if (stuck_s := camera_manager.stuck_s) > limit_s:
            return WatchdogFinding(f"an engine call has taken {stuck_s:.1f} s; {rule}", hangs=True)
        if (stands_s := self._standstill_s(cameras, now_s)) > limit_s:
            return WatchdogFinding(
                f"cameras supply frames, but none has left the pipeline for {stands_s:.1f} s", hangs=True
            )
        return WatchdogFinding(reopen=self._silent(cameras, now_s))

    def _standstill_s(self, cameras: Sequence[CameraStatus], now_s: float) -> float:
        """Time in which frames arrived but none was finished or dropped as late."""
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
