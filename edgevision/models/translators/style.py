"""Fast style transfer (Johnson et al., arXiv 1603.08155) with several styles in one network (arXiv 1610.07629)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.translators.cyclegan import enlarged, padded
from edgevision.models.weights import assign_weights, without_prefix

STRIDE = 4
"""Both sides of an image must be multiples of this."""
_RATIO = 3
"""Channels at a quarter of the size, relative to those at half the size."""
_SPREAD = 0.1
"""Standard deviation of the first factors and offsets, around 1 and 0."""


class StyleNetwork(nn.Module):
    """Images in one of several styles: float ``[B,3,H,W]`` RGB in 0..1 and int64 ``[B]`` to float ``[B,3,H,W]``.

    All styles share the convolutions. Each has a factor and an offset of its own for every channel after an instance
    normalisation (arXiv 1610.07629, eq. 5): a row of one table. Only the last convolution runs at the full size.
    """

    def __init__(self, styles: int = 4, width: int = 16, depth: int = 4) -> None:
        super().__init__()
        if styles < 1 or width < 1 or depth < 1:
            raise UsageError(
                f"styles, width and depth must be positive; received {styles}, {width} and {depth}"
            )
        self.style_count, self.width, self.depth = styles, width, depth
        inner = _RATIO * width
        self.first = nn.Conv2d(3, width, 5, 2, bias=False)
        self.down = nn.Conv2d(width, inner, 3, 2, 1, bias=False)
        self.body = nn.ModuleList(nn.Conv2d(inner, inner, 3, padding=1, bias=False) for _ in range(2 * depth))
        self.up = nn.Conv2d(inner, width, 3, bias=False)
        self.last = nn.Conv2d(width, 3, 5)
        self.widths = (width, *[inner] * (1 + 2 * depth), width)
        """Channels of each normalised map, in order."""
        self.styles = nn.Embedding(styles, 2 * sum(self.widths))
        with torch.no_grad():
            self.styles.weight.mul_(_SPREAD)
            self.styles.weight[:, : sum(self.widths)] += 1

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Images and the number of each one's style to images."""
        factors, offsets = self.styles(label.long())[:, :, None, None].chunk(2, 1)
        scales = iter(zip(factors.split(self.widths, 1), offsets.split(self.widths, 1), strict=True))

        def styled(features: torch.Tensor) -> torch.Tensor:
            factor, offset = next(scales)
            out: torch.Tensor = F.instance_norm(features) * factor + offset
            return out

        x = F.relu(styled(self.first(padded(x, 2))))
        x = F.relu(styled(self.down(x)))
        for inner, outer in zip(self.body[::2], self.body[1::2], strict=True):
            x = x + styled(outer(F.relu(styled(inner(x)))))
        x = F.relu(styled(self.up(padded(enlarged(x), 1))))
        out: torch.Tensor = self.last(padded(enlarged(x), 2))
        return out.sigmoid()


def style_network_from_state_dict(tensors: Mapping[str, torch.Tensor]) -> StyleNetwork:
    """The `StyleNetwork` with these weights, in eval mode; its sizes are read from the shapes.

    Raises `CheckpointError` if the weights belong to another network.
    """
    tensors = without_prefix(tensors, "styles.weight")
    first, styles = tensors.get("first.weight"), tensors.get("styles.weight")
    depth = sum(name.startswith("body.") and name.endswith(".weight") for name in tensors)
    if first is None or styles is None or first.ndim != 4 or styles.ndim != 2 or depth % 2 or not depth:
        raise CheckpointError(
            "not the weights of a StyleNetwork: expected styles.weight, first.weight and body.0.weight to body.N.weight"
        )
    with torch.device("meta"):
        model = StyleNetwork(styles.shape[0], first.shape[0], depth // 2)
    assign_weights(model, tensors)
    return model.eval()
