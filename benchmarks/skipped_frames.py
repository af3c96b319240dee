"""CPU time that skipping non-reference frames saves for a live camera whose frames are wanted at a lower rate.

``python -m benchmarks.skipped_frames`` reads one camera of a local server (1920x1080, 15 frames/s, H.264 and H.265,
with and without B-frames), with and without skipping, in turns. The reader takes the newest frame at a rate, at
random moments of the camera's period.
The figures are CPU time per frame of the camera, the share of skipped frames, and the median age of taken frames since
their arrival.
"""

from __future__ import annotations

import argparse
import functools
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2

from benchmarks.clip_camera import FPS, clip_camera, encode_clip
from edgevision.cli.present import table
from edgevision.sources.demand import Demand
from edgevision.sources.feeds.feed import Feed
from edgevision.sources.feeds.network import NetworkFeed
from edgevision.sources.live import LiveSource

DATA = Path(os.environ.get("EDGEVISION_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
KINDS = {
    "H.264": ("h264", 0),
    "H.264, 3 B-frames": ("h264", 3),
    "H.265": ("h265", 0),
    "H.265, 4 B-frames": ("h265", 4),
}
TAKEN_BEFORE = 12
"""Frames that are taken before the measurement; their intervals predict the next ones."""


class EveryFrame(NetworkFeed):
    """A feed that decodes every frame."""

    @property
    def demand(self) -> Demand | None:
        """None."""
        return None

    @demand.setter
    def demand(self, value: Demand | None) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement."""

    cpu_ms: float
    """CPU time of the process for each frame of the camera."""
    skipped: float
    """Share of the camera's frames."""
    age_ms: float


def measure(open_feed: Callable[[], Feed], per_s: float, seconds: float) -> Figures:
    """Take frames at a rate."""
    ages_ms: list[float] = []
    chance = random.Random(7)
    with LiveSource("camera", open_feed) as source:
        due_s = time.monotonic()
        begun: tuple[float, int, int] | None = None
        while True:
            due_s += 1 / per_s
            # At random moments of the camera's period; else the age would depend on when the connection was made.
            moment_s = due_s + chance.random() / FPS
            time.sleep(max(moment_s - time.monotonic(), 0))
            frame = source.read()
            assert frame is not None
            ages_ms.append((time.perf_counter_ns() - frame.captured_ns) / 1e6)
            if begun is None and len(ages_ms) == TAKEN_BEFORE:
                begun, ends_s = (
                    (time.process_time(), frame.index, source.health.undecoded_frames),
                    due_s + seconds,
                )
                ages_ms = ages_ms[:0] + [0.0] * TAKEN_BEFORE
            elif begun is not None and due_s >= ends_s:
                break
        frames = frame.index - begun[1]
        spent_s, skipped = time.process_time() - begun[0], source.health.undecoded_frames - begun[2]
    return Figures(1e3 * spent_s / frames, skipped / frames, statistics.median(ages_ms[TAKEN_BEFORE:]))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[1.0, 2.0, 5.0], help="frames/s of the reader"
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--video", type=Path, default=DATA / "video" / "vtest.avi")
    parser.add_argument("--clips", type=Path, help="folder that keeps the encoded clips")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, (codec, b_frames) in KINDS.items():
            clip = (options.clips or Path(folder)) / f"skipped-{codec}-{b_frames}.mp4"
            if not clip.exists():
                encode_clip(options.video, clip, codec, b_frames=b_frames)
            with clip_camera(clip) as url:
                for per_s in options.rates:
                    found: dict[type[NetworkFeed], list[Figures]] = {EveryFrame: [], NetworkFeed: []}
                    for _ in range(options.rounds):
                        for feed, figures in found.items():
                            opened = functools.partial(
                                feed, url, connect_timeout_s=10.0, read_timeout_s=5.0, transport="tcp"
                            )
                            figures.append(measure(opened, per_s, options.seconds))
                    rows.append([kind, f"{per_s:g} of {FPS}", *_cells(found[EveryFrame], found[NetworkFeed])])
                    print("  ".join(rows[-1]), flush=True)
    head = [
        "stream",
        "frames taken",
        "CPU ms a frame",
        "with skipping",
        "frames skipped",
        "age ms",
        "with skipping",
    ]
    print("\n".join(table(head, rows)))


def _cells(every: list[Figures], skipping: list[Figures]) -> list[str]:
    def middle(figures: list[Figures], name: str) -> float:
        return float(statistics.median(getattr(one, name) for one in figures))

    return [
        f"{middle(every, 'cpu_ms'):.2f}",
        f"{middle(skipping, 'cpu_ms'):.2f}",
        f"{100 * middle(skipping, 'skipped'):.0f} %",
        f"{middle(every, 'age_ms'):.0f}",
        f"{middle(skipping, 'age_ms'):.0f}",
    ]


if __name__ == "__main__":
    main()
