"""Measures a graph that makes images by the float graph's images for the same inputs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgevision.bundle.folder import Bundle
from edgevision.contract.image import psnr_from_error
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import ModelSpec
from edgevision.engines.opening import open_session
from edgevision.errors import UsageError
from edgevision.evaluation.bootstrap import MeanPsnr
from edgevision.evaluation.images import without_targets
from edgevision.quantize.calibration.calibrate import CalibrationFrames, CalibrationInputs
from edgevision.quantize.calibration.inputs import MEASURING_SEED, NOISES, CalibrationNoise
from edgevision.quantize.options import EvalSet, QuantizeOptions
from edgevision.quantize.search.search import Budget
from edgevision.quantize.search.trials import Trial, trial_for

EQUAL_PSNR = 60.0
"""PSNR in dB that counts for equal images, and the highest of others: one level of difference in 15 of 1,000 values."""


class FloatFidelity(MeanPsnr):
    """PSNR of each image to the float graph's, in dB, at most `EQUAL_PSNR`."""

    metric = "PSNR to the float images"


def budget_of(min_psnr: float, confidence: float) -> Budget:
    """The budget of a model that makes images: a mean PSNR of at least `min_psnr` dB, less than `EQUAL_PSNR`."""
    return Budget(EQUAL_PSNR - min_psnr, confidence)


def trials_of(bundle: Bundle, options: QuantizeOptions) -> list[Trial]:
    """The trials of `options.eval_sets`, or the comparison with the float graph's images; empty without either.

    Raises `UsageError` if task and images do not match.
    """
    spec = bundle.spec
    if spec.task == "generate":
        if options.eval_sets:
            raise UsageError(
                f"{spec.name} makes images from noise and is measured by the float graph's images: omit"
                " --eval-images and --annotations"
            )
        return [_fidelity(bundle, CalibrationNoise(spec.tensors, NOISES, MEASURING_SEED), options.threads)]
    return [
        _fidelity(bundle, _frames(spec, given, options), options.threads)
        if without_targets(spec, given.annotations)
        else trial_for(spec, given.images, given.annotations, given.limit)
        for given in options.eval_sets
    ]


def _frames(spec: ModelSpec, given: EvalSet, options: QuantizeOptions) -> CalibrationFrames:
    if not given.images.is_dir():
        raise UsageError(f"--eval-images {given.images} is not a folder")
    return CalibrationFrames(given.images, spec.frames, given.limit or NOISES, strict=options.strict)


def _fidelity(bundle: Bundle, inputs: CalibrationInputs, threads: int | None) -> Trial:
    with open_session(
        bundle.path, engine="onnxruntime", options=SessionOptions(threads=threads, precision="float")
    ) as session:
        expected = _images(session, inputs)

    def trial(session: Session) -> FloatFidelity:
        pairs = zip(expected, _images(session, inputs), strict=True)
        return FloatFidelity([psnr(one, other) for one, other in pairs])

    return trial


def psnr(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two images in dB, at most `EQUAL_PSNR`."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return psnr_from_error(error, EQUAL_PSNR)


def _images(session: Session, inputs: CalibrationInputs) -> npt.NDArray[np.uint8]:
    made = [session.infer(batch)[0] for batch in inputs]
    return np.concatenate(made)[: len(inputs)]
