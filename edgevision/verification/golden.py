"""Verifies with the golden frames that an engine's answers match the source model's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from edgevision.bundle.folder import CheckRecord, Golden, Verification
from edgevision.contract.inputs import Batch, Tensors
from edgevision.contract.results import Outputs
from edgevision.contract.session import Session
from edgevision.contract.spec import Precision, utc_now
from edgevision.device.machine_class import machine_class
from edgevision.errors import EngineError, GraphError
from edgevision.verification.agreement import candidate_checks, compare_golden
from edgevision.verification.comparison import TOLERANCES, Tolerance, max_difference, wrong_share


def verify_session(session: Session, golden: Golden, *, precision: Precision = "float") -> Verification:
    """Run the golden frames and compare: agreement, repeated calls, equal rows of a batch, NaN.

    Of a detector, candidates before NMS are compared too if the session shows them. The checks are in the order of the
    graph: the first that fails names the first tensor that differs. A wrong answer raises nothing; the record contains
    it (`Verification.passed`).
    """
    tolerance = TOLERANCES[precision].widened(golden.sensitivity)
    actual = _run_all(session, golden.inputs)
    again = _run_all(session, golden.inputs)
    checks = [
        CheckRecord("not-finite values", float(sum(_count_not_finite(array) for array in actual)), "<=", 0.0),
        CheckRecord("difference between two equal calls", max_difference(actual, again), "<=", 0.0),
    ]
    if session.spec.batch.max > 1:
        checks.append(_equal_rows(session, golden, tolerance))
    checks += candidate_checks(session.spec, golden, _shown(session, golden), precision)
    checks += compare_golden(session.spec, golden, actual, precision)
    info = session.info
    return Verification(
        "verify",
        info.engine,
        info.library,
        len(golden.inputs),
        tuple(checks),
        utc_now(),
        machine_class(info.engine, info.gpu_index),
        golden.sensitivity,
    )


def unanswered(engine: str, frames: int, error: EngineError | GraphError) -> Verification:
    """The record of an engine that cannot run the graph at all; the check's name contains the reason."""
    check = CheckRecord(f"it runs ({error})", 0.0, ">=", 1.0)
    return Verification("verify", engine, engine, frames, (check,), utc_now(), machine_class(engine))


def _run_all(session: Session, inputs: Batch) -> Outputs:
    """Run all inputs in batches of the graph's size; pad the last batch and drop the padding's answers."""
    rows = []
    for batch, count in _batches(session, inputs):
        rows.append(tuple(array[:count] for array in session.infer(batch)))
    return tuple(np.concatenate(arrays) for arrays in zip(*rows, strict=True))


def _batches(session: Session, inputs: Batch) -> Iterator[tuple[Batch, int]]:
    """Batches of the graph's size, the last one padded, each with the number of its own rows."""
    size, count = session.spec.batch.opt, len(inputs)
    for start in range(0, count, size):
        rows = np.arange(start, start + size).clip(max=count - 1)
        yield inputs[rows], min(size, count - start)


def _shown(session: Session, golden: Golden) -> list[tuple[Outputs, Outputs]]:
    """For each frame the candidates of NMS and the outputs of the same call; empty if the session shows none."""
    if golden.candidates is None:
        return []
    rows: list[tuple[Outputs, Outputs]] = []
    for batch, count in _batches(session, golden.inputs):
        assert not isinstance(batch, Tensors), "only detectors have candidates"
        found = session.infer_candidates(batch)
        if found is None:
            return []
        rows += [(_row(found[0], row), _row(found[1], row)) for row in range(count)]
    return rows


def _row(arrays: Outputs, row: int) -> Outputs:
    return tuple(array[row] for array in arrays)


def _equal_rows(session: Session, golden: Golden, tolerance: Tolerance) -> CheckRecord:
    """Repeat one frame in every row of the largest batch: every row must return the answer of the first.

    For a detector the sorted scores are compared, because boxes of equal scores may be reordered.
    """
    batch = golden.inputs[np.zeros(session.spec.batch.max, np.intp)]
    answers = dict(zip((tensor.name for tensor in session.spec.outputs), session.infer(batch), strict=True))
    if "mask" in answers:
        mask = answers["mask"]
        wrong = wrong_share(np.repeat(mask[:1], len(mask), axis=0), mask)
        return CheckRecord(
            "share of pixels that differ between equal rows of a batch", wrong, "<=", tolerance.pixels
        )
    if "image" in answers:
        image = answers["image"]
        worst = max_difference((image,), (np.repeat(image[:1], len(image), axis=0),))
        return CheckRecord("difference of images between equal rows of a batch", worst, "<=", tolerance.level)
    if session.spec.task == "part":
        rows = tuple(answers.values())
        worst = max(
            max_difference((one,), (np.repeat(one[:1], len(one), axis=0),))
            / max(float(np.abs(one).max()), 1e-12)
            for one in rows
        )
        return CheckRecord("relative difference between equal rows of a batch", worst, "<=", tolerance.raw)
    scores = answers["scores"]
    worst = max_difference((scores,), (np.repeat(scores[:1], len(scores), axis=0),))
    return CheckRecord("score difference between equal rows of a batch", worst, "<=", tolerance.score)


def _count_not_finite(array: npt.NDArray[np.generic]) -> int:
    return int(np.count_nonzero(~np.isfinite(array))) if array.dtype.kind == "f" else 0
