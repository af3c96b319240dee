"""Frames/s end to end, compared with inference alone and with a plain loop; YOLOv5n at 640.

Run from a checkout with the test data: ``python benchmarks/throughput.py``. Each round runs four variants for
the same time, in a rotating order, on the same session and video: inference alone; the pipeline without output; the
pipeline with drawing; the plain loop `read; letterbox; infer; draw`. Ratios are medians over rounds. Exit code 1 if a
claim does not hold.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from edgevision.benchmark.bench import RepeatedSource, Subject, prepared_batches
from edgevision.benchmark.timing import MeasureSettings, measure
from edgevision.contract.image import fit_frame
from edgevision.contract.results import results_from_outputs
from edgevision.contract.session import Session, SessionOptions
from edgevision.drawing.annotate import draw_result
from edgevision.engines.opening import CPU_ENGINES, open_session
from edgevision.pipeline.pipeline import run_pipeline
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import Sink
from edgevision.sources.opening import open_source

DATA = Path(os.environ.get("EDGEVISION_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
LEAST_RATIO = 0.93
THRESHOLD = 0.25


class Shown(Sink):
    """Requests drawn frames and discards them."""

    annotated = True

    def write(self, processed: FrameResult) -> None:
        """Discard the frame."""

    def close(self) -> None:
        """Do nothing: no resource is open."""


def pipeline_rate(session: Session, video: Path, seconds: float, sinks: list[Sink]) -> float:
    """Frames/s of the pipeline."""
    until_s = time.perf_counter() + seconds
    summary = run_pipeline(
        session,
        RepeatedSource(lambda: open_source(video)),
        sinks,
        stop=lambda: time.perf_counter() >= until_s,
    )
    return summary.frames_per_s


def plain_loop_rate(session: Session, video: Path, seconds: float) -> float:
    """Frames/s of one thread that reads, letterboxes, infers and draws, one frame after another."""
    width, height = session.spec.frames.size_wh
    batch = np.empty((1, height, width, 3), np.uint8)
    capture = cv2.VideoCapture(str(video))
    began_s, count = time.perf_counter(), 0
    while (now_s := time.perf_counter()) < began_s + seconds:
        read, frame = capture.read()
        if not read:
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            continue
        image = np.asarray(frame, np.uint8)
        placement = fit_frame(image, session.spec.frames, out=batch[0])[1]
        result = results_from_outputs(session.spec, session.infer(batch), [placement], threshold=THRESHOLD)[0]
        draw_result(image, result)
        count += 1
    capture.release()
    return count / (now_s - began_s)


def ways(session: Session, video: Path, seconds: float) -> dict[str, Callable[[], float]]:
    """Name and measurement of each variant; the others are compared with the first."""
    batches, _ = prepared_batches(Subject(session, None, SessionOptions(), lambda: open_source(video)))
    batch_cycle = itertools.cycle(batches)
    settings = MeasureSettings(seconds, 1, 0.0, 0)

    def alone() -> float:
        samples = measure(lambda: session.infer(next(batch_cycle)), settings)
        return len(samples) / samples.total_s

    return {
        "inference alone": alone,
        "pipeline": lambda: pipeline_rate(session, video, seconds, []),
        "pipeline, drawn": lambda: pipeline_rate(session, video, seconds, [Shown()]),
        "plain loop, drawn": lambda: plain_loop_rate(session, video, seconds),
    }


def main() -> None:
    """Measure, print the figures and check the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of each variant in each round")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--engine", choices=CPU_ENGINES, default="onnxruntime")
    arguments = parser.parse_args()
    video = DATA / "video" / "vtest.avi"
    with tempfile.TemporaryDirectory(prefix="edgevision-benchmark-") as folder:
        bundle = Path(folder) / "yolov5n"
        command = [sys.executable, "-m", "edgevision", "export", "yolov5", "-o", str(bundle)]
        subprocess.run([*command, "--checkpoint", str(DATA / "weights" / "yolov5n.pt")], check=True)
        with open_session(bundle, engine=arguments.engine) as session:
            rates = measure_rounds(ways(session, video, arguments.seconds), arguments.rounds)
    alone = rates["inference alone"]
    print()
    for name, values in rates.items():
        ratios = sorted(value / reference for value, reference in zip(values, alone, strict=True))
        print(
            f"{name:18} {statistics.median(values):6.2f} frames/s, {statistics.median(ratios):.3f} of inference alone"
            f" ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        )
    pairs = zip(rates["pipeline, drawn"], rates["plain loop, drawn"], strict=True)
    gain = statistics.median(ours / plain for ours, plain in pairs)
    ratio = statistics.median(ours / one for ours, one in zip(rates["pipeline"], alone, strict=True))
    print(f"with drawing, the pipeline runs {gain:.3f} times as many frames as the plain loop")
    holds = ratio >= LEAST_RATIO
    print(f"{'ok  ' if holds else 'FAIL'}  pipeline over inference alone {ratio:.3f} >= {LEAST_RATIO}")
    sys.exit(0 if holds else 1)


def measure_rounds(measures: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Frames/s of each variant in each round, after a warm-up round; the order rotates."""
    names = list(measures)
    rates: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-1, rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            rate = measures[name]()
            if number >= 0:
                rates[name].append(rate)
        if number >= 0:
            latest = ", ".join(f"{name} {values[-1]:.1f}" for name, values in rates.items())
            print(f"round {number + 1} of {rounds}: {latest} frames/s", flush=True)
    return rates


if __name__ == "__main__":
    main()
