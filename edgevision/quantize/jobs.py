"""The jobs of ``edgevision quantize`` for each precision, with their reports."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from edgevision.bundle.folder import Bundle, Verification
from edgevision.contract.spec import BOX_TASKS, Precision
from edgevision.errors import GraphError, VerificationError
from edgevision.evaluation.bootstrap import paired_drop
from edgevision.graph.contract import load_model
from edgevision.graph.limits.check import require_named
from edgevision.quantize.calibration.calibrate import CalibrationFrames
from edgevision.quantize.calibration.magnitudes import probe_magnitudes
from edgevision.quantize.engine_report import engine_lines
from edgevision.quantize.fp8_emulation import emulated_fp8
from edgevision.quantize.fp16 import half_graph
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.quantize.options import QuantizeOptions
from edgevision.quantize.placement import is_quantized, run_modelopt, with_named_nodes
from edgevision.quantize.quantizer import PICTURE, Quantized, quantize_int8
from edgevision.quantize.record import RECORD
from edgevision.quantize.search.pareto import pareto_header, pareto_rows
from edgevision.quantize.search.trials import trial_for
from edgevision.quantize.search.workbench import Workbench, deliver, verified_everywhere

Progress = Callable[[str], None]
FP8_IMAGES = 16
"""modelopt's own calibrator keeps every activation of every image: more images would not fit into memory."""


@dataclass(frozen=True, slots=True)
class ResultTable:
    """A table for printing."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Report = str | ResultTable | Verification
"""A part of the report, in order."""


@dataclass(frozen=True, slots=True)
class QuantizeJob:
    """A bundle, its quantization settings, and the destination (None: the bundle itself)."""

    bundle: Bundle
    options: QuantizeOptions
    output: Path | None
    write_cache: bool = False


def run_job(job: QuantizeJob, precision: str, progress: Progress) -> Iterator[Report]:
    """Run the job; yields the report part by part. Raises `VerificationError` if accuracy is not kept."""
    if is_quantized(load_model(job.bundle.graph_path("float"))):
        yield from _already_quantized(job)
        return
    if precision == "fp16" or (precision == "auto" and job.options.target == "tensorrt"):
        yield from _fp16(job, progress)
    if precision in ("int8", "auto"):
        yield from _int8(job, progress)
    if precision == "fp8":
        yield from _fp8(job, progress)


def _already_quantized(job: QuantizeJob) -> Iterator[Report]:
    """Only verify a model that was trained with Q/DQ, whose learned ranges must not change."""
    _, records = verified_everywhere(job.bundle, "float")
    yield f"{job.bundle.path} already contains Q/DQ: not changed"
    yield from records
    _raise_if_failed(job, records)


def _int8(job: QuantizeJob, progress: Progress) -> Iterator[Report]:
    done = quantize_int8(job.bundle, job.options, job.output, progress)
    record, chosen = done.record, done.record.chosen
    yield ResultTable(tuple(pareto_header(record)), tuple(map(tuple, pareto_rows(record))))
    if record.kept_float:
        rows = [(x.node, f"{100 * x.work_share:.1f} %", f"{x.noise:.2e}") for x in record.kept_float]
        yield ResultTable(("kept in float", "of the work", "noise removed"), tuple(rows))
    yield (
        f"{record.metric} {record.float_accuracy:.2f} in float, {chosen.accuracy:.2f} in INT8 on {record.search_images}"
        f" images of the search: drop {chosen.drop}, budget {record.max_drop:g}, kept in"
        f" {100 * chosen.drop.sure:.0f} % of the draws"
    )
    if chosen.drop.points < 0 < chosen.drop.high:
        yield "the interval of the measured gain includes 0: the gain is not significant"
    yield f"{100 * chosen.int8_share:.1f} % of the multiply-accumulates in INT8; {record.seconds:.0f} s in total"
    for speed in record.speeds:
        yield (
            f"{speed.library}: {speed.float_ms:.1f} ms in float, {speed.quantized_ms:.1f} ms in INT8,"
            f" x{speed.ratio:.2f} paired"
        )
    yield from done.verifications
    yield from engine_lines("int8", done.verifications)
    if job.write_cache:
        yield _write_cache(done)
    yield f"wrote {done.bundle.path}/model.int8.onnx, {RECORD}, {PICTURE}"


def _write_cache(done: Quantized) -> str:
    from edgevision.quantize.calibration.cache import write_calibration_cache

    path = done.bundle.path / "calibration.cache"
    ranges = done.every_range()
    write_calibration_cache(path, ranges)
    return f"wrote {path}: the ranges of {len(ranges.thresholds)} tensors"


def _fp16(job: QuantizeJob, progress: Progress) -> Iterator[Report]:
    spec = job.bundle.spec
    frames = CalibrationFrames(
        job.options.calib, spec.frames, job.options.calib_images, strict=job.options.strict
    )
    model = load_model(job.bundle.graph_path("float"))
    magnitudes = probe_magnitudes(model, iter(frames))
    progress(f"probed magnitudes on {magnitudes.frames} frames")
    half = half_graph(model, magnitudes, decode_in_float=spec.task in BOX_TASKS)
    yield f"{half.half_nodes} nodes in FP16, {half.float_nodes} in FP32"
    for kept in half.kept:
        yield f"  {kept.node} ({kept.operator}) stays in FP32: {kept.reason}"
    yield from _measured(job, "fp16", emulated_half(half.model), progress)
    yield from _delivered(job, "fp16", half.model)


def _fp8(job: QuantizeJob, progress: Progress) -> Iterator[Report]:
    spec = job.bundle.spec
    count = min(job.options.calib_images, FP8_IMAGES)
    frames = np.concatenate(
        list(CalibrationFrames(job.options.calib, spec.frames, count, strict=job.options.strict))
    )
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        source, target = Path(folder) / "model.onnx", Path(folder) / "fp8.onnx"
        onnx.save(with_named_nodes(load_model(job.bundle.graph_path("float"))), source)
        run_modelopt(source, target, frames, "fp8")
        graph = onnx.load(target)
    if not is_quantized(graph):
        raise GraphError("modelopt converted no layer of the graph to FP8")
    progress(f"modelopt quantized to FP8 on {len(frames)} frames")
    yield from _measured(job, "fp8", emulated_fp8(graph), progress)
    yield from _delivered(job, "fp8", graph)


def _measured(
    job: QuantizeJob, precision: Precision, graph: onnx.ModelProto, progress: Progress
) -> Iterator[Report]:
    """Compare the graph with the golden outputs, and with the accuracy budget if there are labelled images."""
    options = job.options
    trials = [trial_for(job.bundle.spec, s.images, s.annotations, s.limit) for s in options.eval_sets]
    with Workbench(job.bundle, trials, options.threads) as bench:
        bench.place(precision, graph)
        bench.check(precision)
        if not trials:
            yield "accuracy not measured: requires --eval-images"
            return
        reference = bench.scores("float")
        drop = paired_drop(reference, bench.scores(precision), options.budget.max_drop)
    progress(f"measured on {sum(scores.images for scores in reference)} images")
    yield f"{precision}: {reference[0].metric} drop {drop}, budget {options.budget.max_drop:g}"
    if drop.sure < options.budget.confidence:
        raise VerificationError(
            f"{job.bundle.path}: {precision} loses {drop}, more than {options.budget.max_drop:g} points"
        )


def _delivered(job: QuantizeJob, precision: Precision, graph: onnx.ModelProto) -> Iterator[Report]:
    require_named(graph, job.options.tensorrt, f"the {precision} graph of {job.bundle.path}")
    bundle = deliver(job.bundle, job.output, precision, graph.SerializeToString())
    _, records = verified_everywhere(bundle, precision)
    yield from records
    yield from engine_lines(precision, records)
    yield f"wrote {bundle.path}/model.{precision}.onnx"


def _raise_if_failed(job: QuantizeJob, records: list[Verification]) -> None:
    reference = [record for record in records if record.engine == "onnxruntime"]
    if reference and not reference[0].passed:
        raise VerificationError(
            f"{job.bundle.path}: verification in ONNX Runtime failed: {reference[0].failures}"
        )
