"""Checks that the stages of a benchmark explain its wall time: the sum of their means against the serial loop's time.

``python -m benchmarks.stage_sums BUNDLE... --record FILE`` times the serial loop of `edgevision bench`, with drawing
and encoding, for every bundle on generated clips of three sizes. Give each model as two bundles, exported with
``--batch 1:1:4`` and ``--batch 1:4:4``, to cover batches of 1 and 4. The sum and the wall time come from the same loop,
so other load on the machine affects both. Exit code 1 if one differs by more than `MOST_DIFFERENCE`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgevision.benchmark.bench import BenchOptions, Subject, serial_stages
from edgevision.benchmark.builds import graph_sha256
from edgevision.benchmark.timing import MeasureSettings
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import utc_now
from edgevision.device.facts import DeviceFacts, device_facts
from edgevision.engines.opening import open_session
from edgevision.sinks.files.video import VideoSink
from edgevision.sinks.opening import write_clip
from edgevision.sources.frames import Source
from edgevision.sources.opening import open_source
from edgevision.sources.synthetic_camera import SyntheticCamera
from edgevision.storage import atomic
from edgevision.storage.codec import json_from_dataclass

SIZES_WH = ((640, 360), (1280, 720), (1920, 1080))
CLIP_FRAMES = 60
CLIP_FPS = 25.0
MOST_DIFFERENCE = 0.05
"""Largest share of the wall time that the stages may leave unexplained, or exceed."""


@dataclass(frozen=True, slots=True)
class StageSum:
    """One bundle on frames of one size; times in ms per frame."""

    bundle: str
    model: str
    graph_sha256: str
    library: str
    batch: int
    frame_wh: tuple[int, int]
    frames: int
    stages_ms: dict[str, float]
    """Mean of each stage."""
    sum_ms: float
    wall_ms: float

    @property
    def share(self) -> float:
        """Share of the wall time that the stages explain."""
        return self.sum_ms / self.wall_ms


@dataclass(frozen=True, slots=True)
class StageSums:
    """The record."""

    created: str
    device: DeviceFacts
    seconds: float
    threads: int | None
    limit: float
    rows: tuple[StageSum, ...]


def measure(bundle: Path, clip: Path, seconds: float, threads: int | None, engine: str | None) -> StageSum:
    """Time the serial loop on a clip for at least `seconds` and 40 frames."""
    session_options = SessionOptions(threads=threads)
    with open_session(bundle, engine=engine, options=session_options) as session:
        digest = graph_sha256(bundle, session.precision)
        subject = Subject(session, digest, session_options, lambda: open_source(str(clip)))

        def discarded(frames: Source) -> VideoSink:
            return VideoSink(clip.with_name("output.mp4"), frames.size_wh, frames.fps)

        options = BenchOptions(MeasureSettings(seconds, 40, 0.0, 0), rounds=1)
        stages, wall_ms = serial_stages(subject, options, discarded)
        with open_source(str(clip)) as source:
            frame_wh = source.size_wh
        return StageSum(
            bundle=bundle.name,
            model=session.spec.name,
            graph_sha256=digest,
            library=session.info.library,
            batch=session.spec.frames.batch.opt,
            frame_wh=frame_wh,
            frames=stages[0].count,
            stages_ms={stage.name: stage.mean_ms for stage in stages},
            sum_ms=round(sum(stage.mean_ms for stage in stages), 4),
            wall_ms=round(wall_ms, 4),
        )


def main() -> int:
    """Measure, print the table, and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--engine", default="onnxruntime")
    options = parser.parse_args()
    rows = []
    print(f"{'model':<12}{'batch':>6}{'frames of':>12}{'frames':>8}{'sum ms':>10}{'wall ms':>10}{'share':>9}")
    with tempfile.TemporaryDirectory(prefix="stage-sums-") as scratch:
        for width, height in SIZES_WH:
            folder = Path(scratch) / f"{width}x{height}"
            folder.mkdir()
            clip = folder / "clip.mp4"
            camera = SyntheticCamera((width, height), cycle=CLIP_FRAMES)
            write_clip(clip, camera.frames(camera.cycle), (width, height), fps=CLIP_FPS)
            for bundle in options.bundles:
                row = measure(bundle, clip, options.seconds, options.threads, options.engine)
                rows.append(row)
                size = f"{width}x{height}"
                print(
                    f"{row.model:<12}{row.batch:>6}{size:>12}{row.frames:>8}{row.sum_ms:>10.3f}{row.wall_ms:>10.3f}"
                    f"{row.share:>9.1%}",
                    flush=True,
                )
    worst = max(rows, key=lambda row: abs(row.share - 1))
    print(
        f"largest difference: {abs(worst.share - 1):.2%}, {worst.bundle} on {worst.frame_wh[0]} px wide frames"
    )
    if options.record is not None:
        record = StageSums(
            created=utc_now(),
            device=device_facts(),
            seconds=options.seconds,
            threads=options.threads,
            limit=MOST_DIFFERENCE,
            rows=tuple(rows),
        )
        atomic.write_file(options.record, (json.dumps(json_from_dataclass(record), indent=1) + "\n").encode())
    return 1 if abs(worst.share - 1) > MOST_DIFFERENCE else 0


if __name__ == "__main__":
    sys.exit(main())
