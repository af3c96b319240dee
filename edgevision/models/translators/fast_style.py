"""Fast style transfer (Johnson et al., arXiv 1603.08155), one style for each network.

Instance normalisation replaces batch normalisation (arXiv 1607.08022), and nearest neighbours with a convolution
replace transposed convolutions. Parameter names are those of PyTorch's public example `fast_neural_style`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.weights import assign_weights, without_prefix

STRIDE = 4
"""Both sides of an image must be multiples of this."""
_LAST = "deconv3.conv2d.weight"
"""A name that no longer one ends with: `res1` also has a `conv1`."""
_STATISTICS = re.compile(r"(?:.*\.)?in\d+\.(?:running_mean|running_var|num_batches_tracked)")


class _Convolution(nn.Module):
    """A convolution of a map whose edges are reflected, after an enlargement by nearest neighbours."""

    def __init__(self, before: int, after: int, side: int, stride: int = 1, enlargement: int = 1) -> None:
        super().__init__()
        self.edge, self.enlargement = side // 2, enlargement
        self.conv2d = nn.Conv2d(before, after, side, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        if self.enlargement > 1:
            x = F.interpolate(x, scale_factor=float(self.enlargement), mode="nearest")
        out: torch.Tensor = self.conv2d(F.pad(x, (self.edge,) * 4, mode="reflect"))
        return out


class _Residual(nn.Module):
    """Two normalised convolutions, whose result is added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _Convolution(width, width, 3)
        self.in1 = _norm(width)
        self.conv2 = _Convolution(width, width, 3)
        self.in2 = _norm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        out: torch.Tensor = x + self.in2(self.conv2(F.relu(self.in1(self.conv1(x)))))
        return out


class FastStyleNetwork(nn.Module):
    """Images in one style: float ``[B,3,H,W]`` RGB in 0..255 to the same shape and range, not limited to it.

    `widths` are the channels at the full size, at half and at a quarter of it.
    """

    def __init__(self, widths: tuple[int, int, int] = (32, 64, 128), depth: int = 5) -> None:
        super().__init__()
        if min(widths) < 1 or depth < 1:
            raise UsageError(f"widths and depth must be positive; received {widths} and {depth}")
        self.widths, self.depth = widths, depth
        full, half, quarter = widths
        self.conv1, self.in1 = _Convolution(3, full, 9), _norm(full)
        self.conv2, self.in2 = _Convolution(full, half, 3, 2), _norm(half)
        self.conv3, self.in3 = _Convolution(half, quarter, 3, 2), _norm(quarter)
        for number in range(1, depth + 1):
            self.add_module(f"res{number}", _Residual(quarter))
        self.deconv1, self.in4 = _Convolution(quarter, half, 3, enlargement=2), _norm(half)
        self.deconv2, self.in5 = _Convolution(half, full, 3, enlargement=2), _norm(full)
        self.deconv3 = _Convolution(full, 3, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to images."""
        x = F.relu(self.in1(self.conv1(x)))
        x = F.relu(self.in2(self.conv2(x)))
        x = F.relu(self.in3(self.conv3(x)))
        for number in range(1, self.depth + 1):
            x = self.get_submodule(f"res{number}")(x)
        x = F.relu(self.in4(self.deconv1(x)))
        x = F.relu(self.in5(self.deconv2(x)))
        out: torch.Tensor = self.deconv3(x)
        return out


def _norm(width: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(width, affine=True)


def fast_style_from_state_dict(tensors: Mapping[str, torch.Tensor]) -> FastStyleNetwork:
    """The `FastStyleNetwork` with these weights, in eval mode; its sizes are read from the shapes.

    Statistics of instance normalisation, which files of old versions hold, are dropped: the network uses those of each
    image. Raises `CheckpointError` if the weights belong to another network.
    """
    found = without_prefix(tensors, _LAST)
    found = {name: tensor for name, tensor in found.items() if not _STATISTICS.fullmatch(name)}
    maps = [found.get(f"conv{number}.conv2d.weight") for number in (1, 2, 3)]
    depth = sum(bool(re.fullmatch(r"res\d+\.conv1\.conv2d\.weight", name)) for name in found)
    widths = [tensor.shape[0] for tensor in maps if tensor is not None and tensor.ndim == 4]
    if len(widths) != len(maps) or not depth:
        raise CheckpointError(
            "not the weights of a FastStyleNetwork: expected conv1.conv2d.weight to conv3.conv2d.weight and"
            " res1.conv1.conv2d.weight"
        )
    with torch.device("meta"):
        model = FastStyleNetwork((widths[0], widths[1], widths[2]), depth)
    assign_weights(model, found)
    return model.eval()
