"""Reads a third-party network and the facts that its head is recognised by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from edgevision.contract.spec import BatchRange, problem_of_size
from edgevision.errors import GraphError
from edgevision.graph.contract import load_model, prepare_network
from edgevision.graph.first_run import TIMEOUT_S, require_an_end
from edgevision.graph.foreign.inputs import FileInputs, bind, reduce_to_image
from edgevision.graph.foreign.metadata import FileMetadata
from edgevision.graph.foreign.plugins import cut_plugin
from edgevision.graph.foreign.traits import ends_of, fixed_parts, label_count, leading_of
from edgevision.graph.heads.head import MOST_CLASSES, NetworkFacts
from edgevision.graph.simplify import simplify
from edgevision.graph.surgery import describe_value, inferred_outputs, network_input, set_input, walk

_LAYERS = frozenset(
    (
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
    )
)
FLOATS = ("float32", "float16")


@dataclass(frozen=True, slots=True)
class ForeignNetwork:
    """A simplified network of fixed input size, with the facts about it."""

    path: Path
    network: onnx.ModelProto
    facts: NetworkFacts
    metadata: FileMetadata
    classes: tuple[str, ...] | None
    """The user's class names, or those in the file."""
    batch: BatchRange
    inputs: FileInputs


class UnknownSizeError(GraphError):
    """A network with an input of any size, and neither the file nor the user has chosen one."""


def read_foreign(
    path: Path,
    *,
    size_wh: tuple[int, int] | None = None,
    batch: BatchRange | None = None,
    classes: tuple[str, ...] | None = None,
    keypoint_shape: tuple[int, int] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> ForeignNetwork:
    """Read an ONNX file; arguments that are None come from the file.

    `size_wh` is needed only if the input is dynamic and the metadata has no `imgsz`. `keypoint_shape` is the number of
    keypoints and of values of each. `timeout_s` limits the first
    inference of a file with loops. Raises `GraphError` if the file or its input is unsuitable.
    """
    if classes is not None and len(classes) > MOST_CLASSES:
        raise GraphError(
            f"there are {len(classes):,} class names; at most {MOST_CLASSES:,} classes are supported: give as many"
            " names as the network has classes"
        )
    model = load_model(path)
    plugin = cut_plugin(model)
    network = prepare_network(model)
    inputs = reduce_to_image(network.graph)
    metadata = FileMetadata.of(model)
    size_wh = _size(network, size_wh, metadata.size_hw)
    batch = batch or BatchRange(*[describe_value(network_input(network.graph)).shape[0] or 1] * 3)
    set_input(network.graph, size_wh, batch)
    bind(network.graph, inputs, size_wh, batch)
    require_an_end(network, path.name, timeout_s)
    network = simplify(network)
    classes = classes or metadata.classes
    facts = replace(
        facts_of(network, size_wh, len(classes) if classes else None),
        batch=batch.max if batch.static else None,
        keypoint_shape=keypoint_shape or metadata.keypoint_shape,
        plugin=plugin,
    )
    return ForeignNetwork(path, network, facts, metadata, classes, batch, inputs)


def facts_of(network: onnx.ModelProto, size_wh: tuple[int, int], class_count: int | None) -> NetworkFacts:
    """Facts of a simplified network of this input size; batch and keypoints stay unknown."""
    return NetworkFacts(
        outputs=inferred_outputs(network),
        size_wh=size_wh,
        class_count=class_count,
        operators=frozenset(node.op_type for graph in walk(network.graph) for node in graph.node),
        tail=_tail(network.graph),
        joined=_joined(network.graph),
        parts=_parts(network),
        ends=ends_of(network.graph),
        fixed_parts=fixed_parts(network.graph),
        leading=leading_of(network.graph),
        label_count=_label_count(network),
    )


def _size(
    model: onnx.ModelProto, wanted: tuple[int, int] | None, recorded_hw: tuple[int, int] | None
) -> tuple[int, int]:
    """The network's input size: the file's own, or `wanted` or else `recorded_hw` if the input is dynamic."""
    value = describe_value(network_input(model.graph))
    shape = value.shape
    if len(shape) != 4 or shape[1] not in (3, None) or value.dtype not in FLOATS:
        raise GraphError(
            f"the network's input is {value}; expected float32 or float16 [B, 3, H, W] or [B, H, W, 3]"
        )
    height, width = shape[2:]
    if wanted is None and recorded_hw is not None:
        recorded = (width or recorded_hw[1], height or recorded_hw[0])
    else:
        recorded = (width or 0, height or 0)
    size_wh = wanted or recorded
    if wanted is None and 0 in size_wh and (width is None or height is None):
        raise UnknownSizeError(
            f"the network takes images of any size ({value}), and its metadata has no imgsz; choose a size with --size"
            " WxH"
        )
    problem = "the image has no pixels" if 0 in size_wh else problem_of_size(size_wh)
    if problem is not None:
        raise GraphError(f"{problem}: {value}")
    if width not in (None, size_wh[0]) or height not in (None, size_wh[1]):
        raise GraphError(f"expected the network's size {width}x{height}; received {size_wh[0]}x{size_wh[1]}")
    return size_wh


def _tail(graph: onnx.GraphProto) -> frozenset[str]:
    """Operators between the last layers with weights and the outputs."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    waiting = [value.name for value in graph.output]
    seen: set[int] = set()
    while waiting:
        index = makers.get(waiting.pop())
        if index is None or index in seen or graph.node[index].op_type in _LAYERS:
            continue
        seen.add(index)
        waiting.extend(graph.node[index].input)
    return frozenset(graph.node[index].op_type for index in seen)


def _joined(graph: onnx.GraphProto) -> int:
    """Number of inputs of the Concat that makes the first output; 0 if another node makes it."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(graph.output[0].name) if graph.output else None
    while node is not None and node.op_type in ("Identity", "Cast", "Transpose", "Reshape"):
        node = makers.get(node.input[0])
    return len(node.input) if node is not None and node.op_type == "Concat" else 0


def _parts(network: onnx.ModelProto) -> tuple[int | None, ...]:
    """Lengths of the values that Concat nodes join on axis 1 of the first output; empty if none does."""
    inferred = onnx.shape_inference.infer_shapes(network, data_prop=True).graph
    makers = {name: node for node in inferred.node for name in node.output}
    shapes = {value.name: describe_value(value).shape for value in (*inferred.value_info, *inferred.output)}

    def parts(name: str) -> list[int | None]:
        node = makers.get(name)
        if node is None or node.op_type != "Concat" or node.attribute[0].i != 1:
            shape = shapes.get(name, ())
            return [shape[1] if len(shape) > 1 else None]
        return [length for value in node.input for length in parts(value)]

    found = parts(inferred.output[0].name) if inferred.output else []
    return tuple(found) if len(found) > 1 else ()


def _label_count(network: onnx.ModelProto) -> int | None:
    """The number of classes behind the first output that holds labels."""
    found = (label_count(network, value.name) for value in network.graph.output)
    return next((count for count in found if count is not None), None)
