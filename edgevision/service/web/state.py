"""State of the camera manager and its machine as JSON, for the page and other programs."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import edgevision
from edgevision.analytics.observation import LineState, ZoneState
from edgevision.contract.spec import BOX_TASKS
from edgevision.contract.thresholds import by_class
from edgevision.device.facts import (
    FactReading,
    available_memory_mib,
    clocks_mhz,
    cpu_model,
    nvidia_gpus,
    resident_mib,
    temperatures_c,
)
from edgevision.service.camera_manager import CameraManager
from edgevision.service.camera_plan import CameraStatus, Readiness
from edgevision.service.watchdog import WatchdogOptions

FRESH_S = 0.5
"""Maximum age of a cached state, which many clients share."""


class StateReader:
    """Reads a camera manager. Thread-safe."""

    def __init__(self, camera_manager: CameraManager, watchdog: WatchdogOptions) -> None:
        self._camera_manager = camera_manager
        self._watchdog = watchdog
        self._lock = threading.Lock()
        self._read_s = -FRESH_S
        self._text = ""
        self._began_s = time.monotonic()
        self._hardware: str | None = None

    def text(self) -> str:
        """The state as JSON, at most `FRESH_S` old. Reading the machine's sensors may take milliseconds."""
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._read_s >= FRESH_S:
                self._text = json.dumps(self._read(), ensure_ascii=False, separators=(",", ":"))
                self._read_s = now_s
            return self._text

    def trouble(self) -> str | None:
        """The problem of a failed camera manager, without private details; None if it works."""
        return trouble(self._camera_manager, self._watchdog)

    def _read(self) -> dict[str, Any]:
        camera_manager = self._camera_manager
        readiness, failure = camera_manager.readiness, camera_manager.failure
        if self._hardware is None:  # only on request, because it runs a tool of the GPU
            self._hardware = ", ".join((cpu_model(), *nvidia_gpus()))
        return {
            "type": "state",
            "version": edgevision.__version__,
            "up_s": round(time.monotonic() - self._began_s, 1),
            "readiness": {
                "phase": readiness.phase,
                "ready": readiness.ready,
                "share": readiness.share,
                "detail": readiness_line(readiness),
            },
            "failure": None if failure is None else str(failure) or type(failure).__name__,
            "stuck_s": round(camera_manager.stuck_s, 1) if is_stuck(camera_manager, self._watchdog) else 0.0,
            "engine": self._engine(),
            "machine": {
                "hardware": self._hardware,
                "resident_mib": round(resident_mib()),
                "available_mib": available_memory_mib(),
                "temperatures_c": _readings(temperatures_c()),
                "clocks_mhz": _readings(clocks_mhz()),
            },
            "cameras": [_camera(camera, self._classes()) for camera in camera_manager.cameras],
            "sinks": [
                {
                    "name": sink.name,
                    "state": sink.state,
                    "written": sink.written,
                    "waiting": sink.waiting,
                    "lost": sink.lost,
                    "last_error": sink.last_error,
                }
                for sink in camera_manager.sinks
            ],
        }

    def _classes(self) -> tuple[str, ...]:
        session = self._camera_manager.session
        return () if session is None else session.spec.classes

    def _engine(self) -> dict[str, Any] | None:
        session = self._camera_manager.session
        if session is None:
            return None
        return {
            "model": session.spec.name,
            "task": session.spec.task,
            "boxes": session.spec.task in BOX_TASKS,
            "engine": session.info.engine,
            "library": session.info.library,
            "device": session.info.device,
            "precision": session.precision,
            "thresholds": by_class(session.threshold, session.spec.classes),
            "notes": list(session.info.notes),
        }


def readiness_line(readiness: Readiness) -> str:
    """Current activity and its progress."""
    detail = readiness.detail or readiness.phase
    return detail if readiness.share is None else f"{detail}: {100 * readiness.share:.0f} %"


def public_readiness(readiness: Readiness) -> dict[str, Any]:
    """Readiness without private details: engine messages may contain file names."""
    words = {
        "opening": "opening the engine",
        "building": "building an engine",
        "running": "running",
        "failed": "the engine has failed",
        "closed": "closed",
    }
    line = readiness_line(Readiness(readiness.phase, readiness.share, words[readiness.phase]))
    return {"phase": readiness.phase, "share": readiness.share, "detail": line}


def trouble(camera_manager: CameraManager, watchdog: WatchdogOptions) -> str | None:
    """The problem of a failed camera manager, without private details; None if it works."""
    failure = camera_manager.failure
    if failure is not None:
        return f"processing has ended: {type(failure).__name__}"
    if camera_manager.readiness.phase in ("failed", "closed"):
        return f"the camera manager is {camera_manager.readiness.phase}"
    if is_stuck(camera_manager, watchdog):
        return f"the engine has not answered for {camera_manager.stuck_s:.0f} s"
    return None


def is_stuck(camera_manager: CameraManager, watchdog: WatchdogOptions) -> bool:
    """True if the current engine call exceeds its limit."""
    return camera_manager.stuck_s > watchdog.call_limit_s(camera_manager.expected_inference_s)


def _camera(camera: CameraStatus, classes: tuple[str, ...]) -> dict[str, Any]:
    stats = camera.stats
    health, threshold = stats.health, camera.threshold
    return {
        "name": camera.name,
        "address": camera.address,
        "state": camera.state,
        "detail": camera.detail,
        "threshold": threshold if isinstance(threshold, (int, float)) else None,
        "thresholds": by_class(threshold, classes),
        "frames": stats.frames,
        "frames_per_s": round(stats.frames_per_s, 2),
        "age_p50_ms": _rounded(stats.age_p50_ms),
        "age_p99_ms": _rounded(stats.age_p99_ms),
        "stages_ms": {stage: round(ms, 3) for stage, ms in stats.stages_ms.items()},
        "dropped": stats.lost.dropped,
        "late": stats.lost.late,
        "missed": stats.lost.missed,
        "withheld": {
            "frozen": health.frozen_frames,
            "black": health.black_frames,
            "damaged": health.damaged_frames,
        },
        "outages": health.outages,
        "outage_s": round(health.outage_s, 1),
        "counts": [_count(state) for state in camera.counts],
    }


def _count(state: LineState | ZoneState) -> dict[str, Any]:
    if isinstance(state, LineState):
        return {"line": state.line.name, "in": state.crossed_in, "out": state.crossed_out}
    return {"zone": state.zone.name, "inside": state.inside, "mean_dwell_s": round(state.mean_dwell_s, 1)}


def _readings(readings: tuple[FactReading, ...]) -> list[dict[str, Any]]:
    return [{"name": reading.name, "value": round(reading.value, 1)} for reading in readings]


def _rounded(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 1)
