"""The FP16 graph beside the float one: made from the same frames, verified, and left out where it does not hold."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from edgevision.bundle.folder import Bundle, Golden, Verification
from edgevision.engines.opening import open_session
from edgevision.errors import GraphError
from edgevision.export.verify import Progress
from edgevision.graph.limits.check import require_named
from edgevision.graph.surgery import walk
from edgevision.quantize.calibration.magnitudes import probe_magnitudes
from edgevision.quantize.fp16 import half_graph, values_to_probe
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.quantize.signedness import DEQUANTIZE
from edgevision.verification.golden import verify_session

EMULATED = "emulated fp16"
"""The engine of a record that was made with every rounding to FP16 written into the graph: ONNX Runtime's CPU provider
computes FP16 graphs in float32."""


def with_fp16(bundle: Bundle, progress: Progress, tensorrt: tuple[str, ...] = ()) -> Bundle:
    """Add an FP16 graph to a bundle that was just written, if it answers the golden frames within FP16's limits.

    TensorRT builds it into an engine about twice as fast. Which nodes stay float32 is decided by the ranges that the
    golden frames reach. Where the graph does not hold, or one of the versions `tensorrt` does not read it, `progress`
    says so and the bundle stays as it is.
    """
    began = time.perf_counter()
    model = onnx.load(bundle.graph_path("float"))
    if any(node.op_type == DEQUANTIZE for part in walk(model.graph) for node in part.node):
        progress("no FP16 graph: the model holds Q/DQ, and is quantized already")
        return bundle
    golden = bundle.golden()
    try:
        batches = _batches(golden.frames, bundle.spec.frames.batch.opt)
        magnitudes = probe_magnitudes(model, batches, values_to_probe(model))
        decode_in_float = bundle.spec.task in ("detect", "instances")
        half = half_graph(model, magnitudes, decode_in_float=decode_in_float)
        require_named(half.model, tensorrt, "it")
        records = tuple(
            _verified(graph, golden, engine)
            for graph, engine in ((half.model, None), (emulated_half(half.model), EMULATED))
        )
    except GraphError as error:
        progress(f"no FP16 graph: {error}; the float graph stands")
        return bundle
    failed = [record for record in records if not record.passed]
    if failed:
        progress(f"no FP16 graph: {failed[0].failures}; the float graph stands")
        return bundle
    data = half.model.SerializeToString()
    bundle = bundle.add_graph("fp16", data, records)
    seconds = time.perf_counter() - began
    nodes = f"{half.half_nodes} nodes in FP16, {half.float_nodes} in FP32"
    progress(f"FP16 graph verified: {nodes}, {len(data) / 2**20:.1f} MiB, {seconds:.1f} s")
    return bundle


def _verified(graph: onnx.ModelProto, golden: Golden, engine: str | None) -> Verification:
    """Hold a graph against the golden answers with FP16's limits; `engine` is what the record calls it."""
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(graph, file)
        with open_session(file, engine="onnxruntime") as session:
            record = verify_session(session, golden, precision="fp16")
    return replace(record, stage="export", engine=engine or record.engine)


def _batches(frames: npt.NDArray[np.uint8], size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Frames in batches of the graph's size; a last one is filled up with its last frame."""
    for start in range(0, len(frames), size):
        yield frames[np.arange(start, start + size).clip(max=len(frames) - 1)]
