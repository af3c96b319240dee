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
from edgevision.engines.ort_settings import cpu_session, named_inputs
from edgevision.errors import VerificationError
from edgevision.export.candidates import source_candidates
from edgevision.export.file_source import RawOutputs, by_frame, raw_names, relative_difference, relative_mean
from edgevision.graph.contract import with_outputs
from edgevision.graph.nms import CANDIDATES
from edgevision.verification.agreement import decoding_checks
from edgevision.verification.comparison import TOLERANCES
from edgevision.verification.golden import verify_session

RAW = "relative difference of the network's raw output in the graph"
STEPS = "NMS steps that the frames need"
_FAR = 1e9
_SEEN = 0.25
"""Score from which a frame shows something to a detector."""
Progress = Callable[[str], None]
"""Called with a short text after each finished step."""


def verify_graph(
    graph: onnx.ModelProto,
    spec: ModelSpec,
    golden: Golden,
    further: tuple[CheckRecord, ...] = (),
    raw: RawOutputs | None = None,
) -> Verification:
    """Run the graph on its golden frames in ONNX Runtime; raises `VerificationError` if a check fails.

    With `raw`, the source's raw outputs, the values inside the graph are compared first.

    For a detector it also counts the NMS steps that the frames need: more than the unrolled ones would leave
    duplicates. `further` holds checks from elsewhere for the record.
    """
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(graph, file)
        with open_session(file, engine="onnxruntime") as session:
            record = verify_session(session, golden)
    if raw is not None:
        further = (*further, *_raw_checks(graph, spec, golden, raw))
    if spec.nms is not None and _has_nms(graph):
        further = (*further, depth_check(graph, spec, spec.nms, golden))
    record = replace(record, stage="export", checks=(*further, *record.checks))
    if not record.passed:
        raise VerificationError(
            f"{spec.name} was not written: its graph does not match the source model: {record.finding}."
            f" {_advice(spec, golden, record)}"
        )
    return record


def what_was_compared(golden: Golden) -> str:
    """A remark for frames that show the model nothing, or a model with noise of its own; else empty."""
    remarks = []
    if golden.candidates is not None and golden.candidates.scores.max(initial=0) < _SEEN:
        remarks.append(
            f"; it finds nothing above {_SEEN:g} in them: compared by its candidates before NMS; --images DIR takes"
            " frames of its kind"
        )
    if golden.sensitivity is not None:
        noise = golden.sensitivity
        remarks.append(
            f"; the source quantizes at run time: one rounding step of its input changes its scores by"
            f" {noise.score:.2g}, its raw outputs by {noise.raw:.2g}; the limits are twice that"
        )
    return "".join(remarks)


def _advice(spec: ModelSpec, golden: Golden, record: Verification) -> str:
    """What to try."""
    failed = [check for check in record.checks if not check.passed]
    if failed and failed[0].name == STEPS:  # wrong results of NMS follow from it
        needed = int(failed[0].measured)
        return f"Repeat with --nms-steps {needed + needed % 2}"
    if spec.nms is None or golden.candidates is None or golden.candidates.scores.max(initial=0) >= _SEEN:
        return "If these frames are unlike those of its use, repeat with --images DIR"
    return (
        f"The source model finds nothing above {_SEEN:g} in these frames; repeat with --images DIR, a folder of frames"
        " that show what it was trained on"
    )


def depth_check(graph: onnx.ModelProto, spec: ModelSpec, nms: NmsSpec, golden: Golden) -> CheckRecord:
    """The NMS steps that the golden frames need, against those that the graph has."""
    needed = 1
    for boxes, scores, labels in zip(*_values(graph, spec, golden, CANDIDATES), strict=True):
        floored = np.where(scores >= nms.score_floor, scores, 0)
        boxes = np.nan_to_num(
            boxes, nan=0.0, posinf=_FAR, neginf=-_FAR
        )  # what is not finite has its own check
        needed = max(needed, steps_needed(boxes, floored, labels, nms.iou_threshold, block=nms.block))
    return CheckRecord(STEPS, float(needed), "<=", float(nms.depth))


def _raw_checks(
    graph: onnx.ModelProto, spec: ModelSpec, golden: Golden, raw: RawOutputs
) -> list[CheckRecord]:
    """Compare the network's raw outputs inside the graph with the source's, and decode them a second time.

    The first part covers pre-processing, weights and operators, the second one the decoding.
    """
    names = raw_names(graph, raw.names)
    if not names:
        return []
    decodes = golden.candidates is not None and len(names) == len(raw.names)
    shown = (*names.values(), *(CANDIDATES if decodes and _has_nms(graph) else ()))
    found = _values(graph, spec, golden, shown)
    limits = TOLERANCES["float"].widened(golden.sensitivity)
    checks = []
    for (place, name), actual in zip(names.items(), found, strict=False):
        expected = raw.arrays[place]
        if expected.shape != actual.shape or not expected.size or expected.dtype.kind != "f":
            continue
        pair = expected.astype(np.float64), actual.astype(np.float64)
        checks.append(CheckRecord(RAW, relative_difference(*pair), "<=", limits.raw, name))
        if golden.sensitivity is not None:
            limit = max(limits.raw_mean, 2 * golden.sensitivity.raw_mean)
            checks.append(CheckRecord(f"mean {RAW}", relative_mean(*pair), "<=", limit, name))
    if (
        len(shown) > len(names)
        and raw.head is not None
        and spec.nms is not None
        and raw.placement is not None
    ):
        decoded = source_candidates(by_frame(found[: len(names)]), raw.head, spec.nms, raw.placement)
        checks += decoding_checks(decoded, [tuple(rows) for rows in by_frame(found[len(names) :])])
    return checks


def _has_nms(graph: onnx.ModelProto) -> bool:
    return any(CANDIDATES[1] in node.output for node in graph.graph.node)


def _values(
    graph: onnx.ModelProto, spec: ModelSpec, golden: Golden, names: tuple[str, ...]
) -> list[npt.NDArray[np.generic]]:
    """Values inside the graph for all golden frames."""
    session = cpu_session(with_outputs(graph, names).SerializeToString())
    found = []
    size = spec.batch.opt
    for start in range(0, len(golden.inputs), size):
        rows = np.arange(start, start + size).clip(max=len(golden.inputs) - 1)
        count = min(size, len(golden.inputs) - start)
        found.append(
            [array[:count] for array in session.run(list(names), named_inputs(session, golden.inputs[rows]))]
        )
    return [np.concatenate(arrays) for arrays in zip(*found, strict=True)]
