"""Divides a finished graph into parts by node names, and extracts its network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from edgevision.engines.ort_settings import cpu_session
from edgevision.graph.contract import with_outputs
from edgevision.graph.nms import CANDIDATES

PARTS = ("pre-processing", "network", "decoding", "top-k", "nms", "compaction")
PRE, NETWORK, DECODING, TOP_K, NMS, COMPACTION = PARTS


@dataclass(frozen=True, slots=True)
class NodeTimes:
    """Milliseconds of each call of the nodes that an engine runs, and the part of each."""

    samples_ms: Mapping[str, list[float]]
    parts: Mapping[str, str]


def parts_of(model: onnx.ModelProto) -> dict[str, str]:
    """The part of each node by its name."""
    makers = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)
    after = [node for node in model.graph.node if node.name.startswith("post/")]
    before_nms = _reached((makers[name] for name in CANDIDATES if name in makers), makers, readers, back=True)
    last = [node for node in after if node.op_type == "TopK"][-1:]
    compaction = _reached(last, makers, readers, back=False)
    parts = {}
    for node in model.graph.node:
        if node.name.startswith("pre/"):
            parts[node.name] = PRE
        elif not node.name.startswith("post/"):
            parts[node.name] = NETWORK
        elif node.name in compaction:
            parts[node.name] = COMPACTION
        elif node.name in before_nms or not before_nms:
            parts[node.name] = TOP_K if node.op_type == "TopK" else DECODING
        else:
            parts[node.name] = NMS
    return parts


def _reached(
    nodes: Iterable[onnx.NodeProto],
    makers: Mapping[str, onnx.NodeProto],
    readers: Mapping[str, list[onnx.NodeProto]],
    *,
    back: bool,
) -> set[str]:
    """Names of these nodes and of all before them in post-processing (`back`), or after them."""
    seen: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.name in seen or not node.name.startswith("post/"):
            continue
        seen.add(node.name)
        if back:
            waiting += [makers[name] for name in node.input if name in makers]
        else:
            waiting += [reader for name in node.output for reader in readers.get(name, ())]
    return seen


def network_alone(
    model: onnx.ModelProto, frames: npt.NDArray[np.uint8]
) -> tuple[onnx.ModelProto, dict[str, npt.NDArray[np.float32]]]:
    """The graph from the float image to the raw outputs, and the image that pre-processing makes of frames."""
    body = [node for node in model.graph.node if not node.name.startswith(("pre/", "post/"))]
    made = {name for node in body for name in node.output}
    stored = {tensor.name for tensor in model.graph.initializer}
    read = {name for node in body for name in node.input if name}
    (image,) = read - made - stored
    wanted = {
        name for node in model.graph.node if node.name.startswith("post/") for name in node.input
    } & made
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = {value.name: value for value in inferred.value_info}
    graph = onnx.helper.make_graph(
        body,
        "network",
        [values[image]],
        [values[name] for name in sorted(wanted)],
        [tensor for tensor in model.graph.initializer if tensor.name in read],
    )
    alone = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    (pixels,) = cpu_session(with_outputs(model, (image,)).SerializeToString()).run(None, {"frames": frames})
    return alone, {image: pixels}
