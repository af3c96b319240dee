"""Verifies a graph against its source model's answers before it is added to a bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from edgevision.bundle.folder import CheckRecord, Golden, Verification
from edgevision.contract.nms import steps_needed
from edgevision.contract.spec import ModelSpec, NmsSpec
from edgevision.engines.opening import open_session
from edgevision.engines.ort_settings import cpu_session
from edgevision.errors import VerificationError
from edgevision.graph.contract import with_candidates
from edgevision.graph.nms import CANDIDATES
from edgevision.verification.golden import verify_session

Progress = Callable[[str], None]
"""Called with a short text after each finished step."""


def verify_graph(
    graph: onnx.ModelProto, spec: ModelSpec, golden: Golden, further: tuple[CheckRecord, ...] = ()
) -> Verification:
    """Run the graph on its golden frames in ONNX Runtime; raises `VerificationError` if a check fails.

    For a detector it also counts the NMS steps that the frames need: more than the unrolled ones would leave
    duplicates. `further` holds checks from elsewhere for the record.
    """
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(graph, file)
        with open_session(file, engine="onnxruntime") as session:
            record = verify_session(session, golden)
    if spec.nms is not None and any(CANDIDATES[1] in node.output for node in graph.graph.node):
        further = (*further, depth_check(graph, spec, spec.nms, golden))
    record = replace(record, stage="export", checks=(*further, *record.checks))
    if not record.passed:
        raise VerificationError(
            f"{spec.name} was not written: its graph does not match the source model: {record.failures}"
        )
    return record


def relative_difference(
    expected: list[npt.NDArray[np.float32]], actual: list[npt.NDArray[np.float32]]
) -> float:
    """The largest absolute difference of two sets of arrays, each relative to the largest expected value."""
    worst = 0.0
    for left, right in zip(expected, actual, strict=True):
        scale = max(float(np.abs(left).max()), 1e-12)
        worst = max(worst, float(np.abs(left - right).max()) / scale)
    return worst


def depth_check(graph: onnx.ModelProto, spec: ModelSpec, nms: NmsSpec, golden: Golden) -> CheckRecord:
    """The NMS steps that the golden frames need, against those that the graph has."""
    session = cpu_session(with_candidates(graph).SerializeToString())
    size = spec.frames.batch.opt
    needed = 1
    for start in range(0, len(golden.frames), size):
        rows = np.arange(start, start + size).clip(max=len(golden.frames) - 1)
        found = session.run(list(CANDIDATES), {"frames": golden.frames[rows]})
        for boxes, scores, labels in zip(*found, strict=True):
            floored = np.where(scores >= nms.score_floor, scores, 0)
            needed = max(needed, steps_needed(boxes, floored, labels, nms.iou_threshold, block=nms.block))
    return CheckRecord("NMS steps that the frames need", float(needed), "<=", float(nms.depth))
