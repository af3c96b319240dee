"""Decodes the raw maps of anchor-free heads in plain PyTorch: the reference for the graph's decoding."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def decode(
    boxes: Sequence[torch.Tensor], classes: Sequence[torch.Tensor], strides: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes ``[B,N,4]`` xyxy in input pixels, and their scores ``[B,N,C]`` in 0..1, ordered by scale, row, column.

    `boxes` are ``[B,4*bins,h,w]``, `classes` logits ``[B,C,h,w]``, one for each stride. A distance is the mean of its
    distribution over the bins 0, 1, ... (arXiv 2006.04388, equation 6), in strides from the centre of the cell.
    """
    decoded = []
    for raw, stride in zip(boxes, strides, strict=True):
        batch, channels, height, width = raw.shape
        bins = channels // 4
        values = raw.reshape(batch, 4, bins, height * width)
        if bins > 1:
            weights = torch.arange(bins, dtype=raw.dtype).view(1, 1, -1, 1)
            values = (values.softmax(2) * weights).sum(2, keepdim=True)
        distances = values.reshape(batch, 4, height * width).transpose(1, 2)
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centres = torch.stack((columns, rows), -1).reshape(-1, 2) + 0.5
        decoded.append(torch.cat((centres - distances[..., :2], centres + distances[..., 2:]), -1) * stride)
    return torch.cat(decoded, 1), rows_of(classes).sigmoid()


def rows_of(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Maps ``[B,V,h,w]`` as ``[B,N,V]``, in the order of `decode`'s boxes."""
    return torch.cat([map_.flatten(2) for map_ in maps], 2).transpose(1, 2)
