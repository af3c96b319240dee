"""Memory growth of a long run with cameras that are added, removed and fail.

``python -m benchmarks.soak`` takes 20 minutes and a tenth of a core. The sources are two synthetic cameras, a looped
video, a camera that disconnects four times a minute, and one that never responds. Tracking and counting are on. The
sinks are JSON lines, event images and a webhook that refuses results. One camera is stopped and started every 20 s.
Exit code 1 if private memory grows by more than 1 MB an hour after the warm-up.

Images are small on purpose. In ten minutes 1 MB an hour is 0.17 MB, and one 640x480 frame more or less in memory is
0.9 MB: the order of the cameras would change the level for minutes. A leak of one 160x120 frame at each stop,
disconnect or event image is 10 MB an hour, and is detected.

Memory that settles in the first of ten minutes looks like growth: one step of 0.4 MB is 2 MB an hour, and the interval
of the slope, which takes samples for independent, excludes less. Growth continues, a step does not. So a run whose
slope is above the limit continues until it is below, for ``--longest`` minutes at most.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import statistics
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.memory_slope import BUCKET_S, Sample, Sampler, Slope, slope
from benchmarks.mjpeg import mjpeg_camera
from benchmarks.street import export_street
from edgevision.analytics.options import AnalyticsOptions
from edgevision.contract.session import SessionOptions
from edgevision.engines.opening import open_session
from edgevision.pipeline.options import PipelineOptions
from edgevision.service.camera_manager import CameraManager
from edgevision.service.camera_plan import CameraPlan
from edgevision.sinks.addresses import SinkOptions, open_sink
from edgevision.sinks.opening import write_clip
from edgevision.sinks.sink import Sink
from edgevision.sources.synthetic_camera import SyntheticCamera

MOST_MB_AN_HOUR = 1.0
LONGEST = 1.4
"""Length of a run whose slope stays above the limit, as a multiple of `minutes`."""
FPS = 2
SIZE_WH = (160, 120)
SINKS = ("lines", "images", "webhook")
DEAD = "rtsp://127.0.0.1:9/1"
"""A port without a listener: each attempt is refused at once."""
MB_OF_KIB = 1024 / 1e6


@dataclass(frozen=True, slots=True)
class Soak:
    """Duration and output of the soak."""

    minutes: float
    longest_minutes: float
    """Limit for a run whose slope is above the limit."""
    warm_up_minutes: float
    folder: Path
    every_s: float
    toggle_s: float
    trace: bool


def plans(clip: Path, flaky: str) -> list[CameraPlan]:
    """The plans of all cameras."""
    line = AnalyticsOptions(lines=("middle=80,0,80,120",))
    zone = AnalyticsOptions(zones=("floor=5,60,155,60,155,115,5,115",))
    virtual = f"demo:{SIZE_WH[0]}x{SIZE_WH[1]}@{FPS}"
    return [
        CameraPlan("hall", virtual, analytics=line, sinks=SINKS),
        CameraPlan("door", virtual, analytics=AnalyticsOptions(track=True), sinks=SINKS),
        CameraPlan("yard", f"loop:{clip}@{FPS}", analytics=zone, sinks=SINKS),
        CameraPlan("gate", flaky, analytics=line, sinks=SINKS),
        CameraPlan("dead", DEAD, sinks=SINKS),
    ]


def sinks(folder: Path) -> dict[str, Sink]:
    """One sink that works, one with a limited folder, one that always fails."""
    options = SinkOptions(capacity=100, every_result=True, keep=50)
    return {
        "lines": open_sink(str(folder / "results.jsonl"), options),
        "images": open_sink(f"events:{folder / 'images'}?classes=person&gap_s=20", options),
        "webhook": open_sink("http://127.0.0.1:9/hook", options),
    }


def soak(plan: Soak) -> list[Sample]:
    """Run and sample memory; prints a line per minute."""
    bundle = export_street(plan.folder)
    clip = plan.folder / "clip.mp4"
    camera = SyntheticCamera(SIZE_WH, cycle=60)
    write_clip(clip, camera.frames(60), camera.size_wh, fps=25.0)
    with contextlib.ExitStack() as stack:
        flaky = stack.enter_context(mjpeg_camera(FPS, size_wh=SIZE_WH, up_s=12, down_s=3))
        camera_manager = CameraManager(
            lambda _: open_session(bundle, engine="onnxruntime", options=SessionOptions(threads=1)),
            plans(clip, flaky),
            sinks(plan.folder),
            PipelineOptions(batch=1),
        )
        stack.callback(camera_manager.close)
        seen: Counter[str] = Counter()
        camera_manager.subscribe(lambda name, _: seen.update([name]))
        camera_manager.start()
        sampler = stack.enter_context(Sampler(plan.every_s, _line_a_minute(camera_manager)))
        _attend(camera_manager, plan, sampler)
        samples = sampler.samples
        problem = _problem(camera_manager, seen)
    if problem:
        raise SystemExit(f"the soak itself failed: {problem}")
    return samples


def _attend(camera_manager: CameraManager, plan: Soak, sampler: Sampler) -> None:
    """Stop and start a camera at intervals until the slope is low enough or the time is over."""
    never = threading.Event()
    if plan.trace:
        tracemalloc.start(4)
    began_s, traced = time.monotonic(), None
    while camera_manager.failure is None and not _over(plan, time.monotonic() - began_s, sampler):
        never.wait(min(plan.toggle_s, plan.minutes * 60))
        camera_manager.stop_camera("door")
        never.wait(0.5)
        camera_manager.start_camera("door")
        if plan.trace and traced is None and time.monotonic() - began_s > plan.warm_up_minutes * 60:
            traced = tracemalloc.take_snapshot()
    if traced is not None:
        for row in tracemalloc.take_snapshot().compare_to(traced, "lineno")[:25]:
            print(row)


def _over(plan: Soak, at_s: float, sampler: Sampler) -> bool:
    """True if the run may end."""
    if at_s < plan.minutes * 60:
        return False
    private, _, _ = judge(sampler.samples, plan.warm_up_minutes * 60)
    return at_s >= plan.longest_minutes * 60 or private.per_hour <= MOST_MB_AN_HOUR


def _line_a_minute(camera_manager: CameraManager) -> Callable[[Sample], None]:
    minutes: list[int] = []

    def report(sample: Sample) -> None:
        if int(sample.at_s / 60) == len(minutes):
            minutes.append(1)
            states = ", ".join(f"{camera.name} {camera.state}" for camera in camera_manager.cameras)
            frames = sum(camera.stats.frames for camera in camera_manager.cameras)
            print(
                f"{sample.at_s / 60:5.1f} min  {sample.anonymous_kib * MB_OF_KIB:7.2f} MB private"
                f"  {sample.pss_kib * MB_OF_KIB:7.2f} MB PSS  {sample.blocks} objects  {sample.threads} threads"
                f"  {frames} frames  {states}",
                flush=True,
            )

    return report


def _problem(camera_manager: CameraManager, seen: Counter[str]) -> str:
    """Reason why the measurement is invalid; empty if it is valid."""
    if camera_manager.failure is not None:
        return repr(camera_manager.failure)
    for camera in camera_manager.cameras:
        if camera.name != "dead" and not seen[camera.name]:
            return f"{camera.name} returned no frame: {camera.state} {camera.detail}"
        if camera.name == "gate" and not camera.stats.health.reconnects:
            return "the camera that should disconnect never did"
    lost = {sink.name: sink.lost for sink in camera_manager.sinks}
    return "" if not lost["lines"] and lost["webhook"] else f"results lost: {lost}"


def judge(samples: list[Sample], warm_up_s: float) -> tuple[Slope, Slope, Slope]:
    """Slopes after the warm-up: private memory and PSS in MB per hour, and objects per hour.

    That of private memory is of the lowest sample in each half minute, in which the service returns free memory once:
    frames and garbage only add to it, and a leak raises it.
    """
    warm = [sample for sample in samples if sample.at_s >= warm_up_s]
    at_s = [sample.at_s for sample in warm]
    return (
        slope(at_s, [sample.anonymous_kib * MB_OF_KIB for sample in warm], level=np.min),
        slope(at_s, [sample.pss_kib * MB_OF_KIB for sample in warm]),
        slope(at_s, [sample.blocks for sample in warm]),
    )


def draw(samples: list[Sample], warm_up_s: float, private: Slope, path: Path) -> None:
    """Draw memory over time with the fitted line."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    minutes = [sample.at_s / 60 for sample in samples]
    axes.plot(
        minutes, [s.anonymous_kib * MB_OF_KIB for s in samples], lw=0.9, color="#1f6fb2", label="private"
    )
    axes.plot(minutes, [s.pss_kib * MB_OF_KIB for s in samples], lw=0.9, color="#7a7a7a", label="PSS")
    warm = [(s.at_s, s.anonymous_kib * MB_OF_KIB) for s in samples if s.at_s >= warm_up_s]
    middle_s = statistics.median(at_s for at_s, _ in warm)
    level = statistics.median(value - private.per_hour * (at_s - middle_s) / 3600 for at_s, value in warm)
    ends_s = (warm[0][0], warm[-1][0])
    line = [level + private.per_hour * (end_s - middle_s) / 3600 for end_s in ends_s]
    axes.plot([end_s / 60 for end_s in ends_s], line, "--", color="#c03a2b", label=f"{private} MB")
    axes.axvline(warm_up_s / 60, color="#7a7a7a", lw=0.8, ls=":")
    axes.set_xlabel("minutes")
    axes.set_ylabel("MB")
    axes.grid(visible=True, lw=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path)


def main() -> int:
    """Run, print and draw; exit code 1 if memory grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--hours", type=float, help="in place of --minutes")
    parser.add_argument(
        "--longest",
        type=float,
        help=f"minutes of a run whose slope is above the limit; default: {LONGEST:g} times --minutes",
    )
    parser.add_argument(
        "--warm-up", type=float, help="uncounted minutes at the start; default: half of all, at most 10"
    )
    parser.add_argument("--every", type=float, default=2.0, help="seconds between samples")
    parser.add_argument("--toggle", type=float, default=20.0, help="seconds between stops of a camera")
    parser.add_argument(
        "--output", type=Path, default=Path("out/soak"), help="folder of the plot and the samples"
    )
    parser.add_argument("--trace", action="store_true", help="print the Python code whose memory grew")
    arguments = parser.parse_args()
    minutes = arguments.hours * 60 if arguments.hours else arguments.minutes
    warm_up = min(minutes / 2, 10.0) if arguments.warm_up is None else arguments.warm_up
    if (minutes - warm_up) * 60 < 3 * BUCKET_S:
        parser.error(
            f"{minutes:g} minutes, {warm_up:g} of them to warm up, leave less than the"
            f" {3 * BUCKET_S:g} s that a slope needs: give more --minutes or a shorter --warm-up"
        )
    logging.basicConfig(level=logging.CRITICAL)
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        longest = max(minutes, arguments.longest or minutes * LONGEST)
        plan = Soak(
            minutes, longest, warm_up, Path(folder), arguments.every, arguments.toggle, arguments.trace
        )
        samples = soak(plan)
    private, pss, blocks = judge(samples, warm_up * 60)
    draw(samples, warm_up * 60, private, arguments.output / "memory.png")
    rows = [f"{s.at_s:.1f},{s.anonymous_kib},{s.pss_kib},{s.blocks},{s.threads}" for s in samples]
    (arguments.output / "memory.csv").write_text(
        "\n".join(["seconds,private_kib,pss_kib,objects,threads", *rows, ""])
    )
    cpu_share = time.process_time() / (samples[-1].at_s or 1)
    print(
        f"{samples[-1].at_s / 60:.1f} minutes, {warm_up:g} of them to warm up; {100 * cpu_share:.0f} % of a core"
    )
    print(f"private memory, MB: {private}\nPSS, MB: {pss}\nPython objects: {blocks}")
    holds = private.per_hour <= MOST_MB_AN_HOUR
    print(f"{'ok   ' if holds else 'FAILS'} {private.per_hour:+.2f} MB an hour; limit {MOST_MB_AN_HOUR:g}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
