"""One graph in every precision, checked against every version of TensorRT."""

from __future__ import annotations

import onnx

from edgevision.contract.session import Frames
from edgevision.graph.limits.check import readable_by
from edgevision.graph.limits.versions import LIMITS
from edgevision.quantize.calibration.magnitudes import probe_magnitudes
from edgevision.quantize.calibration.ranges import Ranges
from edgevision.quantize.fp16 import HalfRules, half_graph
from edgevision.quantize.opset17 import opset17_form
from edgevision.quantize.placement import QdqPlacement
from edgevision.quantize.qdq import quantized

ALL = [row.name for row in LIMITS]


def precisions(
    model: onnx.ModelProto, frames: Frames, placement: QdqPlacement, *, decode: bool
) -> dict[str, onnx.ModelProto]:
    """The graph, with named nodes, in float, FP16, INT8 with a float remainder and with an FP16 one, and for 8.6."""
    named = model
    magnitudes = probe_magnitudes(named, [frames])
    thresholds = {tensor: magnitudes.largest[tensor] for tensor in placement.tensors}
    int8 = quantized(named, placement, Ranges("max", magnitudes.frames, thresholds))
    half = half_graph(int8, probe_magnitudes(int8, [frames]), HalfRules(decode_in_float=decode)).model
    return {
        "float": model,
        "fp16": half_graph(named, magnitudes, HalfRules(decode_in_float=decode)).model,
        "int8": int8,
        "int8+fp16": half,
        "int8, opset 17": opset17_form(int8, half),
    }


def assert_read(graphs: dict[str, onnx.ModelProto]) -> None:
    """Every version reads every graph, but for 8.6 and FP16 scales: that is built from a form of its own."""
    for precision, graph in graphs.items():
        found = {row.name: [str(one) for one in unread] for row, unread in readable_by(graph)}
        if precision == "int8+fp16" and "QuantizeLinear" in {node.op_type for node in graph.graph.node}:
            old = found.pop("8.6")
            assert "its opset is 19; TensorRT 8.6 supports 1 to 17" in old[0]
        assert not any(found.values()), found
        assert set(found) >= set(ALL) - {"8.6"}
