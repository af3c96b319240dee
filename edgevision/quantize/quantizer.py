"""Quantizes a bundle's float graph to INT8 within an accuracy budget."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

import edgevision
from edgevision.bundle.folder import Bundle, Verification
from edgevision.contract.embedded_spec import KEPT_KEY
from edgevision.contract.image import Frame
from edgevision.contract.inputs import Tensors
from edgevision.contract.spec import BOX_TASKS, utc_now
from edgevision.errors import UsageError, VerificationError
from edgevision.evaluation.bootstrap import Scores, paired_drop
from edgevision.graph.builder import OPSET
from edgevision.graph.contract import load_model, opset_of
from edgevision.graph.limits.check import require_named
from edgevision.graph.macs import macs_of_weighted_nodes
from edgevision.graph.surgery import with_named_nodes
from edgevision.quantize.calibration.calibrate import CalibrationInputs, calibrate
from edgevision.quantize.calibration.inputs import calibration_inputs
from edgevision.quantize.calibration.magnitudes import probe_magnitudes
from edgevision.quantize.calibration.ranges import INT8_MAX, Ranges
from edgevision.quantize.fp16 import HalfRules, half_graph, note_nodes, values_to_probe
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.quantize.opset17 import opset17_form, verified_form
from edgevision.quantize.options import QuantizeOptions
from edgevision.quantize.placement import QdqPlacement, is_quantized, placement_by_modelopt
from edgevision.quantize.qdq import quantized
from edgevision.quantize.record import Layer, MeasuredCandidate, QuantizeRecord, Target
from edgevision.quantize.search.generated import trials_of
from edgevision.quantize.search.latency import PairedSpeed, paired_speeds
from edgevision.quantize.search.pareto import draw_pareto
from edgevision.quantize.search.search import Candidate, Search, SearchResult
from edgevision.quantize.search.sensitivity import last_layers, measured_noise, order_of_return
from edgevision.quantize.search.workbench import Workbench, deliver, verified_everywhere, with_speeds
from edgevision.quantize.signedness import with_unsigned_activations

Progress = Callable[[str], None]
PICTURE = "pareto.png"
TIMED_IMAGES = 8
FRONT_POINTS = 5
"""Minimum number of measured graphs: a single one does not show the cost of accuracy."""
CANDIDATE_SECONDS = 1.5
FINAL_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Quantized:
    """Result of a quantization."""

    bundle: Bundle
    record: QuantizeRecord
    verifications: tuple[Verification, ...]
    ranges: Ranges
    placement: QdqPlacement
    every_range: Callable[[], Ranges]
    """`ranges`, and on demand the largest magnitudes of all other float activations, which a DLA needs too."""


def quantize_int8(
    bundle: Bundle, options: QuantizeOptions, output: Path | None, progress: Progress
) -> Quantized:
    """Calibrate, search, verify, time, and add the graph to the bundle (or to its copy at `output`).

    Nothing is written unless the budget is kept and ONNX Runtime's answers to the golden frames match the source
    model's. Otherwise raises `VerificationError` with the best result.
    """
    began = time.perf_counter()
    trials = trials_of(bundle, options)
    material = _prepared(bundle, options, progress)
    macs = macs_of_weighted_nodes(material.model)
    with Workbench(bundle, trials, options.threads) as bench:
        result, chosen = _searched(bench, material, macs, options, progress)
        graph = material.final(chosen.kept_float)
        note_nodes(graph, KEPT_KEY, chosen.kept_float)
        if options.target == "tensorrt":
            chosen = _with_half_measured(bench, graph, chosen, options, progress)
        timed = material.frames.for_timing(TIMED_IMAGES)
        measured = _timed(bench, result, chosen, timed if options.target == "cpu" else [], material)
        progress(f"timed {len(measured)} graphs against float")
        bench.place("int8", graph)
        bench.check("int8")
    form = _form(bundle, graph, material, chosen)
    for name in options.tensorrt:
        read = form[0] if form is not None and name == "8.6" else graph
        require_named(read, (name,), f"the int8 graph of {bundle.path}")
    delivered = deliver(bundle, output, "int8", graph.SerializeToString())
    if form is not None:
        delivered = delivered.add_form("int8", "opset17", form[0].SerializeToString(), form[1])
        progress("wrote a form of opset 17 for TensorRT 8.6, verified in onnxruntime")
    delivered, verifications = verified_everywhere(delivered, "int8")
    speeds = paired_speeds(delivered.path, "int8", timed, seconds=FINAL_SECONDS)
    delivered = with_speeds(delivered, "int8", speeds)
    record = QuantizeRecord(
        created=utc_now(),
        edgevision=edgevision.__version__,
        model=bundle.spec.name,
        target=options.target,
        method=options.method,
        largest_weight=material.placement.largest_weight,
        calibration_images=len(material.frames),
        search_images=result.images,
        max_drop=options.budget.max_drop,
        confidence=options.budget.confidence,
        metric=result.metric,
        float_accuracy=result.float_accuracy,
        chosen=chosen,
        kept_float=_layers(chosen, material.noise, macs),
        candidates=measured,
        speeds=speeds,
        versions=_versions(),
        seconds=round(time.perf_counter() - began, 1),
    )
    record.write(delivered.path)
    draw_pareto(record, delivered.path / PICTURE)
    return Quantized(
        delivered, record, tuple(verifications), material.ranges, material.placement, material.every_range
    )


def _form(
    bundle: Bundle, graph: onnx.ModelProto, material: _Material, chosen: Candidate
) -> tuple[onnx.ModelProto, Verification] | None:
    """The verified graph for TensorRT 8.6; None for CPUs, and for a model whose opset is too new for 8.6."""
    quantized_only = material.quantized(chosen.kept_float)
    if material.target != "tensorrt" or opset_of(quantized_only) > OPSET:
        return None
    form = opset17_form(quantized_only, graph)
    return form, verified_form(form, bundle.golden())


@dataclass(frozen=True, slots=True, eq=False)
class _Material:
    """Inputs for building candidates."""

    model: onnx.ModelProto
    placement: QdqPlacement
    ranges: Ranges
    noise: dict[str, float]
    frames: CalibrationInputs
    target: Target
    task: str

    def every_range(self) -> Ranges:
        """Ranges of all float activations outside the contract; at Q/DQ, the calibrated ones.

        A layer runs in INT8 on a DLA only if the ranges of all its inputs and outputs are known.
        """
        found = probe_magnitudes(self.model, iter(self.frames), values_to_probe(self.model))
        return replace(self.ranges, thresholds={**found.largest, **self.ranges.thresholds})

    def quantized(self, kept_float: Collection[str]) -> onnx.ModelProto:
        """A candidate with a float32 remainder."""
        return quantized(self.model, self.placement, self.ranges, kept_float)

    def searched(self, kept_float: Collection[str]) -> onnx.ModelProto:
        """A candidate for the search: the same numbers as the final one, with its remainder in float32."""
        graph = self.quantized(kept_float)
        return with_unsigned_activations(graph) if self.target == "cpu" else graph

    def final(self, kept_float: Collection[str]) -> onnx.ModelProto:
        """A candidate in the form for its target engines."""
        return for_target(self.quantized(kept_float), self.target, self.frames, self.task)


def _prepared(bundle: Bundle, options: QuantizeOptions, progress: Progress) -> _Material:
    """Place, calibrate, and measure each layer's noise."""
    if not options.eval_sets and bundle.spec.task != "generate":
        raise UsageError("an accuracy budget needs labelled images: pass --eval-images (and --annotations)")
    model = with_named_nodes(load_model(bundle.graph_path("float")))
    if is_quantized(model):
        raise UsageError(f"{bundle.path} already contains Q/DQ: it can be verified, but not quantized again")
    frames = calibration_inputs(bundle.spec, options)
    placement = replace(
        placement_by_modelopt(model, next(iter(frames))), largest_weight=options.largest_weight()
    )
    if placement.largest_weight < INT8_MAX:
        progress("weights in 7 bits: on CPUs without VNNI sums of 8-bit products saturate")
    progress(f"modelopt placed Q/DQ on {len(placement.weights)} layers and {len(placement.tensors)} tensors")
    ranges = calibrate(model, placement.tensors, frames, options.method, threads=options.threads)
    progress(f"calibrated by {options.method} on {len(frames)} images")
    noise = measured_noise(model, placement, ranges, frames, threads=options.threads)
    progress(f"measured the noise of {len(noise)} layers, each alone returned to float")
    return _Material(model, placement, ranges, noise, frames, options.target, bundle.spec.task)


def for_target(
    graph: onnx.ModelProto, target: Target, frames: CalibrationInputs, task: str
) -> onnx.ModelProto:
    """The graph in the form for its target engines.

    `cpu`: unsigned activations around 128, the same numbers, which OpenVINO computes correctly. `tensorrt`: signed
    ones, and the remainder in FP16.
    """
    if target == "cpu":
        return with_unsigned_activations(graph)
    magnitudes = probe_magnitudes(graph, iter(frames))
    return half_graph(graph, magnitudes, HalfRules(decode_in_float=task in BOX_TASKS)).model


def _searched(
    bench: Workbench,
    material: _Material,
    macs: dict[str, int],
    options: QuantizeOptions,
    progress: Progress,
) -> tuple[SearchResult, Candidate]:
    """All measured candidates and the chosen one; raises `VerificationError` if none keeps the budget."""
    engine = _search_engine(options.target)

    def scores(kept: frozenset[str]) -> list[Scores]:
        bench.place("int8", material.searched(kept))
        return bench.scores("int8", engine)

    reference = bench.scores("float", engine)
    for part in reference:
        progress(f"float, {engine}: {part.metric} {part.whole:.2f} on {part.images} images")
    last = last_layers(material.model, material.placement)
    order = order_of_return(material.noise, macs, last)
    search = Search(scores, macs, options.budget, progress)
    result = search.run(reference, order, FRONT_POINTS, first=len(last))
    chosen = _chosen(result, options, bench.bundle.spec.name)
    if engine != "onnxruntime":
        chosen = _confirmed(bench, material, result, options, progress)
    return result, chosen


def _search_engine(target: Target) -> str:
    """OpenVINO for CPUs if installed: it runs INT8 several times as fast as ONNX Runtime."""
    installed = importlib.util.find_spec("openvino") is not None
    return "openvino" if target == "cpu" and installed else "onnxruntime"


def _confirmed(
    bench: Workbench,
    material: _Material,
    result: SearchResult,
    options: QuantizeOptions,
    progress: Progress,
) -> Candidate:
    """The graph with most INT8 work among those that keep the budget, in ONNX Runtime as well.

    Two engines round differently; on some hundred images that makes tenths of a point. Raises `VerificationError` if
    there is none.
    """
    reference = bench.scores("float")
    good = [found for found in result.candidates if found.within(options.budget.confidence)]
    for candidate in sorted(good, key=lambda found: found.low_share, reverse=True):
        bench.place("int8", material.final(candidate.kept_float))
        drop = paired_drop(reference, bench.scores("int8"), options.budget.max_drop)
        kept = len(candidate.kept_float)
        progress(
            f"{kept} layers in float, in onnxruntime: drop {drop}, in budget in {100 * drop.sure:.0f} % of draws"
        )
        if drop.sure >= options.budget.confidence:
            return candidate
    raise VerificationError(
        f"no graph that keeps the budget of {options.budget.max_drop:g} points in OpenVINO keeps it in ONNX Runtime:"
        f" the last tried loses {drop}; allow more with --max-drop, or measure on more images with --eval-images"
    )


def _chosen(result: SearchResult, options: QuantizeOptions, name: str) -> Candidate:
    if result.chosen is not None:
        return result.chosen
    best = max(result.candidates, key=lambda candidate: (candidate.drop.sure, -candidate.drop.points))
    raise VerificationError(
        f"{name}: no INT8 graph keeps the budget of {options.budget.max_drop:g} points {result.metric}; the"
        f" nearest has {100 * best.low_share:.1f} % of the work in INT8 and loses {best.drop}, which keeps the budget"
        f" in {100 * best.drop.sure:.0f} % of the draws; allow more with --max-drop, measure on more images with"
        " --eval-images, or try another --calib-method"
    )


def _with_half_measured(
    bench: Workbench,
    graph: onnx.ModelProto,
    chosen: Candidate,
    options: QuantizeOptions,
    progress: Progress,
) -> Candidate:
    """The chosen graph with its remainder in FP16, measured with FP16's rounding emulated in the graph."""
    bench.place("int8", emulated_half(graph))
    reference, scores = bench.scores("float"), bench.scores("int8")
    drop = paired_drop(reference, scores, options.budget.max_drop)
    progress(f"with the remainder in FP16: {reference[0].metric} drop {drop}")
    images = sum(part.images for part in scores)
    accuracy = sum(part.whole * part.images for part in scores) / images
    half = replace(chosen, drop=drop, accuracy=accuracy)
    if not half.within(options.budget.confidence):
        raise VerificationError(
            f"the remainder in FP16 breaks the budget of {options.budget.max_drop:g} points: drop {drop}; in float32 it"
            f" was {chosen.drop}"
        )
    return half


def _timed(
    bench: Workbench,
    result: SearchResult,
    chosen: Candidate,
    timed: Sequence[Frame] | Tensors,
    material: _Material,
) -> tuple[MeasuredCandidate, ...]:
    """Time every candidate; without inputs none, because an FP16 remainder on a CPU does not show a GPU's speed."""
    measured = []
    for candidate in result.candidates:
        speeds: tuple[PairedSpeed, ...] = ()
        if len(timed):
            bench.place("int8", material.final(candidate.kept_float))
            speeds = paired_speeds(bench.path, "int8", timed, seconds=CANDIDATE_SECONDS)
        same = candidate.kept_float == chosen.kept_float
        measured.append(MeasuredCandidate(chosen if same else candidate, speeds))
    return tuple(measured)


def _layers(chosen: Candidate, noise: dict[str, float], macs: dict[str, int]) -> tuple[Layer, ...]:
    whole = sum(macs.values())
    layers = [Layer(name, macs[name] / whole, noise[name]) for name in chosen.kept_float]
    return tuple(sorted(layers, key=lambda layer: -layer.noise))


def _versions() -> tuple[tuple[str, str], ...]:
    packages = ("nvidia-modelopt", "onnx", "onnxruntime", "openvino", "numpy")
    found = []
    for package in packages:
        try:
            found.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)
