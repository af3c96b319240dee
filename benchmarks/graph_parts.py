"""Times of the nodes of each part of a finished graph, and the graph of its network alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from edgevision.engines.ort_settings import cpu_session
from edgevision.graph.contract import with_outputs


@dataclass(frozen=True, slots=True)
class NodeTimes:
    """Milliseconds of each call of the nodes that an engine runs, and the part of each."""

    samples_ms: Mapping[str, list[float]]
    parts: Mapping[str, str]


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
