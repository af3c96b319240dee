"""CPU time of network cameras (1920x1080, 15 frames/s, H.264 and H.265) whose images no sink takes.

``python -m benchmarks.camera_cpu`` reads 1, 4 and 8 cameras of a local server with four programs, in turns:

- edgevision, with an engine that takes no time;
- a loop of PyAV, and one of OpenCV, that convert every frame to BGR;
- PyAV with the letterbox of that engine, which does the same work as edgevision.

The figure is CPU time per decoded frame, times 15: the number of cores that a camera takes. Most of it is decoding,
which is the same in all programs and is also measured alone. Exit code 1 if edgevision takes more than `MOST_SHARE` of
the CPU time of the same work, both without decoding.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.clip_camera import FPS, clip_camera, encode_clip
from benchmarks.free_engine import FreeEngine
from edgevision.contract.image import fit_frame
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_streams
from edgevision.pipeline.streams import SourceStream
from edgevision.sources.opening import open_source
from edgevision.sources.options import CameraOptions
from edgevision.storage import atomic

DATA = Path(os.environ.get("EDGEVISION_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
MOST_SHARE = 0.6
WARM_UP_S = 2.0

Loop = Callable[[str, Callable[[], bool], Callable[[], None]], None]


def decode_only(url: str, over: Callable[[], bool], count: Callable[[], None]) -> None:
    """Decode without conversion: the minimum that any program needs."""
    with av.open(url, timeout=10) as container:
        for _ in container.decode(video=0):
            count()
            if over():
                return


def plain_pyav(url: str, over: Callable[[], bool], count: Callable[[], None]) -> None:
    """Decode and convert every frame to BGR."""
    with av.open(url, timeout=10) as container:
        for frame in container.decode(video=0):
            frame.to_ndarray(format="bgr24")
            count()
            if over():
                return


def pyav_letterbox(url: str, over: Callable[[], bool], count: Callable[[], None]) -> None:
    """Decode, convert and letterbox every frame."""
    target = FreeEngine().spec.frames
    batch = np.empty((target.size_wh[1], target.size_wh[0], 3), np.uint8)
    with av.open(url, timeout=10) as container:
        for frame in container.decode(video=0):
            fit_frame(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8), target, out=batch)
            count()
            if over():
                return


def plain_opencv(url: str, over: Callable[[], bool], count: Callable[[], None]) -> None:
    """Read every frame with OpenCV."""
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
    while not over() and capture.read()[0]:
        count()
    capture.release()


DECODING, SAME_WORK, BEYOND = "decoding alone", "PyAV, letterboxed", "beyond decoding"
LOOPS: dict[str, Loop] = {
    DECODING: decode_only,
    "PyAV to BGR": plain_pyav,
    "OpenCV": plain_opencv,
    SAME_WORK: pyav_letterbox,
}
OURS = "edgevision"
PROGRAMS = (OURS, *LOOPS)


def run_loops(loop: Loop, url: str, cameras: int, seconds: float) -> float:
    """CPU milliseconds a frame of one thread for each camera."""
    counts = [0] * cameras
    ends_s = time.monotonic() + WARM_UP_S + seconds

    def work(number: int) -> None:
        def count() -> None:
            counts[number] += 1

        loop(url, lambda: time.monotonic() >= ends_s, count)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(cameras)]
    for thread in threads:
        thread.start()
    time.sleep(WARM_UP_S)
    before_s, frames = time.process_time(), sum(counts)
    time.sleep(seconds)
    spent_s, frames = time.process_time() - before_s, sum(counts) - frames
    for thread in threads:
        thread.join()
    return 1e3 * spent_s / frames


def run_ours(url: str, cameras: int, seconds: float) -> float:
    """CPU milliseconds for each decoded frame of the package, without a sink."""
    options = CameraOptions(wait_first=False)
    streams = [SourceStream(open_source(url, options, name=f"camera {n}")) for n in range(cameras)]
    marks: list[tuple[float, float, int]] = []
    """Wall time, CPU time and decoded frames at the begin and the end."""

    def is_over() -> bool:
        now_s = time.monotonic()
        if not marks and min(stream.stats.frames for stream in streams) < FPS:
            return False  # a camera has not begun
        if not marks or now_s >= marks[0][0] + seconds:
            decoded = sum(stream.stats.frames + stream.stats.lost.dropped for stream in streams)
            marks.append((now_s, time.process_time(), decoded))
        return len(marks) > 1

    run_streams(FreeEngine(), streams, options=PipelineOptions(batch=min(cameras, 8)), stop=is_over)
    (_, first_s, first), (_, last_s, last) = marks[:2]
    return 1e3 * (last_s - first_s) / (last - first)


def measured(program: str, url: str, cameras: int, seconds: float) -> float:
    """CPU milliseconds a frame, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.camera_cpu",
        "--one",
        program,
        url,
        str(cameras),
        str(seconds),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300 + seconds)
    return float(done.stdout.splitlines()[-1])


def compare(url: str, cameras: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """CPU milliseconds a frame of each program in each round."""
    found: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for number in range(options.rounds):
        turn = number % len(PROGRAMS)
        for name in PROGRAMS[turn:] + PROGRAMS[:turn]:
            found[name].append(measured(name, url, cameras, options.seconds))
    return found


def report(codec: str, cameras: int, found: dict[str, list[float]]) -> dict[str, float]:
    """Print a table; returns the shares of the other programs' CPU time that the package takes.

    The last one is of `SAME_WORK`, both without decoding.
    """
    print(f"\n{codec}, {cameras} cameras: CPU ms a frame, cores a camera")
    shares: dict[str, float] = {}
    for name, values in found.items():
        middle = statistics.median(values)
        line = f"  {name:18} {middle:6.2f} ms {middle * FPS / 1e3:6.3f} cores"
        if name != OURS:
            pairs = zip(found[OURS], values, strict=True)
            shares[name] = round(statistics.median(ours / other for ours, other in pairs), 3)
            line += f"; {OURS} takes {shares[name]:.2f} of it"
        print(line, flush=True)
    decoding, ours, same = (statistics.median(found[name]) for name in (DECODING, OURS, SAME_WORK))
    shares[BEYOND] = round((ours - decoding) / (same - decoding), 3)
    print(f"  beyond decoding, {OURS} takes {shares[BEYOND]:.2f} of {SAME_WORK}", flush=True)
    return shares


def main() -> int:
    """Measure, print the figures, and check the share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of each program")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--video", type=Path, default=DATA / "video" / "vtest.avi")
    parser.add_argument("--clips", type=Path, help="folder that keeps the encoded clips")
    parser.add_argument("--record", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, url, cameras, seconds = options.one
        cv2.setNumThreads(1)
        if name == OURS:
            print(run_ours(url, int(cameras), float(seconds)))
        else:
            print(run_loops(LOOPS[name], url, int(cameras), float(seconds)))
        return 0
    record: dict[str, object] = {"fps": FPS, "load": os.getloadavg()[0]}
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for codec in ("h264", "h265"):
            clip = (options.clips or Path(folder)) / f"street-{codec}.mp4"
            if not clip.exists():
                encode_clip(options.video, clip, codec)
            with clip_camera(clip) as url:
                for cameras in options.cameras:
                    found = compare(url, cameras, options)
                    shares = report(codec, cameras, found)
                    worst = max(worst, shares[BEYOND])
                    record[f"{codec}, {cameras} cameras"] = {"cpu_ms": found, "share": shares}
    holds = worst <= MOST_SHARE
    print(
        f"\n{'ok   ' if holds else 'FAILS'} CPU beyond decoding: at most {worst:.2f} of the same work's, limit"
        f" {MOST_SHARE}"
    )
    if options.record is not None:
        atomic.write_file(options.record, (json.dumps(record, indent=1) + "\n").encode())
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
