"""Facts about the last nodes of a network, which tell apart heads of equal shapes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from edgevision.graph.heads.head import MOST_CLASSES
from edgevision.graph.surgery import describe_value

_ONE_INPUT = frozenset(
    (
        *("Identity", "Cast", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Pad"),
        *("Slice", "Split", "Gather", "GatherElements", "GatherND"),
    )
)
"""Operators that move values of their first input and compute none."""
_CLAMPS = frozenset(("Clip", "Max", "Min", "Relu"))

_Makers = Mapping[str, onnx.NodeProto]


def makers_of(graph: onnx.GraphProto) -> _Makers:
    """The node that makes each value."""
    return {name: node for node in graph.node for name in node.output if name}


def ends_of(graph: onnx.GraphProto) -> tuple[frozenset[str], ...]:
    """For each output the operators that compute its values, past those that only move them."""
    makers = makers_of(graph)
    return tuple(_ends(makers, value.name) for value in graph.output)


def leading_of(graph: onnx.GraphProto) -> frozenset[str]:
    """The operators that compute the first of the values joined in the first output."""
    if not graph.output:
        return frozenset()
    return _ends(makers_of(graph), graph.output[0].name, first_only=True)


def _ends(makers: _Makers, name: str, *, first_only: bool = False) -> frozenset[str]:
    found: set[str] = set()
    waiting, seen = [name], {name}
    while waiting:
        node = makers.get(waiting.pop())
        if node is None:
            continue
        if node.op_type == "Concat":
            following = list(node.input)[: 1 if first_only else None]
        elif node.op_type in _ONE_INPUT or (node.op_type in _CLAMPS and len(node.input) <= 3):
            following = [node.input[0]]
        else:
            found.add(node.op_type)
            continue
        waiting.extend(value for value in following if value not in seen)
        seen.update(following)
    return frozenset(found)


def fixed_parts(graph: onnx.GraphProto) -> int:
    """Number of values joined in the first output that do not depend on the image's pixels."""
    makers = makers_of(graph)
    node = makers.get(graph.output[0].name) if graph.output else None
    while node is not None and node.op_type in ("Identity", "Cast", "Transpose", "Reshape"):
        node = makers.get(node.input[0])
    if node is None or node.op_type != "Concat":
        return 0
    images = {value.name for value in graph.input}
    return sum(not _depends(makers, name, images) for name in node.input)


def _depends(makers: _Makers, name: str, images: set[str]) -> bool:
    waiting, seen = [name], {name}
    while waiting:
        value = waiting.pop()
        if value in images:
            return True
        node = makers.get(value)
        if node is None or node.op_type in ("Shape", "Size"):
            continue
        following = [other for other in node.input if other and other not in seen]
        # A nested graph may read anything.
        if any(attribute.HasField("g") for attribute in node.attribute):
            return True
        seen.update(following)
        waiting.extend(following)
    return False


def label_count(model: onnx.ModelProto, output: str) -> int | None:
    """The number of classes that an output of labels was computed with; None if the graph does not show it.

    Labels are an index over boxes and classes modulo the number of classes, or the place of the best class.
    """
    graph = model.graph
    makers = makers_of(graph)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    waiting, seen = [output], {output}
    while waiting:
        node = makers.get(waiting.pop())
        if node is None:
            continue
        if node.op_type == "Mod":
            return _scalar(makers, constants, node.input[1])
        if node.op_type == "ArgMax":
            return _axis_length(model, node)
        if node.op_type == "Sub":
            count = _subtracted(makers, constants, node)
            if count is not None:
                return count
            continue
        following = list(node.input) if node.op_type == "Concat" else []
        if node.op_type in _ONE_INPUT:
            following = [node.input[0]]
        waiting.extend(value for value in following if value not in seen)
        seen.update(following)
    return None


def _subtracted(
    makers: _Makers, constants: Mapping[str, onnx.TensorProto], node: onnx.NodeProto
) -> int | None:
    """C of ``index - index / C * C``."""
    product = makers.get(node.input[1])
    while product is not None and product.op_type in ("Cast", "Identity"):
        product = makers.get(product.input[0])
    if product is None or product.op_type != "Mul":
        return None
    counts = [_scalar(makers, constants, name) for name in product.input]
    return next((count for count in counts if count is not None), None)


def _scalar(makers: _Makers, constants: Mapping[str, onnx.TensorProto], name: str) -> int | None:
    tensor = constants.get(name)
    node = makers.get(name)
    if tensor is None and node is not None and node.op_type == "Constant" and node.attribute:
        tensor = node.attribute[0].t if node.attribute[0].HasField("t") else None
    if tensor is None or int(np.prod(tensor.dims)) != 1:
        return None
    value = float(np.asarray(numpy_helper.to_array(tensor)).reshape(-1)[0])
    return int(value) if value.is_integer() and 0 < value <= MOST_CLASSES else None


def _axis_length(model: onnx.ModelProto, node: onnx.NodeProto) -> int | None:
    """The length of the axis along which an ArgMax chooses."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # it raises its own errors; without shapes there is no answer
        return None
    values = {value.name: value for value in (*inferred.value_info, *inferred.input, *inferred.output)}
    value = values.get(node.input[0])
    shape = describe_value(value).shape if value is not None else ()
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    return shape[axis] if -len(shape) <= axis < len(shape) else None
