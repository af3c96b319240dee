"""Samples from worker processes: the same as from a thread, with clear ends."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgevision.errors import EdgevisionError, UsageError
from edgevision.train.data.stream import BatchStream
from edgevision.train.data.workers import check_shared_memory, translated_failures, worker_count


def draw(indices: list[int], generators: list[np.random.Generator], share: float) -> torch.Tensor:
    """A row for each sample: its index, two random numbers, the share, and the drawing process."""
    rows = [
        [index, *rng.random(2), share, os.getpid()] for index, rng in zip(indices, generators, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float64)


def streams(count: int, *, workers: int = 0) -> Iterator[BatchStream[torch.Tensor]]:
    stream = BatchStream(count, 4, draw, seed=5, workers=workers)
    yield stream
    stream.close()


def epochs(number: int, count: int, seek: int = 0) -> list[list[torch.Tensor]]:
    for stream in streams(23, workers=count):
        stream.seek(seek)
        return [list(itertools.islice(iter(stream), len(stream))) for _ in range(number)]
    raise AssertionError


@pytest.mark.parametrize("seek", [0, 3])
def test_the_samples_are_the_same_with_0_1_and_2_workers(seek: int) -> None:
    thread, one, two = (epochs(3, count, seek) for count in (0, 1, 2))
    for other in (one, two):
        for expected, batches in zip(thread, other, strict=True):
            assert len(batches) == len(expected)
            for first, second in zip(expected, batches, strict=True):
                assert torch.equal(first[:, :4], second[:, :4])
    pids = [
        {float(pid) for batch in itertools.chain(*found) for pid in batch[:, 4]}
        for found in (thread, one, two)
    ]
    assert pids[0] == {os.getpid()}
    assert [len(found) for found in pids] == [1, 1, 2]
    assert not (pids[1] | pids[2]) & pids[0]


@pytest.mark.timeout(60)
def test_workers_start_after_opencv_has_used_its_threads() -> None:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(4)
    try:
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 0)
        for stream in streams(23, workers=2):
            assert sum(len(batch) for batch in stream) == 20
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(threads)


def test_an_epoch_that_is_left_early_does_not_reach_the_next() -> None:
    for stream in streams(40, workers=2):
        next(iter(stream))
        stream.seek(10)
        second = list(stream)
    for expected in streams(40):
        expected.seek(10)
        for first, other in zip(expected, second, strict=True):
            assert torch.equal(first[:, :4], other[:, :4])


def test_an_error_in_drawing_reaches_the_consumer() -> None:
    def fail(indices: list[int], generators: list[np.random.Generator], share: float) -> torch.Tensor:
        if share:  # not the first one, by which the memory is measured
            raise ValueError("broken picture")
        return torch.zeros(1)

    stream = BatchStream(8, 2, fail, seed=0, workers=1)
    with pytest.raises(ValueError, match="broken picture"):
        list(stream)
    stream.close()


def test_a_killed_worker_is_an_error_that_says_so() -> None:
    for stream in streams(400, workers=2):
        with (
            pytest.raises(
                EdgevisionError,
                match="worker process .* ended.*memory was exhausted; continue with --resume and fewer",
            ),
            translated_failures(),
        ):
            for place, batch in enumerate(stream):
                if place == 0:
                    os.kill(int(batch[0, 4]), signal.SIGKILL)
                time.sleep(0.05)


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="something else"), translated_failures():
        raise RuntimeError("something else")


def test_workers_end_with_the_stream() -> None:
    for stream in streams(40, workers=2):
        pids = {int(batch[0, 4]) for batch in stream}
    until_s = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < until_s
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("setting", "gpu", "devices", "cores", "expected"),
    [
        (None, False, 1, 8.0, 0),
        (None, True, 1, 16.0, 8),
        (None, True, 1, 6.0, 5),
        (None, True, 4, 16.0, 3),
        (None, True, 1, 1.0, 0),
        (3, False, 1, 2.0, 3),
        (0, True, 1, 16.0, 0),
    ],
)
def test_the_number_of_workers(
    setting: int | None, gpu: bool, devices: int, cores: float, expected: int
) -> None:
    assert worker_count(setting, gpu=gpu, devices=devices, cores=cores) == expected


def test_too_little_shared_memory_is_found_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(0, 0, 64 << 20))
    batch = (torch.zeros(16, 640, 640, 3, dtype=torch.uint8), "text")
    check_shared_memory(batch, 1, str(tmp_path))
    with pytest.raises(
        UsageError, match=r"4 workers need 168 MiB of shared memory; .* has 64 MiB free.*--shm-size"
    ):
        check_shared_memory(batch, 4, str(tmp_path))


def started(run: Path, data: Path, *options: object) -> subprocess.Popen[str]:
    words = [
        "train",
        "cnn",
        "--data",
        data,
        "--size",
        16,
        "--batch",
        8,
        "-o",
        run,
        "--device",
        "cpu",
        *options,
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "edgevision", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )


def members(group: int) -> list[int]:
    """Running processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.exhaustive
@pytest.mark.timeout(120)
def test_ctrl_c_ends_the_training_and_its_workers(class_data: Path, tmp_path: Path) -> None:
    process = started(tmp_path / "run", class_data, "--epochs", 10_000, "--workers", 2)
    assert process.stderr is not None
    while not process.stderr.readline().startswith("epoch"):
        assert process.poll() is None
    assert len(members(process.pid)) >= 3
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert members(process.pid) == []


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_killed_worker_ends_the_training_with_its_reason(class_data: Path, tmp_path: Path) -> None:
    process = started(tmp_path / "run", class_data, "--epochs", 10_000, "--workers", 2)
    assert process.stderr is not None
    while not process.stderr.readline().startswith("epoch"):
        assert process.poll() is None
    victim = next(pid for pid in members(process.pid) if pid != process.pid)
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1, errors
    assert f"worker process {victim} ended" in errors
    assert "continue with --resume and fewer --workers" in errors
    assert "Traceback" not in errors
    assert members(process.pid) == []


def test_more_workers_than_cores_print_no_warning() -> None:
    """PyTorch warns of them at each epoch."""
    assert len(epochs(1, 2 + (os.cpu_count() or 1))[0]) == 5
