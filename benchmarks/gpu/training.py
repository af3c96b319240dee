"""A minute of `edgevision train` on made-up images, with the GPU's use from NVML."""

from __future__ import annotations

import importlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.gpu.record import NotHereError, Part
from edgevision.bundle.folder import CheckRecord
from edgevision.device.facts import FactReading

IMAGES = 128
SIDE = 416
PERIOD_S = 0.1
LEAST_USE = 10.0
"""Percent; below it the GPU only waits."""


def write_images(folder: Path, count: int = IMAGES, side: int = SIDE) -> Path:
    """A YOLO data set of bright rectangles on noise."""
    random = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("box\n")
    for number in range(count):
        image = random.integers(0, 128, (side, side, 3)).astype(np.uint8)
        width, height = random.integers(side // 8, side // 2, 2)
        left, top = random.integers(0, side - width), random.integers(0, side - height)
        image[top : top + height, left : left + width] = random.integers(128, 256, 3)
        cv2.imwrite(str(folder / "images" / f"{number}.jpg"), image)
        box = ((left + width / 2) / side, (top + height / 2) / side, width / side, height / side)
        text = " ".join(f"{value:.5f}" for value in box)
        (folder / "labels" / f"{number}.txt").write_text(f"0 {text}\n")
    return folder


def train_command(data: Path, output: Path, seconds: float) -> list[str]:
    """The training, which ends itself after that time."""
    return [
        *(sys.executable, "-m", "edgevision", "train", "yolov5", "--data", str(data), "-o", str(output)),
        *("--minutes", f"{seconds / 60:.2f}", "--size", str(SIDE), "--batch", "32", "--device", "cuda"),
    ]


def gpu_use() -> Callable[[], float]:
    """A function that reads the first GPU's use in percent. Raises `NotHereError` without NVML."""
    try:
        nvml = importlib.import_module("pynvml")
    except ModuleNotFoundError as error:
        raise NotHereError("nvidia-ml-py is not installed: pip install nvidia-ml-py") from error
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(0)
    except nvml.NVMLError as error:
        raise NotHereError(f"NVML finds no GPU: {error}") from error
    return lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)


def training(command: Sequence[str], use: Callable[[], float], seconds: float) -> Part:
    """Run the command and sample the GPU's use. The first third, in which the process starts, does not count."""
    began = time.monotonic()
    samples: list[tuple[float, float]] = []
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None and time.monotonic() - began < 2 * seconds + 30:
                samples.append((time.monotonic() - began, use()))
                time.sleep(PERIOD_S)
        finally:
            _end(process)
        log.seek(0)
        output = log.read()
    spent = time.monotonic() - began
    steady = [value for at, value in samples if at >= spent / 3] or [0.0]
    return Part(
        "training",
        checks=(
            CheckRecord("exit status", float(abs(process.returncode)), "<=", 0.0),
            CheckRecord("GPU use, median percent", statistics.median(steady), ">=", LEAST_USE),
        ),
        figures=(
            FactReading("GPU use, mean percent", statistics.fmean(steady)),
            FactReading("GPU use, p90 percent", float(np.percentile(steady, 90))),
            FactReading("seconds", spent),
        ),
        notes=tuple(line.strip() for line in output.splitlines()[-4:] if line.strip()),
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
