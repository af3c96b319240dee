"""Frame rate of everything except inference, with one worker thread and with one for each core.

``python -m benchmarks.workers`` runs eight videos (768x576), one video, and eight RTSP connections to a local server,
with an engine that takes no time. Runs with one worker, one for each core, and two more alternate. Exit code 1 if more
workers do not make eight videos `LEAST_GAIN` times as fast.

On a shared machine, the frame rate depends on other programs, but the CPU time of each thread does not. A model
therefore estimates the rate from these times. In it, each stage and each file's decoder uses one thread at a time, the
workers share the rest, and all threads together use no more than the cores. This is the rate of an idle machine, if
memory and the interpreter's lock do not limit it. `--cores 16` prints it for a machine with 16 such cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import lock
from benchmarks.free_engine import FreeEngine
from benchmarks.rtsp.camera import RtspCamera, is_installed
from edgevision.benchmark.bench import RepeatedSource
from edgevision.pipeline.options import PipelineOptions
from edgevision.pipeline.pipeline import run_streams
from edgevision.pipeline.streams import SourceStream
from edgevision.pipeline.workers import worker_count
from edgevision.sources.frames import Source, SourceFrame
from edgevision.sources.opening import open_source
from edgevision.sources.options import CameraOptions
from edgevision.storage import atomic

DATA = Path(os.environ.get("EDGEVISION_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
LEAST_GAIN = 1.8
BATCH = 8
HERTZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """One run; CPU times in milliseconds per frame."""

    frames_per_s: float
    cores: float
    """CPU time of the process over wall time."""
    stages_ms: dict[str, float]
    """By thread: `take` collects frames, `inference`, `output`, `workers` together, `others` (decoders, cameras)."""
    read_ms: float
    """Time of a file's decoder in the thread that called it."""
    age_p50_ms: float | None = None
    age_p99_ms: float | None = None

    @property
    def cpu_ms(self) -> float:
        """CPU time of a frame in all threads."""
        return sum(self.stages_ms.values())

    def modelled(self, workers: int, cores: int, files: int) -> float:
        """Frames/s with that many workers and cores."""
        single = max(self.stages_ms[name] for name in ("inference", "output"))
        if workers == 1:
            limit_ms = max(single, self.stages_ms["take"] + self.stages_ms["workers"])
        else:
            shared_ms = self.stages_ms["workers"] / min(workers, cores)
            limit_ms = max(single, self.stages_ms["take"], shared_ms, self.read_ms / max(files, 1))
        return 1e3 / max(limit_ms, self.cpu_ms / cores)


class TimedSource(Source):
    """A file source that sums the CPU time of its reads."""

    def __init__(self, inner: Source) -> None:
        super().__init__(inner.name, live=False, fps=inner.fps, frame_count=None)
        self._inner = inner
        self.read_s = 0.0

    def read(self) -> SourceFrame | None:
        """Read a frame."""
        began_s = time.thread_time()
        frame = self._inner.read()
        self.read_s += time.thread_time() - began_s
        return frame

    def close(self) -> None:
        """Close the file."""
        self._inner.close()


def thread_times() -> dict[str, float]:
    """CPU seconds of all threads of this process, by their role."""
    roles = {thread.native_id: thread.name for thread in threading.enumerate()}
    names = {"prepare": "take", "inference": "inference", "worker": "workers", "MainThread": "output"}
    found = dict.fromkeys(("take", "inference", "output", "workers", "others"), 0.0)
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that ended meanwhile
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            seconds = (int(fields[11]) + int(fields[12])) / HERTZ
            found[names.get(roles.get(int(task.name), ""), "others")] += seconds
    return found


def measure(open_sources: Callable[[], list[Source]], workers: int, seconds: float) -> Run:
    """Run the sources for that time."""
    streams = [SourceStream(source) for source in open_sources()]
    ends_s = time.perf_counter() + seconds
    before = thread_times()
    after: dict[str, float] = {}

    def is_over() -> bool:
        if time.perf_counter() < ends_s:
            return False
        after.update(after or thread_times())  # before the threads end
        return True

    began_s = time.process_time()
    summary = run_streams(
        FreeEngine(), streams, options=PipelineOptions(workers=workers, batch=BATCH), stop=is_over
    )
    used_s = time.process_time() - began_s
    frames = max(summary.frames, 1)
    spent = {name: 1e3 * (seconds_of - before[name]) / frames for name, seconds_of in after.items()}
    read_s = sum(stream.source.read_s for stream in streams if isinstance(stream.source, TimedSource))
    ages = [stats for _, stats in summary.sources if stats.age_p50_ms is not None]
    return Run(
        summary.frames_per_s,
        used_s / summary.wall_s,
        spent,
        1e3 * read_s / frames,
        statistics.median(stats.age_p50_ms or 0 for stats in ages) if ages else None,
        max(stats.age_p99_ms or 0 for stats in ages) if ages else None,
    )


def videos(video: Path, count: int) -> Callable[[], list[Source]]:
    """A function that opens the video that many times; each is repeated without end."""
    return lambda: [TimedSource(RepeatedSource(lambda: open_source(video))) for _ in range(count)]


@contextlib.contextmanager
def cameras(count: int, size: str, fps: int) -> Iterator[Callable[[], list[Source]]]:
    """A function that connects that many times to a local RTSP server."""
    with tempfile.TemporaryDirectory() as folder, RtspCamera(Path(folder), fps=fps, size=size) as server:
        yield lambda: [
            open_source(server.url, CameraOptions(), name=f"camera {number}") for number in range(count)
        ]


def compare(
    name: str, opened: Callable[[], list[Source]], counts: list[int], options: argparse.Namespace
) -> dict[int, list[Run]]:
    """Runs with each number of workers, in turns, after one of each as a warm-up."""
    runs: dict[int, list[Run]] = {count: [] for count in counts}
    for round_number in range(options.rounds + 1):
        order = counts if round_number % 2 else counts[::-1]
        for count in order:
            run = measure(opened, count, options.seconds)
            if round_number:
                runs[count].append(run)
        if round_number:
            rates = ", ".join(f"{count}: {runs[count][-1].frames_per_s:.0f}" for count in counts)
            print(f"  {name}, round {round_number}: frames/s by workers {rates}", flush=True)
    return runs


def median(values: Iterator[float]) -> float:
    """The median, rounded."""
    return round(statistics.median(values), 3)


def report(name: str, runs: dict[int, list[Run]], files: int, cores: int, others: int) -> dict[str, object]:
    """Print a table; returns its figures."""
    print(f"\n{name}")
    figures: dict[str, object] = {}
    first = runs[1]
    for count, found in runs.items():
        gain = median(ours.frames_per_s / one.frames_per_s for ours, one in zip(found, first, strict=True))
        stages = {stage: median(run.stages_ms[stage] for run in found) for stage in found[0].stages_ms}
        row: dict[str, object] = {
            "frames_per_s": median(run.frames_per_s for run in found),
            "gain": gain,
            "cores": median(run.cores for run in found),
            "cpu_ms": median(run.cpu_ms for run in found),
            "stages_ms": stages,
            "read_ms": median(run.read_ms for run in found),
        }
        line = f"  {count:2} workers: {row['frames_per_s']:7.1f} frames/s, {gain:.2f} times one worker's"
        line += f"; {row['cores']} cores, CPU {row['cpu_ms']} ms a frame"
        if found[0].age_p50_ms is None:
            row["model"] = median(run.modelled(count, cores, files) for run in found)
            wide = count if count == 1 else others
            row["model_other_machine"] = median(run.modelled(wide, others, files) for run in found)
            line += (
                f"; model {row['model']:.0f} on {cores} cores, {row['model_other_machine']:.0f} on {others}"
            )
        else:
            row["age_p50_ms"] = median(run.age_p50_ms or 0 for run in found)
            row["age_p99_ms"] = median(run.age_p99_ms or 0 for run in found)
            line += f"; age p50 {row['age_p50_ms']:.1f}, p99 {row['age_p99_ms']:.1f} ms"
        print(line)
        print("     CPU ms a frame: " + ", ".join(f"{stage} {value:.2f}" for stage, value in stages.items()))
        figures[str(count)] = row
    return figures


def main() -> int:
    """Measure, print the figures, and check the gain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of each run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=16, help="cores of the machine that the model estimates")
    parser.add_argument("--video", type=Path, default=DATA / "video" / "vtest.avi")
    parser.add_argument("--record", type=Path, help="write the figures to this JSON file")
    options = parser.parse_args()
    cores = worker_count("auto")
    counts = sorted({1, cores, cores + 2})
    record: dict[str, object] = {"cores": cores, "other_cores": options.cores, "load": os.getloadavg()[0]}
    shares = record["other_thread_over_calls"] = lock.shares()
    print(
        "CPU time of a Python thread over that of the thread that makes the calls; near 0: it keeps the lock"
    )
    for name, share in shares.items():
        print(f"  {name:26} {share:.2f}")
    gains = {}
    for name, count in (("eight videos", 8), ("one video", 1)):
        runs = compare(name, videos(options.video, count), counts, options)
        record[name] = report(name, runs, count, cores, options.cores)
        gains[name] = max(
            statistics.median(a.frames_per_s / b.frames_per_s for a, b in zip(runs[n], runs[1], strict=True))
            for n in counts
        )
    if is_installed():
        with cameras(8, "640x480", 25) as opened:
            runs = compare("eight RTSP cameras, 25 frames/s", opened, counts, options)
        record["eight cameras"] = report(
            "eight RTSP cameras, 640x480, 25 frames/s", runs, 0, cores, options.cores
        )
    else:
        print("\neight RTSP cameras: not run, because the GStreamer RTSP server is not installed")
    holds = gains["eight videos"] >= LEAST_GAIN
    print(f"\n{'ok   ' if holds else 'FAILS'} eight videos: {gains['eight videos']:.2f} >= {LEAST_GAIN}")
    if options.record is not None:
        atomic.write_file(options.record, (json.dumps(record, indent=1) + "\n").encode())
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
