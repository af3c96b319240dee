"""The jobs of ``edgevision quantize`` for each precision, with their reports."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgevision.bundle.folder import Bundle, Verification
from edgevision.contract.inputs import joined
from edgevision.contract.spec import BOX_TASKS, Precision
from edgevision.errors import GraphError, VerificationError
from edgevision.evaluation.bootstrap import paired_drop
from edgevision.graph.contract import load_model
from edgevision.graph.limits.check import require_named
from edgevision.graph.surgery import with_named_nodes
from edgevision.quantize.calibration.calibrate import CalibrationInputs
from edgevision.quantize.calibration.inputs import calibration_inputs
from edgevision.quantize.calibration.magnitudes import probe_magnitudes
from edgevision.quantize.engine_report import engine_lines
from edgevision.quantize.fp8_emulation import emulated_fp8
from edgevision.quantize.fp16 import HalfGraph, HalfRules, half_graph
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.quantize.half.record import HALF_RECORD, HalfRecord
from edgevision.quantize.half.search import searched_half
from edgevision.quantize.options import QuantizeOptions
from edgevision.quantize.placement import is_quantized, run_modelopt
from edgevision.quantize.quantizer import PICTURE, Quantized, quantize_int8
from edgevision.quantize.record import RECORD
from edgevision.quantize.search.generated import trials_of
from edgevision.quantize.search.pareto import pareto_header, pareto_rows
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
    if job.write_cache:
        yield "no calibration cache written: the graph's own Q/DQ have the ranges"
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
    yield f"{100 * chosen.low_share:.1f} % of the multiply-accumulates in INT8; {record.seconds:.0f} s in total"
    for speed in record.speeds:
        yield (
            f"{speed.library}: {speed.float_ms:.1f} ms in float, {speed.quantized_ms:.1f} ms in INT8,"
            f" x{speed.ratio:.2f} paired"
        )
    yield from done.verifications
    yield from engine_lines("int8", done.verifications, record.speeds)
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
    frames = calibration_inputs(spec, job.options)
    model = load_model(job.bundle.graph_path("float"))
    if job.options.eval_sets or spec.task == "generate":
        yield from _fp16_searched(job, model, frames, progress)
        return
    magnitudes = probe_magnitudes(model, iter(frames))
    progress(f"probed magnitudes on {magnitudes.frames} frames")
    half = half_graph(model, magnitudes, HalfRules(decode_in_float=spec.task in BOX_TASKS))
    yield from _half_lines(half)
    yield from _measured(job, "fp16", emulated_half(half.model), progress)
    yield from _delivered(job, "fp16", half.model)


def _fp16_searched(
    job: QuantizeJob, model: onnx.ModelProto, frames: CalibrationInputs, progress: Progress
) -> Iterator[Report]:
    """Search for the operations that need FP32, by accuracy on the labelled images."""
    options = job.options
    trials = trials_of(job.bundle, options)
    decode_in_float = job.bundle.spec.task in BOX_TASKS
    with Workbench(job.bundle, trials, options.threads) as bench:
        found = searched_half(
            bench, model, frames, options, decode_in_float=decode_in_float, progress=progress
        )
        bench.place("fp16", emulated_half(found.half.model))
        bench.check("fp16")
    record, chosen = found.record, found.record.chosen
    yield from _half_lines(found.half)
    yield (
        f"{record.metric} {record.float_accuracy:.2f} in float, {record.plain.accuracy:.2f} with every operation in"
        f" FP16 that fits, {chosen.accuracy:.2f} with {len(chosen.kept_float)} groups in FP32, on"
        f" {record.search_images} images of the search: drop {chosen.drop}, budget {record.max_drop:g}, kept in"
        f" {100 * chosen.drop.sure:.0f} % of the draws"
    )
    yield f"{100 * record.half_share:.2f} % of the work in FP16; {record.seconds:.0f} s in total"
    yield from _delivered(job, "fp16", found.half.model, record)


def _half_lines(half: HalfGraph) -> Iterator[Report]:
    yield f"{half.half_nodes} nodes in FP16, {half.float_nodes} in FP32"
    for kept in half.kept:
        yield f"  {kept.node} ({kept.operator}) stays in FP32: {kept.reason}"


def _fp8(job: QuantizeJob, progress: Progress) -> Iterator[Report]:
    spec = job.bundle.spec
    frames = joined(list(calibration_inputs(spec, job.options, FP8_IMAGES)))
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
    trials = trials_of(job.bundle, options)
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


def _delivered(
    job: QuantizeJob, precision: Precision, graph: onnx.ModelProto, record: HalfRecord | None = None
) -> Iterator[Report]:
    require_named(graph, job.options.tensorrt, f"the {precision} graph of {job.bundle.path}")
    bundle = deliver(job.bundle, job.output, precision, graph.SerializeToString())
    _, records = verified_everywhere(bundle, precision)
    yield from records
    yield from engine_lines(precision, records)
    if record is not None:
        record.write(bundle.path)
    yield f"wrote {bundle.path}/model.{precision}.onnx" + (f", {HALF_RECORD}" if record is not None else "")


def _raise_if_failed(job: QuantizeJob, records: list[Verification]) -> None:
    reference = [record for record in records if record.engine == "onnxruntime"]
    if reference and not reference[0].passed:
        raise VerificationError(
            f"{job.bundle.path}: verification in ONNX Runtime failed: {reference[0].failures}"
        )
