"""Adds an FP16 graph to a bundle if it passes verification."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from edgevision.bundle.folder import Bundle, Golden, Verification
from edgevision.contract.inputs import Batch
from edgevision.contract.spec import BOX_TASKS
from edgevision.engines.opening import open_session
from edgevision.errors import GraphError
from edgevision.export.verify import Progress
from edgevision.graph.limits.check import require_named
from edgevision.graph.surgery import walk, with_named_nodes
from edgevision.quantize.calibration.magnitudes import probe_magnitudes
from edgevision.quantize.fp16 import HalfGraph, HalfRules, half_graph, values_to_probe
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.quantize.half.groups import SENSITIVE, groups_of
from edgevision.quantize.half.preparation import prepared
from edgevision.quantize.signedness import DEQUANTIZE
from edgevision.verification.golden import verify_session

EMULATED = "emulated fp16"
"""Engine name in records of graphs with every rounding to FP16 written out.

ONNX Runtime's CPU provider computes FP16 graphs in float32.
"""


def with_fp16(bundle: Bundle, progress: Progress, tensorrt: tuple[str, ...] = ()) -> Bundle:
    """Add an FP16 graph to a new bundle if it answers the golden frames within FP16's limits.

    TensorRT builds it into an engine about twice as fast. The value ranges of the golden frames decide which nodes stay
    float32; if that is not enough, all operations that are sensitive in transformers do. If the graph fails, or a
    version in `tensorrt` cannot read it, `progress` reports it and the bundle is unchanged.
    """
    began = time.perf_counter()
    model = with_named_nodes(onnx.load(bundle.graph_path("float")))
    if any(node.op_type == DEQUANTIZE for part in walk(model.graph) for node in part.node):
        progress("no FP16 graph: the model contains Q/DQ and is already quantized")
        return bundle
    golden = bundle.golden()
    finding = ""
    try:
        for half in _attempts(bundle, model, golden):
            require_named(half.model, tensorrt, "it")
            graphs = ((half.model, None), (emulated_half(half.model), EMULATED))
            records = tuple(_verified(graph, golden, engine) for graph, engine in graphs)
            failed = [record for record in records if not record.passed]
            if not failed:
                return _added(bundle, half, records, progress, began)
            finding = finding or failed[0].finding
    except GraphError as error:
        finding = str(error)
    progress(f"no FP16 graph: {finding}; keeping only the float graph")
    return bundle


def _attempts(bundle: Bundle, model: onnx.ModelProto, golden: Golden) -> Iterator[HalfGraph]:
    """The graph by ranges and rules; then the one with every sensitive operation in float32, if it has any."""
    batches = batches_of(golden.inputs, bundle.spec.batch.opt)
    magnitudes = probe_magnitudes(model, batches, values_to_probe(model))
    rules = HalfRules(decode_in_float=bundle.spec.task in BOX_TASKS)
    half = half_graph(model, magnitudes, rules)
    yield half
    groups = [group for group in groups_of(prepared(model), half.half) if group.kind in SENSITIVE]
    if groups:
        kept = {
            node: f"{group.kind}, without which it fails verification"
            for group in groups
            for node in group.nodes
        }
        yield half_graph(model, magnitudes, replace(rules, kept=kept))


def _added(
    bundle: Bundle, half: HalfGraph, records: tuple[Verification, ...], progress: Progress, began: float
) -> Bundle:
    data = half.model.SerializeToString()
    bundle = bundle.add_graph("fp16", data, records)
    seconds = time.perf_counter() - began
    nodes = f"{half.half_nodes} nodes in FP16, {half.float_nodes} in FP32"
    progress(f"FP16 graph verified: {nodes}, {len(data) / 2**20:.1f} MiB, {seconds:.1f} s")
    return bundle


def _verified(graph: onnx.ModelProto, golden: Golden, engine: str | None) -> Verification:
    """Compare a graph with the golden answers within FP16's limits; `engine` is the name in the record."""
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(graph, file)
        with open_session(file, engine="onnxruntime") as session:
            record = verify_session(session, golden, precision="fp16")
    return replace(record, stage="export", engine=engine or record.engine)


def batches_of(inputs: Batch, size: int) -> Iterator[Batch]:
    """Inputs in batches of the graph's size; the last one is padded with its last row."""
    for start in range(0, len(inputs), size):
        yield inputs[np.arange(start, start + size).clip(max=len(inputs) - 1)]
