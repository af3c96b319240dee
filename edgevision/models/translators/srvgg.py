"""SRVGGNetCompact, the small networks of Real-ESRGAN (arXiv 2107.10833): convolutions at the input's size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.weights import assign_weights, without_prefix

Activation = Literal["prelu", "relu", "leakyrelu"]
_SLOPE = 0.1
"""Of the leaky ReLU."""
_FACTORS = range(1, 9)
_FIRST = "body.0.weight"


class SRVGGNetCompact(nn.Module):
    """Enlarges images: float ``[B,3,H,W]`` RGB in 0..1 to ``[B,3,H*factor,W*factor]``.

    A convolution to `width` channels, `depth` more of them, and one to ``3 * factor**2`` channels, which become blocks
    of pixels (arXiv 1609.05158). The input, each pixel repeated, is added. All but the last are followed by the
    activation. Parameter names are those of Real-ESRGAN's checkpoints.
    """

    def __init__(
        self, factor: int = 4, width: int = 64, depth: int = 16, activation: Activation = "prelu"
    ) -> None:
        super().__init__()
        if factor not in _FACTORS or width < 1 or depth < 0 or activation not in get_args(Activation):
            raise UsageError(
                f"factor must be 1 to 8, width positive, depth not negative and activation one of"
                f" {', '.join(get_args(Activation))}; received {factor}, {width}, {depth} and {activation}"
            )
        self.factor, self.width, self.depth = factor, width, depth
        layers: list[nn.Module] = []
        for before in (3, *[width] * depth):
            layers += [nn.Conv2d(before, width, 3, padding=1), _layer_of(activation, width)]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, 3 * factor**2, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Small images to large ones."""
        made = F.pixel_shuffle(self.body(x), self.factor)
        return made + F.interpolate(x, scale_factor=float(self.factor), mode="nearest")


def _layer_of(activation: Activation, width: int) -> nn.Module:
    if activation == "prelu":
        return nn.PReLU(width)
    return nn.ReLU() if activation == "relu" else nn.LeakyReLU(_SLOPE)


def is_srvgg(tensors: Mapping[str, torch.Tensor]) -> bool:
    """True for a state dict with nothing but the layers of one sequence, of which the first takes three channels."""
    found = without_prefix(tensors, _FIRST)
    first = found.get(_FIRST)
    if first is None or first.ndim != 4 or first.shape[1] != 3:
        return False
    last = max(int(name.split(".")[1]) for name in found if re.fullmatch(r"body\.\d+\.weight", name))
    final = found.get(f"body.{last}.weight")
    return (
        all(re.fullmatch(r"body\.\d+\.(weight|bias)", name) for name in found)
        and last > 0
        and final is not None
        and final.ndim == 4
        and final.shape[0] in _channels()
    )


def has_slopes(tensors: Mapping[str, torch.Tensor]) -> bool:
    """True if the activation is a PReLU: the others have no weights, and a state dict does not tell them apart."""
    return "body.1.weight" in without_prefix(tensors, _FIRST)


def srvgg_from_state_dict(
    tensors: Mapping[str, torch.Tensor], activation: Activation = "relu"
) -> SRVGGNetCompact:
    """The `SRVGGNetCompact` with these weights, in eval mode; its sizes are read from the shapes.

    `activation` is that of weights without slopes of a PReLU. Raises `CheckpointError` if the weights belong to another
    network.
    """
    if not is_srvgg(tensors):
        raise CheckpointError(
            "not the weights of an SRVGGNetCompact: expected body.0.weight to body.N.weight, whose last one has three"
            " times a square of channels"
        )
    tensors = without_prefix(tensors, _FIRST)
    maps = [tensor for name, tensor in tensors.items() if name.endswith(".weight") and tensor.ndim == 4]
    last = max(int(name.split(".")[1]) for name in tensors)
    factor = _channels()[tensors[f"body.{last}.weight"].shape[0]]
    used: Activation = "prelu" if has_slopes(tensors) else activation
    with torch.device("meta"):
        model = SRVGGNetCompact(factor, tensors[_FIRST].shape[0], max(len(maps) - 2, 0), used)
    assign_weights(model, tensors)
    return model.eval()


def _channels() -> dict[int, int]:
    """Channels of the last convolution, and the factor."""
    return {3 * factor**2: factor for factor in _FACTORS}
