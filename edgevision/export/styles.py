"""Networks with several styles: PyTorch's reference has one of them, the graph has all."""

from __future__ import annotations

from dataclasses import replace

import onnx
import torch

from edgevision.export.file_source import relative_difference
from edgevision.export.modules.outputs import module_outputs
from edgevision.export.network import INPUT, onnx_from_inputs, onnx_from_module, run_network
from edgevision.graph.labels import INPUT as LABELS
from edgevision.graph.labels import bind_label, with_label
from edgevision.models.recipe import SourceModel


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
