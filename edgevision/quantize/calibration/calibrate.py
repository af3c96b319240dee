"""Finds the ranges of activations on real frames, one batch at a time.

modelopt calibrates through ONNX Runtime's collectors, which keep every activation of every image until the end: tens of
gigabytes for 128 images of YOLOv5n at 640 pixels. Here two passes run over the files. The first keeps one number for
each tensor, its largest magnitude; the second a histogram of magnitudes up to it. Memory does not grow with the number
of images.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import helper

from edgevision.contract.image import Frame, fit_frame
from edgevision.contract.inputs import Batch, Tensors
from edgevision.contract.spec import FrameInput
from edgevision.datasets.image_check import usable_files
from edgevision.engines.ort_settings import cpu_session, named_inputs, session_settings
from edgevision.errors import SourceError, UsageError
from edgevision.quantize.calibration.ranges import Method, Ranges
from edgevision.quantize.calibration.thresholds import (
    BINS,
    Histogram,
    threshold_by_entropy,
    threshold_by_percentile,
    threshold_by_squared_error,
)
from edgevision.sources.image_files import IMAGE_SUFFIXES, read_image

LOG = logging.getLogger(__name__)

Frames = npt.NDArray[np.uint8]
Progress = Callable[[str], None]


CHOICES: dict[Method, Callable[[Histogram, float], float]] = {
    "mse": threshold_by_squared_error,
    "percentile": threshold_by_percentile,
    "entropy": threshold_by_entropy,
}
"""Threshold from a histogram and the largest magnitude, for every method but "max"."""


class CalibrationInputs(Protocol):
    """Batches of the graph's own size, the same in each pass."""

    batch: int
    """Rows of each batch."""

    def __len__(self) -> int:
        """Number of rows without padding."""

    def __iter__(self) -> Iterator[Batch]:
        """The batches."""

    def origin(self, number: int) -> str:
        """How messages name a row."""

    def for_timing(self, count: int) -> Sequence[Frame] | Tensors:
        """Inputs for timing a session."""


class CalibrationFrames:
    """Images of a folder in the device's input format: batches of uint8, read again in each pass."""

    def __init__(
        self, folder: Path, frames: FrameInput, limit: int | None = None, *, strict: bool = False
    ) -> None:
        """Select `limit` images evenly from the folder; raises `UsageError`, and `SourceError` for broken images."""
        if not folder.is_dir():
            raise UsageError(f"--calib {folder} is not a folder")
        self._exact = frames.fit == "exact"
        self._target = replace(frames, fit="center-crop", crop_fraction=1.0) if self._exact else frames
        self.batch = frames.batch.opt
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise UsageError(f"--calib {folder} holds no image ({' '.join(sorted(IMAGE_SUFFIXES))})")
        # Evenly through the folder: the first images may all be of one class.
        count = min(limit or len(files), len(files))
        chosen = tuple(files[index * len(files) // count] for index in range(count))
        self.files, warnings = usable_files(chosen, strict=strict)
        for warning in warnings:
            LOG.warning("%s", warning)

    def __len__(self) -> int:
        return len(self.files)

    def origin(self, number: int) -> str:
        """The file of a frame."""
        return str(self.files[number])

    def for_timing(self, count: int) -> Sequence[Frame]:
        """The first images, in their own sizes, or in the only size that the graph takes."""
        images = [read_image(path) for path in self.files[:count]]
        return [fit_frame(image, self._target)[0] for image in images] if self._exact else images

    def __iter__(self) -> Iterator[Frames]:
        """Batches of the graph's own size; the last one is padded with copies of its last frame."""
        frames = (fit_frame(read_image(path), self._target)[0] for path in self.files)
        while chunk := list(itertools.islice(frames, self.batch)):
            yield np.stack(chunk + [chunk[-1]] * (self.batch - len(chunk)))


def calibrate(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    frames: CalibrationInputs,
    method: Method,
    progress: Progress = lambda _: None,
    threads: int | None = None,
) -> Ranges:
    """Run the graph, including its ``pre/`` part, on all frames and choose a threshold for each tensor.

    Raises `SourceError` for an image that cannot be read, or if a tensor is not finite on a frame.
    """
    largest = np.zeros(len(tensors))
    probe = _session(with_magnitudes(model, tensors), threads)
    for number, batch in enumerate(frames):
        answers = np.asarray(probe.run([_magnitude(name) for name in tensors], named_inputs(probe, batch)))
        if not np.isfinite(answers).all():
            worst = tensors[int(np.argmin(np.isfinite(answers)))]
            raise SourceError(f"{worst} is not finite on {frames.origin(number * len(batch))}")
        largest = np.maximum(largest, answers)
        progress(f"largest magnitudes: {min((number + 1) * len(batch), len(frames))} of {len(frames)} images")
    maxima = dict(zip(tensors, largest.tolist(), strict=True))
    if method == "max":
        return Ranges(method, len(frames), maxima)
    del probe
    histograms = _histograms(model, maxima, frames, progress, threads)
    choose = CHOICES[method]
    thresholds = {name: choose(histogram, maxima[name]) for name, histogram in histograms.items()}
    return Ranges(method, len(frames), thresholds)


def with_outputs(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """A copy that outputs only these float tensors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tensors
    )
    return copy


def with_magnitudes(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """A copy that outputs the largest magnitude of each tensor: scalars, so that activations are freed early."""
    names = list(tensors)
    copy = with_outputs(model, [_magnitude(name) for name in names])
    for name in names:
        copy.graph.node.append(helper.make_node("Abs", [name], [f"calibration/abs/{name}"]))
        reduced = [f"calibration/abs/{name}"], [_magnitude(name)]
        copy.graph.node.append(helper.make_node("ReduceMax", *reduced, keepdims=0))
    return copy


def _magnitude(tensor: str) -> str:
    return f"calibration/max/{tensor}"


def _histograms(
    model: onnx.ModelProto,
    maxima: dict[str, float],
    frames: CalibrationInputs,
    progress: Progress,
    threads: int | None,
) -> dict[str, Histogram]:
    names = list(maxima)
    session = _session(with_outputs(model, names), threads)
    sums = {name: np.zeros(BINS) for name in names}
    for number, batch in enumerate(frames):
        for name, values in zip(names, session.run(names, named_inputs(session, batch)), strict=True):
            sums[name] += magnitude_histogram(values, maxima[name])
        progress(f"histograms: {min((number + 1) * len(batch), len(frames))} of {len(frames)} images")
    return sums


def magnitude_histogram(values: npt.NDArray[np.float32], largest: float) -> Histogram:
    """Counts of |values| in `BINS` equal bins of 0..largest.

    OpenCV counts signed values an order of magnitude faster than numpy; both halves are then added.
    """
    if largest <= 0:
        return np.zeros(BINS)
    # The upper bound is exclusive: the largest value itself must be in the last bin.
    edge = float(np.nextafter(np.float32(largest), np.float32(np.inf)))
    flat = np.ascontiguousarray(values).reshape(1, -1)
    counts = cv2.calcHist([flat], [0], None, [2 * BINS], [-edge, edge]).ravel().astype(np.float64)
    return counts[BINS:] + counts[BINS - 1 :: -1]


def _session(model: onnx.ModelProto, threads: int | None) -> ort.InferenceSession:
    settings = session_settings(threads)
    # The arena keeps its peak memory for each shape; without it memory follows actual use.
    settings.enable_cpu_mem_arena = False
    return cpu_session(model.SerializeToString(), settings)
