"""Input and output of a runner: options of the command line, times of results, and one line of JSON.

Runners are executed in the virtual environment of a peer, so this module needs the standard library only.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one peer."""

    model: Path
    source: Path
    """A video, or for `images` a text file with the path of one image in each line."""
    images: bool
    frames: int
    """Maximum number of frames of a video."""
    confidence: float
    iou: float
    """IoU threshold of NMS."""
    most: int
    """Maximum number of detections of an image."""
    output: Path | None
    """For `images`: the file for the detections."""
    precision: str | None
    program: Path | None
    """Folder of a program that is not installed but cloned."""

    def files(self) -> list[str]:
        """The images."""
        return self.source.read_text().splitlines()


def read_job() -> Job:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    for name in ("model", "source", "output", "program"):
        parser.add_argument(f"--{name}", type=Path, required=name in ("model", "source"))
    parser.add_argument("--images", action="store_true")
    parser.add_argument("--frames", type=int, default=10**9)
    parser.add_argument("--confidence", type=float, default=0.25)
    parser.add_argument("--iou", type=float, default=0.45)
    parser.add_argument("--most", type=int, default=300)
    parser.add_argument("--precision")
    return Job(**vars(parser.parse_args()))


Row = tuple[float, float, float, float, float, int]
"""x1, y1, x2, y2 in pixels of the image, confidence, class number."""


@dataclass(slots=True)
class Meter:
    """Times of the results of a run."""

    job: Job
    stamps_ns: list[int] = field(default_factory=list)
    """Of each result, by the monotonic clock, which all processes share."""
    detections: int = 0
    found: dict[str, list[Row]] = field(default_factory=dict)
    _first_cpu_ns: int = 0
    _last_cpu_ns: int = 0

    def add(self, detections: int) -> bool:
        """Note a result; True if it is the last one to measure."""
        self.stamps_ns.append(time.monotonic_ns())
        self._last_cpu_ns = time.process_time_ns()
        if len(self.stamps_ns) == 1:
            self._first_cpu_ns = self._last_cpu_ns
        self.detections += detections
        return len(self.stamps_ns) >= self.job.frames

    def add_rows(self, file: str, rows: list[Row]) -> None:
        """Note the detections of an image."""
        self.found[file] = rows
        self.add(len(rows))

    def print(self, **facts: object) -> None:
        """Write the detections to the file of the job, and print the times with the facts as one line of JSON."""
        if self.job.output is not None:
            self.job.output.write_text(json.dumps(self.found))
        line = {
            "frames": len(self.stamps_ns),
            "detections": self.detections,
            "first_ns": self.stamps_ns[0] if self.stamps_ns else None,
            "last_ns": self.stamps_ns[-1] if self.stamps_ns else None,
            "cpu_s": (self._last_cpu_ns - self._first_cpu_ns) / 1e9,
            "peak_mib": peak_mib(),
            "facts": {name: str(value) for name, value in facts.items()},
        }
        print(json.dumps(line), flush=True)


def peak_mib() -> float:
    """Peak resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
