"""Networks with several styles: PyTorch's reference has one of them, the graph has all.

The label of the graph's style is a value that engines can replace (`contract.overrides`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from edgevision.contract.overrides import LABEL
from edgevision.errors import GraphError
from edgevision.export.file_source import relative_difference
from edgevision.export.modules.outputs import module_outputs
from edgevision.export.network import INPUT, onnx_from_inputs, onnx_from_module, run_network
from edgevision.graph.builder import GraphBuilder, ints
from edgevision.graph.contract import opset_of
from edgevision.graph.surgery import graph_inputs
from edgevision.models.recipe import SourceModel

LABELS = "label"
"""The input of a bare network for labels, int64 ``[B]``."""


class FixedStyle(torch.nn.Module):
    """A network with several styles, in one of them: images to its outputs."""

    def __init__(self, network: torch.nn.Module, style: int, count: int) -> None:
        super().__init__()
        self.network, self.style, self.count = network, style, count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All images in the style."""
        out: torch.Tensor = self.network(x, torch.full((len(x),), self.style, device=x.device))
        return out


def with_fixed_style(source: SourceModel) -> SourceModel:
    """The source in its default style, if it has several; else itself."""
    if source.style is None:
        return source
    return replace(source, module=FixedStyle(source.module, source.style, len(source.classes)))


def network_of(
    module: torch.nn.Module, size_wh: tuple[int, int], batch: int, *, dynamic_batch: bool
) -> onnx.ModelProto:
    """`onnx_from_module`; of a `FixedStyle` with all styles, which engines can choose from."""
    if not isinstance(module, FixedStyle):
        return onnx_from_module(module, size_wh, batch, dynamic_batch=dynamic_batch)
    examples = {
        INPUT: torch.zeros(batch, 3, size_wh[1], size_wh[0]),
        LABELS: torch.zeros(batch, dtype=torch.int64),
    }
    network = onnx_from_inputs(module.network, examples, dynamic_batch=dynamic_batch)
    return bind_label(network, module.style, module.count)


def styles_difference(module: torch.nn.Module, network: onnx.ModelProto, tensor: torch.Tensor) -> float:
    """The largest relative difference of the raw outputs in any style; 0 for a network without styles."""
    if not isinstance(module, FixedStyle):
        return 0.0
    worst = 0.0
    for style in range(module.count):
        expected = module_outputs(FixedStyle(module.network, style, module.count), tensor)
        actual = run_network(with_label(network, style), tensor.numpy())
        pairs = zip((array.numpy() for array in expected), actual, strict=True)
        worst = max(worst, *(relative_difference(left, right) for left, right in pairs))
    return worst


def bind_label(network: onnx.ModelProto, label: int, count: int) -> onnx.ModelProto:
    """A copy whose second input, `LABELS`, is the value `LABEL`, limited to `count` - 1 for every row.

    The limit is computed from a pixel, because engines fold what depends on constants only: a replaced value would have
    no effect. Raises `GraphError` for other inputs.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network)
    given = graph_inputs(model.graph)
    if len(given) != 2 or given[1].name != LABELS:
        names = ", ".join(value.name for value in given)
        raise GraphError(f"the network has the inputs {names}; expected an image and {LABELS}")
    image = given[0].name
    model.graph.input.remove(given[1])
    b = GraphBuilder(model.graph, "style/", opset_of(model))
    pixel = b.op("Slice", image, ints(0, 0, 0), ints(1, 1, 1), ints(1, 2, 3))
    size = b.op("Cast", b.op("Abs", b.op("Reshape", pixel, ints(-1))), to=onnx.TensorProto.INT64)
    limit = b.op("Add", size, np.array([count - 1], np.int64))
    value = b.op("Min", b.named(LABEL, np.array([label], np.int64)), limit)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == LABELS:
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
