"""The model of the pipeline, and runs with an engine that costs nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.workers import Run, measure, videos
from tests.inference.clips import write_clip

STAGES = {"take": 0.1, "inference": 0.05, "output": 0.2, "workers": 2.0, "others": 0.0}


@pytest.mark.parametrize(
    ("workers", "cores", "files", "expected_ms"),
    [
        (1, 2, 8, 2.1),  # one thread takes and prepares
        (2, 2, 8, 2.35 / 2),  # all threads share the cores
        (16, 16, 8, 0.2),  # output is one thread
        (16, 16, 1, 1.5),  # one decoder at a time
    ],
)
def test_the_slowest_part_limits_the_rate(workers: int, cores: int, files: int, expected_ms: float) -> None:
    run = Run(0.0, 0.0, STAGES, 1.5)
    assert run.cpu_ms == pytest.approx(2.35)
    assert run.modelled(workers, cores, files) == pytest.approx(1e3 / expected_ms)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_time_of_each_thread_is_measured(tmp_path: Path, workers: int) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(20)]
    video = write_clip(tmp_path / "clip.avi", images, "MJPG")
    run = measure(videos(Path(video), 3), workers, 0.6)
    assert run.frames_per_s > 0
    assert run.read_ms > 0
    busy = "take" if workers == 1 else "workers"
    assert run.stages_ms[busy] == max(run.stages_ms.values())
    assert run.age_p50_ms is None
