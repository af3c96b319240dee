"""Finds the operations of an FP16 graph that must stay FP32 to keep an accuracy budget."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

import onnx

import edgevision
from edgevision.contract.inputs import Batch
from edgevision.contract.spec import utc_now
from edgevision.errors import GraphError, VerificationError
from edgevision.evaluation.bootstrap import Scores
from edgevision.graph.surgery import with_named_nodes
from edgevision.quantize.calibration.magnitudes import Magnitudes, non_finite_values, probe_magnitudes
from edgevision.quantize.fp16 import HalfGraph, HalfRules, half_graph
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.quantize.half.groups import Group, groups_of, work_share
from edgevision.quantize.half.noise import NoiseMeter, noise_of_groups
from edgevision.quantize.half.overflow import Overflow, first_overflow
from edgevision.quantize.half.preparation import prepared
from edgevision.quantize.half.record import HalfRecord, KeptGroup
from edgevision.quantize.options import QuantizeOptions
from edgevision.quantize.search.search import Candidate, Search, SearchResult, Wording
from edgevision.quantize.search.sensitivity import SIGNAL_IMAGES, order_of_return
from edgevision.quantize.search.workbench import Workbench

Progress = Callable[[str], None]
WORDING = Wording("groups of operations in FP32", "FP16")
ATTEMPTS = 12
"""Maximum number of groups that are tried in FP16 again; few of a prefix are needed."""
MOST_OVERFLOWS = 32
"""Maximum number of operations that are NaN or infinite in FP16; a graph with more is rejected."""


@dataclass(frozen=True, slots=True)
class SearchedHalf:
    """The graph that keeps the budget, and the record of the search."""

    half: HalfGraph
    record: HalfRecord


def searched_half(
    bench: Workbench,
    model: onnx.ModelProto,
    frames: Iterable[Batch],
    options: QuantizeOptions,
    *,
    decode_in_float: bool,
    progress: Progress,
) -> SearchedHalf:
    """Search on the labelled images of `bench`.

    The first graph has every operation in FP16 whose values fit. If it loses too much, the noise of groups of
    operations is measured, and those that add most of it return to FP32. Raises `VerificationError` with the best
    graph if none keeps the budget.
    """
    began = time.perf_counter()
    material = HalfMaterial.prepared(model, frames, decode_in_float=decode_in_float, progress=progress)
    works = {group.name: group.work for group in material.groups}

    def scores(kept: frozenset[str]) -> list[Scores]:
        bench.place("fp16", emulated_half(material.graph(kept).model))
        return bench.scores("fp16")

    reference = bench.scores("float")
    search = Search(
        scores,
        works,
        options.budget,
        progress,
        wording=WORDING,
        attempts=ATTEMPTS,
        accept=lambda: bench.verification("fp16").passed,
    )
    result = search.run(reference, ())
    noise: dict[str, float] = {}
    if result.chosen is None:
        noise = material.noise(frames, options.threads)
        progress(f"measured the noise of {len(noise)} groups of operations, in blocks")
        result = search.run(reference, order_of_return(noise, works))
    if result.chosen is None:
        raise VerificationError(_not_found(result, options, bench.bundle.spec.name))
    half = material.graph(result.chosen.kept_float)
    seconds = round(time.perf_counter() - began, 1)
    return SearchedHalf(
        half, _record(bench.bundle.spec.name, material, options, result, result.chosen, noise, half, seconds)
    )


def _record(
    name: str,
    material: HalfMaterial,
    options: QuantizeOptions,
    result: SearchResult,
    chosen: Candidate,
    noise: dict[str, float],
    half: HalfGraph,
    seconds: float,
) -> HalfRecord:
    return HalfRecord(
        created=utc_now(),
        edgevision=edgevision.__version__,
        model=name,
        calibration_images=material.magnitudes.frames,
        search_images=result.images,
        max_drop=options.budget.max_drop,
        confidence=options.budget.confidence,
        metric=result.metric,
        float_accuracy=result.float_accuracy,
        plain=result.candidates[0],
        chosen=chosen,
        kept=material.kept_groups(chosen.kept_float, noise),
        candidates=result.candidates,
        half_share=work_share(material.model, half.half),
        seconds=seconds,
    )


@dataclass(frozen=True, slots=True, eq=False)
class HalfMaterial:
    """Inputs for building candidates: graphs in which some groups are FP32."""

    model: onnx.ModelProto
    magnitudes: Magnitudes
    decode_in_float: bool
    groups: tuple[Group, ...]
    """The groups of the operations that may be FP16."""
    required: dict[str, str] = field(default_factory=dict)
    """Nodes that FP16 makes NaN or infinite, with the reason."""

    @classmethod
    def prepared(
        cls, model: onnx.ModelProto, frames: Iterable[Batch], *, decode_in_float: bool, progress: Progress
    ) -> HalfMaterial:
        """Measure magnitudes, and find operations that overflow although each value fits."""
        named = prepared(with_named_nodes(model))
        magnitudes = probe_magnitudes(named, iter(frames))
        progress(f"probed magnitudes on {magnitudes.frames} frames")
        expected = non_finite_values(named, itertools.islice(frames, 1))
        empty = cls(named, magnitudes, decode_in_float, ())
        groups = groups_of(named, empty.graph().half)
        material = cls(named, magnitudes, decode_in_float, groups)
        for _ in range(MOST_OVERFLOWS):
            overflow = first_overflow(material.graph().model, iter(frames), expected)
            if overflow is None:
                break
            progress(f"{overflow.node} returns NaN or infinity in FP16; it stays in FP32")
            material = material.without(overflow)
        else:
            raise GraphError(
                f"more than {MOST_OVERFLOWS} operations return NaN or infinity in FP16; keep the float graph, or"
                " use --precision int8"
            )
        possible = set(material.graph().half)
        movable = tuple(group for group in groups if possible.issuperset(group.nodes))
        return cls(named, material.magnitudes, decode_in_float, movable, material.required)

    def without(self, overflow: Overflow) -> HalfMaterial:
        """The same with the overflowing operation, and its group or those before it, in FP32."""
        largest = {**self.magnitudes.largest}
        if overflow.rounded:
            largest[overflow.value] = math.inf
        node = next(node for node in self.model.graph.node if overflow.value in node.output)
        causes = {overflow.node}
        if not overflow.rounded:
            causes |= {other.name for other in self.model.graph.node if set(other.output) & set(node.input)}
        inside = [group for group in self.groups if causes.intersection(group.nodes)]
        names = causes.union(*[group.nodes for group in inside])
        reason = f"{overflow.node} returns NaN or infinity in FP16"
        required = {**self.required, **dict.fromkeys(names, reason)}
        magnitudes = Magnitudes(self.magnitudes.frames, largest)
        return HalfMaterial(self.model, magnitudes, self.decode_in_float, self.groups, required)

    def graph(self, kept: Collection[str] = ()) -> HalfGraph:
        """The FP16 graph with the named groups in FP32."""
        reasons = {
            node: f"{group.kind}, kept by the search"
            for group in self.groups
            if group.name in kept
            for node in group.nodes
        }
        rules = HalfRules(
            decode_in_float=self.decode_in_float, cautious=False, kept={**reasons, **self.required}
        )
        return half_graph(self.model, self.magnitudes, rules)

    def noise(self, frames: Iterable[Batch], threads: int | None) -> dict[str, float]:
        """The output noise that each group adds if it alone is FP16, on `SIGNAL_IMAGES` images."""
        batches: list[Batch] = []
        for batch in frames:
            batches.append(batch)
            if sum(map(len, batches)) >= SIGNAL_IMAGES:
                break
        meter = NoiseMeter(self.model, batches, threads)

        names = {group.name for group in self.groups}

        def noise_of(block: Sequence[Group]) -> float:
            return meter.noise(self.graph(names - {group.name for group in block}).model)

        return noise_of_groups(self.groups, noise_of)

    def kept_groups(self, kept: Collection[str], noise: dict[str, float]) -> tuple[KeptGroup, ...]:
        """The groups in FP32 for the record, most noise first; then the nodes that overflow."""
        whole = sum(group.work for group in self.groups)
        chosen = sorted((g for g in self.groups if g.name in kept), key=lambda g: -noise.get(g.name, 0.0))
        found = [
            KeptGroup(g.name, g.kind, g.nodes, g.work / whole, f"noise {noise[g.name]:.2e}") for g in chosen
        ]
        found += [
            KeptGroup(node, "overflow", (node,), 0.0, why) for node, why in sorted(self.required.items())
        ]
        return tuple(found)


def _not_found(result: SearchResult, options: QuantizeOptions, name: str) -> str:
    best = max(result.candidates, key=lambda candidate: (candidate.drop.sure, -candidate.drop.points))
    return (
        f"{name}: no FP16 graph passes verification within {options.budget.max_drop:g} points {result.metric}; the"
        f" nearest has {100 * best.low_share:.1f} % of the work in FP16 and loses {best.drop}, which keeps the budget"
        f" in {100 * best.drop.sure:.0f} % of the draws; allow more with --max-drop, or measure on more images with"
        " --eval-images"
    )
