"""Slow-down of inference while all sinks fail.

``python -m benchmarks.broken_sinks`` runs the same frames in pairs: without sinks, and with six broken sinks at once.
The six are a broker that is down, a broker and a webhook that accept the connection and never respond, and JSON
lines, a CSV table and event images on a full disk. Every 25th frame has an event. The disk is a small tmpfs for root,
otherwise /dev/full. Exit code 1 if the broken sinks slow the run by more than 5 %, or if data already written is lost.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.pipeline import DATA, edgevision
from edgevision.analytics.analytics import Analytics
from edgevision.analytics.counting import AnalyticsEvent
from edgevision.analytics.observation import Observation
from edgevision.cli.commands.demo import STREET
from edgevision.contract.results import Detections, Result
from edgevision.contract.session import Session
from edgevision.engines.opening import open_session
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_pipeline
from edgevision.sinks.addresses import SinkOptions, open_sink
from edgevision.sinks.files.event_folder import WRITER
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import Sink, SinkHealth
from edgevision.sources.frames import Source, SourceFrame
from edgevision.sources.opening import open_source

MOST_SLOWER = 0.05
EVENT_EVERY = 25
DISK_MIB = 2
FREE_KIB = 96
"""Free space of the disk when a run begins."""
FULL = Path("/dev/full")


@dataclass(frozen=True, slots=True)
class Plan:
    """Number and length of the runs."""

    pairs: int
    frames: int
    """Frames of each run."""


@dataclass(frozen=True, slots=True)
class Run:
    """Measurements of one run of a pair."""

    frames_per_s: float
    inference_ms: float
    """Median."""
    sinks: tuple[SinkHealth, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of all pairs, and the quartiles of the ratio."""

    pairs: int
    frames_per_s: float
    """Frames/s without sinks."""
    speed: tuple[float, float, float]
    """Ratio of frames/s with broken sinks to without: lower quartile, median, upper quartile."""
    inference: tuple[float, float, float]
    """The same ratio of inference time."""


@contextlib.contextmanager
def mute_server() -> Iterator[int]:
    """Accept every connection and never respond; yields the port."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.settimeout(0.1)
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    taken.append(server.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()
            thread.join()
            for connection in taken:
                connection.close()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a small tmpfs at `folder`; yields None if this user may not mount."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)


def refused_port() -> int:
    """A port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def open_broken_sinks(disk: Path | None, mute_port: int, scratch: Path) -> list[Sink]:
    """All six sinks. `disk` has little space left; without `disk`, a link in `scratch` points to /dev/full."""
    if disk is not None:
        fill(disk)
    everything = SinkOptions(every_result=True)
    addresses = [
        f"mqtt://127.0.0.1:{refused_port()}/down",
        f"mqtt://127.0.0.1:{mute_port}/mute",
        f"http://127.0.0.1:{mute_port}/hook",
    ]
    if disk is not None:
        addresses += [f"{disk}/lines.jsonl", f"{disk}/table.csv", f"events:{disk}/events"]
        return [open_sink(address, everything, {}) for address in addresses]
    link = scratch / "lines.jsonl"
    if not link.is_symlink():
        link.symlink_to(FULL)
    return [open_sink(address, everything, {}) for address in [*addresses, str(link)]]


def fill(disk: Path) -> None:
    """Leave `FREE_KIB` free, whatever an earlier run wrote."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    state = os.statvfs(disk)
    with ballast.open("wb") as file:
        file.write(bytes(max(state.f_bavail * state.f_bsize - FREE_KIB * 1024, 0)))


class Eventful(Analytics):
    """Reports a line crossing in every 25th frame."""

    def observe(self, frame: SourceFrame, result: Result) -> tuple[Result, Observation]:
        """The unchanged result and the event."""
        time_s = frame.captured_ns / 1e9
        count = len(result) if isinstance(result, Detections) else 0
        event = AnalyticsEvent("crossed", "door", frame.index, 0, time_s, "in")
        events = (event,) if frame.index % EVENT_EVERY == 0 else ()
        return result, Observation(np.arange(count), events, (), (), (), frame.size_wh, time_s)


def one_run(session: Session, source: Source, sinks: Sequence[Sink], frames: int) -> Run:
    """Run `frames` frames and return the measurements."""
    inference_ns: list[int] = []

    def note(processed: FrameResult) -> None:
        inference_ns.append(processed.times.inference_ns)

    options = PipelineOptions(limit=frames)
    summary = run_pipeline(session, source, sinks, options=options, on_frame=note, analytics=Eventful())
    health = tuple(sink.health for sink in sinks)
    return Run(summary.frames_per_s, float(np.median(inference_ns)) / 1e6, health)


def problems_of(run: Run, disk: Path | None, frames: int) -> list[str]:
    """Sinks that did not fail, results missing from the counts, and written data that is lost."""
    found = []
    for health in run.sinks:
        # A full disk has space again when images are deleted; the other sinks never recover.
        if "://" in health.name and health.written:
            found.append(f"{health.name} wrote {health.written} results; expected it to fail")
        if not health.name.startswith("events:") and health.written + health.lost < frames:
            found.append(f"{health.name}: {health.written} written and {health.lost} lost of {frames}")
    if disk is None:
        return found
    written = {Path(health.name).suffix: health.written for health in run.sinks}
    lines = (disk / "lines.jsonl").read_bytes()
    numbers = [json.loads(line)["frame"] for line in lines.splitlines()]
    if len(numbers) != written[".jsonl"] or numbers != sorted(set(numbers)) or numbers[:1] != [0]:
        found.append("lines.jsonl does not contain the written results from the first one")
    if not lines.endswith(b"\n") or written[".jsonl"] == 0:
        found.append("lines.jsonl ends with an incomplete line")
    with (disk / "table.csv").open(newline="") as file:
        if any(None in row.values() for row in csv.DictReader(file)):
            found.append("table.csv contains an incomplete row")
    for event_file in (disk / "events").glob("*.json"):
        record = json.loads(event_file.read_bytes())
        if record["writer"] != WRITER or not event_file.with_suffix(".jpg").read_bytes().endswith(
            b"\xff\xd9"
        ):
            found.append(f"{event_file.name} or its image is incomplete")
    return found


def clear(disk: Path | None) -> None:
    """Empty the disk before the next run."""
    if disk is not None:
        for path in [*disk.rglob("*")]:
            if path.is_file():
                path.unlink()


def resumes_when_space_is_freed(disk: Path, session: Session, source: Source) -> list[str]:
    """Free the disk during a run; check that lines from before and after are present."""
    clear(disk)
    fill(disk)
    sink = open_sink(f"{disk}/lines.jsonl")
    freed: list[int] = []

    def note(processed: FrameResult) -> None:
        if not freed and sink.health.state == "failing" and processed.frame.index > 50:
            freed.append(processed.frame.index)
            (disk / "ballast").unlink()

    run_pipeline(session, source, [sink], on_frame=note, analytics=Eventful())
    numbers = [json.loads(line)["frame"] for line in (disk / "lines.jsonl").read_bytes().splitlines()]
    if not freed or numbers != sorted(set(numbers)) or numbers[0] != 0 or numbers[-1] <= freed[0]:
        return [f"lines around a full disk: {numbers[:3]} to {numbers[-3:]}, freed at frame {freed}"]
    return []


def measure(
    session: Session, open_frames: Callable[[], Source], plan: Plan, disk: Path | None, scratch: Path
) -> tuple[Figures, list[str]]:
    """Run the pairs in alternating order; returns figures and problems."""
    rows: list[tuple[Run, Run]] = []
    problems: list[str] = []
    with mute_server() as port:
        one_run(session, open_frames(), (), min(plan.frames, 30))  # warm-up
        for number in range(plan.pairs):
            runs: dict[bool, Run] = {}
            for broken in (False, True) if number % 2 else (True, False):
                sinks = open_broken_sinks(disk, port, scratch) if broken else []
                runs[broken] = one_run(session, open_frames(), sinks, plan.frames)
                if broken:
                    problems += problems_of(runs[True], disk, plan.frames)
                    clear(disk)
            rows.append((runs[False], runs[True]))
    speed = np.percentile([b.frames_per_s / a.frames_per_s for a, b in rows], [25, 50, 75])
    inference = np.percentile([b.inference_ms / a.inference_ms for a, b in rows], [25, 50, 75])
    plain = float(np.median([a.frames_per_s for a, _ in rows]))
    return Figures(plan.pairs, plain, (*map(float, speed),), (*map(float, inference),)), problems  # type: ignore[arg-type]  # three of three


def main() -> None:
    """Measure, print the figures and check the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--frames", type=int, default=300, help="frames of each run")
    parser.add_argument("--bundle", type=Path, help="default: the packaged detector")
    parser.add_argument("--source", default=str(DATA / "video" / "vtest.avi"), help="video file")
    arguments = parser.parse_args()
    logging.getLogger("edgevision").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgevision-benchmark-")))
        bundle = arguments.bundle or scratch / "street"
        if arguments.bundle is None:
            edgevision("export", "yolov5", "--checkpoint", STREET, "-o", bundle)
        disk = stack.enter_context(small_disk(scratch / "disk"))
        session = stack.enter_context(open_session(bundle))
        began_s = time.monotonic()
        plan = Plan(arguments.pairs, arguments.frames)
        figures, problems = measure(session, lambda: open_source(arguments.source), plan, disk, scratch)
        if disk is not None:
            problems += resumes_when_space_is_freed(disk, session, open_source(arguments.source))
        took_s = time.monotonic() - began_s
    low, middle, high = figures.speed
    print(f"disk: {'a full tmpfs' if disk else FULL}; {session.info.library} on {session.info.device}")
    print(
        f"{figures.pairs} pairs of {arguments.frames} frames in {took_s:.0f} s; {figures.frames_per_s:.1f} frames/s"
    )
    print(f"frames/s, ratio with broken sinks to without: {middle:.3f} (quartiles {low:.3f} to {high:.3f})")
    low, median, high = figures.inference
    print(f"inference, ratio with broken sinks to without: {median:.3f} (quartiles {low:.3f} to {high:.3f})")
    for problem in problems[:10]:
        print(f"  {problem}")
    claims = (
        (f"slow-down {1 - middle:.1%}, limit {MOST_SLOWER:.0%}", 1 - middle <= MOST_SLOWER),
        ("no written data is lost, all results are counted", not problems),
    )
    for text, holds in claims:
        print(f"{'ok  ' if holds else 'FAIL'}  {text}")
    sys.exit(0 if all(holds for _, holds in claims) else 1)


if __name__ == "__main__":
    main()
