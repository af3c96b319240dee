"""Networks with several styles: the label becomes a value of the graph that engines can replace."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from edgevision.contract.overrides import LABEL
from edgevision.errors import GraphError
from edgevision.graph.builder import GraphBuilder, ints
from edgevision.graph.contract import opset_of
from edgevision.graph.surgery import graph_inputs

INPUT = "label"
"""The input of a bare network for labels, int64 ``[B]``."""


def bind_label(network: onnx.ModelProto, label: int, count: int) -> onnx.ModelProto:
    """A copy whose second input, `INPUT`, is the value `LABEL`, limited to `count` - 1 for every row.

    The limit is computed from a pixel, because engines fold what depends on constants only: a replaced value would have
    no effect. Raises `GraphError` for other inputs.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network)
    given = graph_inputs(model.graph)
    if len(given) != 2 or given[1].name != INPUT:
        names = ", ".join(value.name for value in given)
        raise GraphError(f"the network has the inputs {names}; expected an image and {INPUT}")
    image = given[0].name
    model.graph.input.remove(given[1])
    b = GraphBuilder(model.graph, "style/", opset_of(model))
    pixel = b.op("Slice", image, ints(0, 0, 0), ints(1, 1, 1), ints(1, 2, 3))
    size = b.op("Cast", b.op("Abs", b.op("Reshape", pixel, ints(-1))), to=onnx.TensorProto.INT64)
    limit = b.op("Add", size, np.array([count - 1], np.int64))
    value = b.op("Min", b.named(LABEL, np.array([label], np.int64)), limit)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == INPUT:
                node.input[place] = value
    b.flush(first=True)
    return model


def with_label(graph: onnx.ModelProto, label: int) -> onnx.ModelProto:
    """A copy with another value of `LABEL`."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    for tensor in model.graph.initializer:
        if tensor.name == LABEL:
            tensor.CopyFrom(numpy_helper.from_array(np.array([label], np.int64), LABEL))
            return model
    raise GraphError(f"the graph has no value {LABEL}")
