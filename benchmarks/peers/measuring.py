"""Runs a peer in its environment, in a process of its own, and measures it from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import FailedStepError, child_variables, last_line

PERIOD_S = 0.05
"""Between two samples of memory."""
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a peer on the clip."""

    frames: int
    frames_per_s: float
    """From the first result to the last."""
    cpu_ms: float | None
    """CPU time of the process per frame, in the same interval."""
    first_s: float | None
    """From the start of the process to the first result."""
    peak_mib: float
    """Peak resident memory of the process and its children."""
    detections: int
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Launch:
    """How processes of peers are started."""

    work: Path
    timeout_s: float
    cores: frozenset[int]

    def run(self, command: list[str]) -> tuple[dict[str, Any], int, float]:
        """The line of JSON, the start on the monotonic clock in ns, and the peak resident memory in MiB.

        Raises `FailedStepError` if the process fails, or exceeds the time limit; it and its children are then killed.
        """
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            began_ns = time.monotonic_ns()
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=errors,
                cwd=self.work,
                env=child_variables(self.work),
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, self.cores),
            )
            watch = MemoryWatch(process.pid)
            try:
                code = process.wait(self.timeout_s)
            except subprocess.TimeoutExpired as error:
                raise FailedStepError(f"no result within {self.timeout_s:g} s") from error
            finally:
                _end(process)
                watch.stop()
            errors.seek(0)
            output.seek(0)
            printed = output.read()
            if code != 0:
                raise FailedStepError(f"ended with {code}: {last_line(errors.read() or printed)}")
        lines = [line for line in printed.splitlines() if line.startswith('{"frames"')]
        if not lines:
            raise FailedStepError(f"printed no result: {last_line(printed)}")
        line = json.loads(lines[-1])
        return line, began_ns, max(watch.peak_mib, line["peak_mib"])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its children, if there are any left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class MemoryWatch:
    """Samples the resident memory of a process and its children in a thread."""

    def __init__(self, pid: int) -> None:
        self.peak_mib = 0.0
        self._pid = pid
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            pages = sum(map(_resident_pages, family(self._pid)))
            self.peak_mib = max(self.peak_mib, pages * PAGE / 2**20)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()


def family(pid: int) -> list[int]:
    """The process and all its descendants that exist."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return found


def _resident_pages(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):  # it ended meanwhile
        return 0


def run_of(line: dict[str, Any], began_ns: int, peak_mib: float) -> Run:
    """The figures of a run. Raises `FailedStepError` for less than two frames."""
    frames = int(line["frames"])
    if "frames_per_s" in line:  # a tool that measures itself
        return Run(frames, line["frames_per_s"], None, None, peak_mib, 0, line["facts"])
    if frames < 2:
        raise FailedStepError(f"{frames} frames have a result; expected at least 2")
    span_s = (line["last_ns"] - line["first_ns"]) / 1e9
    return Run(
        frames,
        (frames - 1) / span_s,
        1e3 * line["cpu_s"] / (frames - 1),
        (line["first_ns"] - began_ns) / 1e9,
        peak_mib,
        int(line["detections"]),
        line["facts"],
    )
