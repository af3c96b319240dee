"""Fair share of eight cameras on one engine, next to a camera that never responds and a frozen one.

``python -m benchmarks.many_cameras`` plays a video as eight cameras of 10 frames/s, first at the engine's full speed
and then with an engine slowed down until it is the bottleneck. A camera's fair share is an equal part of the engine's
frames, limited by its own rate. Exit code 1 if a camera is more than 20 % off its fair share, or if its frames are out
of order.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import socket
import sys
import tempfile
import threading
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.mjpeg import mjpeg_camera
from benchmarks.street import export_street
from edgevision.cli.present import table
from edgevision.contract.results import Outputs
from edgevision.contract.session import Frames, Session, SessionOptions
from edgevision.engines.opening import open_session
from edgevision.pipeline.options import PipelineOptions
from edgevision.service.camera_manager import CameraManager
from edgevision.service.camera_plan import CameraPlan, CameraStatus
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.opening import write_clip
from edgevision.sources.freeze import FreezeOptions
from edgevision.sources.options import CameraOptions
from edgevision.sources.synthetic_camera import SyntheticCamera

CAMERAS = 8
FPS = 10.0
MOST_OFF = 0.2
WARM_UP_S = 6.0
FREEZE_AFTER_S = 2.0
READY_S = 120.0
DATA = Path(
    os.environ.get("EDGEVISION_DATA", Path(__file__).resolve().parent.parent.parent / "shared" / "data")
)


class SlowedSession(Session):
    """Wraps a session and adds a minimum time for each frame of a batch."""

    def __init__(self, inner: Session, ms_a_frame: float) -> None:
        super().__init__(inner.spec, inner.info)
        self._inner = inner
        self._ms_a_frame = ms_a_frame

    def _infer(self, frames: Frames) -> Outputs:
        ends_s = time.perf_counter() + len(frames) * self._ms_a_frame / 1e3
        outputs = self._inner.infer(frames)
        while (left_s := ends_s - time.perf_counter()) > 0:
            time.sleep(left_s)
        return outputs

    def close(self) -> None:
        """Close the inner session."""
        self._inner.close()


@dataclass(slots=True)
class Results:
    """Results of one camera."""

    ages_ms: array[float] = field(default_factory=lambda: array("d"))
    last_index: int = -1
    in_order: bool = True

    def take(self, processed: FrameResult, *, counts: bool) -> None:
        """Record one result; until the settling time is over, only its order."""
        self.in_order &= processed.frame.index > self.last_index
        self.last_index = processed.frame.index
        if counts:
            self.ages_ms.append(processed.age_ms)


@dataclass(slots=True)
class Measured:
    """Results of all cameras, and the measured time."""

    results: dict[str, Results]
    status: tuple[CameraStatus, ...] = ()
    seconds: float = 0.0

    @property
    def frames_per_s(self) -> float:
        """Total rate of the engine."""
        return sum(len(results.ages_ms) for results in self.results.values()) / self.seconds


def run(bundle: Path, video: Path, engine_ms: float, seconds: float, batch: int | None) -> Measured:
    """Run all cameras and count results after the settling time."""
    live = CameraOptions(freeze=FreezeOptions(freeze_after_s=FREEZE_AFTER_S))
    names = [f"camera {number}" for number in range(1, CAMERAS + 1)]
    counting = threading.Event()
    measured = Measured({name: Results() for name in [*names, "frozen", "dead"]})
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        frozen = stack.enter_context(mjpeg_camera(FPS, frozen=True))
        dead = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/1"
        plans = [CameraPlan(name, f"loop:{video}@{FPS:g}", live) for name in names]
        plans += [CameraPlan("frozen", frozen, live), CameraPlan("dead", dead, live)]
        camera_manager = CameraManager(
            lambda _: SlowedSession(
                open_session(bundle, engine="onnxruntime", options=SessionOptions(threads=1)), engine_ms
            ),
            plans,
            options=PipelineOptions(batch="auto" if batch is None else batch),
        )
        stack.callback(camera_manager.close)
        camera_manager.subscribe(
            lambda name, done: measured.results[name].take(done, counts=counting.is_set())
        )
        camera_manager.start()
        _await_running(camera_manager, names)
        time.sleep(WARM_UP_S)
        counting.set()
        began_s = time.monotonic()
        time.sleep(seconds)
        counting.clear()
        measured.seconds = time.monotonic() - began_s
        measured.status = camera_manager.cameras
        if camera_manager.failure is not None:
            raise SystemExit(f"the camera manager failed: {camera_manager.failure!r}")
    return measured


def _await_running(camera_manager: CameraManager, names: list[str]) -> None:
    deadline_s = time.monotonic() + READY_S
    while not camera_manager.readiness.ready or any(
        camera.name in names and not camera.stats.frames for camera in camera_manager.cameras
    ):
        if time.monotonic() > deadline_s or camera_manager.failure is not None:
            raise SystemExit(f"the cameras do not run: {camera_manager.readiness} {camera_manager.failure}")
        time.sleep(0.1)


def report(measured: Measured, title: str) -> bool:
    """Print a line for each camera; True if all are within the limit and in order."""
    served = [name for name, results in measured.results.items() if len(results.ages_ms)]
    fair = min(measured.frames_per_s / max(len(served), 1), FPS)
    rows, holds = [], len(served) == CAMERAS
    for camera in measured.status:
        results, stats = measured.results[camera.name], camera.stats
        count = len(results.ages_ms)
        rate = count / measured.seconds
        if camera.name in served:
            holds &= abs(rate / fair - 1) <= MOST_OFF and results.in_order
        p50, p99 = np.percentile(results.ages_ms, [50, 99], method="inverted_cdf") if count else (0.0, 0.0)
        rows.append(
            [
                camera.name,
                camera.state,
                str(count),
                f"{rate:.2f}",
                f"{100 * rate / fair:.0f} %" if count else "-",
                "yes" if results.in_order else "NO",
                f"{p50:.0f}" if count else "-",
                f"{p99:.0f}" if count else "-",
                f"{stats.lost.dropped} {stats.lost.late} {stats.lost.missed}",
            ]
        )
    print(f"\n{title}: {measured.frames_per_s:.1f} frames/s in total, fair share {fair:.2f} frames/s")
    heads = ["camera", "state", "frames", "frames/s", "of fair share", "in order", "age p50 ms", "p99 ms"]
    print("\n".join(table([*heads, "dropped late missed"], rows)))
    print(
        f"{'ok   ' if holds else 'FAILS'} each camera within {100 * MOST_OFF:.0f} % of its fair share, in order"
    )
    return holds


def main() -> int:
    """Run at both speeds, print the tables and check the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="counted seconds at each engine speed")
    parser.add_argument(
        "--engine-ms",
        type=float,
        nargs="+",
        default=[0.0, 40.0],
        help="minimum time per frame of the slowed engine",
    )
    parser.add_argument("--size", default="192x192", help="input side of the detector")
    parser.add_argument("--batch", type=int, help="frames per call; default: measured")
    parser.add_argument("--video", type=Path, default=DATA / "video" / "vtest.avi")
    parser.add_argument("--bundles", type=Path, help="keep the exported detector in this folder")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        video = arguments.video
        if not video.is_file():
            video = Path(folder) / "clip.mp4"
            camera = SyntheticCamera((640, 480))
            write_clip(video, camera.frames(camera.cycle), camera.size_wh, fps=FPS)
        bundle = export_street(arguments.bundles or Path(folder), size=arguments.size)
        held = []
        for engine_ms in arguments.engine_ms:
            measured = run(bundle, video, engine_ms, arguments.seconds, arguments.batch)
            slowed = (
                f"engine slowed down to {engine_ms:g} ms per frame" if engine_ms else "engine at full speed"
            )
            held.append(report(measured, slowed))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
