"""Outages of a camera on a real RTSP server: the pipeline survives each one and counts it correctly.

``python -m benchmarks.outages`` needs Debian's RTSP server (`benchmarks.rtsp.camera.PACKAGES`). Each frame carries its
number with a checksum. The server writes a ledger of all sent frames, and every result is compared with it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.rtsp.camera import PACKAGES, RtspCamera, is_installed, read_number, wait_until
from benchmarks.sleeping import SleepingEngine
from edgevision.errors import SourceError
from edgevision.pipeline.pipeline import run_pipeline
from edgevision.sinks.frame_result import FrameResult
from edgevision.sinks.sink import Sink
from edgevision.sources.frames import CaptureClock, Source
from edgevision.sources.freeze import FreezeOptions
from edgevision.sources.health import SourceHealth
from edgevision.sources.opening import open_source
from edgevision.sources.options import CameraOptions

INFERENCE_S = 0.03
OPEN_ATTEMPTS = 5
BACK_S = 60.0
"""Maximum time without results after the camera is restored; later, the camera counts as lost."""
SETTLE_S = 1.0
"""Time for which the encoder still refines a frozen image: up to one group of pictures."""
SLACK_S = 0.3
"""Maximum difference between an outage measured here and in the source."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A result: the number read from its frame, and its times."""

    number: int | None
    at: float
    captured_at: float
    clock: CaptureClock
    size_wh: tuple[int, int]


class Scores(Sink):
    """Collects every result."""

    annotated = False

    def __init__(self) -> None:
        self.rows: list[Scored] = []

    def write(self, processed: FrameResult) -> None:
        """Read the number from the frame."""
        frame = processed.frame
        number = read_number(frame.image_bgr)
        self.rows.append(Scored(number, time.time(), frame.captured_at, frame.clock, frame.size_wh))

    def close(self) -> None:
        """Do nothing: no resource is open."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Planned failures of the camera."""

    outages: tuple[tuple[str, float], ...]
    """Pairs of `kill` or `hang` and the duration in seconds."""
    freeze_s: float
    black_s: float
    options: CameraOptions


@dataclass(slots=True)
class Observed:
    """Measured gaps and problems."""

    gaps_s: list[float] = field(default_factory=list)
    """Seconds between the last result before an outage and the first one after it."""
    problems: list[str] = field(default_factory=list)


def plan_of(count: int, *, full: bool) -> Plan:
    """A deterministic plan; in a fifth of the outages the server hangs."""
    chance = random.Random(7)
    longest_s = 30.0 if full else 3.0
    watch = FreezeOptions(freeze_after_s=5.0 if full else 1.5)
    options = CameraOptions(
        read_timeout_s=5.0 if full else 1.0, connect_timeout_s=5.0 if full else 2.0, freeze=watch
    )
    outages = []
    for number in range(count):
        seconds = chance.uniform(1.0, longest_s)
        if number % 5 == 3:  # a hang that is shorter than the time-out is not an outage
            outages.append(("hang", max(seconds, options.read_timeout_s + 1.5)))
        else:
            outages.append(("kill", seconds))
    return Plan(tuple(outages), 3 * (watch.freeze_after_s or 0), 2.0, options)


def act(plan: Plan, camera: RtspCamera, scores: Scores, source: Source) -> Observed:
    """Break the camera as planned and restore it each time."""
    observed = Observed()
    if not wait_until(lambda: len(scores.rows) >= 10, BACK_S):
        observed.problems.append("no results at the beginning")
    third = max(1, len(plan.outages) // 4)
    for number, (kind, seconds) in enumerate(plan.outages):
        if number == third:
            spoil(camera, scores, observed, "freeze", plan.freeze_s)
        if number == 2 * third:
            spoil(camera, scores, observed, "black", plan.black_s)
        if number == 3 * third:
            spoil(camera, scores, observed, "size 480x352", 1.0)
        last = scores.rows[-1].at
        if kind == "kill":
            camera.kill()
        else:
            camera.hang()
        time.sleep(seconds)
        known = len(scores.rows)
        if kind == "kill":
            camera.start()
        else:
            camera.resume()
        if not wait_until(lambda known=known: len(scores.rows) >= known + 10, BACK_S):
            observed.problems.append(
                f"outage {number + 1} ({kind}, {seconds:.1f} s): no results for {BACK_S:g} s"
            )
        rows = [row for row in scores.rows if row.at >= last]
        observed.gaps_s.append(max(after.at - before.at for before, after in pairwise(rows)))
        print(
            f"{number + 1:3}  {kind} {seconds:4.1f} s  gone {observed.gaps_s[-1]:5.2f} s  {source.health.outages}",
            flush=True,
        )
    return observed


def spoil(camera: RtspCamera, scores: Scores, observed: Observed, how: str, seconds: float) -> None:
    """Let the camera send frozen, black or resized frames for `seconds`."""
    camera.send(how)
    time.sleep(seconds)
    if not how.startswith("size"):
        camera.send("live")
    known = len(scores.rows)
    if not wait_until(lambda: len(scores.rows) >= known + 10, BACK_S):
        observed.problems.append(f"no results after {how}")
    print(f"     {how} {seconds:.1f} s", flush=True)


def judge(
    plan: Plan, camera: RtspCamera, scores: Scores, health: SourceHealth, observed: Observed
) -> list[tuple[bool, str]]:
    """Each claim with True if it holds."""
    first_push: dict[int, float] = {}
    for pushed in camera.pushed():
        if pushed.mode == "live":
            first_push.setdefault(pushed.number, pushed.at)
    invented = [row for row in scores.rows if row.number is None or row.number not in first_push]
    real = [row for row in scores.rows if row.number in first_push]
    limit_s = plan.options.freeze.freeze_after_s or 0.0
    repeats = len(real) - len({row.number for row in real})
    late_repeats, seen = 0, dict[int | None, float]()
    for row in real:
        late_repeats += row.at - seen.setdefault(row.number, row.at) > limit_s + SETTLE_S
    count = len(plan.outages)
    apart_s = abs(health.outage_s - sum(observed.gaps_s))
    sizes = Counter(row.size_wh for row in scores.rows)
    return [
        (
            not observed.problems,
            "; ".join(observed.problems) or "the process survived, and results resumed after each outage",
        ),
        (
            not invented,
            f"{len(invented)} of {len(scores.rows)} results are from frames that the camera did not send",
        ),
        (
            late_repeats == 0,
            f"{late_repeats} results from a frozen image after {limit_s:g} s ({repeats} before)",
        ),
        (health.outages == count, f"{health.outages} outages counted, {count} made"),
        (health.reconnects == count, f"{health.reconnects} reconnects"),
        (
            apart_s <= SLACK_S * count,
            f"{health.outage_s:.1f} s of outages counted, {sum(observed.gaps_s):.1f} s without results",
        ),
        (
            health.frozen_episodes == 1,
            f"{health.frozen_episodes} time frozen, {health.frozen_frames} frames withheld",
        ),
        (
            health.black_episodes == 1,
            f"{health.black_episodes} time black, {health.black_frames} frames withheld",
        ),
        (
            health.size_changes == 1 and len(sizes) == 2,
            f"sizes {dict(sizes)}, {health.size_changes} change counted",
        ),
    ]


def stamps(camera: RtspCamera, scores: Scores) -> list[str]:
    """Differences between capture times and the times at which the camera sent the frames."""
    first_push = {pushed.number: pushed.at for pushed in reversed(camera.pushed()) if pushed.mode == "live"}
    lines = []
    for clock in ("camera", "stream", "arrival"):
        errors_ms = [
            abs(row.captured_at - first_push[row.number]) * 1e3
            for row in {row.number: row for row in reversed(scores.rows)}.values()
            if row.clock == clock and row.number in first_push
        ]
        if errors_ms:
            p50, p99 = np.percentile(errors_ms, [50, 99], method="inverted_cdf")
            lines.append(
                f"      {len(errors_ms)} frames stamped by {clock}: off by p50 {p50:.1f} ms, p99 {p99:.1f} ms"
            )
    return lines


def _open(url: str, options: CameraOptions) -> Source:
    """Open the source with retries: on a busy machine the server returns errors until its first frame is ready."""
    for _ in range(OPEN_ATTEMPTS - 1):
        with contextlib.suppress(SourceError):
            return open_source(url, options)
    return open_source(url, options)


def run(plan: Plan, folder: Path) -> tuple[list[tuple[bool, str]], list[str], SourceHealth]:
    """Execute the plan and check the claims."""
    scores = Scores()
    over = threading.Event()
    with RtspCamera(folder) as camera:
        source = _open(camera.url, plan.options)
        died: list[BaseException] = []

        def pipeline() -> None:
            try:
                run_pipeline(SleepingEngine(INFERENCE_S), source, [scores], stop=over.is_set)
            except BaseException as error:  # reported as a problem
                died.append(error)

        thread = threading.Thread(target=pipeline, name="pipeline")
        thread.start()
        try:
            observed = act(plan, camera, scores, source)
            observed.problems += [f"the run failed: {error!r}" for error in died]
            health = source.health
        finally:
            over.set()
            thread.join()
        return judge(plan, camera, scores, health, observed), stamps(camera, scores), health


def main() -> int:
    """Run the plan and print the claims; exit code 1 if one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="outages of 1 to 30 s with the default time-outs")
    parser.add_argument("--outages", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--verbose", action="store_true", help="log each connection attempt")
    arguments = parser.parse_args()
    if not is_installed():
        print(
            f"the RTSP server is missing: sudo apt install --no-install-recommends {PACKAGES}",
            file=sys.stderr,
        )
        return 2
    logging.basicConfig(level=logging.ERROR)
    if arguments.verbose:
        logging.getLogger("edgevision").setLevel(logging.DEBUG)
    with tempfile.TemporaryDirectory() as folder:
        claims, lines, health = run(plan_of(arguments.outages, full=arguments.full), Path(folder))
    for holds, text in claims:
        print(f"{'ok   ' if holds else 'FAILS'} {text}")
    print(*lines, sep="\n")
    if arguments.json is not None:
        record = {"claims": [[holds, text] for holds, text in claims], "health": dataclasses.asdict(health)}
        arguments.json.write_text(json.dumps(record, indent=2))
    return 0 if all(holds for holds, _ in claims) else 1


if __name__ == "__main__":
    raise SystemExit(main())
