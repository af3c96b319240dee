"""Verifies with the golden frames that an engine's answers match the source model's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgevision.bundle.folder import CheckRecord, Golden, Verification
from edgevision.contract.results import Outputs
from edgevision.contract.session import Session
from edgevision.contract.spec import Precision, utc_now
from edgevision.device.machine_class import machine_class
from edgevision.errors import EngineError, GraphError
from edgevision.verification.comparison import (
    TOLERANCES,
    Tolerance,
    compare_answers,
    max_difference,
    wrong_share,
)


def verify_session(session: Session, golden: Golden, *, precision: Precision = "float") -> Verification:
    """Run the golden frames and compare: agreement, repeated calls, equal rows of a batch, NaN.

    A failed check does not raise; the record contains it (`Verification.passed`).
    """
    tolerance = TOLERANCES[precision]
    actual = _run_all(session, golden.frames)
    again = _run_all(session, golden.frames)
    checks = [
        CheckRecord("not-finite values", float(sum(_count_not_finite(array) for array in actual)), "<=", 0.0),
        CheckRecord("difference between two equal calls", max_difference(actual, again), "<=", 0.0),
    ]
    if session.spec.frames.batch.max > 1:
        checks.append(_equal_rows(session, golden, tolerance))
    checks += compare_answers(session.spec, golden.answers, actual, precision)
    info = session.info
    return Verification(
        "verify",
        info.engine,
        info.library,
        len(golden.frames),
        tuple(checks),
        utc_now(),
        machine_class(info.engine, info.gpu_index),
    )


def unanswered(engine: str, frames: int, error: EngineError | GraphError) -> Verification:
    """The record of an engine that cannot run the graph at all; the check's name contains the reason."""
    check = CheckRecord(f"it runs ({error})", 0.0, ">=", 1.0)
    return Verification("verify", engine, engine, frames, (check,), utc_now(), machine_class(engine))


def _run_all(session: Session, frames: npt.NDArray[np.uint8]) -> Outputs:
    """Run all frames in batches of the graph's size; pad the last batch and drop the padding's answers."""
    size = session.spec.frames.batch.opt
    rows = []
    for start in range(0, len(frames), size):
        batch = frames[start : start + size]
        filled = np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
        rows.append(tuple(array[: len(batch)] for array in session.infer(filled)))
    return tuple(np.concatenate(arrays) for arrays in zip(*rows, strict=True))


def _equal_rows(session: Session, golden: Golden, tolerance: Tolerance) -> CheckRecord:
    """Repeat one frame in every row of the largest batch: every row must return the answer of the first.

    For a detector the sorted scores are compared, because boxes of equal scores may be reordered.
    """
    batch = np.repeat(golden.frames[:1], session.spec.frames.batch.max, axis=0)
    answers = dict(zip((tensor.name for tensor in session.spec.outputs), session.infer(batch), strict=True))
    if "mask" in answers:
        mask = answers["mask"]
        wrong = wrong_share(np.repeat(mask[:1], len(mask), axis=0), mask)
        return CheckRecord(
            "share of pixels that differ between equal rows of a batch", wrong, "<=", tolerance.pixels
        )
    scores = answers["scores"]
    worst = max_difference((scores,), (np.repeat(scores[:1], len(scores), axis=0),))
    return CheckRecord("score difference between equal rows of a batch", worst, "<=", tolerance.score)


def _count_not_finite(array: npt.NDArray[np.generic]) -> int:
    return int(np.count_nonzero(~np.isfinite(array))) if array.dtype.kind == "f" else 0
