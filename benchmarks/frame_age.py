"""Age of results when a camera is faster than the engine; the bound is two camera periods plus one engine call.

``python -m benchmarks.frame_age`` runs a synthetic camera of 60 frames/s on an engine that takes 100 ms, for 10
minutes. The age is the time from drawing the frame to its finished result. Exit code 1 if the 99th percentile is not
under the bound.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from array import array
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.sleeping import SleepingEngine
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import RunSummary, run_pipeline
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import Sink
from edgevision.sources.opening import open_source

WARM_UP = 20
"""First results, not counted: the pipeline has not measured the engine's latency yet."""


class Ages(Sink):
    """Collects the age of every result in milliseconds, as plain numbers."""

    annotated = False

    def __init__(self) -> None:
        self.ms = array("d")

    def write(self, processed: FrameResult) -> None:
        """Append the age of one result."""
        self.ms.append(processed.age_ms)

    def close(self) -> None:
        """Do nothing: no resource is open."""


def measure(
    source: str, inference_ms: float, seconds: float, max_age_ms: float | None
) -> tuple[npt.NDArray[np.float64], RunSummary]:
    """The ages of all results except the first ones, and the summary of the run."""
    ages = Ages()
    ends_s = time.monotonic() + seconds
    summary = run_pipeline(
        SleepingEngine(inference_ms / 1e3),
        open_source(source),
        [ages],
        options=PipelineOptions(max_age_ms=max_age_ms),
        stop=lambda: time.monotonic() > ends_s,
    )
    return np.array(ages.ms)[WARM_UP:], summary


def draw(ages_ms: npt.NDArray[np.float64], bound_ms: float, path: Path) -> None:
    """Draw a histogram with the bound."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.hist(ages_ms, bins=200, color="#1f6fb2", log=True)
    axes.axvline(bound_ms, color="#c03a2b", ls="--", label=f"two periods plus one call: {bound_ms:.1f} ms")
    axes.axvline(np.percentile(ages_ms, 99), color="#7a7a7a", ls=":", label="p99")
    axes.set_xlabel("age of a result, ms")
    axes.set_ylabel("results")
    axes.legend(fontsize=8)
    figure.savefig(path)


def main() -> int:
    """Measure, print the figures and check the bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--hours", type=float, help="in place of --minutes")
    parser.add_argument("--fps", type=float, default=60.0, help="frame rate of the camera")
    parser.add_argument("--inference-ms", type=float, default=100.0)
    parser.add_argument("--max-age-ms", type=float, help="drop older frames, as `edgevision run` does")
    parser.add_argument("--plot", type=Path, help="write a histogram to this file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    minutes = arguments.hours * 60 if arguments.hours else arguments.minutes
    source = f"demo:640x480@{arguments.fps:g}"
    ages_ms, summary = measure(source, arguments.inference_ms, minutes * 60, arguments.max_age_ms)
    bound_ms = 2e3 / arguments.fps + arguments.inference_ms
    p50, p90, p99, worst = np.percentile(ages_ms, [50, 90, 99, 100], method="inverted_cdf")
    lost = summary.lost
    print(f"{source}, engine {arguments.inference_ms:g} ms, {minutes:g} minutes")
    print(
        f"{summary.frames} frames run, {lost.dropped} dropped, {lost.late} late, {lost.missed} missed;"
        f" {summary.frames_per_s:.2f} frames/s"
    )
    print(f"age p50 {p50:.1f}, p90 {p90:.1f}, p99 {p99:.1f}, maximum {worst:.1f} ms; {len(ages_ms)} results")
    over = float(np.mean(ages_ms >= bound_ms))
    holds = bool(p99 < bound_ms)
    print(
        f"{'ok   ' if holds else 'FAILS'} p99 {p99:.1f} ms, bound {bound_ms:.1f} ms; {100 * over:.2f} % exceed it"
    )
    if arguments.plot is not None:
        draw(ages_ms, bound_ms, arguments.plot)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
